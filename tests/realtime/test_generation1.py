"""Sessions of the first generation, whose servers name no unit: one message answers one."""

from __future__ import annotations

import asyncio
import base64
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.emulator import RealtimeEmulation
from minicpm_core.realtime import (
    ErrorEvent,
    Listen,
    RealtimeClient,
    RealtimeLimits,
    RealtimeTimeoutError,
    RealtimeTimeouts,
    SessionReplaced,
    SystemClock,
    TextDelta,
)
from tests.realtime.clock import ManualClock
from tests.realtime.gateway import Gateway, Peer, gateway

if TYPE_CHECKING:
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from minicpm_core.realtime import RealtimeSession, ServerEvent


pytestmark = pytest.mark.usefixtures("no_task_is_left")


def client_of(found: Gateway, **settings: Any) -> RealtimeClient:
    given: dict[str, Any] = {"backoff": (0.0, 0.0), "max_retries": 0, **settings}
    return RealtimeClient(base_url=found.url, generation=1, **given)


def numbered(*numbers: int) -> bytes:
    return b"".join(array("h", [number] * 16_000).tobytes() for number in numbers)


def heard_by(peer: Peer) -> list[int]:
    units = [frame for frame in peer.heard if frame["type"] == "input_audio_buffer.append"]
    return [round(array("f", base64.b64decode(unit["audio"]))[0] * 32768) for unit in units]


async def repeating(peer: Peer) -> None:
    """Say the number of each unit, and end as the gateways do: without a close frame."""
    await peer.begin()
    while (await peer.hear())["type"] != "session.close":
        await say_the_last(peer)
    await peer.say("session.closed", reason="stopped")
    peer.socket.transport.abort()


async def say_the_last(peer: Peer) -> None:
    text = str(heard_by(peer)[-1])
    await peer.say("response.output_audio.delta", text=text, audio=None, end_of_turn=True, kv_cache_length=9)


async def until(session: RealtimeSession, kind: type[ServerEvent], count: int = 1) -> list[ServerEvent]:
    seen: list[ServerEvent] = []
    async for event in session:
        seen.append(event)
        count -= isinstance(event, kind)
        if not count:
            break
    return seen


def numbers_in(seen: list[ServerEvent]) -> list[int]:
    return [int(event.text) for event in seen if isinstance(event, TextDelta)]


async def test_another_session_takes_over_and_is_announced() -> None:
    clock = ManualClock()
    async with gateway(repeating, generation=1) as found:
        async with client_of(found, clock=clock).session(on_limit="rollover") as session:
            await session.send_audio(numbered(1, 2))
            seen = await until(session, Listen, 2)
            await clock.advance_to(570.0)
            seen += await until(session, SessionReplaced)
            await session.send_audio(numbered(3))
            seen += await until(session, Listen)
        assert session.metrics.replaced == 1
    assert numbers_in(seen) == [1, 2, 3]
    assert [heard_by(peer) for peer in found.peers] == [[1, 2], [3]]


@pytest.mark.parametrize("reason", ["timeout", "context_full"])
async def test_where_the_server_is_quicker_each_unit_is_answered_once_all_the_same(reason: str) -> None:
    async def quick(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("input_audio_buffer.append")
        await say_the_last(peer)
        for _ in range(2):
            await peer.hear("input_audio_buffer.append")
        await peer.say("session.closed", reason=reason)

    async with (
        gateway(quick, repeating, generation=1) as found,
        client_of(found, clock=ManualClock()).session(on_limit="rollover") as session,
    ):
        await session.send_audio(numbered(1, 2, 3))
        seen = await until(session, Listen, 3)
    assert numbers_in(seen) == [1, 2, 3]
    assert [heard_by(peer) for peer in found.peers] == [[1, 2, 3], [2, 3]]


async def test_an_error_and_speech_without_a_sound_answer_a_unit_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear()
        await peer.say("error", error={"code": "inference_failed", "message": "m", "type": "server_error"})
        await peer.hear()
        await peer.say("response.output_audio.delta", text="", audio=None, end_of_turn=False, kv_cache_length=1)
        await peer.say("session.novelty")  # which answers nothing
        await peer.hear()
        await peer.say("response.listen", kv_cache_length=2)
        await peer.hear("session.close")
        await peer.say("session.closed", reason="stopped")
        peer.socket.transport.abort()

    async with gateway(script, generation=1) as found, client_of(found).session() as session:
        await session.send_audio(numbered(1, 2, 3))
        reading = asyncio.create_task(until(session, Listen))
        await session.answered()
        seen = await reading
        assert session.metrics.units_unanswered == 0
    assert len([event for event in seen if isinstance(event, ErrorEvent)]) == 1


async def test_a_unit_that_is_never_answered_is_noticed_after_others_were() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear()
        await peer.hear()
        await say_the_last(peer)
        await peer.socket.wait_closed()

    async def use(found: Gateway) -> None:
        async with client_of(found, timeouts=RealtimeTimeouts(idle=0.2)).session() as session:
            await session.send_audio(numbered(1, 2))
            await until(session, SessionReplaced)

    async with gateway(script, generation=1) as found:
        with pytest.raises(RealtimeTimeoutError) as caught:
            await use(found)
    assert caught.value.phase == "idle"


async def test_a_conversation_goes_on_over_the_limits_of_the_emulator(
    minicpm_emulator_factory: EmulatorFactory,
) -> None:
    server = minicpm_emulator_factory(realtime=RealtimeEmulation(generation=1, speed=20))
    client = RealtimeClient(
        base_url=server.realtime_url,
        generation=1,
        clock=SystemClock(speed=20),
        limits=RealtimeLimits(audio_seconds=30, early_seconds=20),
        backoff=(0.0, 0.1),
    )
    answers = 0
    async with client.session(on_limit="rollover", silence_fill=600) as session:
        await session.send_audio(bytes(32_000))
        async for event in session:
            answers += isinstance(event, Listen)
            if session.metrics.replaced == 2 and isinstance(event, Listen):
                break
    first, second, third = server.sessions
    assert [first.ended, second.ended, third.ended] == ["stopped"] * 3
    assert answers <= first.count + second.count + third.count <= answers + 2
