"""From any mode of Pillow to colours that every server reads the same: sRGB or gray of 8 bits, nothing see-through."""

from __future__ import annotations

import io
import math
from typing import Any, cast

from PIL import Image, features

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import icc

_OPAQUE = 255
_ROUNDING = 0.5  # Pillow cuts off what is behind the point
_FINAL = frozenset({"1", "L", "P", "RGB"})
_SCALABLE = frozenset({"L", "RGB", "CMYK"})
_MAX_PROFILE = 4 * 1024 * 1024
"""Bytes of a profile, above which it is ignored. Those of printers have about 2 MB."""

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""The colours that a profile must be for, to be used with a mode."""


def scalable(image: Image.Image, label: str) -> Image.Image:
    """The picture in a mode in which it can be scaled without harm to its colours.

    Args:
        image: Any mode.
        label: How to call the picture in an error.

    Raises:
        InvalidMediaError: It holds values that are no numbers.
    """
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _eight_bit(image, label)
    if image.has_transparency_data:
        return _with_alpha(image)
    if image.mode in _SCALABLE:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def seen_through(image: Image.Image) -> bool:
    """Whether something really shows through somewhere."""
    lowest, _ = cast("tuple[int, int]", _with_alpha(image).getchannel("A").getextrema())  # one band, so two numbers
    return lowest < _OPAQUE


def _with_alpha(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")  # there is no direct way from La


def finished(image: Image.Image, profile: bytes | None, label: str) -> Image.Image:
    """The picture in sRGB as `RGB`, or as `L`, `P` or `1` where it is so already; what is transparent becomes white.

    White, since most see-through pictures are drawings for a white page, and servers that drop the alpha channel show
    black or whatever lies beneath.

    Args:
        image: Any mode.
        profile: Its colour profile. One that is broken, or for other colours, is ignored, as browsers do.
        label: How to call the picture in an error.

    Raises:
        InvalidMediaError: It holds values that are no numbers.
    """
    with_odd_palette = image.mode == "P" and profile is not None and icc.differs(profile)
    if image.mode in _FINAL and not image.has_transparency_data and not with_odd_palette:
        return _in_srgb(image, profile)
    image = scalable(image, label)
    if image.mode == "RGBA":
        image = _on_white(image)
    return _in_srgb(image, profile)


def _on_white(image: Image.Image) -> Image.Image:
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return flat


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The colours of a picture, as its profile means them."""
    fits = profile is not None and icc.colour_space(profile) == _SPACES.get(image.mode, "-")
    if profile and fits and (image.mode != "RGB" or icc.differs(profile)) and len(profile) <= _MAX_PROFILE:
        image = _by_profile(image, profile)
    return image if image.mode in _FINAL else image.convert("RGB")


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    if not features.check("littlecms2"):
        return image
    from PIL import ImageCms  # loads a library of its own, for few pictures

    gray = image.mode == "L"
    srgb = cast("Any", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
    try:
        converted = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB")
    except ImageCms.PyCMSError:  # broken: counts as sRGB
        return image
    converted = image if converted is None else converted
    return converted.convert("L") if gray else converted


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
