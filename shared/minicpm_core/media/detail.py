"""Which size of a picture is sent. Pure arithmetic; nothing is decoded here.

The models cut a picture into at most `max_slices` tiles of about 448 x 448 pixels, so that more pixels than that are
thrown away on arrival.  `auto` leaves them out before they are sent, at a size for which the model makes the same grid
and the same number of tokens: that is looked up with `minicpm_core.media.tokens` for each candidate, not assumed.

    original    the file as it is, wherever the server takes it
    auto        at most max_slices x 448² pixels
    low         at most 448² pixels, so that it is never cut
    high        as `auto`, and beyond that an overview and cut-outs: see `minicpm_core.media.tiles`

Nothing is ever enlarged, but a strip of more than 100:1 gets white borders (not in `original`): servers are known to
crash at such shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias, cast, get_args

from minicpm_core.media.tiles import cut_outs
from minicpm_core.media.tokens import image_grid, visual_tokens
from minicpm_core.parts import TILE_PIXELS, Detail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicpm_core.media.tiles import Box

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels, upright."""

LONGEST: Final = 100
"""A picture that is more times as long as wide gets white borders up to this."""

_Treatment: TypeAlias = tuple[Size | None, int, int, int]

_STEPS = 64
"""Candidate lengths of the shorter side. In a sweep over 20,000 sizes the first one fitted nine times out of ten."""

_NEARBY = (0, -1, 1, -2, 2)
_DETAILS = frozenset(get_args(Detail))


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture as it is sent.

    Attributes:
        size: The whole of it.
        inner: What the picture itself takes in the middle of it; smaller than `size` only where borders are added.
    """

    size: Size
    inner: Size


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent of a picture.

    Attributes:
        whole: The picture, or the overview where there are cut-outs.
        cut: The larger picture that the cut-outs are taken from; `None` where there are none.
        boxes: The cut-outs in it, in reading order.
    """

    whole: Canvas
    cut: Canvas | None = None
    boxes: tuple[Box, ...] = ()

    @property
    def largest(self) -> Canvas:
        """The largest size that is needed."""
        return self.cut or self.whole


def chosen(own: str | None, default: Detail) -> Detail:
    """A picture's own `detail` where it is one that this library knows, otherwise the default."""
    return cast("Detail", own) if own in _DETAILS else default


def plan(size: Size, detail: Detail, max_slices: int) -> Plan:
    """What to send of a picture.

    Args:
        size: Its width and height, upright.
        detail: How much.
        max_slices: The most tiles, as the server is set.
    """
    if detail == "original":
        return Plan(Canvas(size, size))
    shape = widened(size)
    whole = _canvas(size, shape, fitted(shape, 1 if detail == "low" else max_slices))
    found = cut_outs(shape, max_slices) if detail == "high" else None
    if found is None:
        return Plan(whole)
    cut, boxes = found
    return Plan(whole, _canvas(size, shape, cut), boxes)


@lru_cache(maxsize=1024)
def fitted(size: Size, max_slices: int) -> Size:
    """The largest size of at most `max_slices` x 448² pixels that the model treats like the given one.

    Sizes near `size x sqrt(cap / area)` are tried from large to small, until one has the same grid and the same number
    of tokens by each of the published formulas (16x, and 4x in both versions).  In a sweep over 20,000 sizes the grid
    and the 16x count were kept for all, and all three counts for all but one.

    Args:
        size: Width and height, upright; no more than `LONGEST` times as long as wide.
        max_slices: The most tiles.

    Returns:
        The size itself where it is within the bound.
    """
    width, height = size
    if width * height <= max_slices * TILE_PIXELS:
        return size
    wanted = _treatment(size, max_slices)
    tried: dict[Size, _Treatment] = {}
    for candidate in _candidates(size, max_slices * TILE_PIXELS):
        tried[candidate] = _treatment(candidate, max_slices)
        if tried[candidate] == wanted:
            return candidate
    return max(tried, key=lambda candidate: _nearness(tried[candidate], wanted), default=size)


def _candidates(size: Size, cap: int) -> Iterator[Size]:
    """Sizes of about the same shape within the cap, from large to small."""
    width, height = size
    shorter, longer = sorted(size)
    top = max(1, math.floor(shorter * math.sqrt(cap / (width * height))))
    for short in range(top, max(0, top - _STEPS), -1):
        middle = round(short * longer / shorter)
        for long in (middle + step for step in _NEARBY):
            if long >= 1 and short * long <= cap:
                yield (short, long) if width <= height else (long, short)


def _nearness(found: _Treatment, wanted: _Treatment) -> tuple[bool, int, int]:
    """How well a size will do that is not treated quite the same: the grid counts most, then the usual tokens."""
    misses = [abs(one - other) for one, other in zip(found[1:], wanted[1:], strict=True)]
    return found[0] == wanted[0], -misses[0], -sum(misses)


def _treatment(size: Size, max_slices: int) -> _Treatment:
    """What the models make of a size: the grid, and the tokens by each formula."""
    return (
        image_grid(size, max_slices=max_slices),
        visual_tokens(size, max_slices=max_slices),
        visual_tokens(size, max_slices=max_slices, downsample="4x"),
        visual_tokens(size, max_slices=max_slices, downsample="4x", resize_multiple=56),
    )


def widened(size: Size) -> Size:
    """The size with the borders that a strip gets."""
    width, height = size
    return max(width, math.ceil(height / LONGEST)), max(height, math.ceil(width / LONGEST))


def _canvas(size: Size, shape: Size, target: Size) -> Canvas:
    """The picture of `size`, with borders up to `shape`, scaled to `target`."""
    if shape == size:
        return Canvas(target, target)
    scale = min(target[0] / shape[0], target[1] / shape[1])
    width, height = (max(1, round(length * scale)) for length in size)
    return Canvas(target, (min(width, target[0]), min(height, target[1])))
