"""One model object: in loops, threads, copies and pickles, before and after its first call."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from langchain_minicpm import ChatMiniCPM
from tests.langchain.conftest import KEY, thoughts_and_text
from tests.support.server import Delay, completion, whole

if TYPE_CHECKING:
    from tests.support.server import ScriptedServer


def test_successive_loops(model: ChatMiniCPM, server: ScriptedServer) -> None:
    async def ask() -> str:
        return (await model.ainvoke("Hello")).text

    async def read() -> str:
        return "".join([each.text async for each in model.astream("Hello")])

    for _ in range(3):
        assert asyncio.run(ask()) == "Hello."
    server.answers[:] = [thoughts_and_text()]
    model.thinking = True
    for _ in range(3):
        assert asyncio.run(read()) == "Hello"
    assert len(server.requests) == 6


def test_a_new_model_in_each_loop(server: ScriptedServer) -> None:
    async def ask() -> str:
        async with ChatMiniCPM(api_key=KEY, base_url=server.base_url, backend="vllm") as model:
            return (await model.ainvoke("Hello")).text

    assert [asyncio.run(ask()) for _ in range(3)] == ["Hello."] * 3


def test_threads(model: ChatMiniCPM, server: ScriptedServer) -> None:
    def ask(_: int) -> str:
        return model.invoke("Hello").text

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    assert answers == ["Hello."] * 24
    assert len(model.batch(["Hello"] * 5)) == 5


async def test_many_at_once(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [[Delay(0.05), *whole(completion())]]
    answers = await asyncio.gather(*(model.ainvoke("Hello") for _ in range(20)))
    assert [each.text for each in answers] == ["Hello."] * 20
    await model.aclose()


def unpickled(model: ChatMiniCPM) -> Any:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, unpickled])
def test_copies_and_pickles_work(
    model: ChatMiniCPM, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, called: bool, duplicate: Any
) -> None:
    monkeypatch.setenv("MINICPM_API_KEY", KEY)
    if called:
        model.invoke("Hello")
        asyncio.run(model.ainvoke("Hello"))
    twin = duplicate(model)
    assert twin == model
    assert twin.invoke("Hello").text == "Hello."
    twin.temperature = 0.5
    assert model.temperature is None
    twin.close()


def test_a_deep_copy_uses_the_same_injected_client(server: ScriptedServer) -> None:
    with httpx.Client(headers={"x-mine": "1"}) as client:
        model = ChatMiniCPM(api_key=KEY, base_url=server.base_url, backend="vllm", http_client=client)
        twin = copy.deepcopy(model)
        assert twin.http_client is client
        twin.invoke("Hello")
    assert server.requests[-1].headers["x-mine"] == "1"


async def test_injected_clients_are_used_and_left_open(server: ScriptedServer) -> None:
    with httpx.Client(headers={"x-mine": "sync"}) as sync:
        async with httpx.AsyncClient(headers={"x-mine": "async"}) as aio:
            async with ChatMiniCPM(
                api_key=KEY, base_url=server.base_url, backend="vllm", http_client=sync, async_http_client=aio
            ) as model:
                model.invoke("Hello")
                await model.ainvoke("Hello")
                model.close()
            assert not sync.is_closed
            assert not aio.is_closed
    assert [request.headers["x-mine"] for request in server.requests] == ["sync", "async"]


def test_a_mock_transport_serves_for_tests() -> None:
    """People test their chains with it."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=completion(request.headers["authorization"]))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        model = ChatMiniCPM(api_key=KEY, base_url="http://nowhere.test/v1", backend="vllm", http_client=client)
        assert model.invoke("Hello").text == f"Bearer {KEY}"


def test_a_closed_model_can_be_used_again(model: ChatMiniCPM, server: ScriptedServer) -> None:
    model.close()
    with model as same:
        assert same is model
        model.invoke("Hello")
    assert server.wait_until_closed()
    assert model.invoke("Hello").text == "Hello."


async def test_closing_in_a_loop_closes_its_connections(model: ChatMiniCPM, server: ScriptedServer) -> None:
    await model.aclose()
    async with model as same:
        assert same is model
        await model.ainvoke("Hello")
    assert await asyncio.to_thread(server.wait_until_closed)


def test_the_server_is_looked_at_once(server: ScriptedServer) -> None:
    """With `backend="auto"`, the kind of server is found out by one free request, for both kinds of calls."""
    server.models = {"object": "list", "data": [{"id": "MiniCPM-V-4.6-1B", "owned_by": "vllm"}]}
    with ChatMiniCPM(api_key=KEY, base_url=server.base_url) as model:
        model.invoke("Hello")
        asyncio.run(model.ainvoke("Hello"))
        assert model._clients().sync.traits is model._clients().aio.traits
        kept = model._clients().sync.traits
        model.max_retries = 5
        model.invoke("Hello")
        assert model._clients().sync.traits is kept, "a setting that says nothing of the server does not forget it"
    assert server.requests[-1].json["chat_template_kwargs"] == {"enable_thinking": False}


def test_nothing_is_said_of_unclosed_connections(server: ScriptedServer) -> None:
    """In a process that just ends, with both kinds of calls made and nothing closed."""
    script = f"""
import asyncio, warnings
warnings.simplefilter("error")
from langchain_minicpm import ChatMiniCPM
model = ChatMiniCPM(api_key="{KEY}", base_url="{server.base_url}", backend="vllm")
model.invoke("Hello")
asyncio.run(model.ainvoke("Hello"))
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, "ResourceWarning" in done.stderr, "never" in done.stderr) == (0, False, False), done.stderr
