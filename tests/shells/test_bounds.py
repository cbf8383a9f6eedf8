"""Compressed answers, and answers that are larger than they may be."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import errors
from minicpm_core._inbound import Inflater
from tests.shells.support import ask, pieces
from tests.support.server import Endless, ScriptedServer, completion, events, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell

MIB = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    """Deflate without the header of zlib."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "identity": ("identity", bytes),
}


def body_of(how: str) -> bytes:
    """The body of an answer."""
    return json.dumps(completion()).encode() if how == "whole" else joined(pieces("Hel", "lo."))


def joined(actions: list[Any]) -> bytes:
    """The chunks of a stream as one."""
    return b"".join(actions)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_compressed_answers(shell: Shell, server: ScriptedServer, how: str, encoding: str) -> None:
    name, compress = ENCODINGS[encoding]
    server.answers[:] = [whole(compress(body_of(how)), headers={"content-encoding": name})]
    assert await ask(shell, how) == "Hello."
    assert await ask(shell, how) == "Hello."
    assert server.opened == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
async def test_a_compressed_stream_is_read_as_it_comes(shell: Shell, server: ScriptedServer, encoding: str) -> None:
    name, compress = ENCODINGS[encoding]
    bytewise = [bytes([byte]) for byte in compress(body_of("stream"))]
    server.answers[:] = [events(bytewise, headers={"content-encoding": name})]
    deltas = await shell.deltas()
    assert [delta.text for delta in deltas] == ["Hel", "lo.", ""]


async def test_what_is_asked_for(shell: Shell, server: ScriptedServer) -> None:
    """A proxy that compresses a stream would hold events back."""
    await shell.complete()
    await shell.deltas()
    assert [request.headers["accept-encoding"] for request in server.requests] == ["gzip, deflate", "identity"]
    await shell.complete({"extra_headers": {"Accept-Encoding": "identity"}})
    assert server.requests[-1].headers["accept-encoding"] == "identity"


BROKEN = {
    "not gzip": ("gzip", b"{}" * 20),
    "half of it": ("gzip", gzip.compress(body_of("whole"))[:-20]),
    "one byte": ("deflate", b"x"),
    "unknown": ("br", b"abc"),
    "two at once": ("gzip, gzip", gzip.compress(gzip.compress(b"{}"))),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_cannot_be_decompressed(shell: Shell, server: ScriptedServer, how: str, case: str) -> None:
    name, body = BROKEN[case]
    server.answers[:] = [whole(body, headers={"content-encoding": name})]
    with pytest.raises(errors.MalformedReplyError, match=r"decompressed|compressed data|compressed as|stream"):
        await ask(shell, how)


async def test_a_small_answer_may_not_become_a_large_one(
    make: Callable[..., Shell], server: ScriptedServer, how: str
) -> None:
    bomb = gzip.compress(b" " * (64 * MIB))
    assert len(bomb) < 0.1 * MIB
    server.answers[:] = [whole(bomb, headers={"content-encoding": "gzip"})]
    shell = make(max_response_bytes=MIB)
    with pytest.raises(errors.MalformedReplyError, match=f"more than {MIB} bytes"):
        await ask(shell, how)
    tracemalloc.start()
    try:
        with pytest.raises(errors.MalformedReplyError):
            await ask(shell, how)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * MIB  # the answer, its pieces and the server's copies


def test_an_inflater_gives_small_pieces() -> None:
    inflater = Inflater("gzip", "url")
    sizes = [len(piece) for piece in inflater.feed(gzip.compress(b" " * MIB))]
    assert sum(sizes) == MIB
    assert max(sizes) <= 64 * 1024
    inflater.finish()


@pytest.mark.parametrize("announced", [False, True])
async def test_an_answer_that_is_too_large(
    make: Callable[..., Shell], server: ScriptedServer, how: str, announced: bool
) -> None:
    text = "x" * MIB
    body = json.dumps(completion(text)).encode() if how == "whole" else joined(pieces(text))
    server.answers[:] = [whole(body) if announced else events([body])]
    with pytest.raises(errors.MalformedReplyError, match="Raise max_response_bytes if such an answer is expected"):
        await ask(make(max_response_bytes=MIB), how)
    assert await ask(make(max_response_bytes=2 * MIB), how) == text


async def test_an_answer_without_end(make: Callable[..., Shell], server: ScriptedServer, how: str) -> None:
    head = events([])[0]
    blank = b" " * 10_000 if how == "whole" else b": still here\n" * 800
    server.answers[:] = [[head, Endless(b"%x\r\n%b\r\n" % (len(blank), blank))]]
    with pytest.raises(errors.MalformedReplyError, match="Raise max_response_bytes"):
        await ask(make(max_response_bytes=MIB), how)
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_an_error_that_is_too_large_is_still_that_error(
    make: Callable[..., Shell], server: ScriptedServer, how: str
) -> None:
    head = b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n"
    server.answers[:] = [[head, Endless(b"5\r\nbusy \r\n")]]
    with pytest.raises(errors.ServerError, match="busy busy") as caught:
        await ask(make(max_response_bytes=10_000), how)
    assert len(str(caught.value)) < 1000
    assert await asyncio.to_thread(server.wait_until_closed)
