"""How large a medium may be."""

from __future__ import annotations

from dataclasses import dataclass

from minicpm_core.errors import InvalidMediaError


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """Bounds on one medium, checked before it is decoded.

    Attributes:
        max_bytes: The most bytes that a file may have which is held in memory. A video in a file is not: its frames are
            taken, or it is read while it is sent.
        max_pixels: The most pixels (width x height) that a picture's header may promise: a few kilobytes can unpack to
            gigabytes otherwise.
        max_seconds: The longest stretch of a video that frames are taken of, and the longest recording (of which never
            more than an hour is taken).
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 100_000_000
    max_seconds: float = 4 * 3600.0


DEFAULT_LIMITS = MediaLimits()
"""64 MiB, 100 megapixels and 4 hours."""


def check_pixels(width: int, height: int, limits: MediaLimits, label: str) -> None:
    """Refuse a picture that is empty or too large to decode.

    Args:
        width: Pixels.
        height: Pixels.
        limits: The bound.
        label: How to call the picture in the error.

    Raises:
        InvalidMediaError: It has no pixels, or too many.
    """
    if width < 1 or height < 1:
        raise InvalidMediaError(f"{label} has no pixels: its size is {width} x {height}.")
    if width * height > limits.max_pixels:
        raise InvalidMediaError(
            f"{label} is too large: {width} x {height} pixels; the limit is {limits.max_pixels} in all."
        )
