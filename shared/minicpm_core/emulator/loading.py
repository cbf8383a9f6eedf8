"""From the text of a request to the bytes of a medium."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import TYPE_CHECKING, Literal

from minicpm_core.emulator.refusals import Refusal
from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError

if TYPE_CHECKING:
    from collections.abc import Generator

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),(.*)", re.DOTALL)


def payload(url: str, noun: str) -> tuple[str, str]:
    """The declared type of a data URL, in lower case, and its Base64 text.

    Args:
        url: `data:<type>;base64,…`.
        noun: How to call the medium in a refusal.

    Raises:
        Refusal: It is another kind of URL, or not in Base64.
    """
    match = _DATA_URL.fullmatch(url)
    if match is None:
        scheme = url.split(":", 1)[0].lower() if ":" in url[:16] else ""
        if scheme in {"http", "https"}:
            said = f"The emulator fetches nothing: send the {noun} as a base64 data URL."
        elif scheme == "file":
            said = "Cannot load local files without `--allowed-local-media-path`."
        else:
            said = "The URL must be either a HTTP, data or file URL."
        raise Refusal("media_url", said)
    if not match[2].endswith(";base64"):
        raise Refusal("media_url", "Only base64 data URLs are supported for now.")
    return match[1].lower(), match[3]


def decoded(text: str) -> bytes:
    """The bytes of a Base64 text.

    Raises:
        Refusal: It is not Base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        said = "Incorrect padding" if "padding" in str(error) else "Non-base64 digit found"
        raise Refusal("bad_base64", said) from None


@contextlib.contextmanager
def refusing(noun: Literal["audio", "video"]) -> Generator[None]:
    """What cannot be decoded inside is refused as servers refuse it.

    Args:
        noun: What is decoded.

    Raises:
        Refusal: It cannot be decoded, or not here.
    """
    try:
        yield
    except ConfigurationError as error:
        said = f"The emulator needs PyAV to decode {noun}: pip install 'minicpm-integrations[media]'"
        raise Refusal("no_codec", said) from error
    except (InvalidMediaError, UnsupportedContentError) as error:
        raise Refusal("bad_video" if noun == "video" else "bad_audio", f"Failed to load {noun}: {error}") from error
