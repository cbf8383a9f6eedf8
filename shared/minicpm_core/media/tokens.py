"""How many tokens a picture, a video or a recording takes, by the models' published processors. Pure arithmetic.

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
_WHOLE_FRAMES = frozenset({"resampler64"})
_RATE = 16_000
_HOP, _POOL = 160, 5


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


def video_tokens(frames: int, size: tuple[int, int], model: str, *, max_slices: int = 9) -> int:
    """The prompt tokens of a video: each frame counts as a picture.

    MiniCPM-V 4.6 cuts frames as it cuts pictures (`processing_minicpmv4_6.py` of transformers, and vLLM and SGLang
    with it); for the older models, whose tiles have 64 tokens, vLLM takes each frame whole.  The number of a picture is
    counted too, although servers may leave it out before frames, so that the estimate is at most 2 + digits a frame
    too high.

    Args:
        frames: How many.
        size: Width and height of a frame in pixels, as it is sent.
        model: A model id in any of its spellings; an unknown one is counted as MiniCPM-V 4.6.
        max_slices: The most tiles of a frame, as the server is set.

    Raises:
        InvalidInputError: A number is not positive.
    """
    if frames < 1:
        raise InvalidInputError(f"A video has at least one frame, not {frames}.")
    if card_for(model).token_formula in _WHOLE_FRAMES:
        max_slices = 1
    return sum(count_image_tokens(size, model, max_slices=max_slices, index=index) for index in range(frames))


def audio_tokens(seconds: float) -> int:
    """The prompt tokens of a recording for MiniCPM-o 4.5: 10 a second.

    With `mel = ceil(samples / 160)` at 16 kHz, `c = (mel - 1) // 2 + 1` after the encoder's convolution and a pooling
    of 5 steps: `tokens = (c - 5) // 5 + 1`.  From `get_audio_placeholder` in `processing_minicpmo.py` of
    openbmb/MiniCPM-o-4_5.

    Args:
        seconds: How long it is.

    Raises:
        InvalidInputError: `seconds` is negative or not a finite number.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InvalidInputError(f"seconds must be 0 or more, not {seconds}.")
    mel = math.ceil(round(seconds * _RATE) / _HOP)
    convolved = (mel - 1) // 2 + 1
    return max((convolved - _POOL) // _POOL + 1, 0)


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
