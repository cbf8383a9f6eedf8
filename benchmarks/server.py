"""The server of the benchmarks: raw asyncio, answers at once or after a delay.

It runs in a process of its own, so that its work is not counted, and understands just what it needs:

    POST /<milliseconds>/v1/chat/completions    after that delay; `"stream": true` gives `CHUNKS` events, each in an
                                                HTTP chunk of its own as servers send them; with `b` after the number
                                                `BATCH` in each, as they arrive through a busy proxy;
                                                with `d` the request's body is read and dropped in pieces, of whatever
                                                size it is, and the answer is a whole one
    GET  /<milliseconds>/v1/models              says that it is vLLM
    GET  /<milliseconds>/v1/received            the last body that was read and not dropped
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CHUNKS = 2_000
BATCH = 50
MODEL = "MiniCPM-V-4.6-1B"
ANSWER = "MiniCPM answers this question in one sentence that is about as long as most answers are."


def _whole(body: object) -> bytes:
    return _answer(json.dumps(body).encode())


def _answer(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


def _event(text: str, delta: dict[str, str], finish: str | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-ba3d375411587182",
        "object": "chat.completion.chunk",
        "created": 1795386667,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta | ({"content": text} if text else {}), "finish_reason": finish}],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_USAGE = {"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 20}
_COMPLETION = _whole(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1795386667,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
)
_MODELS = _whole({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "vllm"}]})
_LAST = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": MODEL,
    "choices": [],
    "usage": _USAGE,
}
_EVENTS = [
    _event("", {"role": "assistant"}),
    *(_event(f" word{number}", {}) for number in range(CHUNKS)),
    _event("", {}, "stop"),
    b"data: " + json.dumps(_LAST).encode() + b"\n\n",
    b"data: [DONE]\n\n",
]


def _stream(events_in_a_chunk: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    starts = range(0, len(_EVENTS), events_in_a_chunk)
    chunks = (_http_chunk(b"".join(_EVENTS[start : start + events_in_a_chunk])) for start in starts)
    return b"".join([head, *chunks, b"0\r\n\r\n"])


_STREAM, _BATCHED = _stream(1), _stream(BATCH)


_received = [b""]
_PIECE = 1024 * 1024


async def _drained(reader: asyncio.StreamReader, size: int) -> bytes:
    while size:
        piece = await reader.read(min(size, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(piece)
    return b""


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"content-length:")
            size = int(rest.split(b"\r\n", 1)[0]) if rest else 0
            path = head.split(b" ", 2)[1]
            setting = path.split(b"/")[1]
            body = await (_drained(reader, size) if setting.endswith(b"d") else reader.readexactly(size))
            delay = int(setting.rstrip(b"bd"))
            if delay:
                await asyncio.sleep(delay / 1000)
            if head.startswith(b"get"):
                writer.write(_answer(_received[0]) if path.endswith(b"/received") else _MODELS)
            else:
                _received[:] = [body]
                stream = _BATCHED if setting.endswith(b"b") else _STREAM
                writer.write(stream if b'"stream":true' in body.replace(b" ", b"") else _COMPLETION)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve(ready: Connection) -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", 0, backlog=2048, limit=_PIECE)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _main(ready: Connection) -> None:
    try:
        asyncio.run(_serve(ready))
    except KeyboardInterrupt:
        sys.exit(0)


class Server:
    """The server, for the length of a `with` block."""

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self._process = context.Process(target=_main, args=(there,), daemon=True)
        self._process.start()
        self.port: int = here.recv()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.join()

    def base_url(self, milliseconds: int = 0, *, batched: bool = False, drained: bool = False) -> str:
        """The API's base URL, at which every answer takes that long.

        Args:
            milliseconds: How long.
            batched: Streams come in batches.
            drained: Bodies are dropped while they are read.
        """
        setting = f"{milliseconds}{'b' if batched else ''}{'d' if drained else ''}"
        return f"http://127.0.0.1:{self.port}/{setting}/v1"
