"""How a session ends badly: each way its own error, within its timeout, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.errors import ConfigurationError, InvalidInputError, MalformedReplyError
from minicpm_core.realtime import errors, events
from minicpm_core.realtime.client import RealtimeClient
from minicpm_core.realtime.settings import RealtimeTimeouts, address
from tests.realtime.gateway import Gateway, Peer, gateway, stall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

UNIT = bytes(32_000)
SHORT = RealtimeTimeouts(open=5, queue=0.2, init=0.2, idle=0.2, close=0.2)


pytestmark = pytest.mark.usefixtures("no_task_is_left")


def client_of(found: Gateway, **settings: Any) -> RealtimeClient:
    given: dict[str, Any] = {"backoff": (0.0, 0.0), "max_retries": 0, **settings}
    return RealtimeClient(base_url=found.url, **given)


async def use(client: RealtimeClient, *, units: int = 1, listen: bool = True) -> None:
    """Send some sound, and listen until the session ends."""
    async with client.session() as session:
        if units:
            await session.send_audio(UNIT * units)
        if listen:
            async for event in session:
                assert not isinstance(event, events.OutputDelta | events.UnknownEvent)


async def _nothing(peer: Peer) -> None:
    """Leave the state as it is."""


async def _queued(peer: Peer) -> None:
    await peer.say("session.queued", position=1, estimated_wait_s=1, ticket_id="q", queue_length=1)


async def _initialising(peer: Peer) -> None:
    await peer.say("session.queue_done")
    await peer.hear("session.init")


async def _active(peer: Peer) -> None:
    await peer.begin()
    await peer.hear("input.append")


_PLACES = {"connecting": _nothing, "queued": _queued, "initialising": _initialising, "active": _active}


async def _lose(peer: Peer) -> None:
    peer.socket.transport.abort()


async def _close_cleanly(peer: Peer) -> None:
    await peer.socket.close()


async def _restart(peer: Peer) -> None:
    await peer.socket.close(1012)


async def _full(peer: Peer) -> None:
    await peer.say("error", error={"code": "queue_full", "message": "full", "type": "server_error"})
    await peer.socket.close(1013)


async def _fail(peer: Peer) -> None:
    await peer.say("error", error={"code": "session_failed", "message": "no close frame", "type": "server_error"})
    await peer.socket.close()


async def _backend(peer: Peer) -> None:
    await peer.say("session.closed", reason="backend_error", diagnostic={"message": "it broke"})
    await peer.socket.close()


async def _limit(peer: Peer) -> None:
    await peer.say("session.closed", reason="timeout")
    await peer.socket.close()


async def _garble(peer: Peer) -> None:
    await peer.socket.send("{not json")
    await stall(peer)


_ENDS: dict[Callable[[Peer], Awaitable[None]], type[Exception]] = {
    _lose: errors.ConnectionLostError,
    _close_cleanly: errors.ConnectionLostError,
    _restart: errors.ServerShutdownError,
    _full: errors.QueueFullError,
    _fail: errors.SessionFailedError,
    _backend: errors.BackendError,
    _limit: errors.SessionTimeLimitError,
    _garble: MalformedReplyError,
    stall: errors.RealtimeTimeoutError,
}


@pytest.mark.parametrize("place", _PLACES)
@pytest.mark.parametrize("end", _ENDS, ids=lambda end: end.__name__.strip("_"))
async def test_every_end_in_every_state_is_its_own_error(place: str, end: Callable[[Peer], Awaitable[None]]) -> None:
    async def script(peer: Peer) -> None:
        await _PLACES[place](peer)
        await end(peer)

    async with gateway(script) as found:
        with pytest.raises(_ENDS[end]) as caught:
            await use(client_of(found, timeouts=SHORT))
    assert type(caught.value) is _ENDS[end]
    assert session_is_over(found)


def session_is_over(found: Gateway) -> bool:
    return all(peer.socket.close_code is not None for peer in found.peers)


@pytest.mark.parametrize(("place", "phase"), [("queued", "queue"), ("initialising", "init"), ("active", "idle")])
async def test_a_stall_is_told_by_the_step_that_it_happened_in(place: str, phase: str) -> None:
    async def script(peer: Peer) -> None:
        await _PLACES[place](peer)
        await stall(peer)

    async with gateway(script) as found:
        with pytest.raises(errors.RealtimeTimeoutError) as caught:
            await use(client_of(found, timeouts=SHORT))
    assert caught.value.phase == phase


async def test_a_server_that_takes_no_handshake_is_given_up() -> None:
    takers: list[asyncio.Task[Any] | None] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        takers.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = RealtimeClient(
            base_url=f"ws://127.0.0.1:{port}", timeouts=RealtimeTimeouts(open=0.1), max_retries=1, backoff=(0.0, 0.0)
        )
        with pytest.raises(errors.RealtimeTimeoutError) as caught:
            await use(client)
        await asyncio.gather(*[taker for taker in takers if taker])  # the client has let go of both connections
    assert (caught.value.phase, caught.value.attempts) == ("open", 2)


async def test_silence_is_no_stall_where_nothing_was_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.until_closed()

    async with gateway(script) as found, client_of(found, timeouts=SHORT).session() as session:
        assert [type(await anext(session)).__name__ for _ in range(2)] == ["QueueDone", "SessionCreated"]
        waiting = asyncio.create_task(anext(session))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done
        await session.send_audio(UNIT)
        assert isinstance(await waiting, events.Listen)


async def test_a_unit_that_is_never_answered_is_noticed_after_others_were() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        first = await peer.hear("input.append")
        await peer.hear("input.append")
        await peer.say("response.done", text="", input_id=first["input"]["input_id"])
        await stall(peer)

    async with gateway(script) as found:
        with pytest.raises(errors.RealtimeTimeoutError, match="No answer"):
            await use(client_of(found, timeouts=SHORT), units=2)


async def test_a_server_that_does_not_say_goodbye_is_cut_off() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await stall(peer)

    async with gateway(script) as found:
        with pytest.raises(errors.RealtimeTimeoutError) as caught:
            await use(client_of(found, timeouts=SHORT), units=0, listen=False)
    assert caught.value.phase == "close"
    assert session_is_over(found)


async def test_a_goodbye_without_an_end_of_the_connection_is_good_enough() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.until_closed()
        await stall(peer)

    async with gateway(script) as found:
        async with client_of(found, timeouts=SHORT).session() as session:
            pass
        assert session.state == "closed"


async def test_an_end_that_nobody_was_told_of_is_told_when_the_session_is_left() -> None:
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await _limit(peer)
        ended.set()

    async def leave(found: Gateway) -> None:
        async with client_of(found).session():
            await ended.wait()

    async with gateway(script) as found:
        with pytest.raises(errors.SessionTimeLimitError):
            await leave(found)


async def test_who_sends_is_told_why_it_cannot_be() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await _backend(peer)

    async def send_for_ever(found: Gateway) -> None:
        async with client_of(found).session() as session:
            while True:
                await session.send_audio(UNIT)
                await session.flush()

    async with gateway(script) as found:
        with pytest.raises(errors.BackendError, match="it broke"):
            await send_for_ever(found)


# --- Trying again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [_fail, _lose, _close_cleanly, _restart, _full])
async def test_a_session_that_does_not_begin_is_tried_again(end: Callable[[Peer], Awaitable[None]]) -> None:
    async def race(peer: Peer) -> None:
        await peer.say("session.queue_done")
        await end(peer)

    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.until_closed()

    async with gateway(race, race, script) as found, client_of(found, max_retries=2).session() as session:
        kinds = [type(await anext(session)).__name__ for _ in range(2)]
    assert kinds == ["QueueDone", "SessionCreated"]
    assert len(found.peers) == 3


async def test_the_last_try_s_error_is_raised_and_says_how_many_there_were() -> None:
    async with gateway(_fail) as found:
        with pytest.raises(errors.SessionFailedError) as caught:
            await use(client_of(found, max_retries=2))
    assert (caught.value.attempts, len(found.peers)) == (3, 3)


async def test_a_session_that_had_begun_is_never_begun_again() -> None:
    async def script(peer: Peer) -> None:
        await _active(peer)
        await _fail(peer)

    async with gateway(script) as found:
        with pytest.raises(errors.SessionFailedError):
            await use(client_of(found, max_retries=5))
    assert len(found.peers) == 1


async def test_what_does_not_pass_is_not_tried_again() -> None:
    async with gateway(_backend) as found:
        with pytest.raises(errors.BackendError):
            await use(client_of(found, max_retries=5))
    assert len(found.peers) == 1


async def _http(status: int) -> tuple[asyncio.Server, list[int]]:
    asked: list[int] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.append(status)
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    return await asyncio.start_server(refuse, "127.0.0.1", 0), asked


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (404, 1), (503, 3)])
async def test_a_refused_handshake_has_its_status(status: int, tries: int) -> None:
    server, asked = await _http(status)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = RealtimeClient(base_url=url, max_retries=2, backoff=(0.0, 0.0))
        with pytest.raises(errors.SessionRejectedError) as caught:
            await use(client)
    assert (caught.value.status_code, len(asked)) == (status, tries)


async def test_no_server_is_an_error_of_its_own() -> None:
    server, _ = await _http(403)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(errors.NotConnectedError):
        await use(RealtimeClient(base_url=f"ws://127.0.0.1:{port}", max_retries=0))


async def test_a_message_beyond_the_bound_is_refused() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.socket.send(json.dumps({"type": "new", "text": "x" * 5000}))
        await stall(peer)

    async with gateway(script) as found:
        with pytest.raises(errors.RealtimeError, match="max_message_bytes"):
            await use(client_of(found, max_message_bytes=4096), units=0)


async def test_a_key_that_a_server_repeats_is_not_shown() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.say("session.closed", reason="backend_error", diagnostic={"message": "bad key a-key-of-mine"})

    async with gateway(script) as found:
        with pytest.raises(errors.BackendError) as caught:
            await use(client_of(found, api_key="a-key-of-mine"))
    assert "a-key-of-mine" not in f"{caught.value} {caught.value.diagnostic}"


# --- Cancellation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", _PLACES)
async def test_a_session_can_be_cancelled_in_every_state(place: str) -> None:
    there = asyncio.Event()

    async def script(peer: Peer) -> None:
        await _PLACES[place](peer)
        there.set()
        await peer.socket.wait_closed()

    async with gateway(script) as found:
        task = asyncio.create_task(use(client_of(found)))
        await there.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await found.peers[0].socket.wait_closed()


async def test_a_goodbye_can_be_cancelled() -> None:
    there = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("session.close")
        there.set()
        await peer.socket.wait_closed()

    async with gateway(script) as found:
        task = asyncio.create_task(use(client_of(found), units=0, listen=False))
        await there.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await found.peers[0].socket.wait_closed()


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_of_two_who_close_one_can_be_cancelled(cancelled: int) -> None:
    said, go_on = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("session.close")
        said.set()
        await go_on.wait()
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, client_of(found).session() as session:
        closing = [asyncio.create_task(session.close()) for _ in range(2)]
        await said.wait()
        closing.pop(cancelled).cancel()
        go_on.set()
        await closing[0]
        assert session.state == "closed"
    assert session_is_over(found)


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("wss://host", "wss://host/v1/realtime?mode=audio"),
        ("https://host/", "wss://host/v1/realtime?mode=audio"),
        ("http://host:8006/v1", "ws://host:8006/v1/realtime?mode=audio"),
        ("ws://[::1]:8006/proxy/v1/realtime/", "ws://[::1]:8006/proxy/v1/realtime?mode=audio"),
    ],
)
def test_addresses_are_completed(given: str, url: str) -> None:
    assert address(given, "audio") == url


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host", "ws://", "ws://host:99999", "ws://u:p@host", "ws://host?mode=chat", None, 5]
)
def test_what_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        RealtimeClient(base_url=url)


@pytest.mark.parametrize(
    "settings",
    [{"generation": 3}, {"max_retries": -1}, {"max_pending_units": 0}, {"max_message_bytes": 1.5}, {"backoff": (2, 1)}],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RealtimeClient(**settings)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5"])
def test_impossible_timeouts_are_refused(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"timeouts\.idle"):
        RealtimeTimeouts(idle=seconds)


def test_there_are_three_modes() -> None:
    mode: Any = "foo"
    with pytest.raises(ConfigurationError, match="audio, video, chat"):
        RealtimeClient().session(mode=mode)


async def test_interrupting_a_chat_is_refused() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.until_closed()

    async with gateway(script) as found, client_of(found).session(mode="chat") as session:
        with pytest.raises(InvalidInputError):
            await session.interrupt()
