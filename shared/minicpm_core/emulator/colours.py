"""Names for colours, by rule: lightness decides among the greys, a table of regions among the rest."""

from __future__ import annotations

import colorsys
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_GREYS = ((0.16, "black"), (0.4, "dark grey"), (0.68, "grey"), (0.92, "light grey"), (1.01, "white"))
"""Upper bound of the lightness (0..1, of the brightest channel), name."""
_LEAST_SATURATION = 0.1
"""Below it the eye sees a grey."""


class _Region(NamedTuple):
    """A part of the colour space, by bounds of hue (degrees), saturation and lightness (0..1). The lower are in it."""

    name: str
    hues: tuple[float, float]
    saturations: tuple[float, float] = (0, 1.01)
    lightness: tuple[float, float] = (0, 1.01)


_REGIONS = (
    _Region("beige", (20, 65), (0, 0.4), (0.7, 1.01)),
    _Region("pink", (0, 20), (0, 0.4), (0.7, 1.01)),
    _Region("pink", (344, 361), (0, 0.4), (0.7, 1.01)),
    _Region("brown", (8, 50), lightness=(0, 0.8)),
    _Region("purple", (292, 330), lightness=(0, 0.7)),
    _Region("red", (0, 14)),
    _Region("orange", (14, 43)),
    _Region("yellow", (43, 68)),
    _Region("green", (68, 165)),
    _Region("turquoise", (165, 195)),
    _Region("blue", (195, 258)),
    _Region("purple", (258, 292)),
    _Region("pink", (292, 344)),
    _Region("red", (344, 361)),
)
"""The first that a colour lies in names it; together they hold every colour."""


@lru_cache(maxsize=8192)
def colour_name(red: int, green: int, blue: int) -> str:
    """The everyday name of a colour given as 0..255 a channel."""
    hue, saturation, lightness = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    darkest, black = _GREYS[0]
    if lightness < darkest:
        return black
    if saturation < _LEAST_SATURATION:
        return next(name for bound, name in _GREYS if lightness < bound)
    place = (hue * 360, saturation, lightness)
    return next(region.name for region in _REGIONS if _lies_in(place, region))


def _lies_in(place: tuple[float, float, float], region: _Region) -> bool:
    return all(low <= at < high for at, (low, high) in zip(place, region[1:], strict=True))


def shares(pixels: Iterable[tuple[int, int, int]]) -> list[tuple[str, float]]:
    """The colour names of some pixels with their shares (0..1), the largest first; equal shares in order of name."""
    counts = Counter(colour_name(*pixel) for pixel in pixels)
    total = counts.total()
    return sorted(((name, number / total) for name, number in counts.items()), key=lambda pair: (-pair[1], pair[0]))
