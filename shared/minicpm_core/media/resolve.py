"""The media of a conversation: read where they are needed, and only there."""

from __future__ import annotations

import binascii
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from minicpm_core.media.headers import may_need_work
from minicpm_core.media.prepare import Preparer
from minicpm_core.media.settings import MediaSettings
from minicpm_core.media.sources import checked_base64, checked_bytes
from minicpm_core.models import card_for
from minicpm_core.parts import TILE_PIXELS, ImageSource, Source

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from minicpm_core.backends import Backend
    from minicpm_core.parts import Part, Prepared
    from minicpm_core.types import Message

_WORTH_A_THREAD = 256 * 1024
"""Bytes whose encoding takes as long as a hop to a thread and back (about 0.2 ms)."""


def resolve_messages(
    messages: Sequence[Message],
    backend: Backend,
    *,
    model: str,
    settings: MediaSettings | None = None,
    stop: threading.Event | None = None,
) -> tuple[Message, ...]:
    """The same conversation with every medium read, checked and encoded.

    Args:
        messages: Left as they are. A message without unread media comes back as the same object.
        backend: The server's row: what it takes, and in which shape.
        model: The model's id: what it takes.
        settings: As the client is set; `None` for the defaults.
        stop: Set by another thread to give up.

    Raises:
        InvalidMediaError: A medium is missing, broken, too large, or not what it should be.
        UnsupportedContentError: The model or the server does not take it.
        ConfigurationError: A library that is needed is not installed.
    """
    if not any(isinstance(part, Source) for message in messages for part in message.parts):
        return tuple(messages)
    preparer = Preparer(backend, card_for(model), settings or MediaSettings(), stop)
    prepared: dict[int, tuple[Prepared, ...]] = {}  # by identity: a source that is sent twice is read once
    resolved: list[Message] = []
    for number, message in enumerate(messages, 1):
        if not any(isinstance(part, Source) for part in message.parts):
            resolved.append(message)
            continue
        parts: list[Part] = []
        for place, part in enumerate(message.parts, 1):
            if not isinstance(part, Source):
                parts.append(part)
                continue
            try:
                found = prepared.get(id(part)) or preparer.prepare(part)
            except ValueError as error:
                error.add_note(f"It is part {place} of message {number}.")
                raise
            prepared[id(part)] = found
            parts += found
        resolved.append(replace(message, content=tuple(parts)))
    return tuple(resolved)


def needs_io(messages: Sequence[Message], settings: MediaSettings | None = None) -> bool:
    """Whether reading the media may take long enough to leave the event loop for it.

    That is so for everything but pictures; and for pictures in files, at URLs and from Pillow, of more than 256 kB in
    all, or that will probably be decoded, by their first bytes.

    Args:
        messages: Of any kind; nothing in them is read.
        settings: As the client is set; `None` for the defaults.
    """
    size = 0
    low = settings is not None and settings.image_detail == "low"
    for message in messages:
        for part in message.parts:
            if not isinstance(part, Source):
                continue
            if not isinstance(part, ImageSource):
                return True
            size += _size(part.value)
            if (
                size > _WORTH_A_THREAD
                or part.kind in _SLOW_KINDS
                or _may_be_decoded(part, low=low or part.detail == "low")
            ):
                return True
    return False


_SLOW_KINDS = frozenset({"path", "file", "pil", "url"})


def _size(value: object) -> int:
    if isinstance(value, memoryview):
        with contextlib.suppress(ValueError):  # released: load_image says so
            return value.nbytes
    return len(value) if isinstance(value, str | bytes | bytearray) else 0


_TILES = 9
_HEAD = 3072
"""Bytes, a multiple of 3, which is 4 characters of Base64. Cameras write EXIF first."""


def _may_be_decoded(source: ImageSource, *, low: bool) -> bool:
    """A guess from the first bytes. What is no picture at all is refused quickly, so it does not count."""
    head = b""
    with contextlib.suppress(ValueError):  # not Base64, or a released memoryview: load_image says so
        if source.kind == "bytes":
            head = bytes(checked_bytes(source.value))[:_HEAD]
        elif source.kind in {"base64", "data_url"}:
            payload = str(source.value).partition(",")[2] if source.kind == "data_url" else source.value
            head = binascii.a2b_base64(checked_base64(payload)[: _HEAD // 3 * 4])
    return may_need_work(head, most_pixels=(1 if low else _TILES) * TILE_PIXELS)
