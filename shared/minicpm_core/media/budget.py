"""How large each of several pictures may be sent, so that all of them fit into a number of tokens. Pure arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from minicpm_core.errors import InvalidInputError
from minicpm_core.media.detail import fitted, widened
from minicpm_core.media.tokens import count_image_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_TILES: Final = 9
"""Tiles that the published processors make of a picture at most (`max_slice_nums`)."""


def tiles_within(sizes: Sequence[tuple[int, int]], max_tokens: int, model: str) -> list[int]:
    """The tiles that each picture may have so that all of them fit, the first ones first.

    The picture that takes the most tokens is made smaller by a tile, and again, until they fit; of two that take as
    many, the later one.  If they do not fit with one tile each, the last ones are left out.

    Args:
        sizes: Width and height of each picture in pixels, upright, the most wanted first.
        max_tokens: What all of them may take, by `minicpm_core.media.tokens`.
        model: A model id in any of its spellings.

    Returns:
        For each picture a `max_slices` for `load_image` with `detail="auto"`; 0 where it is left out.

    Raises:
        InvalidInputError: A size is not positive, or `max_tokens` is negative.
    """
    if max_tokens < 0:
        raise InvalidInputError(f"max_tokens must be 0 or more, not {max_tokens}.")
    tiles = [MOST_TILES] * len(sizes)
    costs = [_cost(size, MOST_TILES, model, at) for at, size in enumerate(sizes)]
    while sum(costs) > max_tokens:
        larger = [at for at, count in enumerate(tiles) if count > 1]
        if larger:
            chosen = max(larger, key=lambda at: (costs[at], at))
            tiles[chosen] -= 1
            costs[chosen] = _cost(sizes[chosen], tiles[chosen], model, chosen)
        else:
            last = max(at for at, count in enumerate(tiles) if count)
            tiles[last] = costs[last] = 0
    return tiles


def _cost(size: tuple[int, int], tiles: int, model: str, index: int) -> int:
    """Tokens of a picture that is sent with at most so many tiles; the server cuts what it gets as it always does."""
    return count_image_tokens(fitted(widened(size), tiles), model, index=index)
