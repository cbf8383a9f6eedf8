"""What real gateways said, in both generations, read by the codec: whole, and cut off at every kind of place."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from minicpm_core.errors import MalformedReplyError
from minicpm_core.realtime import events
from minicpm_core.realtime.codec import Codec
from tests.realtime.frames import CASES, DOWN, Line

_NAMES = {
    "session.queued": "SessionQueued",
    "session.queue_update": "QueueUpdate",
    "session.queue_done": "QueueDone",
    "session.created": "SessionCreated",
    "session.closed": "SessionClosed",
    "error": "ErrorEvent",
    "response.done": "ResponseDone",
    "response.listen": "Listen",
    "listen": "Listen",
    "text": "TextDelta",
    "audio": "AudioDelta",
}


def _decoded(lines: list[Line]) -> list[events.ServerEvent]:
    codec = Codec(generation=1 if lines[0].generation == 1 else 2)
    return [event for line in lines if line.direction == "down" for event in codec.decode(line.text)]


def _expected(line: Line) -> list[str]:
    if line.frame["type"] == "response.output_audio.delta":
        last = ["Listen"] if line.frame["end_of_turn"] else []
        return ["TextDelta", "AudioDelta", *last]
    return [_NAMES[line.frame.get("kind", line.frame["type"])]]


@pytest.mark.parametrize("case", CASES)
def test_every_recorded_session_gives_its_events_in_order_and_nothing_is_unknown(case: str) -> None:
    lines = CASES[case]
    names = [name for line in lines if line.direction == "down" for name in _expected(line)]
    found = _decoded(lines)
    assert [type(event).__name__ for event in found] == names
    assert [event for event in found if event.extra] == []


@pytest.mark.parametrize("case", ["gen1-video", "gen2-video", "gen2chain-video", "gen2chain-audio"])
def test_a_recorded_turn_has_its_text_its_sound_and_one_name(case: str) -> None:
    found = _decoded(CASES[case])
    spoken = [event for event in found if isinstance(event, events.TextDelta | events.AudioDelta)]
    assert "".join(event.text for event in spoken if isinstance(event, events.TextDelta)) == (
        "Hello there, I am listening."
    )
    assert [len(event.audio) // 4 for event in spoken if isinstance(event, events.AudioDelta)] == [14_400, 24_000, 8400]
    (name,) = {event.response_id for event in spoken}
    assert name
    ends = [event for event in found if isinstance(event, events.Listen) and event.response_id]
    assert [event.response_id for event in ends] == [name]


def test_both_generations_tell_the_same_story() -> None:
    """The first one says text and sound in one message and the end of a turn as a flag."""

    def story(case: str) -> list[tuple[str, str, int | None]]:
        outputs = [event for event in _decoded(CASES[case]) if isinstance(event, events.OutputDelta)]
        return [
            (
                type(event).__name__,
                event.text if isinstance(event, events.TextDelta) else "",
                event.metrics.kv_cache_length if event.metrics else None,
            )
            for event in outputs
        ]

    assert story("gen1-video") == story("gen2-video")


def test_measurements_and_tokens_are_read() -> None:
    created, first = _decoded(CASES["gen2-video"])[1:3]
    assert isinstance(created, events.SessionCreated)
    assert isinstance(first, events.Listen)
    assert (created.mode, created.metrics and created.metrics.backend) == ("full_duplex", "fake")
    assert created.usage
    assert created.usage.total_tokens == 80
    assert first.metrics
    assert (first.metrics.vision_tokens, first.metrics.wall_clock_ms) == (64, 50.5)
    assert (first.input_id, first.chunk_index) == ("in_0", 0)
    assert first.chunk_usage
    assert first.usage
    assert first.usage.input_token_details["vision_tokens"] == 64


def test_a_queue_tells_the_place_and_the_wait() -> None:
    queued, update = _decoded(CASES["gen2chain-queue-waiter"])[:2]
    assert isinstance(queued, events.SessionQueued)
    assert (queued.position, queued.estimated_wait_s, queued.queue_length, queued.ticket_id) == (
        1, 119.5, 1, "q_2c4ab016498f",
    )  # fmt: skip
    assert type(update) is events.QueueUpdate


def test_a_diagnostic_is_read_and_the_time_limit_has_no_session() -> None:
    failed = _decoded(CASES["gen2-inference-error"])[-1]
    limit = _decoded(CASES["gen2-limit4s-session-limit"])[-1]
    assert isinstance(failed, events.SessionClosed)
    assert isinstance(limit, events.SessionClosed)
    assert (failed.reason, failed.diagnostic) == ("backend_error", "fake inference failure")
    assert (limit.reason, limit.session_id) == ("timeout", None)


def test_an_answer_that_was_not_streamed_has_its_sound_in_its_end() -> None:
    done = [event for event in _decoded(CASES["gen2-chat"]) if isinstance(event, events.ResponseDone)]
    assert [event.audio is not None for event in done] == [False, False, True]
    assert len(done[2].audio or b"") == 96_000
    assert done[2].text == "echo(text): hi"


@pytest.mark.parametrize("line", DOWN, ids=lambda line: f"{line.case}-{line.frame['type']}")
def test_a_message_that_is_cut_off_is_an_error_and_never_another_event(line: Line) -> None:
    text = json.dumps(line.frame, ensure_ascii=False)
    places = range(len(text)) if len(text) < 600 else [*range(300), *range(300, len(text), 997), len(text) - 1]
    for place in places:
        with pytest.raises(MalformedReplyError):
            Codec(generation=1 if line.generation == 1 else 2).decode(text[:place])


@pytest.mark.parametrize("line", DOWN, ids=lambda line: f"{line.case}-{line.frame['type']}")
def test_bytes_are_read_like_text(line: Line) -> None:
    first, second = (Codec(generation=1 if line.generation == 1 else 2) for _ in range(2))
    assert first.decode(line.text.encode()) == second.decode(line.text)


def test_the_recording_has_every_kind_of_event() -> None:
    kinds = Counter(type(event).__name__ for lines in CASES.values() for event in _decoded(lines))
    assert set(kinds) == {*_NAMES.values()}
