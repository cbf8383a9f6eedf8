"""A real HTTP server on loopback whose answers are given as bytes.

It speaks just enough HTTP/1.1 to record requests and to write what a test tells it to, byte for byte, so that a test
can cut a stream, send nonsense or hold a connection open.  The answers are used up in order; the last one repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeAlias

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Close:
    """Close the connection."""


@dataclass(frozen=True)
class Wait:
    """Wait until `ScriptedServer.release` or until the client goes away."""


@dataclass(frozen=True)
class Delay:
    """Wait for some seconds, as a server that works does."""

    seconds: float


@dataclass(frozen=True)
class Endless:
    """Send the same bytes again and again, until the client goes away."""

    data: bytes


Action: TypeAlias = bytes | Close | Wait | Delay | Endless
Answer: TypeAlias = "Sequence[Action]"


@dataclass
class Recorded:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


def whole(
    body: bytes | dict[str, Any] | list[Any],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    content_type: str = "application/json",
) -> Answer:
    """An answer with a body of known length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"content-type": content_type, "content-length": str(len(data)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in head.items())]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + data]


def events(chunks: Iterable[bytes | Action], *, end: bool = True, headers: dict[str, str] | None = None) -> Answer:
    """A streamed answer: each bytes object is one HTTP chunk. `end=False` leaves the terminating chunk out."""
    head = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **(headers or {})}
    lines = ["HTTP/1.1 200 OK", *(f"{k}: {v}" for k, v in head.items())]
    actions: list[Action] = ["\r\n".join(lines).encode() + b"\r\n\r\n"]
    actions += (b"%x\r\n%b\r\n" % (len(c), c) if isinstance(c, bytes) else c for c in chunks)
    if end:
        actions.append(b"0\r\n\r\n")
    return actions


def sse(*payloads: dict[str, Any] | str) -> bytes:
    """Payloads as server-sent events."""
    texts = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    return b"".join(f"data: {text}\n\n".encode() for text in texts)


def completion(text: str = "Hello.", **more: Any) -> dict[str, Any]:
    """A plain chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "MiniCPM-V-4.6-1B",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **more,
    }


def chunk(text: str | None = None, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk of a streamed completion."""
    content = {} if text is None else {"content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "MiniCPM-V-4.6-1B",
        "choices": [{"index": 0, "delta": {**content, **delta}, "finish_reason": finish}],
    }


@dataclass
class ScriptedServer:
    """Runs in a thread of its own while the `with` block runs.

    Attributes:
        answers: What is answered, in order; the last repeats. `GET /v1/models` is answered from `models` instead.
        routes: What is answered, whatever the order, where the path begins with the key.
        models: The body of `GET /v1/models`; `None` answers it from `answers` like the rest.
        requests: What came in, in order (without `GET /v1/models` where `models` answers it).
        port: Where it listens; 0 for any free one.
        tls: Speaks HTTPS with this context.
        opened: How many connections were accepted.
        open_now: How many are open.
    """

    answers: list[Answer] = field(default_factory=lambda: [whole(completion())])
    routes: dict[str, Answer] = field(default_factory=dict[str, Answer])
    models: dict[str, Any] | None = None
    requests: list[Recorded] = field(default_factory=list[Recorded])
    port: int = 0
    tls: ssl.SSLContext | None = None
    opened: int = 0
    open_now: int = 0

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait until the thread is gone."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def base_url(self) -> str:
        """The API's base URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    def release(self) -> None:
        """Let every `Wait` go on."""
        self._loop.call_soon_threadsafe(self._go.set)

    def wait_until_closed(self, seconds: float = 10.0) -> bool:
        """Wait until no connection is open; whether that came about."""
        return self.wait_until(lambda: self.open_now == 0, seconds)

    def wait_for_requests(self, count: int, seconds: float = 10.0) -> bool:
        """Wait until so many requests were received; whether that came about."""
        return self.wait_until(lambda: len(self.requests) >= count, seconds)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Wait until a condition on what this server has seen holds; whether that came about."""
        done = threading.Event()

        async def watch() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()
            done.set()

        watching = asyncio.run_coroutine_threadsafe(watch(), self._loop)
        try:
            return done.wait(seconds)
        finally:
            watching.cancel()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._go, self._changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()
        writers: set[asyncio.StreamWriter] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            writers.add(writer)
            self.opened += 1
            self.open_now += 1
            self._changed.set()
            try:
                await self._connection(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()
                self.open_now -= 1
                self._changed.set()
                tasks.discard(task)

        server = await asyncio.start_server(handle, "127.0.0.1", self.port, backlog=1024, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            with contextlib.suppress(AttributeError):  # of a TLS connection that is closed, before Python 3.11.4
                writer.transport.abort()  # a client may not have read all that was written

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if method == "GET" and path.endswith("/models") and self.models is not None:
                answer = whole(self.models)
            else:
                self.requests.append(Recorded(method, path, headers, body))
                self._changed.set()
                answer = self._answer(path)
            for action in answer:
                if isinstance(action, bytes):
                    writer.write(action)
                    await writer.drain()
                elif isinstance(action, Endless):
                    while not writer.transport.is_closing():
                        writer.write(action.data)
                        await writer.drain()
                elif isinstance(action, Delay):
                    await asyncio.sleep(action.seconds)
                elif isinstance(action, Wait):
                    await self._until_released_or_gone(reader)
                else:
                    return

    def _answer(self, path: str) -> Answer:
        for prefix, answer in self.routes.items():
            if path.startswith(prefix):
                return answer
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def _until_released_or_gone(self, reader: asyncio.StreamReader) -> None:
        go = asyncio.ensure_future(self._go.wait())
        gone = asyncio.ensure_future(reader.read(1))
        done, pending = await asyncio.wait({go, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.wait(pending)
        if gone in done:
            raise ConnectionResetError
