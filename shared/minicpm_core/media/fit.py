"""Several pictures made smaller until all of them fit into a number of tokens."""

from __future__ import annotations

import binascii
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from minicpm_core.media.budget import MOST_TILES, tiles_within
from minicpm_core.media.images import load_image
from minicpm_core.media.sniff import JPEG, PNG
from minicpm_core.parts import ImageSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.parts import ImagePart

FITTED_TYPES = frozenset({JPEG, PNG})
"""Types that every server takes."""


def fitted_within(parts: Sequence[ImagePart], max_tokens: int, model: str) -> list[ImagePart | None]:
    """The pictures at the sizes that `minicpm_core.media.budget` gives them.

    Args:
        parts: PNG or JPEG, as `load_image` gives them with `accept=FITTED_TYPES`; the most wanted first.
        max_tokens: What all of them may take.
        model: A model id in any of its spellings.

    Returns:
        Each picture as it is or smaller; `None` where it does not fit even with one tile.

    Raises:
        ConfigurationError: One has to be made smaller, and Pillow is not installed.
    """
    tiles = tiles_within([(part.width, part.height) for part in parts], max_tokens, model)
    return [_fitted(part, most) for part, most in zip(parts, tiles, strict=True)]


def _fitted(part: ImagePart, tiles: int) -> ImagePart | None:
    """The picture with no more pixels than so many tiles, even where the file would then have more bytes."""
    if tiles in {0, MOST_TILES}:
        return part if tiles else None
    from PIL import Image

    with Image.open(io.BytesIO(binascii.a2b_base64(part.base64)), formats=["PNG", "JPEG"]) as opened:
        (small,) = load_image(ImageSource("pil", opened), accept=FITTED_TYPES, detail="auto", max_slices=tiles)
    return replace(small, detail=part.detail)
