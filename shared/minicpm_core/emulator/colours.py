"""Names for colours, by rule: lightness first, then hue."""

from __future__ import annotations

import colorsys
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_GREYS = ((0.16, "black"), (0.4, "dark grey"), (0.68, "grey"), (0.92, "light grey"), (1.01, "white"))
"""Upper bound of the brightest channel, name."""

_HUES = (
    (14, "red"),
    (43, "orange"),
    (68, "yellow"),
    (165, "green"),
    (195, "turquoise"),
    (258, "blue"),
    (292, "purple"),
    (344, "pink"),
    (361, "red"),
)
"""Upper bound of the hue in degrees, name."""


@lru_cache(maxsize=8192)
def colour_name(red: int, green: int, blue: int) -> str:
    """The everyday name of a colour given as 0..255 a channel."""
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    if value < _GREYS[0][0]:
        return "black"
    if saturation < 0.12:  # noqa: PLR2004 - below it the eye sees a grey
        return next(name for bound, name in _GREYS if value < bound)
    degrees = hue * 360
    warm = degrees < 60 or degrees >= 344  # noqa: PLR2004 - reds, oranges and the warm yellows
    if warm and saturation < 0.4 and value > 0.7:  # noqa: PLR2004 - pale and light
        return "beige" if 20 <= degrees < 60 else "pink"  # noqa: PLR2004
    if 8 <= degrees < 50 and value < 0.72:  # noqa: PLR2004 - a dark orange is called brown
        return "brown"
    return next(name for bound, name in _HUES if degrees < bound)


def shares(pixels: Iterable[tuple[int, int, int]]) -> list[tuple[str, float]]:
    """The colour names of some pixels with their shares (0..1), the largest first; equal shares in order of name."""
    counts = Counter(colour_name(*pixel) for pixel in pixels)
    total = counts.total()
    return sorted(((name, number / total) for name, number in counts.items()), key=lambda pair: (-pair[1], pair[0]))
