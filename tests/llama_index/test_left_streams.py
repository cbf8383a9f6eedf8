"""A stream that is left before its end gives its connection back at once, however it is left.

Garbage collection is off, so nothing is closed by luck; one of the handlers keeps every event, and with it whatever
LlamaIndex's own generators hold.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler

from tests.llama_index.support import STREAMS, ask, endless, recorded, streamed, text_of, user
from tests.support.server import ScriptedServer, Wait, chunk, completion, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llama_index_minicpm import MiniCPM

SYNC = [name for name in STREAMS if not name.startswith("a")]
ASYNC = [name for name in STREAMS if name.startswith("a")]


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def an_endless_answer(server: ScriptedServer) -> None:
    server.answers = [endless(Wait())]


@pytest.fixture(params=[False, True], ids=["no handler", "a handler that keeps everything"])
def watched(request: pytest.FixtureRequest, llm: MiniCPM) -> Iterator[MiniCPM]:
    if not request.param:
        yield llm
        return
    llm.callback_manager = CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
    with recorded():
        yield llm


def begin(llm: MiniCPM, method: str) -> Any:
    return getattr(llm, method)("Hello?" if "complete" in method else [user()])


@pytest.mark.parametrize("method", SYNC)
class TestSync:
    def test_closed(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        stream = begin(watched, method)
        assert text_of(next(stream)) == "one "
        stream.close()
        assert server.wait_until_closed()
        assert list(stream) == []

    def test_dropped(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        stream = begin(watched, method)
        next(stream)
        del stream
        assert server.wait_until_closed()

    def test_never_read(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        begin(watched, method)
        assert server.wait_until_closed()

    def test_closed_before_it_was_read(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        stream = begin(watched, method)
        stream.close()
        assert server.wait_until_closed()

    def test_left_by_a_break(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        for _ in begin(watched, method):
            break
        assert server.wait_until_closed()

    def test_left_by_an_error(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        def fail() -> None:
            for _ in begin(watched, method):
                raise LookupError

        with pytest.raises(LookupError):
            fail()
        assert server.wait_until_closed()

    def test_an_error_that_is_thrown_in(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        stream = begin(watched, method)
        next(stream)
        with pytest.raises(LookupError):
            stream.throw(LookupError())
        assert server.wait_until_closed()

    def test_a_hundred_left_streams_leave_no_connection(
        self, method: str, watched: MiniCPM, server: ScriptedServer
    ) -> None:
        for number in range(100):
            stream = begin(watched, method)
            if number % 2:
                next(stream)
            del stream
        assert server.wait_until_closed()

    def test_a_pool_of_one_connection_is_free_again(
        self, method: str, watched: MiniCPM, server: ScriptedServer
    ) -> None:
        server.answers = [endless(Wait()), whole(completion())]
        with httpx.Client(limits=httpx.Limits(max_connections=1), timeout=5) as client:
            watched.http_client = client
            stream = begin(watched, method)
            next(stream)
            stream.close()
            assert watched.complete("Hello?").text == "Hello."


@pytest.mark.parametrize("method", ASYNC)
class TestAsync:
    async def test_closed(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        """With the connection already closed when `aclose` returns."""
        stream = await begin(watched, method)
        assert text_of(await anext(stream)) == "one "
        await stream.aclose()
        assert server.wait_until_closed()
        assert [each async for each in stream] == []

    async def test_dropped(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        stream = await begin(watched, method)
        await anext(stream)
        del stream
        assert await asyncio.to_thread(server.wait_until_closed)

    async def test_never_read(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        await begin(watched, method)
        assert await asyncio.to_thread(server.wait_until_closed)

    async def test_closed_before_it_was_read(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        stream = await begin(watched, method)
        await stream.aclose()
        assert server.wait_until_closed()

    async def test_left_by_a_break(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        async for _ in await begin(watched, method):
            break
        assert await asyncio.to_thread(server.wait_until_closed)

    async def test_an_error_that_is_thrown_in(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        stream = await begin(watched, method)
        await anext(stream)
        with pytest.raises(LookupError):
            await stream.athrow(LookupError())
        assert await asyncio.to_thread(server.wait_until_closed)

    async def test_it_is_an_asynchronous_generator_to_its_reader(
        self, method: str, watched: MiniCPM, server: ScriptedServer
    ) -> None:
        stream = await begin(watched, method)
        assert issubclass(type(stream), AsyncGenerator)
        assert aiter(stream) is stream
        assert text_of(await stream.asend(None)) == "one "
        await stream.aclose()

    async def test_cancelled(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        """While it waits for the next piece: the cancel is not lost, and the connection is closed when it arrives."""
        begun = asyncio.Event()

        async def read() -> None:
            async for response in await begin(watched, method):
                if text_of(response) == "one two ":
                    begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.wait_until_closed()

    async def test_timed_out(self, method: str, watched: MiniCPM, server: ScriptedServer) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(watched, method)
        assert await asyncio.to_thread(server.wait_until_closed)

    async def test_a_pool_of_one_connection_is_free_again(
        self, method: str, watched: MiniCPM, server: ScriptedServer
    ) -> None:
        server.answers = [endless(Wait()), whole(completion())]
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1), timeout=5) as client:
            watched.async_http_client = client
            stream = await begin(watched, method)
            await anext(stream)
            await stream.aclose()
            assert (await watched.acomplete("Hello?")).text == "Hello."


@pytest.mark.parametrize("method", ["achat", "astream_chat"])
async def test_no_cancel_is_lost(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    """Whenever it comes: after any number of steps of the loop, a cancelled task is cancelled, unless it was done."""
    server.answers = [streamed(*(chunk("word ") for _ in range(20)))] if method in STREAMS else [whole(completion())]
    lost = 0
    for steps in range(200):
        task = asyncio.create_task(ask(llm, method))
        for _ in range(steps):
            await asyncio.sleep(0)
        was_done = task.done()
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        lost += not (was_done or isinstance(outcome, asyncio.CancelledError))
    assert lost == 0


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("method", ASYNC)
def test_a_loop_that_ends_first_says_nothing(
    keep: bool, method: str, watched: MiniCPM, server: ScriptedServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """A script that takes the first words and returns; no complaint of a generator or a socket follows."""
    kept: list[Any] = []

    async def first_words() -> str:
        stream = await begin(watched, method)
        if keep:
            kept.append(stream)
        return text_of(await anext(stream))

    for _ in range(3):
        assert asyncio.run(first_words()) == "one "
        assert server.wait_until_closed()
    kept.clear()
    gc.collect()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("method", STREAMS)
async def test_a_finished_stream_keeps_its_connection_for_the_next(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [streamed(chunk("Hello."))]
    for _ in range(3):
        assert text_of((await ask(llm, method))[-1]) == "Hello."
    assert server.opened == 1
