"""One object in many loops, threads and processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from llama_index_minicpm import MiniCPM
from minicpm_core import ServerError
from tests.llama_index.support import METHODS, STREAMS, ask, streamed, text_of, user
from tests.support.server import Delay, ScriptedServer, Wait, chunk, completion, whole


@pytest.mark.parametrize("method", METHODS)
def test_one_object_works_in_one_loop_after_the_other(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    for _ in range(3):
        server.answers = [streamed(chunk("Hello.")) if method in STREAMS else whole(completion())]
        assert text_of(asyncio.run(ask(llm, method))[-1]) == "Hello."


def test_one_object_works_in_many_threads_each_with_its_loop(llm: MiniCPM) -> None:
    def all_that_do_not_stream(_: int) -> list[str]:
        return [text_of(asyncio.run(ask(llm, method))[-1]) for method in METHODS if method not in STREAMS]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(all_that_do_not_stream, range(24))) == [["Hello."] * 4] * 24


def test_sync_calls_work_inside_a_running_loop(llm: MiniCPM) -> None:
    """No `asyncio.run` hides in them."""

    async def inside() -> str:
        return text_of((await ask(llm, "chat"))[-1])

    assert asyncio.run(inside()) == "Hello."


async def test_parallel_calls_do_not_wait_for_each_other(llm: MiniCPM, server: ScriptedServer) -> None:
    held = [Delay(0.2), *whole(completion())]
    server.answers = [held]
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(llm.achat([user()]) for _ in range(20)))
    assert loop.time() - began < 20 * 0.2 / 2


async def test_a_cancelled_call_closes_its_request(llm: MiniCPM, server: ScriptedServer) -> None:
    """Here in the middle of an answer, as the hook that sees its headers tells."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{"
    server.answers = [[head, Wait()]]
    begun = asyncio.Event()

    async def seen(_: httpx.Response) -> None:
        begun.set()

    async with httpx.AsyncClient(event_hooks={"response": [seen]}) as client:
        llm.async_http_client = client
        task = asyncio.create_task(llm.achat([user()]))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_until_closed)


def _ask_in_child(data: bytes) -> str:
    loaded: MiniCPM = pickle.loads(data)
    return loaded.complete("Hello?").text


def test_another_process_can_use_it(llm: MiniCPM) -> None:
    llm.chat([user()])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_ask_in_child, (pickle.dumps(llm),)) == "Hello."


def test_close_lets_go_and_the_object_works_again(llm: MiniCPM, server: ScriptedServer) -> None:
    with llm as same:
        assert same is llm
        llm.chat([user()])
    assert server.wait_until_closed()
    assert llm.complete("Hello?").text == "Hello."
    llm.close()


async def test_aclose_lets_go_of_both_kinds_of_connections(llm: MiniCPM, server: ScriptedServer) -> None:
    async with llm as same:
        assert same is llm
        llm.chat([user()])
        await llm.achat([user()])
        assert server.open_now == 2
    assert await asyncio.to_thread(server.wait_until_closed)
    assert (await llm.acomplete("Hello?")).text == "Hello."
    await llm.aclose()


def test_closing_what_was_never_used_does_nothing(llm: MiniCPM) -> None:
    llm.close()
    asyncio.run(llm.aclose())


def test_a_failed_request_is_made_again_by_one_loop_only(server: ScriptedServer) -> None:
    error: dict[str, Any] = {"error": {"message": "overloaded", "code": 503}}
    server.answers = [whole(error, status=503, headers={"retry-after": "0"})]
    llm = MiniCPM(base_url=server.base_url, backend="vllm", max_retries=2)
    with pytest.raises(ServerError):
        llm.complete("Hello?")
    assert len(server.requests) == 3
