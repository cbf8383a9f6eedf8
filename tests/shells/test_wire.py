"""What connections make of HTTP: when they are used again, and how an answer may come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import errors
from tests.shells.support import ask, pieces
from tests.support.server import Close, Endless, ScriptedServer, chunk, completion, events, sse, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell
    from tests.support.server import Answer

BODY = json.dumps(completion()).encode()
LENGTH = b"content-length: %d\r\n\r\n" % len(BODY) + BODY

ENDINGS: dict[str, tuple[Answer, int]] = {
    "kept": ([b"HTTP/1.1 200 OK\r\n" + LENGTH], 1),
    "closed": ([b"HTTP/1.1 200 OK\r\nConnection: Close\r\n" + LENGTH, Close()], 3),
    "said to be closed, but left open": ([b"HTTP/1.1 200 OK\r\nConnection: Close\r\n" + LENGTH], 3),
    "of an old server": ([b"HTTP/1.0 200 OK\r\n" + LENGTH], 3),
    "with the connection": ([b"HTTP/1.1 200 OK\r\n\r\n" + BODY, Close()], 3),
    "followed by something": ([b"HTTP/1.1 200 OK\r\n" + LENGTH + b"HTTP/1.1 500 No"], 3),
    "after others that say nothing": (
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH],
        1,
    ),
    "with a trailer": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(BODY), BODY)],
        1,
    ),
    "byte by byte": ([bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\n" + LENGTH], 1),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_connection_is_used_again_if_the_answer_leaves_it_so(
    shell: Shell, server: ScriptedServer, ending: str
) -> None:
    answer, connections = ENDINGS[ending]
    server.answers[:] = [answer]
    for _ in range(3):
        assert await ask(shell, "whole") == "Hello."
    assert server.opened == connections
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_now == (connections == 1))


def joined(answer: Answer) -> bytes:
    """The bytes of an answer, to be sent at once."""
    return b"".join(part for part in answer if isinstance(part, bytes))


async def test_many_events_in_one_read_are_all_given(shell: Shell, server: ScriptedServer) -> None:
    words = [f"{number} " for number in range(3_000)]
    server.answers[:] = [[joined(events([*(sse(chunk(word)) for word in words), *pieces("end")]))]]
    deltas = await shell.deltas()
    assert [delta.text for delta in deltas if delta.text] == [*words, "end"]


BROKEN: dict[str, tuple[bytes, type[errors.APIError]]] = {
    "what is no chunk": (b"no chunk\r\n", errors.StreamInterruptedError),
    "an error": (b'1f\r\ndata: {"error": {"code": 500}}\n\n\r\n', errors.APIError),
    "the end of the connection": (b"", errors.StreamInterruptedError),
}


@pytest.mark.parametrize("how_it_breaks", BROKEN)
async def test_what_came_before_in_the_same_read_is_given(
    shell: Shell, server: ScriptedServer, how_it_breaks: str
) -> None:
    last, kind = BROKEN[how_it_breaks]
    begun = joined(events(pieces("Hel", "lo")[:2], end=False))
    server.answers[:] = [[begun + last, Close()]]
    stream = await shell.stream()
    assert [(await shell.next(stream)).text for _ in range(2)] == ["Hel", "lo"]
    with pytest.raises(kind):
        await shell.next(stream)
    assert stream.partial.choices[0].text == "Hello"
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_a_host_whose_first_address_takes_no_connection(
    make: Callable[..., Shell], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def two_addresses(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        tcp = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(socket.AF_INET6, *tcp, ("::1", port, 0, 0)), (socket.AF_INET, *tcp, ("127.0.0.1", port))]

    shell = make(base_url=server.base_url.replace("127.0.0.1", "model.test"))
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", two_addresses)
        assert await ask(shell, "whole") == "Hello."
    assert "model.test" in asked
    assert server.requests[0].headers["host"] == f"model.test:{server.port}"


async def test_an_answer_that_is_as_large_as_it_says(shell: Shell, server: ScriptedServer) -> None:
    text = "word " * 400_000
    server.answers[:] = [whole(completion(text))]
    assert await ask(shell, "whole") == text


HOSTILE: dict[str, Answer] = {
    "announcements": [Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)],
    "a head": [b"HTTP/1.1 200 OK\r\n", Endless(b"x: y\r\n" * 1_000)],
    "a line before a chunk": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", Endless(b" " * 65_536)],
    "a trailer": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", Endless(b"x: y\r\n" * 1_000)],
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_has_no_end_is_refused(shell: Shell, server: ScriptedServer, what: str) -> None:
    server.answers[:] = [HOSTILE[what]]
    with pytest.raises(errors.APIConnectionError):
        await ask(shell, "whole")
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_another_transfer_encoding_is_refused(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [[b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n"]]
    with pytest.raises(errors.APIConnectionError):
        await ask(shell, "whole")
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_what_is_said_before_tls_is_no_answer(make: Callable[..., Shell]) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + LENGTH)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        shell = make(base_url=f"https://127.0.0.1:{port}/v1", timeout=10)
        with pytest.raises(errors.APIConnectionError):
            await asyncio.to_thread(asyncio.run, ask(shell, "whole"))


async def test_an_address_of_version_6(make: Callable[..., Shell]) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n" + LENGTH)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    try:
        listening = await asyncio.start_server(answer, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        shell = make(base_url=f"http://[::1]:{port}/v1")
        assert await asyncio.to_thread(asyncio.run, ask(shell, "whole")) == "Hello."
        assert b"host: [::1]:%d\r\n" % port in heads[0].lower()
        await asyncio.to_thread(asyncio.run, shell.close())
