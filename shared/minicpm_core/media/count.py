"""How many tokens a conversation has whose media were not prepared yet: nothing is fetched, encoded or sent.

Pictures are measured by their headers, and counted at the size that will be sent.  What would have to be decoded to be
known is counted as the most that it will be: a video as its largest number of frames, a recording by its bytes.
"""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any, Final

from minicpm_core.backends import BACKENDS
from minicpm_core.media import base64text
from minicpm_core.media.detail import chosen, plan
from minicpm_core.media.images import load_image
from minicpm_core.media.read import opened, read
from minicpm_core.media.settings import MediaSettings
from minicpm_core.media.tokens import audio_tokens, count_image_tokens, video_tokens
from minicpm_core.parts import TILE_PIXELS, AudioSource, DocumentSource, ImageSource, Source, TextPart, VideoSource
from minicpm_core.protocol.estimate import (
    PER_PROMPT,
    PER_TURN,
    part_tokens,
    text_of_turn,
    text_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from minicpm_core.types import Message

TOOL_GUIDE: Final = 200
"""Tokens of the template's own words on how to call tools, where there are any."""

_UNREAD: Final = (1344, 1344)
"""The size that a picture at a URL is taken to have: large enough for the most tiles."""
_PAGE: Final = (1130, 1598)
"""Pixels of an A4 page as it is sent."""
_SERVERS_FRAME: Final = (1280, 720)
"""The size that the frames of an undecoded video are taken to have."""
_BYTES_A_SECOND: Final = 4000
"""Of a recording in a format with compression: 32 kbit/s, as speech has; music has four times as many."""
_UNREAD_SECONDS: Final = 60
_ANY_TYPE: Final = frozenset[str]().union(*(backend.image_types for backend in BACKENDS.values()))


def count_prompt(
    messages: Iterable[Message],
    model: str,
    *,
    settings: MediaSettings | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    count_text: Callable[[str], int] = text_tokens,
) -> int:
    """The prompt tokens of a conversation, with the marks of the chat template: rather too many than too few.

    Args:
        messages: The conversation.
        model: The model's id, which decides how pictures are counted.
        settings: How media will be prepared; `None` for the defaults.
        tools: Tools that may be called, in OpenAI's form.
        count_text: Counts a text.

    Raises:
        InvalidMediaError: A medium cannot be read.
    """
    settings = settings or MediaSettings()
    count, number = PER_PROMPT, 0
    for message in messages:
        count += PER_TURN + count_text(text_of_turn(message))
        for part in message.parts:
            if isinstance(part, TextPart):
                continue
            if isinstance(part, Source):
                count += _HANDLERS[type(part)](part, model, settings, number, count_text)
            else:
                count += part_tokens(part, model, index=number)
            number += 1
    if tools:
        count += TOOL_GUIDE + sum(count_text(json.dumps(tool, ensure_ascii=False)) for tool in tools)
    return count


def _image(source: ImageSource, model: str, settings: MediaSettings, number: int, _count: Callable[[str], int]) -> int:
    if source.kind == "url":
        sizes = [_UNREAD]
    else:
        found = load_image(
            ImageSource(source.kind, source.value, source.media_type),
            accept=_ANY_TYPE,
            limits=settings.media_limits,
            detail="original",
            frames=settings.image_frames,
        )
        sizes = [(part.width, part.height) for part in found]
    count = 0
    for size in sizes:
        todo = plan(size, chosen(source.detail, settings.image_detail), 9)
        cut_outs = [(right - left, bottom - top) for left, top, right, bottom in todo.boxes]
        count += sum(count_image_tokens(each, model, index=number) for each in (todo.whole.size, *cut_outs))
    return count


def _video(source: VideoSource, model: str, settings: MediaSettings, _number: int, _count: Callable[[str], int]) -> int:
    sampling = source.sampling or settings.video_sampling
    if source.as_is:
        return video_tokens(sampling.num_frames, _SERVERS_FRAME, model)
    side = math.isqrt(max(sampling.max_pixels, TILE_PIXELS))
    return video_tokens(sampling.num_frames, (side, side), model)


def _audio(
    source: AudioSource, _model: str, settings: MediaSettings, _number: int, _count: Callable[[str], int]
) -> int:
    from minicpm_core.media.audio import inspect

    if source.kind == "url":
        return audio_tokens(_UNREAD_SECONDS)
    data = _bytes(source, settings)
    seconds = inspect(io.BytesIO(data)) or len(data) / _BYTES_A_SECOND
    return audio_tokens(seconds)


def _document(
    source: DocumentSource, model: str, settings: MediaSettings, _number: int, count_text: Callable[[str], int]
) -> int:
    from minicpm_core.media import documents, pdfium

    if source.kind == "url":
        return settings.document_pages * count_image_tokens(_PAGE, model)
    data = _bytes(source, settings)
    if not documents.is_pdf(data):
        text = documents.read_text(data, label="The document", max_characters=settings.media_limits.max_bytes)
        return count_text(text)
    first, last = source.pages or (1, 0)
    if source.pages is None:
        with pdfium.opened(data, "The document") as document, pdfium.lock():
            last = len(document)
    return (last - first + 1) * count_image_tokens(_PAGE, model)


def _bytes(source: Source, settings: MediaSettings) -> bytes:
    if source.kind in {"path", "file"}:
        with opened(source) as (_, file):
            return file.read(settings.media_limits.max_bytes)
    found = read(source, settings.media_limits)
    return base64text.decode(found.text) if found.data is None else found.data


_HANDLERS: Final[dict[type, Callable[[Any, str, MediaSettings, int, Callable[[str], int]], int]]] = {
    ImageSource: _image,
    VideoSource: _video,
    AudioSource: _audio,
    DocumentSource: _document,
}
