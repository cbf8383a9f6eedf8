"""Fields of JSON that a server wrote, read as the type that they should have.

Servers put strings where numbers belong, null where a list belongs, and numbers where an object belongs.  A field of a
wrong type is read as if it were not there, so that no reply can raise anything but this library's own errors.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_DIGITS = 18
"""Of a number written as text: one that fits 64 bits, and not a text that costs minutes to convert."""


def text_of(value: Any) -> str | None:
    """The text, unless it is empty or none."""
    return value if isinstance(value, str) and value else None


def number_of(value: Any) -> int | None:
    """The whole number, also where it is written as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        return int(value)
    return None


def object_of(value: Any) -> dict[str, Any]:
    """The JSON object; an empty one where it is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list; none where it is no list."""
    return [cast("dict[str, Any]", row) for row in list_of(value) if isinstance(row, dict)]


def list_of(value: Any) -> Sequence[Any]:
    """The list; an empty one where it is none."""
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()


def extras_of(raw: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The fields that have no place of their own and say something."""
    return {key: value for key, value in raw.items() if key not in known and value is not None}


def written(value: Any) -> str:
    """Any JSON value as text, also one that is nested beyond reason."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "(nested too deeply to be shown)"
