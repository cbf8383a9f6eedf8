"""Reading a picture: from any source to checked Base64 with its true type and size.

    source -> bytes -> type by magic bytes -> header -> as it is, or decoded and encoded again

A picture that is fine is never encoded again, and keeps its metadata.  It has to be decoded and encoded again, without
any metadata, where the server does not take its type, EXIF says that it does not stand upright, it has several frames,
or it is 16-bit grayscale (which most servers would see as a white sheet).  Unless `detail` is `original`, that is done
too where it has more pixels than are wanted, where something shows through, and where its colours would be taken
wrongly: CMYK, and colour profiles far from sRGB.  Those three need Pillow less than the others: without it, the file is
sent as it is.

What was encoded is kept for the next time: see `minicpm_core.media.cache`.
"""

from __future__ import annotations

import binascii
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, cast

from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError
from minicpm_core.media import base64text, sources
from minicpm_core.media.cache import PICTURES
from minicpm_core.media.detail import chosen, plan
from minicpm_core.media.headers import glance, read_header
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits, check_pixels
from minicpm_core.media.read import read as read_source
from minicpm_core.media.sniff import HEIC, NAMES, lookalike, sniff
from minicpm_core.media.wanted import Frames, Wanted
from minicpm_core.parts import Detail, ImagePart

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from types import ModuleType

    from minicpm_core.media.encode import Encoded
    from minicpm_core.media.headers import Header
    from minicpm_core.media.read import Read
    from minicpm_core.parts import ImageSource


def load_image(
    source: ImageSource,
    *,
    accept: frozenset[str],
    limits: MediaLimits = DEFAULT_LIMITS,
    detail: Detail = "original",
    max_slices: int = 9,
    quality: int = 90,
    frames: Frames = "first",
    read: Callable[[ImageSource, MediaLimits], Read] = read_source,
) -> tuple[ImagePart, ...]:
    """Read, check and encode a picture.

    Args:
        source: From one of the `image_from_…` functions. Its own `detail` wins over the argument, if it is one of the
            four.
        accept: MIME types that the server takes; `image/png` or `image/jpeg` should be among them.
        limits: Bounds on bytes and pixels, checked before anything is decoded.
        detail: How much of it is sent: see `minicpm_core.media.detail`.
        max_slices: The most tiles that the model makes of a picture (`max_slice_nums`).
        quality: Of JPEG, 1 to 100, where it has to be encoded.
        frames: Of an animation (GIF, WebP, AVIF, APNG) or a TIFF of several pages, `first` sends the first only, `all`
            sends up to 32, evenly spread. No notice is given of what is left out. Of a Pillow image, the current
            frame is sent.
        read: How to read the source, for those that need more than this module may do, such as http(s) URLs.

    Returns:
        One picture, with its true type and its size after the EXIF orientation was applied; several for `high` (an
        overview, then cut-outs in reading order) and for `all`.

    Raises:
        InvalidMediaError: It is missing, empty, cut off, broken, too large, or no picture at all.
        UnsupportedContentError: It is of a kind that cannot be sent: a video, a PDF, SVG, HEIC.
        ConfigurationError: It has to be decoded, and Pillow is not installed.
        InvalidInputError: A setting is impossible.
    """
    wanted = Wanted(
        accept=accept,
        limits=limits,
        detail=chosen(source.detail, detail),
        max_slices=max_slices,
        quality=quality,
        frames=frames,
    )
    parts = _from_pil(source.value, wanted) if source.kind == "pil" else _from_file(read(source, limits), wanted)
    hint = None if source.detail == "original" else source.detail  # the Chat Completions API has no such value
    return parts if hint is None else tuple(replace(part, detail=hint) for part in parts)


def _from_pil(value: Any, wanted: Wanted) -> tuple[ImagePart, ...]:
    label = "The PIL image"
    image = sources.checked_pil(value)
    encoder = _encoder(label)
    content, rest = encoder.fingerprint(image, limits=wanted.limits, label=label)
    key = (rest, hashlib.sha256(content).digest(), wanted)
    kept = cast("tuple[ImagePart, ...] | None", PICTURES.get(key))
    return _keep(key, _parts(encoder.from_pil(image, wanted=wanted, label=label))) if kept is None else kept


