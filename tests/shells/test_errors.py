"""What goes wrong on the way, and the error that it is."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import Timeouts, errors
from tests.shells.support import ask, failing, pieces, streamed
from tests.support.server import Close, Delay, ScriptedServer, Wait, completion, events, sse, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell


async def test_a_refused_connection(make: Callable[..., Shell], how: str) -> None:
    with ScriptedServer() as gone:
        url = gone.base_url
    with pytest.raises(ConnectionError, match=r"no connection.*Check base_url and that the server runs") as caught:
        await ask(make(base_url=url), how)
    assert isinstance(caught.value, errors.APIConnectionError)
    assert not caught.value.sent
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_name_that_is_not_known(make: Callable[..., Shell], how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(errors.APIConnectionError, match="Name or service not known") as caught:
        await ask(make(base_url="http://nowhere.invalid/v1"), how)
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_no_answer_in_time(make: Callable[..., Shell], server: ScriptedServer, how: str) -> None:
    server.answers[:] = [[Wait()]]
    with pytest.raises(TimeoutError, match=r"no answer in time within 0.05 s. Raise timeout") as caught:
        await ask(make(timeout=Timeouts(read=0.05)), how)
    assert isinstance(caught.value, errors.APITimeoutError)
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_the_timeout_of_one_call(shell: Shell, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [[Wait()]]
    with pytest.raises(errors.APITimeoutError):
        await ask(shell, how, {"timeout": Timeouts(read=0.05)})


async def test_an_answer_in_drops_is_bounded_in_time(make: Callable[..., Shell], server: ScriptedServer) -> None:
    """`timeout` is for the whole of an answer that is not streamed, however its bytes come."""
    server.answers[:] = [events([b" ", Delay(0.03)] * 20)]
    with pytest.raises(errors.APITimeoutError):
        await make(timeout=Timeouts(read=0.2)).complete()


async def test_a_whole_answer_that_is_cut(shell: Shell, server: ScriptedServer) -> None:
    body = whole(completion())[0]
    assert isinstance(body, bytes)
    server.answers[:] = [[body[:-10], Close()]]
    with pytest.raises(errors.APIConnectionError, match="broke off"):
        await shell.complete()


ENDINGS: dict[str, tuple[Any, type[errors.APIError]]] = {
    "cut": ([Close()], errors.StreamInterruptedError),
    "cut in an event": ([b'9\r\ndata: {"c\r\n', Close()], errors.StreamInterruptedError),
    "not HTTP": ([b"not a chunk\r\n"], errors.StreamInterruptedError),
    "stalled": ([Wait()], errors.APITimeoutError),
    "with an error": (events([sse({"error": {"message": "Overheated.", "code": 500}})])[1:-1], errors.ServerError),
    "with a text": (events([sse("Overheated.")])[1:-1], errors.MalformedReplyError),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_stream_that_fails_keeps_what_came(
    make: Callable[..., Shell], server: ScriptedServer, ending: str
) -> None:
    actions, kind = ENDINGS[ending]
    server.answers[:] = [[*events(pieces("Hel", "lo")[:2], end=False), *actions]]
    shell = make(timeout=Timeouts(read=0.5) if ending == "stalled" else None)
    stream = await shell.stream()
    assert [(await shell.next(stream)).text, (await shell.next(stream)).text] == ["Hel", "lo"]
    with pytest.raises(kind) as caught:
        await shell.next(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].text == stream.partial.choices[0].text == "Hello"
    assert await shell.rest(stream) == []
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_a_stream_that_ends_too_early(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [events(pieces("Hel", "lo")[:2]), streamed("Hello.")]
    stream = await shell.stream()
    with pytest.raises(errors.StreamInterruptedError, match="5 characters"):
        await shell.rest(stream)
    assert await ask(shell, "stream") == "Hello."
    assert server.opened == 1  # as HTTP it was complete


PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"


async def test_a_page_of_a_proxy(shell: Shell, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [whole(PAGE, status=502, content_type="text/html")]
    with pytest.raises(errors.ServerError, match="answered 502: an HTML page, as a proxy would"):
        await ask(shell, how)


NO_ANSWERS = {
    "a page": (PAGE, "text/html", "HTML page"),
    "nothing": (b"", "application/json", "an empty body"),
    "half of one": (b'{"choices": [{"mess', "application/json", "JSON"),
    "a list": (b"[1, 2]", "application/json", "JSON"),
}


@pytest.mark.parametrize("body", NO_ANSWERS)
async def test_an_answer_that_is_none(shell: Shell, server: ScriptedServer, how: str, body: str) -> None:
    sent, content_type, said = NO_ANSWERS[body]
    server.answers[:] = [whole(sent, content_type=content_type)]
    with pytest.raises(errors.MalformedReplyError, match=said):
        await ask(shell, how)


async def test_a_stream_request_answered_whole(shell: Shell, server: ScriptedServer) -> None:
    """Some servers do not stream. The answer is the same, in one delta."""
    deltas = await shell.deltas()
    assert [delta.text for delta in deltas] == ["Hello.", ""]
    assert deltas[-1].final == await shell.complete()


async def test_an_error_in_an_answer_that_says_200(shell: Shell, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [whole({"error": {"message": "No such model.", "code": 404, "type": "model_not_found"}})]
    server.models = {"data": [{"id": "other"}]}
    with pytest.raises(errors.ModelNotFoundError, match="No such model") as caught:
        await ask(shell, how)
    assert caught.value.available == ("other",)


async def test_too_many_headers(shell: Shell, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [[b"HTTP/1.1 200 OK\r\n" + b"x-flood: 1\r\n" * 100_000]]
    with pytest.raises(errors.APIConnectionError):
        await ask(shell, how)


async def test_a_redirect_is_not_followed(shell: Shell, server: ScriptedServer, how: str) -> None:
    with ScriptedServer() as elsewhere:
        server.answers[:] = [whole(b"", status=307, headers={"location": f"{elsewhere.base_url}/chat/completions"})]
        with pytest.raises(errors.APIStatusError, match="redirects, which is not followed") as caught:
            await ask(shell, how)
        assert caught.value.status_code == 307
        assert (len(server.requests), elsewhere.opened) == (1, 0)


async def test_cookies_are_not_kept(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [whole(completion(), headers={"set-cookie": "session=1; Path=/"})]
    await shell.complete()
    await shell.complete()
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize(
    "url",
    ["http://[::1/v1", "http://host:99999/v1", "http://999.999.999.999/v1", "http://-ü-/v1"],
)
async def test_a_url_that_is_none_is_a_setting_that_is_wrong(make: Callable[..., Shell], how: str, url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="base_url"):
        await ask(make(base_url=url, max_retries=2), how)


async def test_a_host_name_that_cannot_be_one(make: Callable[..., Shell], how: str) -> None:
    """Some resolvers are asked and do not know it, others refuse to encode it."""
    with pytest.raises((errors.ConfigurationError, errors.APIConnectionError), match=r"host name|not known"):
        await ask(make(base_url=f"http://{'a' * 70}/v1"), how)


async def test_a_failure_leaves_the_client_usable(shell: Shell, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [[Close()], failing(400), streamed("Hel")[:2], whole(completion())]
    for kind in (errors.APIConnectionError, errors.InvalidRequestError):
        with pytest.raises(kind):
            await ask(shell, how)
    server.answers[:] = [whole(completion())]
    assert await ask(shell, how) == "Hello."
