"""Videos, recordings and documents into messages: blocks of plain JSON types, read when they are made."""

from __future__ import annotations

import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from langchain_minicpm._guard import langchain_errors
from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media.base64text import decode
from minicpm_core.media.containers import identify
from minicpm_core.media.documents import is_pdf, read_text
from minicpm_core.media.limits import DEFAULT_LIMITS
from minicpm_core.media.read import read
from minicpm_core.media.sources import from_value
from minicpm_core.parts import AudioSource, DocumentSource, Source, VideoSampling, VideoSource

if TYPE_CHECKING:
    from minicpm_core.media.containers import Container


def video_block(
    video: os.PathLike[str] | bytes | BinaryIO | str,
    *,
    fps: float | None = None,
    num_frames: int | None = None,
    max_pixels: int | None = None,
    start: float | None = None,
    end: float | None = None,
    as_is: bool = False,
) -> dict[str, Any]:
    """A standard video block for a message. The file is read now; its frames are taken when it is sent.

    Args:
        video: A `pathlib.Path`, the file's bytes, a binary file object, or a data URL. A path must be a `Path`: a
            string is never read as one, since it may come from a user or a model.
        fps: Frames a second to take; `None` for one a second, or fewer of a long clip.
        num_frames: The most frames; 32 by default.
        max_pixels: The most pixels of a frame; 448 x 448 by default.
        start: Seconds to begin at.
        end: Seconds to end at.
        as_is: Send the file undecoded, and leave the sampling to the server.

    Returns:
        `{"type": "video", "base64": …, "mime_type": …, "extras": …}`.

    Raises:
        InvalidMediaError: It is no video, or is too large.
        InvalidInputError: A value of the sampling is impossible.
    """
    given = {"fps": fps, "num_frames": num_frames, "max_pixels": max_pixels, "start": start, "end": end}
    sampling = {name: value for name, value in given.items() if value is not None}
    with langchain_errors():
        VideoSampling(**sampling)  # type: ignore[arg-type]  # checks itself; the block holds the plain values
        text, data = _read(VideoSource, video)
        kind = _container(data, "video")
    block: dict[str, Any] = {"type": "video", "base64": text, "mime_type": kind.media_type}
    if sampling or as_is:
        block["extras"] = {**sampling, "as_is": True} if as_is else sampling
    return block


def audio_block(audio: os.PathLike[str] | bytes | BinaryIO | str) -> dict[str, Any]:
    """A standard audio block for a message to MiniCPM-o. The file is read now, and converted when it is sent.

    Args:
        audio: A `pathlib.Path`, the file's bytes, a binary file object, or a data URL: anything that PyAV decodes.

    Returns:
        `{"type": "audio", "base64": …, "mime_type": …}`.

    Raises:
        InvalidMediaError: It is no recording, or is too large.
    """
    with langchain_errors():
        text, data = _read(AudioSource, audio)
        kind = _container(data, "audio")
    return {"type": "audio", "base64": text, "mime_type": kind.media_type}


def file_block(
    file: os.PathLike[str] | bytes | BinaryIO | str,
    *,
    name: str | None = None,
    pages: tuple[int, int] | None = None,
    with_text: bool = False,
) -> dict[str, Any]:
    """A standard file block for a message: a PDF, whose pages are sent as pictures, or plain text.

    Args:
        file: A `pathlib.Path`, the file's bytes, a binary file object, or a data URL.
        name: What to call it in the prompt; a path's own name by default.
        pages: First and last page, counted from 1, both included; `None` for all.
        with_text: Send the text layer of each page beside its picture.

    Returns:
        `{"type": "file", "base64": …, "mime_type": …, "extras": …}`.

    Raises:
        InvalidMediaError: It is no document, or is too large.
    """
    with langchain_errors():
        text, data = _read(DocumentSource, file)
        if not is_pdf(data):
            read_text(data, label="The document", max_characters=DEFAULT_LIMITS.max_bytes)
    if name is None and isinstance(file, os.PathLike):
        name = Path(file).name
    given = {"filename": name, "pages": list(pages) if pages else None, "with_text": with_text or None}
    block = {"type": "file", "base64": text, "mime_type": "application/pdf" if is_pdf(data) else "text/plain"}
    extras = {key: value for key, value in given.items() if value is not None}
    return {**block, "extras": extras} if extras else block


def _read(cls: type[Source], value: Any) -> tuple[str, bytes]:
    """A file as Base64 and as bytes."""
    source = from_value(cls, value)
    if source.kind == "url":
        raise UnsupportedContentError(
            f"A {source.noun} at a URL is not fetched here: put {{'type': …, 'url': …}} into the message."
        )
    found = read(source, DEFAULT_LIMITS)
    if found.data is None:
        return found.text.decode("ascii"), decode(found.text)
    return binascii.b2a_base64(found.data, newline=False).decode("ascii"), found.data


def _container(data: bytes, medium: str) -> Container:
    found = identify(data)
    if found is None:
        raise InvalidMediaError(f"That is no {medium} file that can be read.")
    return found
