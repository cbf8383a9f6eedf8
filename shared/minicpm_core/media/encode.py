"""Decoding and encoding with Pillow. Imported only when a picture needs it.

    open -> draft (JPEG) -> decode -> scale -> colours -> turn upright -> borders -> cut out -> PNG or JPEG

Plugins are called by name, never found by trying: no file can choose a decoder (such as the one for PostScript) by its
content.  It also leaves out `Image.open`'s own size check, which warns from 89 megapixels on and cannot be set per
call; the bound here is `MediaLimits.max_pixels`, checked before any pixel is decoded.  For TIFF Pillow's bound holds
as well, since its plugin asks for it once more.
"""

from __future__ import annotations

import importlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

from PIL import Image, features

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media import colour, exif
from minicpm_core.media.animation import chosen_frames
from minicpm_core.media.detail import plan
from minicpm_core.media.limits import check_pixels
from minicpm_core.media.sniff import AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP
from minicpm_core.media.target import written

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from PIL import ImageFile

    from minicpm_core.media.detail import Canvas, Plan, Size
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.media.wanted import Wanted

_DRAFT_GAP = 1.25
"""A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is still so many times the size that is wanted: for 12
megapixels in 0.1 s instead of 0.26 s."""

_REDUCING_GAP = 3.0
"""As Pillow's documentation has it: about as fine as scaling in one step, and much faster for large factors."""

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
_LYING = frozenset({5, 6, 7, 8})


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
    data: bytes, media_type: str, *, orientation: int | None, wanted: Wanted, label: str, unless_opaque: bool = False
) -> tuple[Encoded, ...]:
    """Decode a file and encode it upright as PNG or JPEG, without metadata.

    Args:
        data: The file.
        media_type: Its true type.
        orientation: EXIF orientation, where the header was read already; `None` takes it from what Pillow finds.
        wanted: What is asked.
        label: How to call the picture in an error.
        unless_opaque: Nothing need be done if it turns out that nothing shows through.

    Returns:
        One or more pictures; none if nothing need be done.

    Raises:
        InvalidMediaError: It cannot be decoded or is too large.
        UnsupportedContentError: This build of Pillow cannot read the type, or `accept` has neither PNG nor JPEG.
    """
    if media_type in _OPTIONAL and not features.check(_OPTIONAL[media_type]):
        raise UnsupportedContentError(
            f"{label} cannot be decoded by this build of Pillow. Convert it to JPEG or PNG first."
        )
    module, name = _PLUGINS[media_type]
    factory: Callable[[io.BytesIO], ImageFile.ImageFile] = getattr(importlib.import_module(f"PIL.{module}"), name)
    wanted = replace(wanted, limits=_bounded(wanted.limits, media_type))
    try:
        with factory(io.BytesIO(data)) as image:
            check_pixels(image.width, image.height, wanted.limits, label)
            if unless_opaque:
                image.load()
                if not colour.seen_through(image):
                    return ()
            found: list[Encoded] = []
            for frame in chosen_frames(image, wanted):
                check_pixels(frame.width, frame.height, wanted.limits, label)
                found += _encode(frame, orientation, photo=media_type == JPEG, wanted=wanted, label=label)
            return tuple(found)
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


def from_pil(image: Image.Image, *, wanted: Wanted, label: str) -> tuple[Encoded, ...]:
    """Encode a Pillow picture (its current frame) upright as PNG or JPEG, without metadata. It is not changed.

    Args:
        image: Any mode; its pixels were loaded.
        wanted: What is asked.
        label: How to call the picture in an error.

    Raises:
        InvalidMediaError: It cannot be brought into a form that is taken.
        UnsupportedContentError: `accept` has neither PNG nor JPEG.
    """
    try:
        return tuple(_encode(image.copy(), None, photo=False, wanted=wanted, label=label))
    except UnsupportedContentError:
        raise
    except Exception as error:
        raise InvalidMediaError(f"{label} cannot be encoded: {_excerpt(error)}") from error


