"""Cut-outs of a large picture, for servers that cut into few tiles themselves.

A model that looks at 9 tiles sees a scanned page at a third of its resolution.  Its four quarters as pictures of their
own, after an overview of the whole, show it four times as much.  This works with every server, while a request's own
`max_slice_nums` does not.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

from minicpm_core.parts import TILE_PIXELS

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two not included."""

MOST_TILES: Final = 36
"""Tiles of all cut-outs together: 7,225,344 pixels."""


def cut_outs(size: tuple[int, int], max_slices: int) -> tuple[tuple[int, int], tuple[Box, ...]] | None:
    """How a picture is cut into pictures of at most `max_slices` x 448² pixels each.

    As few as suffice are taken, or one more where that makes them squarer.

    Args:
        size: Width and height, upright.
        max_slices: The most tiles that the server makes of one picture.

    Returns:
        The size to scale the picture to first (its own where it has no more than `MOST_TILES` tiles' worth of pixels),
        and the boxes in reading order, which cover all of it without overlap.  `None` where one picture is enough.
    """
    width, height = size
    cap = max_slices * TILE_PIXELS
    if width * height <= cap or max_slices >= MOST_TILES:
        return None
    most = math.ceil(MOST_TILES / max_slices)
    grids = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
    fitting = [grid for grid in grids if _largest(size, grid) <= cap]
    if fitting and width * height <= MOST_TILES * TILE_PIXELS:
        least = min(rows * columns for rows, columns in fitting)
        rows, columns = _squarest(size, [grid for grid in fitting if grid[0] * grid[1] <= least + 1])
        return size, _boxes(size, rows, columns)
    rows, columns = _squarest(size, [grid for grid in grids if grid[0] * grid[1] == most])
    scale = min(1.0, math.sqrt(min(most * cap, MOST_TILES * TILE_PIXELS) / (width * height)))
    scaled = (_multiple(width * scale, columns), _multiple(height * scale, rows))
    return scaled, _boxes(scaled, rows, columns)


def _largest(size: tuple[int, int], grid: tuple[int, int]) -> int:
    """Pixels of the largest cut-out."""
    return math.ceil(size[0] / grid[1]) * math.ceil(size[1] / grid[0])


def _squarest(size: tuple[int, int], grids: list[tuple[int, int]]) -> tuple[int, int]:
    shape = math.log(size[0] / size[1])
    return min(grids, key=lambda grid: (abs(shape - math.log(grid[1] / grid[0])), grid[0] * grid[1]))


def _multiple(length: float, of: int) -> int:
    return max(math.floor(length) // of, 1) * of


def _boxes(size: tuple[int, int], rows: int, columns: int) -> tuple[Box, ...]:
    across = [size[0] * column // columns for column in range(columns + 1)]
    down = [size[1] * row // rows for row in range(rows + 1)]
    return tuple(
        (across[column], down[row], across[column + 1], down[row + 1])
        for row in range(rows)
        for column in range(columns)
    )
