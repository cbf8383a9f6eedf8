"""Proxies that the environment names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import errors
from tests.shells.support import KEY, answer, ask
from tests.support.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.shells.support import Shell

ELSEWHERE = "http://model.example:8000/v1"


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    """A server that takes the requests of a proxy."""
    with ScriptedServer() as running:
        yield running


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_requests_go_through_it(
    make: Callable[..., Shell],
    proxy: ScriptedServer,
    how: str,
    variable: str,
    scheme: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy.answers[:] = [answer(how)]
    monkeypatch.setenv(variable, f"{scheme}127.0.0.1:{proxy.port}")
    shell = make(base_url=ELSEWHERE)
    for _ in range(2):
        assert await ask(shell, how) == "Hello."
    assert proxy.requests[0].path == f"{ELSEWHERE}/chat/completions"
    assert proxy.requests[0].headers["host"] == "model.example:8000"
    assert proxy.opened == 1


@pytest.mark.parametrize("exception", ["*", "model.example", ".example", "127.0.0.1"])
async def test_what_is_excepted_does_not(
    make: Callable[..., Shell],
    proxy: ScriptedServer,
    server: ScriptedServer,
    exception: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", exception)
    reached = make() if exception in {"*", "127.0.0.1"} else make(base_url="http://model.example:1/v1")
    if exception in {"*", "127.0.0.1"}:
        await reached.complete()
        assert server.opened == 1
    assert proxy.opened == 0


async def test_a_secure_address_gets_a_tunnel(
    make: Callable[..., Shell], proxy: ScriptedServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees neither key nor payload, and its refusal is an error that says so."""
    proxy.answers[:] = [[b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"]]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(errors.APIConnectionError, match="the proxy refused the connection: 403 Forbidden"):
        await ask(make(base_url="https://model.example/v1"), how)
    (request,) = proxy.requests
    assert (request.method, request.path, request.body) == ("CONNECT", "model.example:443", b"")
    assert KEY not in str(request.headers)


@pytest.mark.parametrize("value", ["ftp://127.0.0.1:1", "socks5://user:pa55word@127.0.0.1:1", "http://[::1"])
async def test_a_proxy_that_cannot_be_used(
    make: Callable[..., Shell], how: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either it is no proxy of ours, or what it needs is not installed. Its password is not shown."""
    monkeypatch.setenv("http_proxy", value)
    kinds: Any = (errors.ConfigurationError, errors.APIConnectionError)  # with socksio, the connection is refused
    with pytest.raises(kinds) as caught:
        await ask(make(base_url=ELSEWHERE), how)
    assert "pa55word" not in repr(caught.value)
