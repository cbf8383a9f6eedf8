"""The key is sent in one header, and is nowhere else."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient, Timeouts, errors
from tests.shells.support import HELLO, KEY, ask, pieces
from tests.support.server import Close, ScriptedServer, Wait, events, sse, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell
    from tests.support.server import Answer

ECHO = f"I know your Bearer {KEY} well"
OTHER = "sk-other-0123456789"

FAILURES: dict[str, Answer] = {
    "refused": whole({"error": {"message": ECHO, "code": ECHO, "type": ECHO}}, status=401),
    "invalid": whole({"detail": [{"loc": ["body", KEY], "msg": ECHO, "input": ECHO}]}, status=422),
    "a page": whole(f"<html>{ECHO}</html>".encode(), status=502, content_type="text/html"),
    "a text": whole(ECHO.encode(), status=500),
    "no JSON": whole(ECHO.encode()),
    "an event": events([sse({"error": {"message": ECHO}}), sse("[DONE]")]),
    "no event": events([sse(ECHO)]),
    "not HTTP": [f"{ECHO}\r\n\r\n".encode()],
    "cut": [Close()],
    "cut later": events([*pieces("Hel")[:1], Close()], end=False),
    "no answer": [Wait()],
    "no more": events([*pieces("Hel")[:1], Wait()]),
}


def exceptions_below(error: BaseException) -> list[BaseException]:
    """An exception, and every one that it refers to."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__]
    return found


def shown(error: BaseException, *, local_variables: bool) -> str:
    """All that a log, a crash report, a debugger's hover or another process would see of it."""
    trace = error.__traceback__
    while trace is not None and "minicpm_core" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next  # the variables of the test itself
    report = traceback.TracebackException(type(error), error, trace, capture_locals=local_variables)
    parts = ["".join(report.format())]
    for each in exceptions_below(error):
        parts += [str(each), repr(each), repr(each.args), repr(vars(each)), str(getattr(each, "__notes__", ""))]
    parts.append(pickle.dumps(error).decode("latin-1"))
    return "\n".join(parts)


@pytest.mark.parametrize("failure", FAILURES)
async def test_no_error_shows_the_key(
    make: Callable[..., Shell], server: ScriptedServer, how: str, failure: str
) -> None:
    server.answers[:] = [FAILURES[failure]]
    shell = make(
        timeout=Timeouts(read=0.1) if failure in {"no answer", "no more"} else None,
        default_headers={"x-api-key": OTHER},
    )
    with pytest.raises(errors.APIError) as caught:
        await ask(shell, how)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].headers["x-api-key"] == OTHER
    echoed = ECHO.encode() in b"".join(part for part in FAILURES[failure] if isinstance(part, bytes))
    text = shown(caught.value, local_variables=not echoed)
    assert KEY not in text
    assert OTHER not in text


async def test_a_connection_error_does_not_show_it(make: Callable[..., Shell], how: str) -> None:
    with ScriptedServer() as gone:
        url = gone.base_url
    with pytest.raises(errors.APIConnectionError) as caught:
        await ask(make(base_url=url, max_retries=1), how)
    assert KEY not in shown(caught.value, local_variables=True)


@pytest.mark.parametrize("failure", ["not HTTP", "cut", "cut later", "no answer", "no more", "no JSON"])
async def test_no_error_refers_to_the_request(
    make: Callable[..., Shell], server: ScriptedServer, how: str, failure: str
) -> None:
    """What the transport raised holds the request with its headers."""
    server.answers[:] = [FAILURES[failure]]
    with pytest.raises(errors.APIError) as caught:
        await ask(make(max_retries=1, timeout=Timeouts(read=0.2)), how)
    for each in exceptions_below(caught.value):
        assert type(each).__module__.split(".")[0] in {"minicpm_core", "builtins", "socket", "ssl"}


@pytest.mark.parametrize("kind", [MiniCPMClient, AsyncMiniCPMClient])
def test_what_is_shown_of_a_client(kind: type[MiniCPMClient | AsyncMiniCPMClient]) -> None:
    client = kind(api_key=KEY, base_url="http://localhost/v1", default_headers={"x-api-key": OTHER})
    for text in (repr(client), str(client), repr(client.config), repr(client.__dict__)):
        assert KEY not in text
        assert OTHER not in text


async def test_a_pickle_leaves_the_key_behind(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after a call; the process that loads it brings its own."""
    for _ in range(2):
        data = pickle.dumps(shell.client)
        assert KEY.encode() not in data
        monkeypatch.delenv("MINICPM_API_KEY", raising=False)
        assert pickle.loads(data).config.api_key is None
        monkeypatch.setenv("MINICPM_API_KEY", OTHER)
        assert pickle.loads(data).config.api_key.reveal() == OTHER
        await shell.complete()


async def test_a_loaded_client_works(shell: Shell, server: ScriptedServer) -> None:
    await shell.complete()
    shell.client = pickle.loads(pickle.dumps(shell.client))
    await shell.complete()
    assert [request.headers.get("authorization") for request in server.requests] == [f"Bearer {KEY}", None]
    assert server.opened == 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
async def test_a_copy_keeps_the_key(shell: Shell, server: ScriptedServer, copied: Callable[[Any], Any]) -> None:
    """Before and after a call."""
    for _ in range(2):
        original, shell.client = shell.client, copied(shell.client)
        assert shell.client is not original
        assert shell.client.traits is original.traits
        await shell.complete()
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}


def test_an_error_survives_a_pickle(server: ScriptedServer) -> None:
    server.answers[:] = [events([*pieces("Hel")[:1], Close()], end=False)]
    with pytest.raises(errors.StreamInterruptedError) as caught:
        list(MiniCPMClient(base_url=server.base_url, backend="vllm").stream(HELLO))
    loaded = pickle.loads(pickle.dumps(caught.value))
    assert (type(loaded), str(loaded), loaded.partial) == (type(caught.value), str(caught.value), caught.value.partial)
