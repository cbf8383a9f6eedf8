"""The jitter buffer: what is heard when, and how smooth it is."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import pytest

from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime import AudioDelta, JitterBuffer, Listen, ResponseInterrupted, SessionReplaced
from minicpm_core.realtime.jitter import GapMetrics

if TYPE_CHECKING:
    from minicpm_core.realtime.events import ServerEvent


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def buffer(time: Time) -> JitterBuffer:
    return JitterBuffer(clock=time, sample_rate=1000)


def sound(seconds: float, level: float = 0.5) -> bytes:
    return array("f", [level] * round(seconds * 1000)).tobytes()


def test_the_first_piece_waits_200_ms_and_the_others_follow_without_a_gap(buffer: JitterBuffer, time: Time) -> None:
    begins = list[float]()
    for at in (0.0, 0.9, 2.1):
        time.now = at
        begins.append(buffer.push(sound(1), response_id="r1"))
    assert begins == [0.2, 1.2, 2.2]
    assert buffer.metrics == GapMetrics(turns=1, played_s=3.0)


def test_a_piece_that_comes_too_late_is_a_gap(buffer: JitterBuffer, time: Time) -> None:
    buffer.push(sound(1), response_id="r1")
    time.now = 1.205
    assert buffer.push(sound(1), response_id="r1") == 1.205  # 5 ms are none
    time.now = 2.605
    assert buffer.push(sound(1), response_id="r1") == 2.605
    found = buffer.metrics
    assert (found.gaps, round(found.gap_s, 9), round(found.longest_gap_s, 9)) == (1, 0.4, 0.4)


def test_silence_between_turns_is_no_gap_and_sound_that_comes_after_the_end_belongs_to_it(
    buffer: JitterBuffer, time: Time
) -> None:
    buffer.push(sound(1), response_id="r1")
    buffer.end()
    time.now = 0.5
    assert buffer.push(sound(1), response_id="r1") == 1.2
    buffer.end()
    time.now = 9.0
    assert buffer.push(sound(1), response_id="r2") == 9.2
    assert buffer.metrics == GapMetrics(turns=2, played_s=3.0)


def test_a_new_turn_cuts_what_is_left_of_the_one_before(buffer: JitterBuffer, time: Time) -> None:
    buffer.push(sound(2, 0.25), response_id="r1")
    time.now = 1.2
    assert buffer.push(sound(1, 0.5), response_id="r2") == 1.4
    assert round(buffer.metrics.cut_s, 9) == 1.0
    time.now = 1.4
    assert set(array("f", buffer.pull(1000))) == {0.5}


def test_a_player_pulls_silence_until_it_begins_and_where_nothing_is_left(buffer: JitterBuffer, time: Time) -> None:
    assert buffer.pull(10) == bytes(40)
    buffer.push(sound(0.1), response_id="r1")
    assert buffer.pull(10) == bytes(40)
    assert buffer.buffered == 0.1
    time.now = 0.2
    assert array("f", buffer.pull(150)) == array("f", [0.5] * 100 + [0.0] * 50)
    assert buffer.pull(10) == bytes(40)


@pytest.mark.parametrize(
    "event", [ResponseInterrupted(response_id="r1"), SessionReplaced(reason="time_limit", number=1, lasted_s=1.0)]
)
def test_an_interrupt_and_another_session_are_silence_at_once(
    buffer: JitterBuffer, time: Time, event: ServerEvent
) -> None:
    buffer.take(AudioDelta(audio=sound(1), response_id="r1"))
    time.now = 0.4
    assert buffer.playing
    buffer.take(event)
    assert not buffer.playing
    assert buffer.pull(10) == bytes(40)
    assert round(buffer.metrics.cut_s, 9) == 0.8


def test_listening_lets_it_play_to_its_end(buffer: JitterBuffer, time: Time) -> None:
    buffer.take(AudioDelta(audio=sound(1), response_id="r1"))
    buffer.take(Listen(response_id="r1"))
    time.now = 0.4
    assert buffer.playing
    time.now = 1.3
    assert not buffer.playing


def test_another_session_lets_a_turn_that_was_over_play_to_its_end(buffer: JitterBuffer, time: Time) -> None:
    buffer.take(AudioDelta(audio=sound(1), response_id="r1"))
    buffer.take(Listen(response_id="r1"))
    time.now = 0.4
    buffer.take(SessionReplaced(reason="time_limit", number=1, lasted_s=1.0))
    assert buffer.playing
    assert any(buffer.pull(10))
    time.now = 1.3
    buffer.take(AudioDelta(audio=sound(1), response_id="r1"))  # the name may come again, for another turn
    assert buffer.metrics.turns == 2
    assert buffer.pull(10) == bytes(40)
    time.now = 1.5
    assert any(buffer.pull(10))
    assert buffer.metrics.cut_s == 0


def test_half_a_sample_is_refused(buffer: JitterBuffer) -> None:
    with pytest.raises(InvalidInputError):
        buffer.push(b"123")
