"""What an adapter puts on the wire, for every way to call it."""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

from minicpm_core import InvalidMediaError, MiniCPMError
from tests.support.server import chunk, completion, sse

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Self

MODES: Final = {"invoke": "chat", "stream": "stream_chat", "ainvoke": "achat", "astream": "astream_chat"}
"""LangChain's names of the ways to ask, and LlamaIndex's."""
KEY: Final = "sk-a-secret-of-the-tests"
BASE_URL: Final = "http://model.test/v1"


@dataclass(frozen=True)
class Sent:
    """A request.

    Attributes:
        line: Method and URL.
        headers: All of them, but the length.
        timeout: By step, in seconds.
        body: Its JSON.
    """

    line: str
    headers: dict[str, str]
    timeout: dict[str, float | None]
    body: Any


@dataclass(frozen=True)
class Outcome:
    """What came of a call.

    Attributes:
        sent: The requests.
        refused: The error, as its class's name and, where it does not tell how a picture was handed over, its words.
        warned: What was warned of.
    """

    sent: tuple[Sent, ...] = ()
    refused: str | None = None
    warned: tuple[str, ...] = ()


@dataclass
class Wire:
    """HTTP clients that answer `Hello.` and record what was asked."""

    runner: asyncio.Runner
    sent: list[Sent] = field(default_factory=list[Sent])

    def __enter__(self) -> Self:
        transport = httpx.MockTransport(self._answer)
        self.sync, self.aio = httpx.Client(transport=transport), httpx.AsyncClient(transport=transport)
        return self

    def __exit__(self, *_: object) -> None:
        self.sync.close()
        self.runner.run(self.aio.aclose())

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        self.sent.append(Sent(f"{request.method} {request.url}", headers, request.extensions["timeout"], body))
        if not body.get("stream"):
            return httpx.Response(200, json=completion())
        events = sse(chunk("Hel"), chunk("lo."), chunk(finish="stop"), "[DONE]")
        return httpx.Response(200, content=events, headers={"content-type": "text/event-stream"})

    def settings(self, backend: str, **more: Any) -> dict[str, Any]:
        """What a model object is made with."""
        return {
            "base_url": BASE_URL,
            "api_key": KEY,
            "backend": backend,
            "max_retries": 0,
            "http_client": self.sync,
            "async_http_client": self.aio,
            **more,
        }

    def ask(self, call: Callable[[], Any]) -> Outcome:
        """What comes of a call. What it gives is awaited, and streams are read to their end."""
        self.sent.clear()
        refused: str | None = None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                result = call()
                if isinstance(result, Awaitable | AsyncIterator):
                    self.runner.run(_exhausted(result))  # pyright: ignore[reportUnknownArgumentType]
                elif isinstance(result, Iterator):
                    deque(result, maxlen=0)  # pyright: ignore[reportUnknownArgumentType]
            except MiniCPMError as error:
                refused = type(error).__name__
                if not isinstance(error, InvalidMediaError):
                    refused += f": {error}"
        return Outcome(tuple(self.sent), refused, tuple(str(warning.message) for warning in warned))


async def _exhausted(result: Awaitable[Any] | AsyncIterator[Any]) -> None:
    stream = await result if isinstance(result, Awaitable) else result
    if isinstance(stream, AsyncIterator):
        async for _ in stream:  # pyright: ignore[reportUnknownVariableType]
            pass
