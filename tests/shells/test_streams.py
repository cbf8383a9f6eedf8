"""Streams: what ends them, and what becomes of their connection."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient, _pools
from tests.shells.support import DONE, HELLO, KEY, pieces, streamed
from tests.support.server import Endless, ScriptedServer, Wait, completion, events, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core import AsyncCompletionStream, CompletionStream
    from tests.shells.support import Shell
    from tests.support.server import Answer

HELD = events([pieces("Hel")[0], Wait()])
"""A stream whose server has more to say, but waits."""
MANY = 200


def reused(server: ScriptedServer) -> bool:
    """Whether the server saw one connection, and it is open."""
    return (server.opened, server.open_now) == (1, 1)


async def test_each_delta_comes_as_soon_as_it_was_sent(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [events([pieces("Hel")[0], Wait(), *pieces("lo.")])]
    stream = await shell.stream()
    assert (await shell.next(stream)).text == "Hel"
    assert stream.partial.choices[0].text == "Hel"
    server.release()
    rest = await shell.rest(stream)
    assert [delta.text for delta in rest] == ["lo.", ""]
    assert rest[-1].final == stream.partial


async def test_a_stream_that_was_read_keeps_its_connection(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [streamed("Hel", "lo.")]
    for _ in range(5):
        await shell.deltas()
    assert reused(server)


async def test_also_where_the_end_comes_a_little_later(shell: Shell, server: ScriptedServer) -> None:
    """The final delta is there at once; the end of the HTTP answer is waited for afterwards."""
    server.answers[:] = [[*events(pieces("Hello."), end=False), Wait(), b"0\r\n\r\n"]]
    for _ in range(3):
        stream = await shell.stream()
        assert (await shell.next(stream)).text == "Hello."
        assert (await shell.next(stream)).final is not None
        server.release()
        assert await shell.rest(stream) == []
    assert reused(server)


ENDLESS: dict[str, Answer] = {
    "nothing more": [*events(pieces("Hello."), end=False), Wait()],
    "half an end": [*events(pieces("Hello."), end=False), b"0\r\n", Wait()],
    "comments for ever": [*events(pieces("Hello."), end=False), Endless(b"6\r\n: on\n\n\r\n")],
}


@pytest.mark.parametrize("ending", ENDLESS)
async def test_a_server_that_does_not_end_holds_nobody_up(
    make: Callable[..., Shell], server: ScriptedServer, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was complete: no error, no wait for the read timeout, and the connection is closed."""
    for shell_module in ("_exchange", "_exchange_aio"):
        monkeypatch.setattr(f"minicpm_core.{shell_module}.DRAIN_SECONDS", 0.05)
    server.answers[:] = [ENDLESS[ending]]
    deltas = await make(timeout=600).deltas()
    assert "".join(delta.text for delta in deltas) == "Hello."
    assert deltas[-1].final is not None
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_what_follows_the_end_of_the_answer_is_passed_over(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [events([*pieces("Hello."), DONE, b"data: and more\n\n"])]
    assert [delta.text for delta in await shell.deltas()] == ["Hello.", ""]
    assert [delta.text for delta in await shell.deltas()] == ["Hello.", ""]
    assert reused(server)


async def test_closing_twice_and_after_the_end(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [streamed("Hello.")]
    stream = await shell.stream()
    await shell.rest(stream)
    await shell.end(stream)
    await shell.end(stream)
    assert await shell.rest(stream) == []
    assert reused(server)


# --- Streams that are left ---


def break_off(stream: CompletionStream) -> None:
    for _ in stream:
        break


def leave_the_block(stream: CompletionStream) -> None:
    with stream:
        next(stream)


def drop_unread(stream: CompletionStream) -> None:
    """Nothing is done with it."""


def close_at_once(stream: CompletionStream) -> None:
    stream.close()


def close_a_generator(stream: CompletionStream) -> None:
    generator = (delta for delta in stream)
    next(generator)
    generator.close()


def raise_inside(stream: CompletionStream) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the loop is what is left
        for _ in stream:
            raise KeyError


LEAVING = [break_off, leave_the_block, drop_unread, close_at_once, close_a_generator, raise_inside]


@pytest.mark.parametrize("leave", LEAVING)
def test_a_stream_that_is_left_is_closed_at_once(
    server: ScriptedServer, leave: Callable[[CompletionStream], None]
) -> None:
    """Without help of the garbage collector."""
    server.answers[:] = [HELD]
    client = MiniCPMClient(base_url=server.base_url, backend="vllm")
    gc.disable()
    try:
        for _ in range(MANY // len(LEAVING)):
            leave(client.stream(HELLO))
        assert server.wait_until_closed()
        assert _pools._sync_pool is not None
        assert not _pools._sync_pool.lanes
    finally:
        gc.enable()


async def break_off_and_close(stream: AsyncCompletionStream) -> None:
    async for _ in stream:
        break
    await stream.aclose()


async def leave_the_async_block(stream: AsyncCompletionStream) -> None:
    async with stream:
        await anext(stream)


async def break_off_and_drop(stream: AsyncCompletionStream) -> None:
    async for _ in stream:
        break


async def drop_unread_async(stream: AsyncCompletionStream) -> None:
    """Nothing is done with it."""


async def abandon(stream: AsyncCompletionStream) -> None:
    stream.abandon()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def cancel_the_reader(stream: AsyncCompletionStream) -> None:
    await anext(stream)
    reader = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


LEAVING_ASYNC = [
    break_off_and_close, leave_the_async_block, break_off_and_drop, drop_unread_async, abandon, cancel_the_reader,
]  # fmt: skip


@pytest.mark.parametrize("leave", LEAVING_ASYNC)
async def test_an_async_stream_that_is_left_is_closed_at_once(
    server: ScriptedServer, leave: Callable[[AsyncCompletionStream], Any]
) -> None:
    server.answers[:] = [HELD]
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm")
    gc.disable()
    try:
        for _ in range(MANY // len(LEAVING_ASYNC)):
            await leave(await client.stream(HELLO))
        assert await asyncio.to_thread(server.wait_until_closed)
        pool = _pools._async_pools[asyncio.get_running_loop()]
        assert not pool.lanes
        assert pool._places._value == _pools._most_lanes()
    finally:
        gc.enable()


async def test_many_streams_left_at_the_same_time(server: ScriptedServer) -> None:
    server.answers[:] = [HELD]
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm")

    async def leave() -> None:
        stream = await client.stream(HELLO)
        await anext(stream)

    await asyncio.gather(*(leave() for _ in range(MANY)))
    assert await asyncio.to_thread(server.wait_until_closed)
    server.answers[:] = [whole(completion())]
    await client.complete(HELLO)
    assert server.open_now == 1


async def test_a_left_stream_does_not_disturb_the_others(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [HELD, events([pieces("Hel")[0], Wait(), *pieces("lo.")])]
    left, kept = await shell.stream(), await shell.stream()
    await shell.next(left)
    await shell.next(kept)
    await shell.end(left)
    server.release()
    assert [delta.text for delta in await shell.rest(kept)] == ["lo.", ""]


async def test_a_stream_outlives_its_client(make: Callable[..., Shell], server: ScriptedServer) -> None:
    """Closing a client lets calls that are under way finish."""
    server.answers[:] = [events([pieces("Hel")[0], Wait(), *pieces("lo.")])]
    shell = make(api_key=KEY)
    stream = await shell.stream()
    await shell.next(stream)
    await shell.close()
    del shell.client
    server.release()
    assert [delta.text for delta in await shell.rest(stream)] == ["lo.", ""]
    del stream
    assert await asyncio.to_thread(server.wait_until_closed)
