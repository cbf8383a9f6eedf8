"""A task that is cancelled ends as cancelled, whenever that happens, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AsyncMiniCPMClient, _pools, errors
from tests.shells.support import HELLO, pieces
from tests.support.server import Delay, ScriptedServer, Wait, completion, events, whole

if TYPE_CHECKING:
    from collections.abc import Awaitable

CANCELS = 200
SLOW_WHOLE = [Delay(0.003), *events([b'{"choices": [{"message": ', Delay(0.002), b'{"content": "Hello."}}]}'])]
SLOW_STREAM = [
    Delay(0.002),
    *events([pieces("Hel")[0], Delay(0.002), pieces("lo")[0], Delay(0.002), *pieces(".")], end=False),
    Delay(0.001),
    b"0\r\n\r\n",
]
AUTO = "auto"


async def read_whole(client: AsyncMiniCPMClient) -> None:
    await client.complete(HELLO)


async def read_stream(client: AsyncMiniCPMClient) -> None:
    async for _ in await client.stream(HELLO):
        pass


CALLS = [pytest.param(read_whole, SLOW_WHOLE, id="whole"), pytest.param(read_stream, SLOW_STREAM, id="stream")]
Call = "Callable[[AsyncMiniCPMClient], Coroutine[Any, Any, None]]"


@pytest.fixture
def client(server: ScriptedServer) -> AsyncMiniCPMClient:
    """A client that finds out what the server is, so that this can be cancelled too."""
    server.models = {"object": "list", "data": [{"id": "a", "owned_by": "vllm"}]}
    return AsyncMiniCPMClient(base_url=server.base_url, max_retries=0)


async def nothing_left(server: ScriptedServer, client: AsyncMiniCPMClient) -> None:
    """Check that every lane is idle, that no place is taken, and that the server sees no other connection."""
    pool = _pools._async_pools[asyncio.get_running_loop()]
    while closing := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
        await asyncio.wait(closing)
    idle = sum(len(lanes) for lanes in pool._idle.values())
    assert idle == len(pool.lanes) <= 1
    assert pool._places._value == _pools._most_lanes()
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_now == idle)
    server.answers[:] = [whole(completion())]
    assert (await client.complete(HELLO)).choices[0].text == "Hello."


async def cancelled(task: asyncio.Task[None]) -> bool:
    """Cancel a task, and wait for its end. Whether it was still running; it must then end as cancelled."""
    if not task.cancel():
        return False
    await asyncio.wait([task])
    assert task.cancelled(), "the cancel was lost"
    return True


@pytest.mark.parametrize(("call", "slowly"), CALLS)
async def test_cancels_at_random_moments(
    server: ScriptedServer, client: AsyncMiniCPMClient, call: Any, slowly: Any
) -> None:
    server.answers[:] = [slowly]
    await call(client)
    begun = time.perf_counter()
    await call(client)
    duration = time.perf_counter() - begun
    moments = random.Random(7)
    hits = 0
    while hits < CANCELS:
        task = asyncio.create_task(call(client))
        await asyncio.sleep(moments.uniform(0, duration))
        hits += await cancelled(task)
    await nothing_left(server, client)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize(("call", "slowly"), CALLS)
async def test_cancels_at_every_step(
    server: ScriptedServer, client: AsyncMiniCPMClient, call: Any, slowly: Any, twice: bool
) -> None:
    """On a new connection each time, and on a kept one."""
    server.answers[:] = [slowly]
    for steps in range(CANCELS // 2):
        for _ in range(2):
            task = asyncio.create_task(call(client))
            for _ in range(steps):
                await asyncio.sleep(0)
            if twice and task.cancel():
                await asyncio.sleep(0)
            await cancelled(task)
            client.traits.backend = None
        server.answers[:] = [slowly]
    client.traits.backend = None
    await nothing_left(server, client)


async def test_a_timeout_around_a_call(server: ScriptedServer, client: AsyncMiniCPMClient) -> None:
    server.answers[:] = [[Wait()]]
    for call in (read_whole, read_stream):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await call(client)
    await nothing_left(server, client)


async def test_a_wait_between_tries_can_be_cancelled(server: ScriptedServer) -> None:
    server.answers[:] = [whole(b"{}", status=429, headers={"retry-after": "30"})]
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm")
    task = asyncio.create_task(read_whole(client))
    assert await asyncio.to_thread(server.wait_for_requests, 1)
    await asyncio.sleep(0.01)
    assert await cancelled(task)
    await nothing_left(server, client)


async def test_a_waiting_place_can_be_cancelled(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no place free, calls queue; one that is cancelled there neither takes nor loses a place."""
    monkeypatch.setattr(_pools, "MOST_LANES", 1)
    server.answers[:] = [[Wait()]]
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm")
    tasks = [asyncio.create_task(read_whole(client)) for _ in range(3)]
    assert await asyncio.to_thread(server.wait_for_requests, 1)
    for task in reversed(tasks):
        assert await cancelled(task)
    await nothing_left(server, client)


async def test_cancelling_one_of_many_that_wait_for_the_same_answer(server: ScriptedServer) -> None:
    """The call that asks what the server is may be cancelled: another one asks; a call that waits for it, too."""
    server.answers[:] = [[Wait()], whole({"data": [{"id": "a", "owned_by": "vllm"}]}), whole(completion())]
    client = AsyncMiniCPMClient(base_url=server.base_url)
    tasks = [asyncio.create_task(client.complete(HELLO)) for _ in range(5)]
    assert await asyncio.to_thread(server.wait_for_requests, 1)
    for task in (tasks[3], tasks[0]):
        task.cancel()
    ended: list[Awaitable[Any]] = list(tasks)
    outcomes = await asyncio.gather(*ended, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in outcomes] == [True, False, False, True, False]
    assert [request.method for request in server.requests] == ["GET", "GET", "POST", "POST", "POST"]
    assert client.traits.backend is not None
    assert client.traits.backend.name == "vllm"


@pytest.mark.parametrize("ending", ["cancel", "timeout"])
async def test_a_handshake_that_never_ends(server: ScriptedServer, ending: str) -> None:
    """The server takes the connection and says nothing, while TLS is being negotiated."""
    url = server.base_url.replace("http:", "https:")
    client = AsyncMiniCPMClient(base_url=url, backend="vllm", max_retries=0, timeout=0.1 if ending == "timeout" else 60)
    task = asyncio.create_task(read_whole(client))
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_now == 1)
    if ending == "cancel":
        await asyncio.sleep(0.02)
        assert await cancelled(task)
    else:
        with pytest.raises(errors.APITimeoutError) as caught:
            await task
        assert caught.value.phase == "connect"
    assert await asyncio.to_thread(server.wait_until_closed)
