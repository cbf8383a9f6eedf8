"""Sessions and the time: pacing, silence after the sound, and metrics, on a clock that goes when the test says so."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from array import array
from typing import Any

import pytest

from minicpm_core.errors import ConfigurationError, InvalidInputError
from minicpm_core.realtime import (
    AudioDelta,
    ContextShrunk,
    Listen,
    RealtimeClient,
    RealtimeSession,
    SilenceEnded,
    SystemClock,
)
from minicpm_core.realtime.clock import comes_within
from tests.realtime.clock import ManualClock
from tests.realtime.gateway import Gateway, Peer, gateway

UNIT = array("h", [1000] * 16_000).tobytes()
SPEECH = base64.b64encode(array("f", [0.25] * 24_000).tobytes()).decode()


pytestmark = pytest.mark.usefixtures("no_task_is_left")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def client_of(found: Gateway, clock: ManualClock, **settings: Any) -> RealtimeClient:
    return RealtimeClient(base_url=found.url, backoff=(0.0, 0.0), clock=clock, **settings)


class Ear:
    """Plays a gateway that listens, and notes when each unit came and whether it was silence."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.units: list[tuple[float, bool]] = []
        self._came = asyncio.Event()

    async def script(self, peer: Peer) -> None:
        await peer.begin()
        while (frame := await peer.hear())["type"] != "session.close":
            samples = array("f", base64.b64decode(frame["input"]["audio"]))
            self.units.append((self.clock.now(), not any(samples)))
            self._came.set()
            await peer.answer(frame)
        await peer.say("session.closed", reason="user_stop")

    async def heard(self, count: int) -> list[tuple[float, bool]]:
        while len(self.units) < count:
            self._came.clear()
            await self._came.wait()
        return self.units


async def test_units_are_sent_by_the_second(clock: ManualClock) -> None:
    ear = Ear(clock)
    async with gateway(ear.script) as found, client_of(found, clock).session(pace=True) as session:
        await session.send_audio(UNIT * 4)
        await ear.heard(1)
        for second in (1.0, 2.0, 3.0):
            await clock.advance_to(second)
            await ear.heard(int(second) + 1)
    assert ear.units == [(0.0, False), (1.0, False), (2.0, False), (3.0, False)]


async def test_without_pacing_they_are_sent_at_once(clock: ManualClock) -> None:
    ear = Ear(clock)
    async with gateway(ear.script) as found, client_of(found, clock).session() as session:
        await session.send_audio(UNIT * 4)
        await session.flush()
        assert await ear.heard(4) == [(0.0, False)] * 4


async def test_silence_follows_the_sound_for_as_long_as_it_is_wanted_and_its_end_is_told(clock: ManualClock) -> None:
    ear = Ear(clock)
    async with gateway(ear.script) as found, client_of(found, clock).session(silence_fill=2.0) as session:
        await session.send_audio(UNIT)
        await ear.heard(1)
        for count, when in enumerate((1.5, 2.5), 2):
            await clock.advance_to(when)
            await ear.heard(count)
        await clock.advance_to(3.5)
        async for event in session:
            if isinstance(event, SilenceEnded):
                assert event.seconds == 2.0
                break
        await session.send_audio(UNIT)  # sound again, and silence again after it
        await ear.heard(4)
        await clock.advance_to(5.0)
        await ear.heard(5)
        assert session.metrics.units_filled == 3
    assert ear.units == [(0.0, False), (1.5, True), (2.5, True), (3.5, False), (5.0, True)]


async def test_a_unit_that_was_begun_is_completed_before_the_silence(clock: ManualClock) -> None:
    ear = Ear(clock)
    async with gateway(ear.script) as found, client_of(found, clock).session(silence_fill=9.0) as session:
        await session.send_audio(UNIT + UNIT[:2000])
        await ear.heard(1)
        await clock.advance_to(1.5)
        await ear.heard(2)
        await clock.advance_to(3.0)
        await ear.heard(3)
        await session.send_audio(UNIT[2000:])
        await session.flush()
    assert ear.units[:4] == [(0.0, False), (1.5, False), (3.0, True), (3.0, False)]


