"""What is asked of the preparation of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from minicpm_core.errors import InvalidInputError
from minicpm_core.parts import Detail

if TYPE_CHECKING:
    from minicpm_core.media.limits import MediaLimits

Frames: TypeAlias = Literal["first", "all"]
"""Which frames of an animation, or pages of a TIFF, are sent."""

MOST_FRAMES = 32
"""Frames or pages that `all` sends of one file; of more, as many evenly over its length."""

_BEST_QUALITY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of the preparation of one picture. Equal values give equal results.

    Attributes:
        accept: MIME types that may come out.
        limits: Bounds on bytes and pixels.
        detail: How much of it is sent.
        max_slices: The most tiles that the model makes of it.
        quality: Of JPEG, 1 to 100.
        frames: Of several frames, which are sent.

    Raises:
        InvalidInputError: A value is impossible.
    """

    accept: frozenset[str]
    limits: MediaLimits
    detail: Detail
    max_slices: int
    quality: int
    frames: Frames

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("detail", self.detail, get_args(Detail)), ("frames", self.frames, get_args(Frames)),
        ):  # fmt: skip
            if value not in allowed:
                raise InvalidInputError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        if self.max_slices < 1:
            raise InvalidInputError(f"max_slices must be 1 or more, not {self.max_slices}.")
        if not 1 <= self.quality <= _BEST_QUALITY:
            raise InvalidInputError(f"quality must be from 1 to {_BEST_QUALITY}, not {self.quality}.")
