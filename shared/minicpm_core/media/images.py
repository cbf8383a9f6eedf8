"""Reading a picture: from any source to checked Base64 with its true type and size.

    source -> bytes -> type by magic bytes -> header -> as it is, or decoded and encoded again

A picture that is fine is never encoded again, and keeps its metadata.  It is decoded and encoded again, without any
metadata, where the server does not take its type, EXIF says that it does not stand upright, it has several frames
(the first is sent), or it is 16-bit grayscale (which most servers would see as a white sheet).
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, NoReturn

from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError
from minicpm_core.media import base64text, sources
from minicpm_core.media.headers import glance, read_header
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits, check_pixels
from minicpm_core.media.read import read
from minicpm_core.media.sniff import HEIC, NAMES, lookalike, sniff
from minicpm_core.parts import ImagePart

if TYPE_CHECKING:
    from types import ModuleType

    from minicpm_core.media.encode import Encoded
    from minicpm_core.media.headers import Header
    from minicpm_core.media.read import Read
    from minicpm_core.parts import ImageSource


def load_image(source: ImageSource, *, accept: frozenset[str], limits: MediaLimits = DEFAULT_LIMITS) -> ImagePart:
    """Read, check and encode a picture.

    Args:
        source: From one of the `image_from_…` functions.
        accept: MIME types that the server takes; `image/png` or `image/jpeg` should be among them.
        limits: Bounds on bytes and pixels, checked before anything is decoded.

    Returns:
        The picture with its true type, and its size after the EXIF orientation was applied.

    Raises:
        InvalidMediaError: It is missing, empty, cut off, broken, too large, or no picture at all.
        UnsupportedContentError: It is of a kind that cannot be sent: a video, a PDF, SVG, HEIC, an http(s) URL.
        ConfigurationError: It has to be decoded, and Pillow is not installed.
    """
    if source.kind == "pil":
        label = "The PIL image"
        image = sources.checked_pil(source.value)
        return _part(_encoder(label).from_pil(image, accept=accept, limits=limits, label=label), source.detail)
    found = read(source, limits)
    header = _glance(found.text)
    if header is not None and header.plain and header.media_type in accept:
        check_pixels(header.width, header.height, limits, found.label)
        return ImagePart(found.text, header.media_type, header.width, header.height, source.detail)
    data = base64text.decode(found.text) if found.data is None else found.data
    return _whole(found, data, source.detail, accept=accept, limits=limits)


def _glance(text: bytes) -> Header | None:
    """The header of a long Base64 text, where its ends tell enough."""
    ends = base64text.ends(text)
    return glance(*ends) if ends else None


def _whole(found: Read, data: bytes, detail: str | None, *, accept: frozenset[str], limits: MediaLimits) -> ImagePart:
    """The picture, with all its bytes at hand."""
    label = found.label
    media_type = sniff(data)
    if media_type is None:
        _refuse(data, label)
    header = read_header(data, media_type, label)
    if header is not None:
        check_pixels(header.width, header.height, limits, label)
        if header.plain and media_type in accept:
            return ImagePart(found.text or _base64(data), media_type, header.width, header.height, detail)
    if media_type == HEIC:
        raise UnsupportedContentError(
            f"{label} is a HEIC picture, which cannot be read here. Convert it to JPEG, or open it with Pillow and "
            "pillow-heif and pass it to image_from_pil()."
        )
    label = f"{label} ({NAMES[media_type]})"
    orientation = header.orientation if header else None
    encoded = _encoder(label).transcode(
        data, media_type, orientation=orientation, accept=accept, limits=limits, label=label
    )
    return _part(encoded, detail)


def _part(encoded: Encoded, detail: str | None) -> ImagePart:
    return ImagePart(_base64(encoded.data), encoded.media_type, encoded.width, encoded.height, detail)


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _refuse(data: bytes, label: str) -> NoReturn:
    found = lookalike(data)
    error = UnsupportedContentError if found.media else InvalidMediaError
    raise error(f"{label} is not a picture that can be sent: it looks like {found.name}. {found.hint}".rstrip())


def _encoder(label: str) -> ModuleType:
    """The module that needs Pillow."""
    try:
        from minicpm_core.media import encode  # imports Pillow, which need not be there
    except ImportError as error:
        raise ConfigurationError(
            f"{label} has to be decoded and encoded again before it can be sent. {sources.NEEDS_PILLOW}"
        ) from error
    return encode
