"""Base64 text and data URLs, checked strictly and decoded once.

Where the text is plain standard Base64 already, the very same characters go into the request: decoding 5 MB takes
about 10 ms and encoding them again as long once more.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError

if TYPE_CHECKING:
    from minicpm_core.media.limits import MediaLimits

_SCHEME = "data:"
_MAX_HEAD = 1024
_WHITESPACE = b" \t\r\n\f\v"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_SIZE_FACTOR = 2
"""Base64 takes 4/3 of the bytes; line breaks and percent signs some more."""


def is_data_url(text: str) -> bool:
    """Whether the text begins with `data:`, in any case."""
    return text[: len(_SCHEME)].lower() == _SCHEME


def data_url_payload(url: str, label: str) -> str:
    """The part of a data URL after the comma, still encoded.

    The form is `data:[<type>][;<parameter>…];base64,<data>` (RFC 2397).  The type is not used: the bytes decide.

    Args:
        url: The whole data URL.
        label: How to call the picture in an error.

    Raises:
        InvalidMediaError: It is not of this form.
        UnsupportedContentError: Its data is percent-encoded text, not Base64.
    """
    comma = url.find(",", 0, _MAX_HEAD)
    if not is_data_url(url) or comma < 0:
        raise InvalidMediaError(f"{label} is malformed: it must have the form data:image/png;base64,<data>.")
    head = url[len(_SCHEME) : comma].split(";")
    if len(head) == 1 or head[-1].strip().lower() != "base64":
        raise UnsupportedContentError(
            f"{label} is not Base64 but percent-encoded text. Pictures must have the form data:image/png;base64,<data>."
        )
    return url[comma + 1 :]


def decode(text: str | bytes, limits: MediaLimits, label: str) -> tuple[bytes, bytes]:
    """Decode Base64 (RFC 4648).

    Whitespace and percent-encoding are undone first.  The URL-safe alphabet is taken too, there with or without
    padding.  Anything else that is not exact is refused: most servers would refuse it or, worse, skip over it.

    Args:
        text: The Base64 text.
        limits: Bounds on the decoded bytes.
        label: How to call the picture in an error.

    Returns:
        The decoded bytes, and the text in plain standard Base64 as ASCII.

    Raises:
        InvalidMediaError: It is not Base64, or too large.
    """
    if len(text) > _SIZE_FACTOR * limits.max_bytes:
        raise InvalidMediaError(f"{label} is too large: it has {len(text)} characters.")
    try:
        raw = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise InvalidMediaError(f"{label} is not valid Base64: it holds characters that are not ASCII.") from None
    try:
        return binascii.a2b_base64(raw, strict_mode=True), raw
    except binascii.Error:
        tidy = _tidied(raw)
    try:
        return binascii.a2b_base64(tidy, strict_mode=True), tidy
    except binascii.Error as error:
        raise InvalidMediaError(f"{label} is not valid Base64: {error}.") from None


def _tidied(raw: bytes) -> bytes:
    """The text without whitespace and percent-encoding, in the standard alphabet."""
    tidy = raw.translate(None, _WHITESPACE)
    if b"%" in tidy:
        tidy = unquote_to_bytes(tidy).translate(None, _WHITESPACE)
    if (b"-" in tidy or b"_" in tidy) and b"+" not in tidy and b"/" not in tidy:
        tidy = tidy.translate(_FROM_URL_SAFE)
        tidy += b"=" * (-len(tidy) % 4)
    return tidy
