"""How many connections there are, and which one is used."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import TYPE_CHECKING

import pytest

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient, Timeouts, _lanes, _pools, errors
from tests.shells.support import HELLO, pieces
from tests.support.server import Delay, ScriptedServer, Wait, completion, events, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell

PARALLEL = 200
ANSWER = whole(completion())


async def test_parallel_calls_use_a_connection_each_and_again(server: ScriptedServer) -> None:
    server.answers[:] = [[Delay(0.1), *ANSWER]]
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    for _ in range(3):
        answers = await asyncio.gather(*(client.complete(HELLO) for _ in range(PARALLEL)))
        assert {each.choices[0].text for each in answers} == {"Hello."}
    assert server.opened == PARALLEL
    assert len(server.requests) == 3 * PARALLEL


async def test_each_call_gets_its_own_answer(server: ScriptedServer) -> None:
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    server.answers[:] = [[Delay(0.001 * (n % 7)), *whole(completion(str(n)))] for n in range(PARALLEL)]
    answers = await asyncio.gather(*(client.complete(HELLO) for _ in range(PARALLEL)))
    assert sorted(int(each.choices[0].text) for each in answers) == list(range(PARALLEL))


async def test_further_calls_queue(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pools, "MOST_LANES", 4)
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    await asyncio.gather(*(client.complete(HELLO) for _ in range(20)))
    assert server.opened == 4


async def test_a_queue_that_takes_too_long(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pools, "MOST_LANES", 1)
    server.answers[:] = [events([pieces("Hel")[0], Wait(), *pieces("lo.")]), ANSWER]
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    async with await client.stream(HELLO):
        with pytest.raises(errors.APITimeoutError, match=r"No connection became free within 0.05 s") as caught:
            await client.complete(HELLO, {"timeout": Timeouts(pool=0.05)})
        assert caught.value.phase == "pool"
    assert (await client.complete(HELLO)).choices[0].text == "Hello."


async def test_the_connection_that_was_used_last_is_used_first(server: ScriptedServer) -> None:
    """So that the others can grow old."""
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    await asyncio.gather(*(client.complete(HELLO) for _ in range(5)))
    pool = _pools._async_pools[asyncio.get_running_loop()]
    (idle,) = pool._idle.values()
    last = idle[-1]
    for _ in range(3):
        await client.complete(HELLO)
        assert idle[-1] is last


async def test_connections_that_nobody_needs_are_closed(
    make: Callable[..., Shell], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next call, to whatever server."""
    shell = make()
    server.answers[:] = [events(pieces("Hello."))]
    streams = [await shell.stream() for _ in range(5)]
    for stream in streams:
        await shell.rest(stream)
    assert server.open_now == 5
    monkeypatch.setattr(_lanes, "KEEP_SECONDS", 0.0)
    with ScriptedServer() as other:
        await make(base_url=other.base_url).complete()
        assert await asyncio.to_thread(server.wait_until_closed)


async def test_servers_have_connections_of_their_own(make: Callable[..., Shell], server: ScriptedServer) -> None:
    with ScriptedServer(answers=[whole(completion("Other."))]) as other:
        first, second = make(), make(base_url=other.base_url)
        for _ in range(3):
            assert (await first.complete()).choices[0].text == "Hello."
            assert (await second.complete()).choices[0].text == "Other."
        assert (server.opened, other.opened) == (1, 1)


async def test_clients_with_other_keys_share_connections_and_nothing_else(
    make: Callable[..., Shell], server: ScriptedServer
) -> None:
    first, second = make(api_key="sk-first"), make(api_key="sk-second", default_headers={"x-mine": "2"})
    for shell in (first, second, first):
        await shell.complete()
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer sk-first", "Bearer sk-second", "Bearer sk-first",
    ]  # fmt: skip
    assert ["x-mine" in request.headers for request in server.requests] == [False, True, False]
    assert server.opened == 1


def test_the_garbage_collector_may_close_a_stream_at_any_moment(server: ScriptedServer) -> None:
    """Also while this thread takes or gives back a connection itself."""
    server.answers[:] = [events([pieces("Hel")[0], Wait()])]
    server.routes["/v1/other"] = ANSWER
    client = MiniCPMClient(base_url=server.base_url, backend="vllm")
    other = MiniCPMClient(base_url=f"{server.base_url}/other", backend="vllm")
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(20):
            cycle: list[object] = [client.stream(HELLO)]
            cycle.append(cycle)
            del cycle
            other.complete(HELLO)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert server.wait_until(lambda: server.open_now == 1)


def test_the_request_is_written_once(server: ScriptedServer) -> None:
    """As HTTP/1.1 wants it: one host, one length."""
    MiniCPMClient(base_url=server.base_url, backend="vllm").complete(HELLO)
    (request,) = server.requests
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert (
        int(request.headers["content-length"])
        == len(request.body)
        == len(json.dumps(request.json, separators=(",", ":")))
    )