def fingerprint(image: Image.Image, *, limits: MediaLimits, label: str) -> tuple[bytes, tuple[Hashable, ...]]:
    """All of a Pillow picture that decides what it looks like: its pixels, which are loaded, and the rest.

    Args:
        image: Any mode.
        limits: Bound on its pixels, checked before they are loaded.
        label: How to call the picture in an error.

    Raises:
        InvalidMediaError: It is empty, too large, closed, or cut off.
    """
    check_pixels(image.width, image.height, limits, label)
    try:
        pixels = image.tobytes()
    except Exception as error:  # a lazily opened picture is decoded here: see transcode
        raise InvalidMediaError(f"{label} cannot be encoded: {_excerpt(error)}") from error
    palette = image.palette
    info = (repr(image.info.get(name)) for name in ("transparency", "icc_profile", "exif"))
    return pixels, (image.mode, image.size, (palette.mode, bytes(palette.palette)) if palette else None, *info)


def _excerpt(error: Exception) -> str:
    return f"{str(error).rstrip('.')[:120] or type(error).__name__}."


def _encode(image: Image.Image, orientation: int | None, *, photo: bool, wanted: Wanted, label: str) -> list[Encoded]:
    """One picture, or its overview and cut-outs."""
    if orientation is None:
        block = image.info.get("exif")
        orientation = exif.orientation(block) if isinstance(block, bytes) else exif.UPRIGHT
    lying = orientation in _LYING
    todo = plan(_turned(image.size, lying=lying), wanted.detail, wanted.max_slices)
    profile = image.info.get("icc_profile")
    done = _scaled(image, _turned(todo.largest.inner, lying=lying), label)
    done = colour.finished(done, profile if isinstance(profile, bytes) else None, label)
    if orientation in _UPRIGHT_BY:
        done = done.transpose(_UPRIGHT_BY[orientation])
    elif done is image:
        done = image.copy()  # an animation goes on from what its `info` says
    done.info.clear()  # no comment, profile, EXIF or GPS position goes along
    return [Encoded(*written(part, wanted, photo=photo, label=label), *part.size) for part in _parts(done, todo)]


def _turned(size: Size, *, lying: bool) -> Size:
    return (size[1], size[0]) if lying else size


def _scaled(image: Image.Image, size: Size, label: str) -> Image.Image:
    """The picture, decoded, at a size as stored; never larger than it was."""
    if isinstance(image, _jpeg_class()):
        image.draft(None, (max(1, int(size[0] * _DRAFT_GAP)), max(1, int(size[1] * _DRAFT_GAP))))
    image.load()
    if image.size == size:
        return image
    return colour.scalable(image, label).resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)


def _parts(image: Image.Image, todo: Plan) -> list[Image.Image]:
    if todo.cut is None:
        return [_bordered(image, todo.whole)]
    overview = image if image.mode in {"L", "RGB"} else image.convert("L" if image.mode == "1" else "RGB")
    overview = overview.resize(todo.whole.inner, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    large = _bordered(image, todo.cut)
    return [_bordered(overview, todo.whole), *(large.crop(box) for box in todo.boxes)]


def _bordered(image: Image.Image, canvas: Canvas) -> Image.Image:
    """The picture in the middle of a white canvas, if that is larger."""
    if image.size == canvas.size:
        return image
    mode = "L" if image.mode in {"1", "L"} else "RGB"
    sheet = Image.new(mode, canvas.size, "white")
    left, top = (canvas.size[0] - image.width) // 2, (canvas.size[1] - image.height) // 2
    sheet.paste(image.convert(mode), (left, top))
    return sheet


def _jpeg_class() -> type[Image.Image]:
    from PIL import JpegImagePlugin

    return cast("type[Image.Image]", JpegImagePlugin.JpegImageFile)
