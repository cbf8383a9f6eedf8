"""How a picture is handed over. Nothing is read here; what is plainly of the wrong kind is refused at once."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError
from minicpm_core.media.base64text import is_data_url
from minicpm_core.parts import ImageSource, Source

if TYPE_CHECKING:
    from PIL.Image import Image

NEEDS_PILLOW = 'This needs Pillow: pip install "minicpm-integrations[media]".'
S = TypeVar("S", bound=Source)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20}):")


def image_from_path(path: os.PathLike[str], *, detail: str | None = None) -> ImageSource:
    """A picture in a file.

    Args:
        path: A `pathlib.Path` or another `os.PathLike`. A plain string is refused, so that no text from a message
            or a model can become a path by accident.
        detail: OpenAI's `detail` hint.

    Raises:
        InvalidMediaError: `path` is not an `os.PathLike`.
    """
    return ImageSource("path", checked_path(path), detail=detail)


def image_from_bytes(
    data: bytes | bytearray | memoryview, media_type: str | None = None, *, detail: str | None = None
) -> ImageSource:
    """A picture in memory, as the file's bytes.

    Args:
        data: The encoded file (JPEG, PNG …), not bare pixels.
        media_type: What it is said to be. Only a hint: the bytes decide.
        detail: OpenAI's `detail` hint.

    Raises:
        InvalidMediaError: `data` is not bytes.
    """
    return ImageSource("bytes", checked_bytes(data), media_type, detail)


def image_from_file(fileobj: BinaryIO, *, detail: str | None = None) -> ImageSource:
    """A picture in an open file. It is read from its start, and its position is put back afterwards.

    Args:
        fileobj: Opened in binary mode, and seekable. It must stay open until the message was sent.
        detail: OpenAI's `detail` hint.

    Raises:
        InvalidMediaError: `fileobj` is in text mode or cannot be read.
    """
    return ImageSource("file", checked_file(fileobj), detail=detail)


def image_from_pil(img: Image, *, detail: str | None = None) -> ImageSource:
    """A Pillow picture. It is never changed; of an animation, the current frame is taken.

    What shows through becomes white. It is sent as PNG where its content is flat (screenshots, text, drawings) or it
    is small, otherwise as JPEG without chroma subsampling.

    Args:
        img: Any mode.
        detail: OpenAI's `detail` hint.

    Raises:
        InvalidMediaError: `img` is not a Pillow image.
        ConfigurationError: Pillow is not installed.
    """
    return ImageSource("pil", checked_pil(img), detail=detail)


def image_from_url(url: str, *, detail: str | None = None) -> ImageSource:
    """A picture in a data URL, or at an http(s) URL.

    Args:
        url: `data:image/…;base64,…`, or an http(s) URL.
        detail: How much of it to send: `auto`, `low`, `high` or `original`.

    Raises:
        UnsupportedContentError: Any other scheme, `file:` above all, or a local path.
        InvalidMediaError: `url` is not a string.
    """
    return from_url(ImageSource, url, detail=detail)


def image_from_base64(text: str | bytes, media_type: str | None = None, *, detail: str | None = None) -> ImageSource:
    """A picture as Base64 text, without a `data:` prefix.

    Args:
        text: Standard or URL-safe Base64; line breaks are taken.
        media_type: What it is said to be. Only a hint: the bytes decide.
        detail: OpenAI's `detail` hint.

    Raises:
        InvalidMediaError: `text` is not text, or a whole data URL.
    """
    return ImageSource("base64", checked_base64(text), media_type, detail)


def from_url(cls: type[S], url: str, **more: Any) -> S:
    """A medium in a data URL, or at an http(s) URL. Nothing is fetched yet.

    Args:
        cls: What it is: `ImageSource`, `VideoSource`, `AudioSource` or `DocumentSource`.
        url: The URL.
        **more: Further fields of `cls`.

    Raises:
        UnsupportedContentError: Any other scheme, `file:` above all, or a local path.
        InvalidMediaError: `url` is not a string.
    """
    noun = cls.noun
    if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidMediaError(f"{_a(noun)} URL must be a string, not {type(url).__name__}.")
    text = url.strip()
    if is_data_url(text):
        return cls("data_url", text, **more)
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if scheme in {"http", "https"}:
        return cls("url", text, **more)
    shown = f"a URL that begins with {scheme}:" if scheme else "a text that is not a URL"
    raise UnsupportedContentError(
        f"{_a(noun)} URL must begin with data:, http: or https:, not be {shown}. Files are never read from a URL "
        "field: pass a pathlib.Path instead, where the program itself names the file."
    )


def from_base64(cls: type[S], text: str | bytes, media_type: str | None = None, **more: Any) -> S:
    """A medium as Base64 text, without a `data:` prefix.

    Raises:
        InvalidMediaError: `text` is not text, or a whole data URL.
    """
    return cls("base64", checked_base64(text, cls.noun), media_type, **more)


def from_path(cls: type[S], path: os.PathLike[str], **more: Any) -> S:
    """A medium in a file. A plain string is refused, so that no text from a message can become a path by accident.

    Raises:
        InvalidMediaError: `path` is not an `os.PathLike`.
    """
    return cls("path", checked_path(path, cls.noun), **more)


def from_value(cls: type[S], value: os.PathLike[str] | bytes | BinaryIO | str, **more: Any) -> S:
    """A medium from whatever Python object holds it.

    Args:
        cls: What it is.
        value: A `pathlib.Path`, the file's bytes, a binary file object, or a data or http(s) URL.
        **more: Further fields of `cls`.

    Raises:
        InvalidMediaError: It is none of these.
        UnsupportedContentError: A URL of another scheme.
    """
    if isinstance(value, str):
        return from_url(cls, value, **more)
    if isinstance(value, bytes | bytearray | memoryview):
        return cls("bytes", value, **more)
    if isinstance(value, os.PathLike):
        return from_path(cls, value, **more)
    return cls("file", checked_file(value, cls.noun), **more)


def _a(noun: str) -> str:
    return f"{'An' if noun[0] in 'aeiou' else 'A'} {noun}"


def checked_path(value: Any, noun: str = "image") -> os.PathLike[str]:
    """`value`, if it is an `os.PathLike`."""
    if isinstance(value, os.PathLike):
        return value  # pyright: ignore[reportUnknownVariableType]
    hint = "wrap it in pathlib.Path() if it really is a local file" if isinstance(value, str) else "pass a pathlib.Path"
    raise InvalidMediaError(f"{_a(noun)} path must be an os.PathLike, not {type(value).__name__}: {hint}.")


def checked_bytes(value: Any, noun: str = "image") -> bytes | bytearray | memoryview:
    """`value`, if it is bytes of any kind."""
    if isinstance(value, bytes | bytearray | memoryview):
        return value  # pyright: ignore[reportUnknownVariableType]
    hint = f"; pass Base64 text to {noun}_from_base64()" if isinstance(value, str) else ""
    raise InvalidMediaError(
        f"{noun.capitalize()} bytes must be bytes, bytearray or memoryview, not {type(value).__name__}{hint}."
    )


def checked_file(value: Any, noun: str = "image") -> BinaryIO:
    """`value`, if it looks like a binary file."""
    if isinstance(value, io.TextIOBase):
        raise InvalidMediaError(f'The {noun} file object is in text mode: open the file with mode "rb".')
    if not all(callable(getattr(value, name, None)) for name in ("read", "seek", "tell")):
        raise InvalidMediaError(
            f"{_a(noun)} file object must be a seekable binary file with read(), seek() and tell(), "
            f"not {type(value).__name__}."
        )
    return value  # type: ignore[no-any-return]


def checked_pil(value: Any) -> Image:
    """`value`, if it is a Pillow image."""
    try:
        from PIL.Image import Image
    except ImportError as error:
        raise ConfigurationError(f"A Pillow image was given, but Pillow cannot be imported. {NEEDS_PILLOW}") from error
    if not isinstance(value, Image):
        raise InvalidMediaError(f"A PIL.Image.Image was expected, not {type(value).__name__}.")
    return value


def checked_base64(value: Any, noun: str = "image") -> str | bytes:
    """`value`, if it is text without a `data:` prefix."""
    if not isinstance(value, str | bytes):
        raise InvalidMediaError(f"Base64 {noun} text must be str or ASCII bytes, not {type(value).__name__}.")
    if value[:5].lower() in {"data:", b"data:"}:
        raise InvalidMediaError(f"A whole data URL was given where Base64 text alone belongs: use {noun}_from_url().")
    return value
