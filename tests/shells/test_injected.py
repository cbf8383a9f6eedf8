"""HTTP clients of the caller's own: used as they are, and left open."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import httpx_aiohttp
import pytest

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient, Timeouts, errors
from tests.shells.support import HELLO, KEY, AsyncShell, SyncShell, ask, pieces, streamed, whole_answer
from tests.support.server import Close, ScriptedServer, Wait, completion, events, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.shells.support import Shell


def _on_aiohttp(**settings: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx_aiohttp.AiohttpTransport(), **settings)


CLIENTS: dict[str, Callable[..., Any]] = {
    "httpx": httpx.Client,
    "httpx2": httpx2.Client,
    "httpx async": httpx.AsyncClient,
    "httpx2 async": httpx2.AsyncClient,
    "httpx on aiohttp": _on_aiohttp,
}


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> str:
    """The library, and whether it is synchronous."""
    return str(request.param)


@pytest.fixture
async def opened(kind: str) -> AsyncIterator[Callable[..., Any]]:
    """Makes an HTTP client of that kind, which is closed after the test."""
    made: list[Any] = []

    def make(**settings: Any) -> Any:
        made.append(CLIENTS[kind](**settings))
        return made[-1]

    yield make
    for client in made:
        await client.aclose() if hasattr(client, "aclose") else client.close()


def library_of(kind: str) -> Any:
    """The library of that kind."""
    return httpx2 if "httpx2" in kind else httpx


def shell_on(server: ScriptedServer, client: Any, **settings: Any) -> Shell:
    """Our client on that HTTP client."""
    fitting = AsyncShell if hasattr(client, "aclose") else SyncShell
    return fitting(**({"base_url": server.base_url, "max_retries": 0, "http_client": client} | settings))


async def test_it_carries_calls_and_is_left_open(server: ScriptedServer, opened: Callable[..., Any], how: str) -> None:
    client = opened()
    server.answers[:] = [streamed("Hel", "lo.") if how == "stream" else whole_answer("Hello.")]
    shell = shell_on(server, client)
    assert [await ask(shell, how) for _ in range(3)] == ["Hello."] * 3
    await shell.close()
    assert not client.is_closed
    assert server.opened == 1
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_its_own_headers_are_sent(server: ScriptedServer, opened: Callable[..., Any]) -> None:
    client = opened(headers={"x-mine": "1", "user-agent": "me", "accept-encoding": "br"}, cookies={"c": "2"})
    await shell_on(server, client).complete()
    sent = server.requests[0].headers
    assert (sent["x-mine"], sent["cookie"]) == ("1", "c=2")
    assert sent["user-agent"].startswith("minicpm-integrations/")
    assert sent["accept-encoding"] == "gzip, deflate"


async def test_its_own_timeout_counts(server: ScriptedServer, opened: Callable[..., Any], kind: str, how: str) -> None:
    server.answers[:] = [[Wait()]]
    with pytest.raises(errors.APITimeoutError, match=r"within 0.05 s"):
        await ask(shell_on(server, opened(timeout=library_of(kind).Timeout(10, read=0.05))), how)


# httpx2 leaves the socket of a request that timed out to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_our_timeout_counts_where_it_is_set(server: ScriptedServer, opened: Callable[..., Any], how: str) -> None:
    server.answers[:] = [[Wait()]]
    client = opened(timeout=60)
    with pytest.raises(errors.APITimeoutError, match=r"within 0.05 s"):
        await ask(shell_on(server, client, timeout=Timeouts(read=0.05)), how)
    with pytest.raises(errors.APITimeoutError, match=r"within 0.06 s"):
        await ask(shell_on(server, client), how, {"timeout": Timeouts(read=0.06)})


async def test_errors_are_ours(server: ScriptedServer, opened: Callable[..., Any], how: str) -> None:
    server.answers[:] = [[Close()]]
    shell = shell_on(server, opened())
    with pytest.raises((errors.APIConnectionError, errors.APITimeoutError)):
        await ask(shell, how)
    server.answers[:] = [events([*pieces("Hel")[:1], Close()], end=False)]
    with pytest.raises(errors.APIConnectionError):
        await ask(shell, how)


async def test_a_refused_connection(opened: Callable[..., Any], how: str) -> None:
    with ScriptedServer() as gone:
        pass
    with pytest.raises((errors.APIConnectionError, errors.APITimeoutError)) as caught:
        await ask(shell_on(gone, opened(), max_retries=1), how)
    assert caught.value.attempts == 2
    assert isinstance(caught.value.__cause__, OSError)


async def test_left_streams_give_the_connection_back(
    server: ScriptedServer, opened: Callable[..., Any], kind: str
) -> None:
    library: Any = httpx2 if "httpx2" in kind else httpx
    limits = library.Limits(max_connections=1)
    if kind == "httpx on aiohttp":
        client = httpx.AsyncClient(transport=httpx_aiohttp.AiohttpTransport(limits=limits), timeout=10)
    else:
        client = opened(limits=limits, timeout=10)
    server.answers[:] = [events([*pieces("Hel", "lo")[:1], Wait()])]
    shell = shell_on(server, client)
    for _ in range(5):
        stream = await shell.stream()
        assert (await shell.next(stream)).text == "Hel"
        await shell.end(stream)
    for _ in range(5):
        stream = await shell.stream()
        del stream
        await asyncio.sleep(0)
    server.answers[:] = [whole(completion())]
    assert await ask(shell, "whole") == "Hello."
    if kind == "httpx on aiohttp":
        await client.aclose()


async def test_a_finished_stream_keeps_the_connection(server: ScriptedServer, opened: Callable[..., Any]) -> None:
    server.answers[:] = [streamed("Hello.")]
    shell = shell_on(server, opened())
    for _ in range(3):
        await shell.deltas()
    assert server.opened == 1


@pytest.mark.parametrize("kind", ["httpx", "httpx2"])
async def test_mock_transports(kind: str) -> None:
    library: Any = {"httpx": httpx, "httpx2": httpx2}[kind]

    def answer(request: Any) -> Any:
        if json.loads(request.content).get("stream"):
            return library.Response(
                200, content=b"".join(piece for piece in pieces("Hel", "lo.") if isinstance(piece, bytes))
            )
        return library.Response(200, json=completion())

    with library.Client(transport=library.MockTransport(answer)) as client:
        shell: Shell = SyncShell(base_url="http://nowhere.test", http_client=client)
        assert [await ask(shell, "whole"), await ask(shell, "stream")] == ["Hello.", "Hello."]
    async with library.AsyncClient(transport=library.MockTransport(answer)) as client:
        shell = AsyncShell(base_url="http://nowhere.test", http_client=client)
        assert [await ask(shell, "whole"), await ask(shell, "stream")] == ["Hello.", "Hello."]


def test_what_is_no_http_client_is_refused() -> None:
    with pytest.raises(
        errors.ConfigurationError, match=r"MiniCPMClient needs a synchronous HTTP client.*AsyncClient is none"
    ):
        MiniCPMClient(base_url="http://localhost", http_client=httpx.AsyncClient())
    with httpx.Client() as client, pytest.raises(errors.ConfigurationError, match="needs an asynchronous HTTP client"):
        AsyncMiniCPMClient(base_url="http://localhost", http_client=client)
    with pytest.raises(errors.ConfigurationError, match="str is none"):
        MiniCPMClient(base_url="http://localhost", http_client="http://proxy")


def test_a_closed_client_says_so_itself(server: ScriptedServer) -> None:
    client = httpx.Client()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        MiniCPMClient(base_url=server.base_url, backend="vllm", http_client=client).complete(HELLO)
