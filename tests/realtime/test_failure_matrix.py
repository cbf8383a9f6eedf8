"""Each failure in each state: the right error, before the timeout of that step is long over, and nothing left behind.

Against the emulator, which can do to a connection what a script on a WebSocket server cannot: fall silent on the level
of TCP, or vanish in the middle of a handshake.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.emulator import EmulatorServer, RealtimeEmulation
from minicpm_core.realtime import (
    ConnectionLostError,
    Listen,
    NotConnectedError,
    QueueFullError,
    RealtimeClient,
    RealtimeError,
    RealtimeLimits,
    RealtimeTimeoutError,
    RealtimeTimeouts,
    ServerShutdownError,
    SessionFailedError,
    SessionRejectedError,
    SessionReplaced,
    SystemClock,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

UNIT = bytes(32_000)
TIMEOUTS = RealtimeTimeouts(open=30, queue=30, init=30, idle=30, close=30)
SHORT = 0.5
PATIENCE = 20.0
"""Seconds for all of a session, of which one step has the short timeout: less than any other step's timeout."""

PLACES = ("connecting", "queued", "assigned", "initialising", "active", "closing")
PHASES: dict[str, str] = dict(zip(PLACES, ("open", "queue", "init", "init", "idle", "close"), strict=True))
"""Whose timeout it is. A worker is there in `assigned`: what is missing is the session."""

AFTER_THE_HANDSHAKE: dict[str, type[RealtimeError]] = {
    "drop": ConnectionLostError,
    "vanish": ConnectionLostError,
    "worker-killed": SessionFailedError,
    "restart": ServerShutdownError,
    "queue-full": QueueFullError,
    "close=1013": QueueFullError,
    "stall": RealtimeTimeoutError,
    "half-open": RealtimeTimeoutError,
}
BEFORE_IT: dict[str, type[RealtimeError]] = {
    **dict.fromkeys(AFTER_THE_HANDSHAKE, SessionRejectedError),
    "drop": NotConnectedError,
    "stall": RealtimeTimeoutError,
    "half-open": RealtimeTimeoutError,
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


pytestmark = pytest.mark.usefixtures("no_task_is_left")


async def use(client: RealtimeClient, place: str, **options: Any) -> None:
    """As far as `closing`, or until the session ends."""
    async with asyncio.timeout(PATIENCE), client.session(**options) as session:
        await session.send_audio(UNIT)
        async for event in session:
            if isinstance(event, Listen) and place == "closing":
                break


@pytest.mark.parametrize("on_limit", ["close", "rollover"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", AFTER_THE_HANDSHAKE)
async def test_each_failure_in_each_state_is_its_own_error(
    emulator: EmulatorServer, fault: str, place: str, on_limit: str
) -> None:
    emulator.reset()
    emulator.inject_realtime(f"{fault}; at={place}")
    timeouts = replace(TIMEOUTS, **({PHASES[place]: SHORT} if fault in {"stall", "half-open"} else {}))
    client = RealtimeClient(base_url=emulator.realtime_url, timeouts=timeouts, max_retries=0)
    with pytest.raises(RealtimeError) as caught:
        await use(client, place, on_limit=on_limit)
    assert type(caught.value) is (BEFORE_IT if place == "connecting" else AFTER_THE_HANDSHAKE)[fault]
    if isinstance(caught.value, RealtimeTimeoutError):
        assert caught.value.phase == PHASES[place]
    assert caught.value.state
    assert len(emulator.sessions) <= 1  # 0 where a busy machine had not come to it before the timeout


@pytest.mark.parametrize("place", PLACES[:5])
@pytest.mark.parametrize("fault", AFTER_THE_HANDSHAKE)
async def test_each_failure_of_a_session_that_takes_over_is_the_error_of_it_all(
    emulator: EmulatorServer, fault: str, place: str
) -> None:
    emulator.reset()
    emulator.inject_realtime("closed=timeout; at=1")
    emulator.inject_realtime(f"{fault}; at={place}")
    timeouts = replace(TIMEOUTS, **({PHASES[place]: SHORT} if fault in {"stall", "half-open"} else {}))
    client = RealtimeClient(base_url=emulator.realtime_url, timeouts=timeouts, max_retries=0)
    with pytest.raises(RealtimeError) as caught:
        await use(client, place, on_limit="rollover")
    assert type(caught.value) is (BEFORE_IT if place == "connecting" else AFTER_THE_HANDSHAKE)[fault]
    if isinstance(caught.value, RealtimeTimeoutError):
        assert caught.value.phase == PHASES[place]


@pytest.mark.parametrize("place", PLACES[:4])
async def test_a_failure_before_the_session_begins_is_got_over_by_trying_again(
    emulator: EmulatorServer, place: str
) -> None:
    emulator.reset()
    emulator.inject_realtime(f"drop; at={place}")
    client = RealtimeClient(base_url=emulator.realtime_url, timeouts=TIMEOUTS, max_retries=1, backoff=(0.0, 0.0))
    await use(client, "closing")
    assert len(emulator.sessions) == 2


@pytest.mark.parametrize("fault", ["stall", "half-open"])
async def test_a_connection_that_falls_silent_while_a_rollover_says_goodbye_does_not_hold_it_up(
    emulator: EmulatorServer, fault: str
) -> None:
    emulator.reset()
    emulator.inject_realtime(f"{fault}; at=closing")
    client = RealtimeClient(
        base_url=emulator.realtime_url,
        timeouts=replace(TIMEOUTS, close=SHORT),
        limits=RealtimeLimits(audio_seconds=20.0, early_seconds=10.0),
        clock=SystemClock(speed=100.0),
    )
    async with asyncio.timeout(PATIENCE), client.session(on_limit="rollover") as session:
        await session.send_audio(UNIT)
        async for event in session:
            if isinstance(event, SessionReplaced):
                break


def _serve(parent: Connection) -> None:
    """An emulator for each place, that stalls there."""
    with ExitStack() as stack:
        faults = [RealtimeEmulation(fault=f"stall; at={place}") for place in PLACES[1:]]
        servers = [stack.enter_context(EmulatorServer(realtime=fault)) for fault in faults]
        parent.send([server.realtime_url for server in servers])
        while not all(server.sessions and server.sessions[-1].ended == "stall" for server in servers):
            time.sleep(0.01)
        parent.send("All sessions are where they were to come.")
        signal.pause()


async def test_a_server_that_is_killed_is_a_lost_connection_wherever_that_is() -> None:
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,))
    process.start()
    urls = await asyncio.to_thread(here.recv)
    clients = [RealtimeClient(base_url=url, timeouts=TIMEOUTS, max_retries=0) for url in urls]
    tasks = [asyncio.create_task(use(client, place)) for client, place in zip(clients, PLACES[1:], strict=True)]
    await asyncio.to_thread(here.recv)
    os.kill(process.pid or 0, signal.SIGKILL)
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.to_thread(process.join)
    assert [type(error) for error in errors] == [ConnectionLostError] * 5
    states = [error.state for error in errors if isinstance(error, RealtimeError)]
    assert states == ["queued", "initialising", "initialising", "active", "closing"]
