"""The asynchronous shell: the same names and the same order as `client.py`, on asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakKeyDictionary

from minicpm_core._base import ClientBase, fits, lower_headers
from minicpm_core._pools import async_pool, leave_async_pool
from minicpm_core.backends import BACKENDS
from minicpm_core.errors import APIError
from minicpm_core.media import needs_io, resolve_messages
from minicpm_core.protocol.flow import (
    Failure,
    Opened,
    Outcome,
    Read,
    Reply,
    Send,
    Sleep,
    complete_flow,
    cut_short,
    detect_flow,
    models_flow,
    stream_flow,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from types import TracebackType

    from minicpm_core.backends import Backend
    from minicpm_core.config import ChatOptions
    from minicpm_core.protocol.flow import Begun, Flow
    from minicpm_core.protocol.request import Request
    from minicpm_core.types import Completion, Delta, Message, ModelInfo

T = TypeVar("T")

_DRAIN_SECONDS = 2.0
"""How long the end of a connection may take after the answer is complete, before it is closed instead of kept."""


class AsyncMiniCPMClient(ClientBase):
    """Chat completions on asyncio. One object works in any number of loops, one after the other or in threads.

    Example:
        ```python
        async with AsyncMiniCPMClient(base_url="http://localhost:8000/v1") as client:
            answer = await client.complete([Message("user", "Hello!")])
        ```
    """

    async def complete(self, messages: Sequence[Message], options: ChatOptions | None = None) -> Completion:
        """Ask for a whole answer.

        Args:
            messages: The conversation. Not changed. Files are read and pictures converted off the event loop.
            options: What this request asks for, over the client's own options.

        Raises:
            InvalidInputError: Something cannot be sent; nothing was.
            ConfigurationError: A setting is missing; nothing was sent.
            APIError: The request did not end well.
        """
        merged = self._options(options)
        backend = await self.backend()
        resolved = await self._resolve(messages, backend)
        prepare = self._preparer(backend, resolved, merged, stream=False)
        async with _Exchange(self) as exchange:
            return await exchange.drive(complete_flow(prepare, self.config, self.traits))

    async def stream(self, messages: Sequence[Message], options: ChatOptions | None = None) -> AsyncCompletionStream:
        """Ask for a streamed answer. The request is made here, and what it is refused with is raised here.

        Args:
            messages: The conversation. Not changed. Files are read and pictures converted off the event loop.
            options: What this request asks for, over the client's own options.

        Raises:
            InvalidInputError: Something cannot be sent; nothing was.
            ConfigurationError: A setting is missing; nothing was sent.
            APIError: The request did not begin well.
        """
        merged = self._options(options)
        backend = await self.backend()
        resolved = await self._resolve(messages, backend)
        prepare = self._preparer(backend, resolved, merged, stream=True)
        exchange = _Exchange(self)
        try:
            begun = await exchange.drive(stream_flow(prepare, self.config, self.traits))
        except BaseException:
            await exchange.aclose()
            raise
        return AsyncCompletionStream(exchange, begun)

    async def list_models(self) -> list[ModelInfo]:
        """The models that the server offers.

        Raises:
            APIError: The server does not tell.
        """
        async with _Exchange(self) as exchange:
            return await exchange.drive(models_flow(self.config, self._known_backend() or BACKENDS["generic"]))

    async def backend(self) -> Backend:
        """The server's kind. With `backend="auto"` and a URL that does not tell, one free request finds out, once."""
        known = self._known_backend()
        if known is not None:
            return known
        async with _detection_lock(self):
            if self.traits.backend is None:
                async with _Exchange(self) as exchange:
                    self.traits.backend = await exchange.drive(detect_flow(self.config))
        return self.traits.backend or BACKENDS["generic"]

    async def aclose(self) -> None:
        """Let go of the running loop's connections. The last client to do so closes them."""
        await leave_async_pool(self)

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    async def _resolve(self, messages: Sequence[Message], backend: Backend) -> Sequence[Message]:
        if needs_io(messages):
            return await asyncio.to_thread(resolve_messages, messages, backend.image_types)
        return resolve_messages(messages, backend.image_types)


