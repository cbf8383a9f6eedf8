"""The wire format of realtime sessions: one JSON object per text message, to events and back, without I/O.

The two generations of the protocol say the same things in other words; a table for each makes the same events of them.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, NoReturn, cast

from minicpm_core.errors import ConfigurationError, InvalidInputError, MalformedReplyError
from minicpm_core.realtime import reading, samples
from minicpm_core.realtime.events import (
    AudioDelta,
    Listen,
    QueueDone,
    QueueUpdate,
    ResponseDone,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    SessionQueued,
    TextDelta,
    UnknownEvent,
)
from minicpm_core.realtime.writing import WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minicpm_core.realtime.client_events import ClientEvent
    from minicpm_core.realtime.events import Generation

_COMMON: Mapping[str, type[ServerEvent]] = {
    "session.queued": SessionQueued,
    "session.queue_update": QueueUpdate,
    "session.queue_done": QueueDone,
    "session.created": SessionCreated,
    "session.closed": SessionClosed,
}
_KINDS: Mapping[str, type[ServerEvent]] = {"listen": Listen, "text": TextDelta, "audio": AudioDelta}


class Codec:
    """Writes what a client says and reads what a server says. One for each session.

    Args:
        generation: Of the protocol. A server's cannot be told before something is said to it.

    Raises:
        ConfigurationError: There is no such generation.
    """

    def __init__(self, *, generation: Generation = 2) -> None:
        if generation not in WRITERS:
            raise ConfigurationError(f"generation must be 1 or 2, not {generation!r}.")
        self.generation = generation
        self._writers = WRITERS[generation]
        self._readers: Mapping[str, Callable[[dict[str, Any]], tuple[ServerEvent, ...]]] = {
            2: {"response.output.delta": _delta, "response.done": _done},
            1: {"response.listen": self._listen, "response.output_audio.delta": self._speech},
        }[generation]
        self._mark = f"base64-{secrets.token_hex(16)}"
        self._turn = 0
        self._speaking = False

    def encode(self, event: ClientEvent) -> str:
        """The text message that says it.

        Raises:
            InvalidInputError: It cannot be sent.
            UnsupportedFeatureError: This generation has no word for it.
        """
        writer = self._writers.get(type(event))
        if writer is None:
            raise InvalidInputError(f"A client does not say {type(event).__name__}.")
        frame = writer(event)
        try:
            text = self._spliced(frame)
            text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(f"{frame['type']} holds what is no JSON: {error}.") from error
        return text

    def _spliced(self, frame: dict[str, Any]) -> str:
        """As JSON. Base64 is put in afterwards, as it is most of the text and needs no look at each character."""
        kept: list[str] = []
        slim = _without_base64(frame, self._mark, kept)
        text = json.dumps(slim, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        first, *others = text.split(self._mark)
        return first + "".join(piece for pair in zip(kept, others, strict=True) for piece in pair)

    def decode(self, message: str | bytes) -> tuple[ServerEvent, ...]:
        """The events of a message: one, but for speech of the first generation, whose text and sound come together.

        Raises:
            MalformedReplyError: It is no JSON object with a type, or holds sound that is none.
        """
        frame = _parsed(message)
        name = frame.pop("type", None)
        if not isinstance(name, str):
            raise MalformedReplyError("The server sent a message without a type.")
        if name == "error":
            return (reading.error(frame),)
        if name in _COMMON:
            return (reading.event(_COMMON[name], frame),)
        reader = self._readers.get(name)
        return reader(frame) if reader is not None else (UnknownEvent(type=name, extra=frame),)

    def _listen(self, frame: dict[str, Any]) -> tuple[ServerEvent, ...]:
        self._speaking = False
        return (reading.event(Listen, _measured(frame)),)

    def _speech(self, frame: dict[str, Any]) -> tuple[ServerEvent, ...]:
        """Text and sound, both of which may be missing, and at the end of a turn the `Listen` that ends it."""
        if not self._speaking:
            self._turn += 1
        frame = _measured(frame)
        text, audio, last = frame.pop("text", None), frame.pop("audio", None), frame.pop("end_of_turn", False)
        frame["response_id"] = f"turn_{self._turn}"
        events: list[ServerEvent] = []
        if text:
            events.append(reading.event(TextDelta, {**frame, "text": text}))
        if audio:
            events.append(reading.event(AudioDelta, {**frame, "audio": audio}))
        if last is True:
            events.append(reading.event(Listen, frame))
        self._speaking = last is not True
        return tuple(events)


def _delta(frame: dict[str, Any]) -> tuple[ServerEvent, ...]:
    kind = frame.pop("kind", None)
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        return (UnknownEvent(type=f"response.output.delta/{kind}", extra=frame),)
    return (reading.event(known, frame),)


def _done(frame: dict[str, Any]) -> tuple[ServerEvent, ...]:
    return (reading.event(ResponseDone, frame),)


def _measured(frame: dict[str, Any]) -> dict[str, Any]:
    """The first generation's only measurement, where the second one has it."""
    if "kv_cache_length" not in frame:
        return frame
    length = frame.pop("kv_cache_length")
    return {**frame, "metrics": {"kv_cache_length": length}}


def _without_base64(value: Any, mark: str, kept: list[str]) -> Any:
    """The same with a mark in place of each `Base64`, which are kept in their order."""
    if isinstance(value, samples.Base64):
        kept.append(value)
        return mark
    if isinstance(value, dict):
        known = cast("dict[str, Any]", value)
        return {name: _without_base64(inner, mark, kept) for name, inner in known.items()}
    if isinstance(value, list):
        return [_without_base64(inner, mark, kept) for inner in cast("list[object]", value)]
    return value


def _parsed(message: str | bytes) -> dict[str, Any]:
    try:
        text = message if isinstance(message, str) else message.decode()
        frame = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError("The server sent a message that is no JSON.") from error
    if not isinstance(frame, dict):
        raise MalformedReplyError("The server sent a message that is no JSON object.")
    return cast("dict[str, Any]", frame)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
