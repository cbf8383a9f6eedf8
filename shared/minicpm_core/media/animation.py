"""Which frames of an animation, or pages of a TIFF, are decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from minicpm_core.media.wanted import MOST_FRAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from minicpm_core.media.wanted import Wanted

_MOST_SEEN: Final = 2000
"""Frames of a file that are looked at."""

_PIXEL_BUDGET: Final = 4
"""How many times `max_pixels` may be decoded for one animation: each frame builds on those before it."""

_COUNTED: Final = frozenset({"AVIF", "PNG", "WEBP"})
"""Formats that write the number of their frames, so that it need not be found by going to the end."""


def chosen_frames(image: Image.Image, wanted: Wanted) -> Iterator[Image.Image]:
    """The first frame, or all, or `MOST_FRAMES` evenly spread.

    A file with more than 2000 frames, or with more pixels in all than four times `max_pixels`, counts as if it ended
    there, so that a small file cannot keep a process busy for minutes.

    Args:
        image: As Pillow opened it; it is moved from frame to frame.
        wanted: What is asked, and the bound on pixels.
    """
    if wanted.frames == "first":
        yield image
        return
    pixels = max(1, image.width * image.height)
    count = _count(image, min(_MOST_SEEN, max(1, _PIXEL_BUDGET * wanted.limits.max_pixels // pixels)))
    taken = min(count, MOST_FRAMES)
    for number in range(taken):
        image.seek(number * count // taken)
        yield image


def _count(image: Image.Image, most: int) -> int:
    """How many frames there are, counted up to a bound."""
    if image.format in _COUNTED:
        return max(1, min(most, int(getattr(image, "n_frames", 1))))
    count = 1
    while count < most:
        try:
            image.seek(count)
        except EOFError:
            break
        count += 1
    image.seek(0)
    return count
