"""`backend="auto"`: one free question, asked by one for all."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AsyncMiniCPMClient, Message, MiniCPMClient, ServerTraits, Timeouts, _asking, errors
from minicpm_core.protocol import flow
from tests.shells.support import HELLO, KEY, SyncShell
from tests.support.server import Delay, Recorded, ScriptedServer, Wait, completion, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell

MODELS = whole({"object": "list", "data": [{"id": "MiniCPM-V-4.6-1B", "owned_by": "vllm"}]})
ANSWER = whole(completion())
CALLS = 200


def asked(server: ScriptedServer) -> list[Recorded]:
    """The questions that the server was asked."""
    return [request for request in server.requests if request.method == "GET"]


@pytest.fixture
def answers(server: ScriptedServer) -> dict[str, Any]:
    """What the server answers, by path."""
    server.routes |= {"/v1/models": MODELS, "/v1/chat": ANSWER}
    return server.routes


async def test_it_is_asked_once(make: Callable[..., Shell], server: ScriptedServer, answers: dict[str, Any]) -> None:
    shell = make(backend="auto")
    await shell.complete()
    await shell.complete()
    await shell.deltas()
    assert len(asked(server)) == 1
    assert asked(server)[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[1].json["chat_template_kwargs"] == {"enable_thinking": False}


def test_many_threads_ask_once(server: ScriptedServer, answers: dict[str, Any]) -> None:
    answers["/v1/models"] = [Delay(0.05), *MODELS]
    client = MiniCPMClient(base_url=server.base_url)
    together = threading.Barrier(CALLS)

    def call(_: int) -> str:
        together.wait()
        return client.complete(HELLO).choices[0].text

    with ThreadPoolExecutor(CALLS) as pool:
        assert list(pool.map(call, range(CALLS))) == ["Hello."] * CALLS
    assert len(asked(server)) == 1
    assert all("chat_template_kwargs" in request.json for request in server.requests if request.body)


async def test_many_tasks_ask_once(server: ScriptedServer, answers: dict[str, Any]) -> None:
    answers["/v1/models"] = [Delay(0.05), *MODELS]
    client = AsyncMiniCPMClient(base_url=server.base_url)
    await asyncio.gather(*(client.complete(HELLO) for _ in range(CALLS)))
    assert len(asked(server)) == 1
    assert all("chat_template_kwargs" in request.json for request in server.requests if request.body)


async def test_tasks_wait_for_a_thread_that_asks(server: ScriptedServer, answers: dict[str, Any]) -> None:
    """The clients of a model object share what they learn, and the asking."""
    answers["/v1/models"] = [Wait(), *MODELS]
    traits = ServerTraits()
    sync = MiniCPMClient(base_url=server.base_url, traits=traits)
    client = AsyncMiniCPMClient(base_url=server.base_url, traits=traits)
    thread = asyncio.create_task(asyncio.to_thread(sync.complete, HELLO))
    assert await asyncio.to_thread(server.wait_for_requests, 1)
    tasks = [asyncio.create_task(client.complete(HELLO)) for _ in range(5)]
    await asyncio.sleep(0)
    server.release()
    await asyncio.gather(thread, *tasks)
    assert len(asked(server)) == 1


async def test_a_thread_does_not_wait_for_a_task(server: ScriptedServer, answers: dict[str, Any]) -> None:
    """It may be the thread that the task needs: this one is."""
    server.routes.clear()
    server.answers[:] = [[Wait(), *MODELS], MODELS, ANSWER]
    traits = ServerTraits()
    client = AsyncMiniCPMClient(base_url=server.base_url, traits=traits)
    task = asyncio.create_task(client.complete(HELLO))
    assert await asyncio.to_thread(server.wait_for_requests, 1)
    MiniCPMClient(base_url=server.base_url, traits=traits).complete(HELLO)
    server.release()
    await task
    assert len(asked(server)) == 2


@pytest.mark.parametrize("settings", [{"backend": "vllm"}, {"base_url": "https://api.modelbest.cn/v1"}, {}])
async def test_no_question_where_the_settings_tell(make: Callable[..., Shell], settings: dict[str, Any]) -> None:
    """For the hosted API its URL does; nothing answers here, so that a question would fail."""
    hosted = make(**({"backend": "auto", "base_url": "https://api.modelbest.cn/v1"} | settings))
    found: Any = hosted.client.backend()
    backend = found if isinstance(hosted, SyncShell) else await found
    assert backend.name == settings.get("backend", "modelbest")


async def test_a_server_that_is_not_there_yet_is_asked_again(make: Callable[..., Shell]) -> None:
    with ScriptedServer() as gone:
        url, port = gone.base_url, gone.port
    shell = make(backend="auto", base_url=url)
    with pytest.raises(ConnectionError):
        await shell.complete()
    routes: dict[str, Any] = {"/v1/models": MODELS, "/v1/chat": ANSWER}
    with ScriptedServer(routes=routes, port=port) as server:
        await shell.complete()
        assert [request.method for request in server.requests] == ["GET", "POST"]
    assert shell.client.traits.backend is not None


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_a_refused_question_is_put_again(
    make: Callable[..., Shell], server: ScriptedServer, answers: dict[str, Any], status: int
) -> None:
    """The call goes on as with an unknown server."""
    shell = make(backend="auto")
    answers["/v1/models"] = whole(b"no", status=status)
    await shell.complete()
    assert "chat_template_kwargs" not in server.requests[-1].json
    answers["/v1/models"] = MODELS
    await shell.complete()
    assert "chat_template_kwargs" in server.requests[-1].json
    assert len(asked(server)) == 2


async def test_a_server_without_a_list_is_not_asked_again(
    make: Callable[..., Shell], server: ScriptedServer, answers: dict[str, Any]
) -> None:
    answers["/v1/models"] = whole(b"<html>", status=404)
    shell = make(backend="auto")
    await shell.complete()
    await shell.complete()
    assert len(asked(server)) == 1


async def test_a_question_without_an_answer_holds_up_one_call_only(
    make: Callable[..., Shell], server: ScriptedServer, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "_LISTING_TIMEOUT", Timeouts(1, 0.05, 1, 1))
    monkeypatch.setattr(_asking, "_SLOW", 0.01)
    monkeypatch.setattr(_asking, "_PATIENCE", 1000)
    answers["/v1/models"] = [Wait()]
    shell = make(backend="auto", timeout=60)
    for _ in range(3):
        await shell.complete()
    assert len(asked(server)) == 1
    monkeypatch.setattr(_asking, "_PATIENCE", 0)
    again = make(backend="auto", timeout=60)
    for _ in range(2):
        await again.complete()
    assert len(asked(server)) == 3


async def test_many_calls_share_an_answer_that_tells_nothing(
    server: ScriptedServer, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not put the question one after the other."""
    monkeypatch.setattr(flow, "_LISTING_TIMEOUT", Timeouts(1, 0.1, 1, 1))
    answers["/v1/models"] = [Wait()]
    client = AsyncMiniCPMClient(base_url=server.base_url)
    await asyncio.gather(*(client.complete(HELLO) for _ in range(20)))
    assert len(asked(server)) == 1


@pytest.mark.parametrize("messages", [[], [Message("assistant", "Hello")], [Message("wizard", "Hello")]])
async def test_nothing_is_asked_for_what_cannot_be_sent(server: ScriptedServer, messages: list[Message]) -> None:
    sync, client = MiniCPMClient(base_url=server.base_url), AsyncMiniCPMClient(base_url=server.base_url)
    for call in (sync.complete, sync.stream):
        with pytest.raises(errors.InvalidInputError):
            call(messages)
    for coroutine in (client.complete(messages), client.stream(messages)):
        with pytest.raises(errors.InvalidInputError):
            await coroutine
    assert server.opened == 0


async def test_an_error_in_the_settings_reaches_every_waiting_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://127.0.0.1")
    client = AsyncMiniCPMClient(base_url="http://nowhere.example/v1")
    outcomes = await asyncio.gather(*(client.complete(HELLO) for _ in range(5)), return_exceptions=True)
    assert {type(each).__name__ for each in outcomes} == {"ConfigurationError"}
