"""What servers may say beyond what is known: it is handed on, or is a typed error; never anything else."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import MalformedReplyError
from minicpm_core.realtime import events
from minicpm_core.realtime.codec import Codec


def _one(frame: Any, generation: Any = 2) -> events.ServerEvent:
    (event,) = Codec(generation=generation).decode(json.dumps(frame))
    return event


def _base64(*values: float) -> str:
    return base64.b64encode(array("f", values).tobytes()).decode()


@pytest.mark.parametrize("generation", [1, 2])
def test_an_unknown_event_is_handed_on_with_all_its_fields(generation: int) -> None:
    event = _one({"type": "response.think.begin", "depth": 2, "extra": [1]}, generation)
    assert event == events.UnknownEvent(type="response.think.begin", extra={"depth": 2, "extra": [1]})


def test_an_unknown_kind_of_output_is_handed_on() -> None:
    event = _one({"type": "response.output.delta", "kind": "smell", "smell": "rose"})
    assert event == events.UnknownEvent(type="response.output.delta/smell", extra={"smell": "rose"})


def test_unknown_fields_of_a_known_event_are_handed_on() -> None:
    event = _one({"type": "response.output.delta", "kind": "listen", "mood": "calm", "metrics": {"watts": 3}})
    assert isinstance(event, events.Listen)
    assert event.extra == {"mood": "calm"}
    assert event.metrics
    assert event.metrics.extra == {"watts": 3}


@pytest.mark.parametrize(
    ("field", "value"),
    [("position", "first"), ("position", True), ("position", 1.5), ("queue_length", []), ("estimated_wait_s", "soon")],
)
def test_a_field_of_another_type_does_not_end_the_session(field: str, value: Any) -> None:
    event = _one({"type": "session.queue_update", field: value})
    assert event == events.QueueUpdate(extra={field: value})


def test_null_counts_as_absent() -> None:
    assert _one({"type": "session.closed", "session_id": None, "reason": "timeout"}) == events.SessionClosed(
        reason="timeout"
    )


@pytest.mark.parametrize(
    "frame",
    [
        {"kind": "text"},
        {"kind": "text", "text": 5},
        {"kind": "audio"},
        {"kind": "audio", "audio": None},
        {"kind": "audio", "audio": "!!!"},
        {"kind": "audio", "audio": "AAAA"},  # three bytes
        {"kind": "audio", "audio": "AAAAAA=="[:7]},
        {"kind": "audio", "audio": "日本"},
        {"kind": "audio", "audio": _base64(float("nan"))},
        {"kind": "audio", "audio": _base64(float("inf"))},
    ],
    ids=str,
)
def test_an_output_without_what_it_is_for_is_an_error(frame: dict[str, Any]) -> None:
    with pytest.raises(MalformedReplyError):
        _one({"type": "response.output.delta", **frame})


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "null",
        "5",
        '"text"',
        "{}",
        '{"type": 5}',
        '{"type": "error", "error": NaN}',
        b"\xff",
        "[" * 99_999,
    ],
    ids=lambda message: str(message)[:20],
)
def test_what_is_no_event_is_an_error(message: str | bytes) -> None:
    with pytest.raises(MalformedReplyError):
        Codec().decode(message)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (
            {"code": "queue_full", "message": "m", "type": "t"},
            events.ErrorEvent(code="queue_full", message="m", kind="t"),
        ),
        ({}, events.ErrorEvent()),
        ("broken", events.ErrorEvent(message="broken")),
        (None, events.ErrorEvent()),
        ({"code": 7, "hint": "h"}, events.ErrorEvent(extra={"code": 7, "hint": "h"})),
    ],
    ids=str,
)
def test_an_error_is_read_in_whatever_shape_it_comes(error: Any, event: events.ErrorEvent) -> None:
    assert _one({"type": "error", "error": error}) == event


def test_speech_of_the_first_generation_may_lack_its_sound_its_text_or_both() -> None:
    codec = Codec(generation=1)

    def names(**fields: Any) -> list[tuple[str, str | None]]:
        frame = {"type": "response.output_audio.delta", "text": "", "audio": None, "end_of_turn": False, **fields}
        found = codec.decode(json.dumps(frame))
        assert all(isinstance(event, events.OutputDelta) for event in found)
        return [(type(event).__name__, getattr(event, "response_id", None)) for event in found]

    assert names(text="a") == [("TextDelta", "turn_1")]
    assert names() == []
    assert names(audio=_base64(0.5)) == [("AudioDelta", "turn_1")]
    assert names(end_of_turn=True) == [("Listen", "turn_1")]
    assert names(text="b", end_of_turn=True) == [("TextDelta", "turn_2"), ("Listen", "turn_2")]


def test_a_listening_model_has_ended_its_turn_in_the_first_generation() -> None:
    codec = Codec(generation=1)
    speech = json.dumps({"type": "response.output_audio.delta", "text": "a", "end_of_turn": False})
    ids = [
        event.response_id
        for message in (speech, json.dumps({"type": "response.listen"}), speech)
        for event in codec.decode(message)
        if isinstance(event, events.TextDelta)
    ]
    assert ids == ["turn_1", "turn_2"]


def test_nothing_shows_the_session_or_the_sound() -> None:
    """Whoever has a session id has the recording, on self-hosted gateways."""
    created = _one({"type": "session.created", "session_id": "sess_secret"})
    heard = _one({"type": "response.output.delta", "kind": "audio", "session_id": "sess_secret", "audio": _base64(0.5)})
    assert "sess_secret" not in repr(created) + repr(heard)
    assert "audio=" not in repr(heard)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
_TYPES = st.sampled_from([
    "session.queued", "session.queue_update", "session.queue_done", "session.created", "session.closed", "error",
    "response.output.delta", "response.done", "response.listen", "response.output_audio.delta",
])  # fmt: skip
_FIELDS = st.sampled_from([
    "kind", "text", "audio", "session_id", "metrics", "usage", "error", "reason", "diagnostic", "extra", "end_of_turn",
    "kv_cache_length", "position", "message", "code",
])  # fmt: skip


@given(
    st.fixed_dictionaries({"type": _TYPES | st.text(max_size=5)}),
    st.dictionaries(_FIELDS | st.text(max_size=5), _VALUES | st.sampled_from(["listen", "text", "audio"])),
    st.sampled_from([1, 2]),
)
def test_any_object_gives_events_or_a_typed_error(
    head: dict[str, Any], fields: dict[str, Any], generation: Any
) -> None:
    try:
        found = Codec(generation=generation).decode(json.dumps({**fields, **head}))
    except MalformedReplyError:
        return
    assert all(isinstance(event, events.ServerEvent) for event in found)


@given(st.binary(max_size=40))
def test_any_bytes_give_events_or_a_typed_error(data: bytes) -> None:
    try:
        Codec().decode(data)
    except MalformedReplyError:
        return
