"""How many tokens a picture takes, by the models' published image processors. Pure arithmetic on its size.

A picture larger than 448 x 448 pixels is cut into tiles.  The whole picture, scaled down to about that area, and each
tile then become tokens.

Sources: `image_processing_minicpmv4_6.py` and `processing_minicpmv4_6.py` of Hugging Face transformers for MiniCPM-V
4.6; `processing_minicpmo.py` of openbmb/MiniCPM-o-4_5, which MiniCPM-V 4.5 shares.  Servers that run these processors
count the same in `usage.prompt_tokens`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, TypeAlias

from minicpm_core.errors import InvalidInputError
from minicpm_core.models import TokenFormula, card_for

Downsample: TypeAlias = Literal["16x", "4x"]
"""How many patches of 14 x 14 pixels become one token: `downsample_mode` of MiniCPM-V 4.6."""

_SIDE = 448
_PATCH = 14
_PATCHES_PER_TOKEN = {"16x": 16, "4x": 4}
_RESIZE_MULTIPLE = {"16x": 56, "4x": 28}
_QUERIES = 64
_WRAPPERS = 4
_TILE_WRAPPERS = 2


def count_image_tokens(
    size: tuple[int, int], model: str, *, max_slices: int = 9, downsample: Downsample = "16x", index: int = 0
) -> int:
    """The prompt tokens of one picture: what it shows, and the marks around it.

    The prompt reads `<image_id>0</image_id><image>…</image>` and then, row by row, `<slice>…</slice>` for each tile,
    with a newline between rows.  Each mark, digit and newline is one token, so that `4 + digits + 2 x tiles + rows - 1`
    come on top of `visual_tokens`.  vLLM and transformers report exactly this; llama-server writes no `<image_id>`, so
    that it counts 2 + digits fewer.

    Args:
        size: Width and height in pixels, upright.
        model: A model id in any of its spellings; an unknown one is counted as MiniCPM-V 4.6.
        max_slices: The most tiles, as the server is set (`max_slice_nums`).
        downsample: As the server is set (`downsample_mode`). MiniCPM-V 4.5 and o 4.5 have no such setting.
        index: The picture's number in the conversation, from 0: it is written into the prompt.

    Raises:
        InvalidInputError: A size or setting is not positive, or `downsample` is unknown.
    """
    visual = visual_tokens(size, card_for(model).token_formula, max_slices=max_slices, downsample=downsample)
    overhead = _WRAPPERS + len(str(index))
    grid = image_grid(size, max_slices=max_slices)
    if grid:
        rows, columns = grid
        overhead += _TILE_WRAPPERS * rows * columns + rows - 1
    return visual + overhead


def visual_tokens(
    size: tuple[int, int],
    formula: TokenFormula = "v46",
    *,
    max_slices: int = 9,
    downsample: Downsample = "16x",
    resize_multiple: int | None = None,
) -> int:
    """The tokens that carry what a picture shows, without the marks around them.

    `v46`: `tokens(w, h) = (w / 14) x (h / 14) // D` for the whole picture and for each tile, both scaled to an area of
    about 448 x 448 with sides that are multiples of `resize_multiple`; `D` is 16 or 4.  `resampler64`: 64 for the whole
    picture and for each tile.

    Args:
        size: Width and height in pixels, upright.
        formula: As in the model's card.
        max_slices: The most tiles.
        downsample: `D` of `v46`.
        resize_multiple: Pixels, a multiple of 14. `None` takes 56 for `16x` and 28 for `4x`, as transformers 5.23 does;
            transformers 5.7 and SGLang take 56 for both.

    Raises:
        InvalidInputError: A size or setting is impossible.
    """
    grid = image_grid(size, max_slices=max_slices)
    rows, columns = grid or (0, 0)
    if formula == "resampler64":
        return _QUERIES * (1 + rows * columns)
    if downsample not in _PATCHES_PER_TOKEN:
        raise InvalidInputError(f"downsample must be one of {', '.join(_PATCHES_PER_TOKEN)}, not {downsample!r}.")
    multiple = _RESIZE_MULTIPLE[downsample] if resize_multiple is None else resize_multiple
    if multiple < 1 or multiple % _PATCH:
        raise InvalidInputError(f"resize_multiple must be a multiple of {_PATCH}, not {multiple}.")
    width, height = size
    per_token = _PATCHES_PER_TOKEN[downsample]
    total = _scaled_tokens(width, height, multiple, per_token, upscale=grid is None)
    if grid:
        tile_width, tile_height = _to_multiple(width, columns) / columns, _to_multiple(height, rows) / rows
        total += rows * columns * _scaled_tokens(tile_width, tile_height, multiple, per_token, upscale=True)
    return total


@lru_cache(maxsize=1024)
def image_grid(size: tuple[int, int], *, max_slices: int = 9) -> tuple[int, int] | None:
    """How a picture is cut into tiles.

    With `n = min(ceil(width x height / 448²), max_slices)`, the grids of `n - 1`, `n` and `n + 1` tiles (not 1, not
    above `max_slices`) are compared, and the one whose shape is nearest to the picture's wins:
    `|ln(width / height) - ln(columns / rows)|` is least.  Of two that are as near, the one with more rows is taken.

    Args:
        size: Width and height in pixels, upright.
        max_slices: The most tiles.

    Returns:
        Rows and columns, or `None` where the picture is not cut.

    Raises:
        InvalidInputError: A size or `max_slices` is not positive.
    """
    width, height = size
    if width < 1 or height < 1 or max_slices < 1:
        raise InvalidInputError(f"Sizes and max_slices must be 1 or more, not {width} x {height} and {max_slices}.")
    wanted = min(math.ceil(width * height / _SIDE**2), max_slices)
    if wanted <= 1:
        return None
    shape = math.log(width / height)
    grids = [
        (tiles // columns, columns)
        for tiles in (wanted - 1, wanted, wanted + 1)
        if 1 < tiles <= max_slices
        for columns in range(1, tiles + 1)
        if tiles % columns == 0
    ]
    return min(grids, key=lambda grid: abs(shape - math.log(grid[1] / grid[0])))


def _to_multiple(length: float, multiple: int) -> int:
    """The nearest multiple, at least one. Python's rounding of halves to even is part of the formula."""
    return max(round(length / multiple) * multiple, multiple)


def _scaled_tokens(width: float, height: float, multiple: int, per_token: int, *, upscale: bool) -> int:
    """Tokens of a picture or tile after it was scaled to fit."""
    if upscale or width * height > _SIDE**2:
        ratio = width / height
        height = int(_SIDE / math.sqrt(ratio))
        width = int(height * ratio)
    return (_to_multiple(width, multiple) // _PATCH) * (_to_multiple(height, multiple) // _PATCH) // per_token