def _from_file(found: Read, wanted: Wanted) -> tuple[ImagePart, ...]:
    header = _glance(found.text)
    if header is None:
        found = found if found.data is not None else found._replace(data=base64text.decode(found.text))
        header = _header(found)
    if header is not None:
        check_pixels(header.width, header.height, wanted.limits, found.label)
        if not _must_change(header, wanted) and not _should_change(header, wanted):
            return _as_it_is(found, header)
    kind, content = ("text", found.text) if found.text else ("bytes", found.data or b"")
    key = (kind, hashlib.sha256(content).digest(), wanted)
    kept = cast("tuple[ImagePart, ...] | None", PICTURES.get(key))
    return _keep(key, _changed(found, wanted)) if kept is None else kept


def _glance(text: bytes) -> Header | None:
    """The header of a long Base64 text, where its ends tell enough."""
    ends = base64text.ends(text)
    return glance(*ends) if ends else None


def _header(found: Read) -> Header | None:
    data = found.data or b""
    return read_header(data, _media_type(data, found.label), found.label)


def _media_type(data: bytes, label: str) -> str:
    return sniff(data) or _refuse(data, label)


def _must_change(header: Header, wanted: Wanted) -> bool:
    """Whether the server would not take the file, or would show something else than the picture."""
    several = wanted.frames == "all" and header.layered
    return several or not header.plain or header.media_type not in wanted.accept


def _should_change(header: Header, wanted: Wanted) -> bool:
    """Whether the file is larger than is of use, or some servers would show it in wrong colours."""
    if wanted.detail == "original":
        return False
    return header.alpha or header.odd_colours or not _fits(header, wanted)


def _fits(header: Header, wanted: Wanted) -> bool:
    todo = plan(header.upright, wanted.detail, wanted.max_slices)
    return todo.cut is None and todo.whole.size == header.upright


def _as_it_is(found: Read, header: Header) -> tuple[ImagePart, ...]:
    text = found.text or _base64(found.data or b"")
    return (ImagePart(text, header.media_type, header.width, header.height),)


def _changed(found: Read, wanted: Wanted) -> tuple[ImagePart, ...]:
    """The picture, with all its bytes at hand, decoded and encoded again."""
    data, label = found.data if found.data is not None else base64text.decode(found.text), found.label
    media_type = _media_type(data, label)
    if media_type == HEIC:
        raise UnsupportedContentError(
            f"{label} is a HEIC picture, which cannot be read here. Convert it to JPEG, or open it with Pillow and "
            "pillow-heif and pass it to image_from_pil()."
        )
    header = read_header(data, media_type, label)
    optional = header is not None and not _must_change(header, wanted)
    label = f"{label} ({NAMES[media_type]})"
    try:
        encoder = _encoder(label)
    except ConfigurationError:
        if header is not None and optional:
            return _as_it_is(found, header)
        raise
    encoded = encoder.transcode(
        data,
        media_type,
        orientation=header.orientation if header else None,
        wanted=wanted,
        label=label,
        unless_opaque=header is not None and optional and not header.odd_colours and _fits(header, wanted),
    )
    if header is not None and (not encoded or (optional and _is_smaller(data, header, encoded, wanted))):
        return _as_it_is(found, header)
    return _parts(encoded)


def _is_smaller(data: bytes, header: Header, encoded: Sequence[Encoded], wanted: Wanted) -> bool:
    """Whether the file itself is as good to send as what was made of it, and has fewer bytes.

    That is so for scans and drawings as PNG: the model scales both to the same tiles, by its own rule.
    """
    if wanted.detail != "auto" or header.alpha or header.odd_colours or len(encoded) != 1:
        return False
    whole = plan(header.upright, wanted.detail, wanted.max_slices).whole
    return whole.inner == whole.size and len(data) <= len(encoded[0].data)


def _keep(key: Hashable, parts: tuple[ImagePart, ...]) -> tuple[ImagePart, ...]:
    PICTURES.put(key, parts)
    return parts


def _parts(encoded: Iterable[Encoded]) -> tuple[ImagePart, ...]:
    return tuple(ImagePart(_base64(one.data), one.media_type, one.width, one.height) for one in encoded)


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
