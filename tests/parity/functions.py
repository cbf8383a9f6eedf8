"""Functions and schemas to make tools of.

LlamaIndex reads annotations as they are, so here they must not be strings: no `from __future__ import annotations`.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Place(BaseModel):
    """A place."""

    city: str = Field(description="Its name.")
    country: str | None = None


class Trip(BaseModel):
    """What a trip is made of; the tool's own description wins over this one."""

    title: str
    places: list[Place]
    days: int = Field(default=1, ge=1, description="How long.")


def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C", tags: list[str] | None = None) -> str:
    """Current weather for a city.

    Args:
        city: The city's name.
        days: How many days.
        unit: Of the temperature.
        tags: Notes.
    """
    return f"{city}, {days}, {unit}, {tags}"


def plan(trip: Trip, home: Place) -> str:
    """Plan a trip."""
    return f"{trip} {home}"


def nothing() -> str:
    """Do nothing."""
    return ""