_locks: WeakKeyDictionary[AsyncMiniCPMClient, tuple[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()


def _detection_lock(client: AsyncMiniCPMClient) -> asyncio.Lock:
    """A lock for one client in one loop, so that parallel first calls ask the server once."""
    loop = asyncio.get_running_loop()
    held = _locks.get(client)
    if held is None or held[0] is not loop:
        held = _locks[client] = (loop, asyncio.Lock())
    return held[1]


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield


class _Exchange:
    """One call: drives a flow, and holds the response that is open."""

    def __init__(self, client: AsyncMiniCPMClient) -> None:
        self.client = client
        self._pool: Any = None
        self._shard: Any = None
        self._response: Any = None
        self.chunks: AsyncIterator[bytes] = _nothing()
        self._request: Request | None = None
        self._loop = asyncio.get_running_loop()

    def abandon(self) -> None:
        """Close as soon as the loop runs again."""
        if (self._response is not None or self._shard is not None) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self.aclose()))

    def __del__(self) -> None:
        """Close: a stream that was left must not keep its connection."""
        self.abandon()

    async def drive(self, flow: Flow[T]) -> T:
        """Carry a flow's commands out until it returns."""
        try:
            command = next(flow)
            while True:
                outcome: Outcome = None
                if isinstance(command, Send):
                    await self.aclose()
                    outcome = await self._send(command.request)
                elif isinstance(command, Sleep):
                    await self.aclose()
                    await asyncio.sleep(command.seconds)
                else:
                    outcome = await self._read(command)
                command = flow.send(outcome)
        except StopIteration as stop:
            return stop.value

    async def drain(self) -> None:
        """Read to the end after the answer is complete, so that the connection can be used again."""
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await anext(self.chunks, b""):
                    pass
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            if not isinstance(error, TimeoutError):
                self.failure(error)  # the connection is closed instead of kept; the answer is complete all the same

    async def aclose(self) -> None:
        """End the open response, whether it was read or not, and give its connection back."""
        response, self._response = self._response, None
        shard, self._shard = self._shard, None
        try:
            if response is not None:
                await response.aclose()
        finally:
            if shard is not None:
                self._pool.give(shard, used=response is not None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(self, request: Request) -> Outcome:
        self._request = request
        http_client = self.client._http_client  # noqa: SLF001 - the same module
        if http_client is None:
            self._pool = await async_pool(self.client)
            self._shard = self._pool.take()
            http_client = self._shard.client
        try:
            sent = self.client._http_request(http_client, request)  # noqa: SLF001
            self._response = await http_client.send(sent, stream=True)
            headers = lower_headers(self._response.headers)
            # Raw bytes are cheaper, but not where they are compressed or, by a mock transport, read already.
            decoded = "content-encoding" in headers or self._response.is_stream_consumed
            self.chunks = self._response.aiter_bytes() if decoded else self._response.aiter_raw()
            if request.stream and self._response.status_code == 200:  # noqa: PLR2004
                return Opened(headers)
            return Reply(self._response.status_code, headers, await self._body(headers))
        except APIError as error:
            return Failure(error)
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            return Failure(self.failure(error))

    async def _body(self, headers: dict[str, str]) -> bytes:
        limit = self.client.config.max_response_bytes
        if fits(headers, limit):
            return await self._response.aread()
        received: list[bytes] = []
        size = 0
        async for chunk in self.chunks:
            size += len(chunk)
            if size > limit:
                raise self.client._too_large()  # noqa: SLF001
            received.append(chunk)
        return b"".join(received)

    async def _read(self, _command: Read) -> Outcome:
        try:
            return await anext(self.chunks, b"")
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            return Failure(self.failure(error))

    def failure(self, error: Exception) -> APIError:
        """The caller's error for a transport's; any other is raised again."""
        assert self._request is not None
        reused = self._shard is None or self._shard.used
        return self.client._transport_failure(error, self._request, reused=reused)  # noqa: SLF001


class AsyncCompletionStream:
    """A streamed answer: iterate over it for deltas, the last of which carries `final`.

    Leaving an `async with` block, `aclose` or cancelling the task ends the request at once.  An object that is dropped
    without any of these ends it as soon as its loop runs again.
    """

    def __init__(self, exchange: _Exchange, begun: Begun) -> None:
        """Made by `AsyncMiniCPMClient.stream`."""
        self._exchange = exchange
        self._decoder = begun.decoder
        self._deltas = _iterate(exchange, begun)

    @property
    def partial(self) -> Completion:
        """What was received until now."""
        return self._decoder.partial

    def __aiter__(self) -> AsyncIterator[Delta]:
        """The deltas that are left."""
        return self._deltas

    async def __anext__(self) -> Delta:
        """The next delta."""
        return await anext(self._deltas)

    async def aclose(self) -> None:
        """End the request, whether the answer was finished or not."""
        await self._deltas.aclose()
        await self._exchange.aclose()

    def abandon(self) -> None:
        """End the request without waiting for it: for finalizers and other places that cannot await."""
        self._exchange.abandon()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()


async def _iterate(exchange: _Exchange, begun: Begun) -> AsyncGenerator[Delta, None]:
    """The deltas. It knows the exchange and not the stream, so that dropping the two needs no garbage collector."""
    decoder = begun.decoder
    try:
        for delta in begun.deltas:
            yield delta
        feed = decoder.feed
        async for chunk in exchange.chunks:
            for delta in feed(chunk):
                yield delta
            if decoder.done:
                await exchange.drain()
                break
        for delta in decoder.finish():
            yield delta
        exchange.client.traits.inline_reasoning |= decoder.saw_inline_reasoning
    except APIError:
        raise
    except Exception as error:
        raise cut_short(decoder, exchange.failure(error)) from error
    finally:
        await exchange.aclose()
