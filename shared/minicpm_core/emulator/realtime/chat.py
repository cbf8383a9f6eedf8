"""Sessions that take turns: answered by the rules of the HTTP emulator, from messages in the shape of this protocol."""

from __future__ import annotations

import binascii
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.answers import answer
from minicpm_core.emulator.reading import read_request
from minicpm_core.emulator.realtime.intake import BadInput
from minicpm_core.emulator.realtime.speech import spoken
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.settings import EmulatorSettings
from minicpm_core.emulator.values import as_list, as_object
from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime.events import INPUT_RATE
from minicpm_core.realtime.samples import base64_text
from minicpm_core.realtime.wav import to_wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minicpm_core.emulator.realtime.gen2 import Gen2Words
    from minicpm_core.emulator.realtime.words import Frame
    from minicpm_core.emulator.values import Object

MODEL = "openbmb/MiniCPM-o-4_5"
_MOST_TOKENS = 256
"""Of an answer, where nothing is said."""
_PIECE = 2
"""Tokens of a piece of text."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a question.

    Attributes:
        pieces: The text, in pieces.
        prompt_tokens: Of the question.
        speaks: Whether it is spoken as well.
        streams: Whether it comes in pieces.
        response_id: Its name.
        input_id: The question's, where it had one.
    """

    pieces: tuple[str, ...]
    prompt_tokens: int
    speaks: bool
    streams: bool
    response_id: str
    input_id: str | None


def reply(given: Object) -> Reply:
    """The answer to a question. Pictures and films take their time: to be called in a thread.

    Raises:
        BadInput: A backend would fail at it.
    """
    listed = as_list(given.get("messages"))
    if not listed:
        raise BadInput("turn_based input requires messages")
    settings = EmulatorSettings.create(dialect="vllm", context=8192, models=[MODEL])
    generation = as_object(given.get("generation")) or {}
    body = {"messages": list(map(_message, listed)), "max_tokens": generation.get("max_new_tokens", _MOST_TOKENS)}
    try:
        request = read_request(body, settings)
    except Refusal as refusal:
        raise BadInput(str(refusal)) from None
    found = answer(request, settings.dialect, settings.context)
    text = [*found.text]
    pieces = tuple("".join(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))
    named = given.get("response_id")
    input_id = given.get("input_id")
    return Reply(
        pieces=pieces,
        prompt_tokens=found.prompt_tokens,
        speaks=(as_object(given.get("tts")) or {}).get("enabled") is True,
        streams=given.get("streaming", True) is not False,
        response_id=named if isinstance(named, str) else f"resp_{uuid.uuid4().hex[:12]}",
        input_id=input_id if isinstance(input_id, str) else None,
    )


def frames(words: Gen2Words, said: Reply, memory: int) -> Iterator[Frame]:
    """An answer as events."""
    text = "".join(said.pieces)
    names: dict[str, Any] = {"response_id": said.response_id}
    if said.input_id is not None:
        names["input_id"] = said.input_id
    sound = spoken(text) if said.speaks and text else ()
    if said.streams:
        for piece in said.pieces:
            yield words.said("text", text=piece, **names)
        for part in sound:
            yield words.said("audio", audio=part.audio, **names)
    whole = base64_text(b"".join(binascii.a2b_base64(part.audio) for part in sound))
    audio = {"audio": whole} if whole and not said.streams else {}
    yield words.done(text=text, **audio, **names, reason="turn_end", metrics={"kv_cache_length": memory})


def without_media(given: Object) -> Object:
    """A question to be looked at: its long texts are replaced by their lengths."""
    return {name: _shortened(value) for name, value in given.items()}


def _shortened(value: Any) -> Any:
    members, items = as_object(value), as_list(value)
    if members is not None:
        return {
            name: f"<{len(part)} characters>" if name in {"data", "ref_audio_data"} else _shortened(part)
            for name, part in members.items()
        }
    return list(map(_shortened, items)) if items is not None else value


def _message(given: Any) -> Object:
    message = as_object(given)
    if message is None or message.get("role") not in {"system", "user", "assistant"}:
        raise BadInput("a message needs a role and a content")
    parts = as_list(message.get("content"))
    if parts is None:
        return {"role": message["role"], "content": message.get("content")}
    return {"role": message["role"], "content": list(map(_part, parts))}


def _part(given: Any) -> Object:
    part = as_object(given) or {}
    kind, data = part.get("type"), part.get("data")
    if kind == "text":
        return {"type": "text", "text": part.get("text")}
    make = _PARTS.get(kind) if isinstance(kind, str) else None
    if make is None or not isinstance(data, str) or not data:
        raise BadInput(f"a part of type {kind!r:.20} cannot be taken")
    return make(data)


def _recording(data: str) -> Object:
    try:
        wav = to_wav(binascii.a2b_base64(data), sample_rate=INPUT_RATE)
    except (ValueError, InvalidInputError) as error:
        raise BadInput(str(error)) from None
    return {"type": "input_audio", "input_audio": {"data": base64_text(wav), "format": "wav"}}


_PARTS: dict[str, Callable[[str], Object]] = {
    "image": lambda data: {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
    "video": lambda data: {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}},
    "audio": _recording,
}
