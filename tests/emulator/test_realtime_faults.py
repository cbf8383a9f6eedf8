"""Faults of realtime sessions happen where they are asked for, and our own client tells each from the others."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from minicpm_core.emulator import SESSION_FAULTS, EmulatorServer, RealtimeEmulation
from minicpm_core.emulator.realtime.faults import PLACES, parse_session_fault
from minicpm_core.errors import ConfigurationError, MalformedReplyError
from minicpm_core.realtime import RealtimeClient, RealtimeTimeouts, errors, events
from tests.emulator.realtime import Caller, calling, tone

if TYPE_CHECKING:
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory

SHORT = RealtimeTimeouts(open=5, queue=5, init=5, idle=5, close=5)
STALLED = RealtimeTimeouts(open=0.3, queue=0.3, init=0.3, idle=0.3, close=0.3)
UNIT = bytes(32_000)

ENDS: dict[str, type[Exception]] = {
    "backend-error": errors.BackendError,
    "closed=context_full": errors.ContextFullError,
    "closed=server_shutdown": errors.ServerShutdownError,
    "closed=of-its-own": errors.SessionEndedError,
    "error=worker_busy": errors.WorkerBusyError,
    "error=not_ready": errors.SessionFailedError,
    "vanish": errors.ConnectionLostError,
    "worker-killed": errors.SessionFailedError,
    "unreachable": errors.SessionFailedError,
    "race": errors.SessionFailedError,
    "queue-full": errors.QueueFullError,
    "restart": errors.ServerShutdownError,
    "close=1013": errors.QueueFullError,
    "close=1001": errors.ServerShutdownError,
    "drop": errors.ConnectionLostError,
    "garbage": MalformedReplyError,
    "binary": MalformedReplyError,
    "untyped": MalformedReplyError,
    "misplaced": errors.UnexpectedEventError,
}


pytestmark = pytest.mark.usefixtures("no_task_is_left")


async def use(server: EmulatorServer, *, timeouts: RealtimeTimeouts = SHORT, **settings: Any) -> list[str]:
    """A session of three units; the names of its events."""
    given: dict[str, Any] = {"backoff": (0.0, 0.0), "max_retries": 0, **settings}
    client = RealtimeClient(base_url=server.realtime_url, timeouts=timeouts, **given)
    names: list[str] = []
    async with client.session() as session:
        await session.send_audio(UNIT * 3)
        while names.count("Listen") < 3:
            names.append(type(await anext(session)).__name__)
    return names


@pytest.mark.parametrize("place", ["queued", "assigned", "initialising", "active", "1", "3"])
@pytest.mark.parametrize("fault", ENDS)
async def test_every_end_in_every_state_is_its_own_error(
    minicpm_emulator: EmulatorServer, fault: str, place: str
) -> None:
    if fault == "misplaced" and place == "initialising":
        pytest.skip("There it is the session's beginning.")
    minicpm_emulator.inject_realtime(f"{fault}; at={place}")
    with pytest.raises(ENDS[fault]) as ended:
        await use(minicpm_emulator)
    assert type(ended.value) is ENDS[fault]
    assert len(await use(minicpm_emulator)) == 5  # and the next session is a good one


@pytest.mark.parametrize("fault", ["bad-audio", "cut-audio"])
async def test_broken_speech_is_refused(minicpm_emulator: EmulatorServer, fault: str) -> None:
    minicpm_emulator.inject_realtime(f"{fault}; at=2")
    with pytest.raises(MalformedReplyError):
        await use(minicpm_emulator)


@pytest.mark.parametrize("fault", ["stall", "half-open"])
@pytest.mark.parametrize(
    ("place", "phase"),
    [("connecting", "open"), ("queued", "queue"), ("assigned", "init"), ("initialising", "init"), ("2", "idle")],
)
async def test_a_stall_is_told_by_its_step(
    minicpm_emulator: EmulatorServer, fault: str, place: str, phase: str
) -> None:
    minicpm_emulator.inject_realtime(f"{fault}; at={place}")
    with pytest.raises(errors.RealtimeTimeoutError) as late:
        await use(minicpm_emulator, timeouts=STALLED)
    assert late.value.phase == phase


@pytest.mark.parametrize("fault", ["stall", "half-open"])
async def test_a_goodbye_can_stall(minicpm_emulator: EmulatorServer, fault: str) -> None:
    minicpm_emulator.inject_realtime(f"{fault}; at=closing")
    with pytest.raises(errors.RealtimeTimeoutError) as late:
        await use(minicpm_emulator, timeouts=STALLED)
    assert late.value.phase == "close"


async def test_a_stalled_connection_answers_pings_and_a_half_open_one_does_not(
    minicpm_emulator: EmulatorServer,
) -> None:
    async with calling(minicpm_emulator, query="&fault=stall;at=active".replace(";", "%3B")) as caller:
        await caller.begin()
        await (await caller.socket.ping())
    async with calling(minicpm_emulator, query="&fault=half-open%3Bat=active") as caller:
        await caller.begin()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await (await caller.socket.ping())
        caller.socket.transport.abort()


async def test_a_race_is_over_at_the_next_try(minicpm_emulator: EmulatorServer) -> None:
    minicpm_emulator.inject_realtime("race")
    assert await use(minicpm_emulator, max_retries=1) == ["QueueDone", "SessionCreated", *["Listen"] * 3]
    assert [session.ended for session in minicpm_emulator.sessions] == ["race", "user_stop"]


@pytest.mark.parametrize(("fault", "status"), [("refuse", 403), ("refuse=503", 503), ("vanish; at=connecting", 403)])
async def test_a_handshake_can_be_refused(minicpm_emulator: EmulatorServer, fault: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with calling(minicpm_emulator, headers={"X-Emulator-Fault": fault}):
            pass
    assert refused.value.response.status_code == status


async def test_a_handshake_can_be_dropped(minicpm_emulator: EmulatorServer) -> None:
    with pytest.raises((InvalidMessage, ConnectionError, EOFError)):
        async with calling(minicpm_emulator, headers={"X-Emulator-Fault": "drop; at=connecting"}):
            pass


@pytest.mark.parametrize(
    ("fault", "frames", "code"),
    [
        ("vanish", [], 1000),
        ("restart", [], 1012),
        ("queue-full", [("error", "queue_full")], 1013),
        ("worker-killed", [("error", "session_failed")], 1000),
        ("backend-error", [("session.closed", "backend_error")], 1000),
        ("drop", [], 1006),
    ],
)
async def test_what_is_said_and_how_it_closes(
    minicpm_emulator: EmulatorServer, fault: str, frames: list[tuple[str, str]], code: int
) -> None:
    async with calling(minicpm_emulator, query=f"&fault={fault}%3Bat=active") as caller:
        await caller.begin()
        told, closed = await caller.end()
    assert [(frame["type"], frame.get("reason") or frame["error"]["code"]) for frame in told] == frames
    assert closed == code
    assert minicpm_emulator.sessions[-1].close_code == (None if code == 1006 else code)


async def test_one_can_be_made_to_wait(minicpm_emulator: EmulatorServer) -> None:
    told: list[events.QueueUpdate] = []
    minicpm_emulator.inject_realtime("queue")
    client = RealtimeClient(base_url=minicpm_emulator.realtime_url, timeouts=SHORT)
    async with client.session(on_queue=told.append) as session:
        assert session.state == "active"
    assert [update.position for update in told] == [1]


async def test_what_nobody_knows_makes_no_difference(minicpm_emulator: EmulatorServer) -> None:
    minicpm_emulator.inject_realtime("future; slow=0.01")
    names = await use(minicpm_emulator)
    assert [name for name in names if name != "UnknownEvent"] == ["QueueDone", "SessionCreated", *["Listen"] * 3]
    assert "UnknownEvent" in names


async def answered(caller: Caller, units: int = 24) -> list[dict[str, Any]]:
    """The deltas of an answer, and what follows it."""
    await caller.begin(**({} if caller.generation == 1 else {"config": {"force_listen_count": 0}}))
    await caller.unit(tone(440))
    for _ in range(units):
        await caller.unit()
    await caller.say("session.close")
    found, _ = await caller.end()
    return found


async def test_a_done_may_come_after_each_turn(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator, query="&fault=done") as caller:
        frames = await answered(caller)
    assert [frame["type"] for frame in frames].count("response.done") == 1


async def test_an_answer_may_be_mute(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator, query="&fault=mute") as caller:
        frames = await answered(caller)
    assert {frame.get("kind") for frame in frames} == {"listen", "text", None}


async def test_the_memory_grows_beyond_its_window_and_may_slide(minicpm_emulator: EmulatorServer) -> None:
    async def lengths(fault: str) -> list[int]:
        async with calling(minicpm_emulator, query=f"&fault={fault}") as caller:
            created = await caller.begin()
            for _ in range(3):
                await caller.unit()
            deltas = [await caller.hear() for _ in range(3)]
        return [frame["metrics"]["kv_cache_length"] for frame in (created, *deltas)]

    assert await lengths("context=8000%3Bgrowth=100") == [8000, 8117, 8234, 8351]
    assert await lengths("context=8000%3Bgrowth=100%3Bslide") == [8000, 8117, 4117, 4234]


async def test_a_session_can_be_short(minicpm_emulator: EmulatorServer) -> None:
    minicpm_emulator.inject_realtime("limit=0.05")
    client = RealtimeClient(base_url=minicpm_emulator.realtime_url, timeouts=SHORT)
    async with client.session() as session:
        with pytest.raises(errors.SessionTimeLimitError):
            async for _ in session:
                pass


# --- The first generation -------------------------------------------------------------------------------------------


@pytest.fixture
def old(minicpm_emulator_factory: EmulatorFactory) -> EmulatorServer:
    return minicpm_emulator_factory(realtime=RealtimeEmulation(generation=1))


async def test_the_first_generation_goes_on_after_an_error(old: EmulatorServer) -> None:
    async with calling(old, generation=1, query="&fault=error=inference_failed%3Bat=2") as caller:
        await caller.begin()
        for _ in range(3):
            await caller.unit()
        frames = [json.loads(await caller.socket.recv()) for _ in range(3)]
    assert [frame["type"] for frame in frames] == ["response.listen", "error", "response.listen"]


async def test_the_first_generation_goes_on_after_its_memory_is_full(old: EmulatorServer) -> None:
    async with calling(old, generation=1, query="&fault=context=8170") as caller:
        await caller.begin()
        for _ in range(3):
            await caller.unit()
        frames = [await caller.hear() for _ in range(4)]
    assert [frame["type"] for frame in frames] == [
        "response.listen", "response.listen", "session.closed", "response.listen",
    ]  # fmt: skip
    assert frames[2]["reason"] == "context_full"


async def test_the_first_generation_s_speech_may_be_null(old: EmulatorServer) -> None:
    async with calling(old, generation=1, query="&fault=mute") as caller:
        await caller.begin()
        for audio in (tone(440), *[bytes(64_000)] * 3):
            await caller.unit(audio)
        frames = [json.loads(await caller.socket.recv()) for _ in range(4)]
    assert frames[-1]["text"].startswith("I am")
    assert frames[-1]["audio"] is None


@pytest.mark.parametrize("fault", ["vanish", "drop"])
async def test_the_first_generation_s_worker_dies_without_a_close_frame(old: EmulatorServer, fault: str) -> None:
    async with calling(old, generation=1, query=f"&fault={fault}") as caller:
        await caller.begin()
        await caller.unit()
        with pytest.raises(ConnectionClosed):
            await caller.socket.recv()
    assert caller.socket.close_code == 1006


# --- Asking for them ------------------------------------------------------------------------------------------------


async def test_a_server_can_have_a_fault_of_its_own(minicpm_emulator_factory: EmulatorFactory) -> None:
    server = minicpm_emulator_factory(realtime=RealtimeEmulation(fault="vanish; at=active"))
    for _ in range(2):
        with pytest.raises(errors.ConnectionLostError):
            await use(server)


async def test_a_fault_that_waits_can_be_forgotten(minicpm_emulator: EmulatorServer) -> None:
    minicpm_emulator.inject_realtime("vanish", times=3)
    minicpm_emulator.reset()
    assert len(await use(minicpm_emulator)) == 5


@pytest.mark.parametrize(
    "fault",
    ["explode", "close", "close=99", "close=many", "slow=nan", "growth=1.5", "vanish; at=lunch", "vanish; at=0",
     "vanish; drop", "refuse=200"],
)  # fmt: skip
async def test_a_fault_that_does_not_exist_is_said_plainly(minicpm_emulator: EmulatorServer, fault: str) -> None:
    with pytest.raises(ConfigurationError):
        minicpm_emulator.inject_realtime(fault)
    with pytest.raises(InvalidStatus) as refused:
        async with calling(minicpm_emulator, headers={"X-Emulator-Fault": fault}):
            pass
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize("name", SESSION_FAULTS)
def test_every_fault_of_the_table_can_be_asked_for(name: str) -> None:
    fault = SESSION_FAULTS[name]
    value = "" if fault.words or fault.default is not None else f"={fault.lowest:g}"
    plan = parse_session_fault(f" {name}{value} ;")
    assert (fault.at in plan.strikes) == (fault.at is not None)
    for place in PLACES if fault.at is not None and name != "refuse" else ():
        assert parse_session_fault(f"{name}{value}; at={place}").strikes == {place: name}
