"""Decoding and encoding with Pillow. Imported only when a picture needs it.

Plugins are called by name, never found by trying: no file can choose a decoder (such as the one for PostScript) by its
content.  It also leaves out `Image.open`'s own size check, which warns from 89 megapixels on and cannot be set per
call; the bound here is `MediaLimits.max_pixels`, checked before any pixel is decoded.  For TIFF Pillow's bound holds
as well, since its plugin asks for it once more.
"""

from __future__ import annotations

import importlib
import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

from PIL import Image, features

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media import exif
from minicpm_core.media.limits import check_pixels
from minicpm_core.media.sniff import AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.media.limits import MediaLimits

JPEG_QUALITY = 90
"""With full chroma: coloured text, which is what people ask a model to read, smears without it."""

PNG_LEVEL = 3
"""Half the time of the default level 6, for files a few per cent larger."""

_OPAQUE = 255
_ROUNDING = 0.5  # Pillow cuts off what is behind the point

_SMALL = 512 * 512
"""Pixels up to which PNG is taken, since its size matters little there."""

_MAX_JPEG_SIDE = 65_500
"""libjpeg's JPEG_MAX_DIMENSION."""

_PLUGINS = {
    AVIF: ("AvifImagePlugin", "AvifImageFile"),
    BMP: ("BmpImagePlugin", "BmpImageFile"),
    GIF: ("GifImagePlugin", "GifImageFile"),
    JPEG: ("JpegImagePlugin", "JpegImageFile"),
    PNG: ("PngImagePlugin", "PngImageFile"),
    TIFF: ("TiffImagePlugin", "TiffImageFile"),
    WEBP: ("WebPImagePlugin", "WebPImageFile"),
}
_OPTIONAL = {AVIF: "avif", WEBP: "webp"}
"""Types whose decoder a build of Pillow may lack, with Pillow's name of the feature."""

_UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Encoded(NamedTuple):
    """An encoded picture.

    Attributes:
        data: The file.
        media_type: `image/png` or `image/jpeg`.
        width: Pixels.
        height: Pixels.
    """

    data: bytes
    media_type: str
    width: int
    height: int


def transcode(
    data: bytes, media_type: str, *, orientation: int | None, accept: frozenset[str], limits: MediaLimits, label: str
) -> Encoded:
    """Decode a file (its first frame) and encode it upright as PNG or JPEG, without metadata.

    Args:
        data: The file.
        media_type: Its true type.
        orientation: EXIF orientation, where the header was read already; `None` takes it from what Pillow finds.
        accept: MIME types that may come out.
        limits: Bound on the pixels.
        label: How to call the picture in an error.

    Raises:
        InvalidMediaError: It cannot be decoded or is too large.
        UnsupportedContentError: This build of Pillow cannot read the type, or `accept` has neither PNG nor JPEG.
    """
    if media_type in _OPTIONAL and not features.check(_OPTIONAL[media_type]):
        raise UnsupportedContentError(
            f"{label} cannot be decoded by this build of Pillow. Convert it to JPEG or PNG first."
        )
    module, name = _PLUGINS[media_type]
    factory: Callable[[io.BytesIO], Image.Image] = getattr(importlib.import_module(f"PIL.{module}"), name)
    try:
        with factory(io.BytesIO(data)) as image:
            check_pixels(image.width, image.height, _bounded(limits, media_type), label)
            image.load()
            return _encode(image, orientation, photo=media_type == JPEG, accept=accept, label=label)
    except UnsupportedContentError:
        raise
    except Exception as error:  # a plugin raises whatever its parsing of a hostile file ran into
        raise InvalidMediaError(f"{label} cannot be decoded: {_excerpt(error)}") from error


def _bounded(limits: MediaLimits, media_type: str) -> MediaLimits:
    """The limits, no wider than Pillow's own where its plugin warns beyond that (the one for TIFF does)."""
    own = Image.MAX_IMAGE_PIXELS
    if media_type != TIFF or own is None:
        return limits
    return replace(limits, max_pixels=min(limits.max_pixels, own))


