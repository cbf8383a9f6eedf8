"""Media prepared for a server, and small media to prepare."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.errors import UnsupportedContentError
from minicpm_core.media.prepare import Preparer
from minicpm_core.media.settings import MediaSettings
from minicpm_core.models import card_for
from minicpm_core.parts import (
    AudioSource,
    DocumentSource,
    ImageSource,
    Source,
    VideoPart,
    VideoSource,
)
from tests.core.media.clips import numbered, recording, video
from tests.core.media.pdfs import document, text

if TYPE_CHECKING:
    import threading

    from minicpm_core.parts import Prepared

OMNI, VISION = "MiniCPM-O-4.5-9B", "MiniCPM-V-4.6-1B"
URL = "https://example.com/medium"
SIZE = (64, 48)
SOURCES: tuple[type[Source], ...] = (ImageSource, VideoSource, AudioSource, DocumentSource)
NAMES = tuple(BACKENDS)


@cache
def clip(frames: int = 3) -> bytes:
    """A frame a second."""
    return video(images=numbered(frames, SIZE), rate=1)


@cache
def sound(kind: str = "wav", codec: str = "pcm_s16le") -> bytes:
    return recording(kind, codec, rate=44_100)


@cache
def paper(pages: int = 2) -> bytes:
    return document(*(text(b"Page of paper") for _ in range(pages)), box=b"0 0 200 300")


def prepared(
    source: Source,
    backend: BackendName = "vllm",
    model: str = OMNI,
    stop: threading.Event | None = None,
    **settings: Any,
) -> tuple[Prepared, ...]:
    return Preparer(BACKENDS[backend], card_for(model), MediaSettings.create(**settings), stop).prepare(source)


def video_part(source: VideoSource, backend: BackendName = "vllm", **settings: Any) -> VideoPart:
    (part,) = prepared(source, backend, **settings)
    assert isinstance(part, VideoPart)
    return part


def refusal(source: Source, backend: BackendName = "vllm", **how: Any) -> str:
    with pytest.raises(UnsupportedContentError) as caught:
        prepared(source, backend, **how)
    return str(caught.value)