async def test_silence_can_be_asked_for_and_stopped_while_the_session_lasts(clock: ManualClock) -> None:
    ear = Ear(clock)
    async with gateway(ear.script) as found, client_of(found, clock).session() as session:
        await session.fill_silence(60.0)
        for count, when in enumerate((1.5, 2.5, 3.5), 1):
            await clock.advance_to(when)
            await ear.heard(count)
        await session.fill_silence(0)
        clock.set(30.0)
        await session.send_audio(UNIT)
        await ear.heard(4)
    assert ear.units == [(1.5, True), (2.5, True), (3.5, True), (30.0, False)]


async def test_no_silence_comes_before_the_first_sound_and_none_in_a_chat(clock: ManualClock) -> None:
    ear = Ear(clock)
    async with gateway(ear.script) as found:
        async with client_of(found, clock).session(silence_fill=60.0) as session:
            clock.set(50.0)
            await session.send_audio(UNIT)
            await ear.heard(1)
        async with client_of(found, clock).session(mode="chat", silence_fill=60.0) as session:
            with pytest.raises(InvalidInputError):
                await session.fill_silence(5.0)
    assert ear.units == [(50.0, False)]


@pytest.mark.parametrize("options", [{"silence_fill": -1}, {"silence_fill": float("nan")}, {"on_limit": "stay"}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RealtimeClient().session(**options)


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_clock_goes_forward(speed: float) -> None:
    with pytest.raises(ConfigurationError, match="speed"):
        SystemClock(speed)


async def test_a_fast_clock_waits_as_much_less() -> None:
    clock = SystemClock(speed=1e6)
    before = clock.now()
    await clock.sleep(3600.0)
    assert clock.now() - before >= 3600.0


async def test_what_does_not_come_in_time_is_cancelled(clock: ManualClock) -> None:
    never = asyncio.Event()
    waiting = asyncio.create_task(comes_within(5.0, never.wait(), clock=clock))
    await clock.advance_to(5.0)
    assert not await waiting
    never.set()
    assert await comes_within(5.0, never.wait(), clock=clock)


async def test_metrics_are_measured_and_a_snapshot_stays_as_it_is(clock: ManualClock) -> None:
    async def script(peer: Peer) -> None:
        clock.set(2.0)
        await peer.say("session.queue_done")
        await peer.hear("session.init")
        clock.set(3.0)
        await peer.say("session.created", session_id="sess_1")
        first = (await peer.hear("input.append"))["input"]["input_id"]
        await peer.delta("listen", input_id=first, metrics={"kv_cache_length": 500})
        second = (await peer.hear("input.append"))["input"]["input_id"]
        clock.set(6.0)
        await peer.delta("audio", audio=SPEECH, response_id="r1", input_id=second, metrics={"kv_cache_length": 900})
        await peer.hear("input.append")
        clock.set(7.5)  # 0.3 s after the first piece was over, which began 0.2 s after it came
        await peer.delta("audio", audio=SPEECH, response_id="r1", metrics={"kv_cache_length": 700})
        await peer.until_closed()

    async with gateway(script) as found, client_of(found, clock).session() as session:
        assert (session.metrics.queue_wait_s, session.metrics.init_s) == (2.0, 1.0)
        assert session.metrics.time_to_first_audio_s is None
        await session.send_audio(UNIT)
        async for event in session:
            if isinstance(event, Listen):
                break
        clock.set(5.0)
        await session.send_audio(UNIT)
        early = session.metrics
        seen: list[str] = []
        async for event in session:
            seen.append(type(event).__name__)
            if isinstance(event, AudioDelta) and seen.count("AudioDelta") == 1:
                await session.send_audio(UNIT)
            elif isinstance(event, AudioDelta):
                break
            if isinstance(event, ContextShrunk):
                assert (event.forgotten_tokens, event.kv_cache_length) == (200, 700)
        found_metrics = session.metrics
    assert seen == ["AudioDelta", "ContextShrunk", "AudioDelta"]
    assert early.time_to_first_audio_s is None
    assert found_metrics.time_to_first_audio_s == 3.0
    assert found_metrics.answer_delay_s == 1.0
    assert (found_metrics.kv_tokens, found_metrics.kv_peak, found_metrics.kv_shrinks) == (700, 900, 1)
    assert (found_metrics.gaps.gaps, round(found_metrics.gaps.gap_s, 9)) == (1, 0.3)
    assert (found_metrics.speech_s, found_metrics.units_sent, found_metrics.units_filled) == (2.0, 3, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found_metrics.units_sent = 0  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("rate", "samples"), [(16_000, 8000), (44_100, 44_100), (48_000, 48_000), (48_000, 10)])
async def test_silence_follows_also_what_never_filled_a_unit(clock: ManualClock, rate: int, samples: int) -> None:
    """A microphone that stops after half a second; a second of which a resampler holds the end."""
    ear = Ear(clock)
    async with gateway(ear.script) as found, client_of(found, clock).session(silence_fill=9.0) as session:
        await session.send_audio(array("h", [1000] * samples), sample_rate=rate)
        await clock.advance_to(1.5)
        await ear.heard(1)
        await clock.advance_to(3.0)
        await ear.heard(2)
    assert ear.units == [(1.5, False), (3.0, True)]


async def test_what_is_said_into_the_silence_is_completed_too(clock: ManualClock) -> None:
    ear = Ear(clock)
    async with gateway(ear.script) as found, client_of(found, clock).session(silence_fill=2.0) as session:
        await session.send_audio(UNIT)
        await ear.heard(1)
        await clock.advance_to(1.5)
        await ear.heard(2)
        await session.send_audio(UNIT[:4000])
        await clock.advance_to(3.0)
        await ear.heard(3)
        for count, when in ((4, 4.5), (5, 5.5)):
            await clock.advance_to(when)
            await ear.heard(count)
        async for event in session:
            if isinstance(event, SilenceEnded):
                break
            clock.set(6.5)
        await session.send_audio(UNIT[:4000])  # and after it
        await clock.advance_to(8.0)
        await ear.heard(6)
    assert ear.units[1:] == [(1.5, True), (3.0, False), (4.5, True), (5.5, True), (8.0, False)]


async def test_turns_end_when_the_silence_is_used_up_and_can_be_asked_for_again(clock: ManualClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        for _ in range(2):
            await peer.answer(await peer.hear("input.append"))
        unit = (await peer.hear("input.append"))["input"]["input_id"]
        await peer.delta("text", text="Not to its end", response_id="r1", input_id=unit)
        await peer.answer(await peer.hear("input.append"))
        await peer.until_closed()

    async def all_turns(session: RealtimeSession) -> list[tuple[str, bool]]:
        return [(turn.text, turn.interrupted) async for turn in session.turns()]

    async with gateway(script) as found, client_of(found, clock).session(silence_fill=1.0) as session:
        for begin, expected in ((0.0, []), (4.5, [("Not to its end", False)])):
            await session.send_audio(UNIT)
            turns = asyncio.create_task(all_turns(session))
            await clock.advance_to(begin + 1.5)  # silence
            await clock.advance_to(begin + 2.5)  # it is used up
            await clock.advance_to(begin + 4.5)  # and nothing came after it
            assert await turns == expected
        assert session.state == "active"


async def test_a_turn_that_is_not_over_when_the_silence_is_comes_as_interrupted(clock: ManualClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        for text in ("Not to", " its end"):
            unit = (await peer.hear("input.append"))["input"]["input_id"]
            await peer.delta("text", text=text, response_id="r1", input_id=unit)
        await peer.until_closed()

    async with gateway(script) as found, client_of(found, clock).session(silence_fill=1.0) as session:
        await session.send_audio(UNIT)
        for when in (1.5, 2.5):
            await clock.advance_to(when)
        expected = asyncio.create_task(clock.advance_to(4.5))
        turns = [(turn.text, turn.interrupted) async for turn in session.turns()]
        await expected
    assert turns == [("Not to its end", True)]