def from_pil(image: Image.Image, *, accept: frozenset[str], limits: MediaLimits, label: str) -> Encoded:
    """Encode a Pillow picture (its current frame) upright as PNG or JPEG, without metadata. It is not changed.

    Args:
        image: Any mode.
        accept: MIME types that may come out.
        limits: Bound on the pixels.
        label: How to call the picture in an error.

    Raises:
        InvalidMediaError: It is empty, too large, closed, or cut off.
        UnsupportedContentError: `accept` has neither PNG nor JPEG.
    """
    check_pixels(image.width, image.height, limits, label)
    try:
        return _encode(image.copy(), None, photo=False, accept=accept, label=label)
    except UnsupportedContentError:
        raise
    except Exception as error:  # a lazily opened picture is decoded here: see transcode
        raise InvalidMediaError(f"{label} cannot be encoded: {_excerpt(error)}") from error


def _excerpt(error: Exception) -> str:
    return f"{str(error).rstrip('.')[:120] or type(error).__name__}."


def _encode(image: Image.Image, orientation: int | None, *, photo: bool, accept: frozenset[str], label: str) -> Encoded:
    if orientation is None:
        block = image.info.get("exif")
        orientation = exif.orientation(block) if isinstance(block, bytes) else exif.UPRIGHT
    image = _simple(image, label)
    if orientation in _UPRIGHT_BY:
        image = image.transpose(_UPRIGHT_BY[orientation])
    image.info.clear()  # no comment, profile, EXIF or GPS position goes along
    buffer = io.BytesIO()
    media_type = _target(image, photo=photo, accept=accept, label=label)
    if media_type == PNG:
        image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    else:
        _opaque(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Encoded(buffer.getvalue(), media_type, image.width, image.height)


def _simple(image: Image.Image, label: str) -> Image.Image:
    """The picture in one of the modes `1`, `L`, `P`, `RGB`, or `RGBA` where something really shows through."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _eight_bit(image, label)
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")  # there is no direct way from La
        lowest, _ = cast("tuple[int, int]", rgba.getchannel("A").getextrema())  # one band, so two numbers
        return rgba if lowest < _OPAQUE else rgba.convert("RGB")
    return image if image.mode in {"1", "L", "P", "RGB"} else image.convert("RGB")


def _eight_bit(image: Image.Image, label: str) -> Image.Image:
    """Grayscale of 8 bits.

    16-bit samples keep their scale (65535 becomes 255).  32-bit integers and floats have none that is agreed on, so
    their darkest value becomes 0 and their brightest 255.
    """
    low, high = 0.0, 65535.0
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    else:
        low, high = cast("tuple[float, float]", image.getextrema())  # one band, so two numbers
        if not math.isfinite(high - low):
            raise InvalidMediaError(f"{label} holds values that are infinite or not numbers.")
    scale = _OPAQUE / (high - low) if high > low else 0.0
    return image.point(lambda value: value * scale + (_ROUNDING - low * scale)).convert("L")


def _opaque(image: Image.Image) -> Image.Image:
    """The picture in a mode that JPEG knows; what is transparent becomes white."""
    if image.mode == "RGBA":
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image)
        return flat
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGB") if image.mode == "P" else image


def _target(image: Image.Image, *, photo: bool, accept: frozenset[str], label: str) -> str:
    """PNG or JPEG: whichever suits the picture, or the one that is taken."""
    too_long = max(image.size) > _MAX_JPEG_SIDE
    lossless = image.mode in {"1", "P", "RGBA"} or image.width * image.height <= _SMALL
    order = (PNG, JPEG) if too_long or (lossless and not photo) else (JPEG, PNG)
    target = next((media_type for media_type in order if media_type in accept), None)
    if target is None:
        taken = ", ".join(sorted(accept)) or "no type at all"
        raise UnsupportedContentError(f"{label} would have to be sent as PNG or JPEG, but the server takes {taken}.")
    if target == JPEG and too_long:
        raise InvalidMediaError(f"{label} is too long for JPEG, which ends at {_MAX_JPEG_SIDE} pixels a side.")
    return target
