"""Limits of time and memory: a typed end, or another session that is announced and to which no unit is lost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.errors import ConfigurationError
from minicpm_core.realtime import (
    Listen,
    OutputDelta,
    RealtimeClient,
    RealtimeLimits,
    ServerEvent,
    SessionClosed,
    SessionCreated,
    SessionReplaced,
    errors,
)
from minicpm_core.realtime.client_events import InputAppend
from minicpm_core.realtime.limits import Guard
from minicpm_core.realtime.turns import TurnCollector
from tests.realtime.clock import ManualClock
from tests.realtime.gateway import Gateway, Peer, gateway

if TYPE_CHECKING:
    from minicpm_core.realtime.session import RealtimeSession

UNIT = bytes(32_000)


pytestmark = pytest.mark.usefixtures("no_task_is_left")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def client_of(found: Gateway, clock: ManualClock, **settings: Any) -> RealtimeClient:
    given: dict[str, Any] = {"backoff": (0.0, 0.0), "max_retries": 0, **settings}
    return RealtimeClient(base_url=found.url, clock=clock, **given)


def numbered(number: int) -> bytes:
    return array("h", [number] * 16_000).tobytes()


def number_of(frame: dict[str, Any]) -> int:
    return round(array("f", base64.b64decode(frame["input"]["audio"]))[0] * 32768)


async def listening(peer: Peer) -> None:
    await peer.begin()
    await peer.until_closed()


def heard_by(peer: Peer) -> list[int]:
    return [number_of(frame) for frame in peer.heard if frame["type"] == "input.append"]


async def until(session: RealtimeSession, kind: type[ServerEvent]) -> list[ServerEvent]:
    seen: list[ServerEvent] = []
    async for event in session:
        seen.append(event)
        if isinstance(event, kind):
            break
    return seen


# --- The guard --------------------------------------------------------------------------------------------------------


def test_a_guard_that_closes_does_so_at_the_limits_and_not_before() -> None:
    guard = Guard(RealtimeLimits(), mode="video", on_limit="close", now=10.0)
    assert guard.near(309.9) is None
    assert guard.reached(309.9) is None
    assert guard.reached(310.0) == "time_limit"
    guard.note(8191)
    assert guard.reached(20.0) is None
    guard.note(8192)
    assert guard.reached(20.0) == "context_full"


def test_a_guard_that_rolls_over_looks_for_a_good_moment_before() -> None:
    guard = Guard(RealtimeLimits(), mode="audio", on_limit="rollover", now=0.0)
    assert guard.wait(0.0) == 570.0
    assert (guard.near(569.9), guard.near(570.0)) == (None, "time_limit")
    assert guard.wait(570.0) == 24.0
    assert (guard.reached(593.9), guard.reached(594.0)) == (None, "time_limit")
    assert guard.wait(594.0) == math.inf
    guard.note(7373)
    assert (guard.near(0.0), guard.reached(0.0)) == ("context_full", None)


def test_a_chat_has_no_limits_and_others_can_be_without() -> None:
    unlimited = RealtimeLimits(audio_seconds=None, max_kv_tokens=None)
    for guard in (
        Guard(RealtimeLimits(), mode="chat", on_limit="rollover", now=0.0),
        Guard(unlimited, mode="audio", on_limit="close", now=0.0),
    ):
        guard.note(100_000)
        assert (guard.near(1e9), guard.reached(1e9), guard.wait(0.0)) == (None, None, math.inf)


def test_a_guard_notices_what_was_forgotten() -> None:
    guard = Guard(RealtimeLimits(), mode="audio", on_limit="close", now=0.0)
    assert [guard.note(tokens) for tokens in (100, 150, 150, 90)] == [None, None, None, 60]


@pytest.mark.parametrize(
    "limits",
    [
        {"audio_seconds": 0},
        {"video_seconds": math.inf},
        {"max_kv_tokens": -1},
        {"early_seconds": 1, "latest_seconds": 2},
        {"early_fraction": 0},
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RealtimeLimits(**limits)


# --- Close ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "seconds"), [("audio", 600.0), ("video", 300.0)])
async def test_at_the_time_limit_the_session_says_goodbye_and_raises(
    clock: ManualClock, mode: Any, seconds: float
) -> None:
    async with gateway(listening) as found:
        session = client_of(found, clock).session(mode=mode)
        await session.__aenter__()
        await session.send_audio(UNIT)
        await until(session, Listen)
        await clock.advance_to(seconds)
        with pytest.raises(errors.SessionTimeLimitError):
            await until(session, SessionReplaced)
        with pytest.raises(errors.SessionTimeLimitError):
            await session.send_audio(UNIT)
        await session.close()
    assert found.peers[0].heard[-1] == {"type": "session.close", "reason": "time_limit"}
    assert len(found.peers) == 1


async def test_a_full_memory_ends_the_session(clock: ManualClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        for tokens in (8000, 8192):
            unit = await peer.hear("input.append")
            await peer.delta("listen", input_id=unit["input"]["input_id"], metrics={"kv_cache_length": tokens})
        await peer.until_closed()

    async with gateway(script) as found:
        session = client_of(found, clock).session()
        await session.__aenter__()
        await session.send_audio(UNIT * 2)
        with pytest.raises(errors.ContextFullError):
            await until(session, SessionReplaced)
        assert session.metrics.kv_peak == 8192
        await session.close()
    assert found.peers[0].heard[-1] == {"type": "session.close", "reason": "context_full"}


async def test_without_a_guard_of_the_memory_the_session_goes_on(clock: ManualClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        unit = await peer.hear("input.append")
        await peer.delta("listen", input_id=unit["input"]["input_id"], metrics={"kv_cache_length": 9000})
        await peer.until_closed()

    limits = RealtimeLimits(max_kv_tokens=None)
    async with gateway(script) as found, client_of(found, clock, limits=limits).session() as session:
        await session.send_audio(UNIT * 2)
        await until(session, Listen)
        await until(session, Listen)


# --- Rollover ---------------------------------------------------------------------------------------------------------


async def test_another_session_takes_over_at_an_idle_moment_and_is_announced(clock: ManualClock) -> None:
    async with gateway(listening) as found, client_of(found, clock).session(on_limit="rollover") as session:
        await session.send_audio(numbered(1))
        await until(session, Listen)
        await clock.advance_to(570.0)
        seen = await until(session, SessionCreated)
        await session.send_audio(numbered(2))
        seen += await until(session, Listen)
        assert session.state == "active"
        assert session.metrics.replaced == 1
    assert [type(event).__name__ for event in seen] == ["SessionReplaced", "QueueDone", "SessionCreated", "Listen"]
    assert seen[0] == SessionReplaced(reason="time_limit", number=1, lasted_s=570.0)
    first, second = found.peers
    assert (heard_by(first), heard_by(second)) == ([1], [2])
    assert first.heard[-1] == {"type": "session.close", "reason": "time_limit"}
    assert second.heard[-1]["reason"] == "user_stop"


async def test_a_turn_is_not_broken_off_before_it_must_be(clock: ManualClock) -> None:
    async def speaking(peer: Peer) -> None:
        await peer.begin()
        unit = await peer.hear("input.append")
        await peer.delta("text", text="Once", response_id="r1", input_id=unit["input"]["input_id"])
        unit = await peer.hear("input.append")
        await peer.delta("listen", response_id="r1", input_id=unit["input"]["input_id"])
        await peer.until_closed()

    async with gateway(speaking, listening) as found, client_of(found, clock).session(on_limit="rollover") as session:
        await session.send_audio(numbered(1))
        await until(session, OutputDelta)
        await clock.advance_to(570.0)
        assert session.speaking
        await session.send_audio(numbered(2))
        seen = await until(session, SessionReplaced)
    assert [type(event).__name__ for event in seen] == ["Listen", "SessionReplaced"]


async def test_a_turn_that_does_not_end_is_broken_off_at_last(clock: ManualClock) -> None:
    async def speaking(peer: Peer) -> None:
        await peer.begin()
        unit = await peer.hear("input.append")
        await peer.delta("text", text="Once upon a time", response_id="r1", input_id=unit["input"]["input_id"])
        await peer.until_closed()

    async with gateway(speaking, listening) as found, client_of(found, clock).session(on_limit="rollover") as session:
        await session.send_audio(numbered(1))
        seen = await until(session, OutputDelta)
        await clock.advance_to(570.0)
        await clock.advance_to(594.0)
        seen += await until(session, SessionReplaced)
        assert not session.speaking
    collector = TurnCollector()
    (turn,) = [turn for event in seen for turn in collector.take(event)]
    assert (turn.text, turn.interrupted) == ("Once upon a time", True)


async def test_a_memory_that_is_almost_full_is_left_early(clock: ManualClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        unit = await peer.hear("input.append")
        await peer.delta("listen", input_id=unit["input"]["input_id"], metrics={"kv_cache_length": 7400})
        await peer.until_closed()

    async with gateway(script, listening) as found, client_of(found, clock).session(on_limit="rollover") as session:
        await session.send_audio(numbered(1))
        replaced = (await until(session, SessionReplaced))[-1]
        assert isinstance(replaced, SessionReplaced)
        assert replaced.reason == "context_full"
        await until(session, SessionCreated)
        assert session.metrics.kv_tokens is None


async def test_what_waits_meanwhile_is_sent_to_the_next_session_each_unit_once(clock: ManualClock) -> None:
    closing, release = asyncio.Event(), asyncio.Event()

    async def slow_goodbye(peer: Peer) -> None:
        await peer.begin()
        while (frame := await peer.hear())["type"] != "session.close":
            await peer.answer(frame)
        closing.set()
        await release.wait()
        await peer.say("session.closed", reason="time_limit")

    async with (
        gateway(slow_goodbye, listening) as found,
        client_of(found, clock).session(on_limit="rollover") as session,
    ):
        await session.send_audio(numbered(1) + numbered(2))
        await session.flush()
        await until(session, Listen)
        await until(session, Listen)
        await clock.advance_to(570.0)
        await closing.wait()
        await session.send_audio(numbered(3) + numbered(4))  # while nobody is there
        release.set()
        await until(session, SessionCreated)
        await session.send_audio(numbered(5))
        for _ in range(3):
            await until(session, Listen)
    assert [heard_by(peer) for peer in found.peers] == [[1, 2], [3, 4, 5]]


@pytest.mark.parametrize("reason", ["timeout", "context_full"])
async def test_where_the_server_is_quicker_the_units_without_an_answer_go_to_the_next_session(
    clock: ManualClock, reason: str
) -> None:
    async def quick(peer: Peer) -> None:
        await peer.begin()
        await peer.answer(await peer.hear("input.append"))
        await peer.hear("input.append")
        await peer.hear("input.append")
        await peer.say("session.closed", reason=reason)

    async with gateway(quick, listening) as found, client_of(found, clock).session(on_limit="rollover") as session:
        await session.send_audio(b"".join(map(numbered, (1, 2, 3))))
        seen = await until(session, SessionReplaced)
        await session.send_audio(numbered(4))
        for _ in range(3):
            seen += await until(session, Listen)
    answers = [event.input_id for event in seen if isinstance(event, Listen)]
    assert answers == ["in_1", "in_2", "in_3", "in_4"]
    assert heard_by(found.peers[1]) == [2, 3, 4]
    assert not [event for event in seen if isinstance(event, SessionClosed)]


async def test_who_sends_at_any_moment_of_a_takeover_is_not_refused(clock: ManualClock) -> None:
    async def brief(peer: Peer) -> None:
        await peer.begin()
        await peer.answer(await peer.hear("input.append"))
        await peer.hear("input.append")
        await peer.say("session.closed", reason="timeout")

    async def send(session: RealtimeSession) -> None:
        for _ in range(2000):
            if session.metrics.units_pending < 2:
                await session.send_audio(UNIT)
            else:
                session._engine.check(InputAppend(audio=b""))
            await asyncio.sleep(0)

    async with gateway(brief) as found, client_of(found, clock).session(on_limit="rollover") as session:
        sending = asyncio.create_task(send(session))
        answered = 0
        async for event in session:
            answered += isinstance(event, Listen)
            if answered >= 10 or sending.done():
                break
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        assert answered == 10


async def test_a_next_session_that_does_not_begin_ends_it_all(clock: ManualClock) -> None:
    async def full(peer: Peer) -> None:
        await peer.say("error", error={"code": "queue_full", "message": "full", "type": "server_error"})
        await peer.socket.close(1013)

    async with gateway(listening, full) as found:
        session = client_of(found, clock).session(on_limit="rollover")
        await session.__aenter__()
        await clock.advance_to(570.0)
        await until(session, SessionReplaced)
        with pytest.raises(errors.QueueFullError):
            await until(session, SessionCreated)
        with pytest.raises(errors.QueueFullError):
            await session.send_audio(UNIT)
        await session.close()


async def test_the_race_of_a_worker_that_is_not_free_yet_is_tried_again(clock: ManualClock) -> None:
    async def race(peer: Peer) -> None:
        await peer.say("session.queue_done")
        await peer.say("error", error={"code": "session_failed", "message": "HTTP 403", "type": "server_error"})

    async with (
        gateway(listening, race, listening) as found,
        client_of(found, clock, max_retries=1).session(on_limit="rollover") as session,
    ):
        await clock.advance_to(570.0)
        await until(session, SessionReplaced)
        await until(session, SessionCreated)
    assert len(found.peers) == 3


@pytest.mark.parametrize("when", ["leaving", "queued"])
async def test_a_session_can_be_closed_while_it_is_being_replaced(clock: ManualClock, when: str) -> None:
    there, left = asyncio.Event(), asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("session.close")
        if when == "leaving":
            there.set()
            await left.wait()
        await peer.say("session.closed", reason="time_limit")

    async def second(peer: Peer) -> None:
        await peer.say("session.queued", position=1, estimated_wait_s=1, ticket_id="q", queue_length=1)
        there.set()
        await peer.socket.wait_closed()

    async with gateway(first, second) as found:
        async with client_of(found, clock).session(on_limit="rollover"):
            await clock.advance_to(570.0)
            await there.wait()
            left.set()
        assert len(found.peers) == (1 if when == "leaving" else 2)


async def test_every_other_end_is_an_end_also_with_rollover(clock: ManualClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.say("session.closed", reason="backend_error", diagnostic={"message": "it broke"})

    async with gateway(script) as found:
        session = client_of(found, clock).session(on_limit="rollover")
        await session.__aenter__()
        with pytest.raises(errors.BackendError):
            await until(session, SessionReplaced)
        await session.close()
    assert len(found.peers) == 1
