"""From a server's JSON object to an event: tables of fields, and how each of them is read.

A field that is not in the table, or that does not hold what it should, goes into `extra`: servers may add fields, and a
client that broke on each of them would be of no use. Only what an event is for (the text of a text) has to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from minicpm_core.errors import MalformedReplyError
from minicpm_core.realtime import samples
from minicpm_core.realtime.events import (
    AudioDelta,
    ErrorEvent,
    Listen,
    Metrics,
    QueueDone,
    QueueUpdate,
    RealtimeUsage,
    ResponseDone,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    SessionQueued,
    TextDelta,
)

Reader: TypeAlias = Callable[[Any], Any]
"""Turns a JSON value into what the event holds, or raises `UnfitError`."""

Fields: TypeAlias = Mapping[str, Reader]
"""Readers by the name of the field, which is also the attribute's."""

E = TypeVar("E", ServerEvent, Metrics, RealtimeUsage)


class UnfitError(Exception):
    """The value is not what the field should hold."""


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise UnfitError
    return value


def whole(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnfitError
    return value


def number(value: Any) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError
    return value


def mapping(value: Any) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise UnfitError
    return cast("dict[str, Any]", value)


def audio(value: Any) -> bytes:
    """Base64 of float32 samples.

    Raises:
        MalformedReplyError: It is not; sound that is cut off must not be played.
    """
    try:
        data = samples.from_base64(text(value))
    except ValueError as error:  # of base64, and of text that is not ASCII
        raise MalformedReplyError("The server sent audio that is not base64.") from error
    if len(data) % samples.F32_BYTES or not samples.are_finite(samples.to_floats(data)):
        raise MalformedReplyError("The server sent audio that is not made of float32 samples.")
    return data


def diagnostic(value: Any) -> str:
    """The message of a diagnostic."""
    return text(mapping(value).get("message"))


def metrics(value: Any) -> Metrics:
    """What was measured."""
    return fill(Metrics, mapping(value), _METRICS)


def usage(value: Any) -> RealtimeUsage:
    """Tokens."""
    return fill(RealtimeUsage, mapping(value), _USAGE)


_METRICS: Fields = {
    "kv_cache_length": whole,
    **dict.fromkeys(
        ("prefill_ms", "generate_ms", "wall_clock_ms", "cost_llm_ms", "cost_tts_prep_ms", "cost_tts_ms"), number
    ),
    "cost_token2wav_ms": number,
    **dict.fromkeys(("n_tokens", "n_tts_tokens", "vision_slices", "vision_tokens"), whole),
    "backend": text,
}
_USAGE: Fields = {
    **dict.fromkeys(("total_tokens", "input_tokens", "output_tokens"), whole),
    **dict.fromkeys(("input_token_details", "output_token_details"), mapping),
}

_QUEUE: Fields = {"position": whole, "estimated_wait_s": number, "queue_length": whole}
_STAMP: Fields = {"session_id": text, "server_send_ts": number}
_OUTPUT: Fields = {
    **_STAMP,
    "response_id": text,
    "input_id": text,
    "metrics": metrics,
    "chunk_index": whole,
    "chunk_usage": usage,
    "usage": usage,
}

FIELDS: Mapping[type[ServerEvent], Fields] = {
    SessionQueued: {**_QUEUE, "ticket_id": text},
    QueueUpdate: _QUEUE,
    QueueDone: {},
    SessionCreated: {**_STAMP, "mode": text, "metrics": metrics, "usage": usage, "prompt_length": whole},
    Listen: _OUTPUT,
    TextDelta: {**_OUTPUT, "text": text},
    AudioDelta: {**_OUTPUT, "audio": audio},
    ResponseDone: {
        **_STAMP,
        **dict.fromkeys(("text", "reason", "response_id", "input_id"), text),
        "audio": audio,
        "metrics": metrics,
    },
    SessionClosed: {**_STAMP, "reason": text, "diagnostic": diagnostic, "usage": usage},
    ErrorEvent: {"code": text, "message": text, "kind": text},
}
"""What each event holds."""

_NEEDED: Mapping[type[ServerEvent], str] = {TextDelta: "text", AudioDelta: "audio"}


def event(kind: type[ServerEvent], frame: Mapping[str, Any]) -> ServerEvent:
    """An event from the fields of a frame, without its type.

    Raises:
        MalformedReplyError: What the event is for is missing or broken.
    """
    needed = _NEEDED.get(kind)
    if needed is not None and not isinstance(frame.get(needed), str):
        raise MalformedReplyError(f"The server sent an output of {needed} without {needed}.")
    return fill(kind, frame, FIELDS[kind])


def error(frame: Mapping[str, Any]) -> ServerEvent:
    """An `error` event, whose fields stand one level deeper."""
    outer = {name: value for name, value in frame.items() if name != "error"}
    inner = frame.get("error")
    if not isinstance(inner, dict):
        return ErrorEvent(message=inner if isinstance(inner, str) else "", extra=outer)
    said = {("kind" if name == "type" else name): value for name, value in cast("dict[str, Any]", inner).items()}
    return fill(ErrorEvent, {**outer, **said}, FIELDS[ErrorEvent])


def fill(kind: type[E], frame: Mapping[str, Any], fields: Fields) -> E:
    """A value of a class from an object. `null` counts as absent where the field is known."""
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in frame.items():
        reader = fields.get(name)
        if reader is None:
            extra[name] = value
        elif value is not None:
            try:
                known[name] = reader(value)
            except UnfitError:
                extra[name] = value
    return kind(**known, extra=extra)
