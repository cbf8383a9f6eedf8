"""PNG or JPEG: what suits a picture, by what is in it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media.sniff import JPEG, PNG

if TYPE_CHECKING:
    from minicpm_core.media.wanted import Wanted

PNG_LEVEL = 3
"""Half the time of the default level 6, for files a few per cent larger."""

_MAX_JPEG_SIDE = 65_500
"""libjpeg's JPEG_MAX_DIMENSION."""

_SMALL = 512 * 512
"""Pixels up to which PNG is taken for all but photographs in JPEG, since its size matters little there."""

_PATCH, _PATCHES = 32, 8
"""The sample is 8 x 8 patches of 32 x 32 pixels, evenly spread."""

_FLAT = 0.5
"""Share of pixels that equal their neighbour to the left. Most of a screenshot or a drawing does, and little of
a photograph, since sensors add noise (0.08 to 0.37 in the three of `examples/photos`)."""

_LARGE_PNG = 0.5
"""Bytes a pixel from which a PNG is compared with a JPEG of the same picture."""

_TIMES_LARGER = 3


def written(image: Image.Image, wanted: Wanted, *, photo: bool, label: str) -> tuple[bytes, str]:
    """Encode a picture.

    Photographs become JPEG with full chroma (coloured text smears without it).  Screenshots, drawings and text stay
    lossless as PNG, unless that would be more than three times as large as JPEG.

    Args:
        image: Of mode `1`, `L`, `P` or `RGB`.
        wanted: The types that may come out, and the quality of JPEG.
        photo: It came as JPEG, so that nothing is lossless any more.
        label: How to call the picture in an error.

    Returns:
        The file and its type.

    Raises:
        InvalidMediaError: Only JPEG is taken, and it is too long for that.
        UnsupportedContentError: Neither PNG nor JPEG is taken.
    """
    taken = [media_type for media_type in (PNG, JPEG) if media_type in wanted.accept]
    if not taken:
        types = ", ".join(sorted(wanted.accept)) or "no type at all"
        raise UnsupportedContentError(f"{label} would have to be sent as PNG or JPEG, but the server takes {types}.")
    if max(image.size) > _MAX_JPEG_SIDE:
        if PNG not in taken:
            raise InvalidMediaError(f"{label} is too long for JPEG, which ends at {_MAX_JPEG_SIDE} pixels a side.")
        return _png(image), PNG
    if len(taken) == 1:
        return (_png(image), PNG) if taken == [PNG] else (_jpeg(image, wanted.quality), JPEG)
    if photo or not _drawn(image):
        return _jpeg(image, wanted.quality), JPEG
    lossless = _png(image)
    if len(lossless) > _LARGE_PNG * image.width * image.height and image.width * image.height > _SMALL:
        lossy = _jpeg(image, wanted.quality)
        if len(lossless) > _TIMES_LARGER * len(lossy):
            return lossy, JPEG
    return lossless, PNG


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def _jpeg(image: Image.Image, quality: int) -> bytes:
    image = image if image.mode in {"L", "RGB"} else image.convert("L" if image.mode == "1" else "RGB")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _drawn(image: Image.Image) -> bool:
    """Whether the picture is small, or was made by a program rather than a sensor: large parts of it are flat."""
    if image.mode in {"1", "P"} or image.width * image.height <= _SMALL:
        return True
    sample = _sample(image)
    shifted = ImageChops.offset(sample, 1, 0)
    difference = ImageChops.difference(sample, shifted)
    total = difference.convert("L", _SUM) if difference.mode == "RGB" else difference
    return total.histogram()[0] >= _FLAT * sample.width * sample.height


_SUM = (1.0, 1.0, 1.0, 0.0)
"""Red, green and blue added up, so that 0 means equal."""


def _sample(image: Image.Image) -> Image.Image:
    """Patches of a large picture at its full resolution, side by side."""
    across = min(_PATCHES, max(1, image.width // _PATCH))
    down = min(_PATCHES, max(1, image.height // _PATCH))
    sample = Image.new(image.mode, (across * _PATCH, down * _PATCH))
    for column in range(across):
        for row in range(down):
            left = (image.width - _PATCH) * column // max(1, across - 1)
            top = (image.height - _PATCH) * row // max(1, down - 1)
            patch = image.crop((left, top, left + _PATCH, top + _PATCH))
            sample.paste(patch, (column * _PATCH, row * _PATCH))
    return sample
