"""The pictures of a conversation: read where they are needed, and only there."""

from __future__ import annotations

import binascii
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from minicpm_core.media.exif import EXIF_MARK, UPRIGHT, orientation
from minicpm_core.media.images import load_image
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits
from minicpm_core.media.sniff import JPEG, PNG, sniff
from minicpm_core.media.sources import checked_base64, checked_bytes
from minicpm_core.parts import ImagePart, ImageSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.types import Message

_WORTH_A_THREAD = 256 * 1024
"""Bytes whose encoding takes as long as a hop to a thread and back (about 0.2 ms)."""


def resolve_messages(
    messages: Sequence[Message], accept: frozenset[str], *, limits: MediaLimits = DEFAULT_LIMITS
) -> tuple[Message, ...]:
    """The same conversation with every picture read, checked and encoded.

    Args:
        messages: Left as they are. A message without unread pictures comes back as the same object.
        accept: MIME types that the server takes.
        limits: Bounds on each picture.

    Raises:
        UnsupportedContentError: As `load_image`; a note on the error says which message and part it is.
        ConfigurationError: As `load_image`.
    """
    loaded: dict[int, ImagePart] = {}  # by identity: a source that is sent twice is read once
    resolved: list[Message] = []
    for number, message in enumerate(messages, 1):
        if not any(isinstance(part, ImageSource) for part in message.parts):
            resolved.append(message)
            continue
        parts = list(message.parts)
        for place, part in enumerate(parts):
            if isinstance(part, ImageSource):
                try:
                    image = loaded.get(id(part)) or load_image(part, accept=accept, limits=limits)
                except ValueError as error:
                    error.add_note(f"It is part {place + 1} of message {number}.")
                    raise
                parts[place] = loaded[id(part)] = image
        resolved.append(replace(message, content=tuple(parts)))
    return tuple(resolved)


def needs_io(messages: Sequence[Message]) -> bool:
    """Whether reading the pictures may take long enough to leave the event loop for it.

    That is so for files and Pillow images, for more than 256 kB in all, and for pictures that will probably be
    decoded: those that are neither JPEG nor PNG, and JPEG that does not stand upright.

    Args:
        messages: Of any kind; nothing in them is read.
    """
    size = 0
    for message in messages:
        for part in message.parts:
            if isinstance(part, ImageSource):
                size += _size(part.value)
                if size > _WORTH_A_THREAD or part.kind in _SLOW_KINDS or _may_be_decoded(part):
                    return True
    return False


_SLOW_KINDS = frozenset({"path", "file", "pil"})


def _size(value: object) -> int:
    if isinstance(value, memoryview):
        with contextlib.suppress(ValueError):  # released: load_image says so
            return value.nbytes
    return len(value) if isinstance(value, str | bytes | bytearray) else 0


_HEAD = 3072
"""Bytes, a multiple of 3, which is 4 characters of Base64. Cameras write EXIF first."""


def _may_be_decoded(source: ImageSource) -> bool:
    """A guess from the first bytes. What is no picture at all is refused quickly, so it does not count."""
    head = b""
    with contextlib.suppress(ValueError):  # not Base64, or a released memoryview: load_image says so
        if source.kind == "bytes":
            head = bytes(checked_bytes(source.value))[:_HEAD]
        elif source.kind in {"base64", "data_url"}:
            payload = str(source.value).partition(",")[2] if source.kind == "data_url" else source.value
            head = binascii.a2b_base64(checked_base64(payload)[: _HEAD // 3 * 4])
    media_type = sniff(head)
    if media_type == JPEG:
        at = head.find(EXIF_MARK)
        return at >= 0 and orientation(head[at:]) != UPRIGHT
    return media_type not in {PNG, None}
