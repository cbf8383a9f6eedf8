"""The asynchronous shell: the same names and the same order as `client.py`, on asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from minicpm_core._asking import Question
from minicpm_core._base import ClientBase
from minicpm_core._exchange import leave_answer_behind
from minicpm_core._exchange_aio import AsyncExchange
from minicpm_core._pools import leave_async_pool
from minicpm_core.backends import BACKENDS
from minicpm_core.errors import APIError
from minicpm_core.media import needs_io
from minicpm_core.protocol.flow import complete_flow, cut_short, detect_flow, models_flow, stream_flow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from minicpm_core.backends import Backend
    from minicpm_core.config import ChatOptions
    from minicpm_core.protocol.flow import Begun
    from minicpm_core.types import Completion, Delta, Message, ModelInfo


class AsyncMiniCPMClient(ClientBase):
    """Chat completions on asyncio. One object works in any number of loops, one after the other or in threads.

    Example:
        ```python
        async with AsyncMiniCPMClient(base_url="http://localhost:8000/v1") as client:
            answer = await client.complete([Message("user", "Hello!")])
        ```
    """

    _enters_by = "__aenter__"
    _kind = "an asynchronous"

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
        merged = self._checked(messages, options)
        backend = await self.backend()
        resolved = await self._aresolve(messages, backend, merged)
        prepare = self._preparer(backend, resolved, merged, stream=False)
        async with AsyncExchange(self) as exchange:
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
        merged = self._checked(messages, options)
        backend = await self.backend()
        resolved = await self._aresolve(messages, backend, merged)
        prepare = self._preparer(backend, resolved, merged, stream=True)
        exchange = AsyncExchange(self)
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
        async with AsyncExchange(self) as exchange:
            return await exchange.drive(models_flow(self.config, self._known_backend() or BACKENDS["generic"]))

    async def backend(self) -> Backend:
        """The server's kind. With `backend="auto"` and a URL that does not tell, one free request finds out, once."""
        known = self._known_backend()
        if known is not None or time.monotonic() < self._ask_after:
            return known or BACKENDS["generic"]
        question = Question(self.traits, in_loop=True)
        while not question.mine and not await asyncio.wrap_future(question.asked):  # who asked was interrupted
            question = Question(self.traits, in_loop=True)
        if question.mine:
            await self._ask(question)
        return self.traits.backend or BACKENDS["generic"]

    async def _ask(self, question: Question) -> None:
        answered = False
        try:
            if self.traits.backend is None:
                async with AsyncExchange(self) as exchange:
                    await exchange.drive(detect_flow(self.config, self.traits))
                self._ask_after = question.next_time()
            answered = True
        finally:
            question.settle(answered=answered)

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

    async def _aresolve(
        self, messages: Sequence[Message], backend: Backend, options: Mapping[str, Any]
    ) -> Sequence[Message]:
        if not needs_io(messages, self.config.media):
            return self._resolve(messages, backend, options)
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self._resolve, messages, backend, options, stop)
        finally:
            stop.set()  # a task that was cancelled leaves no thread that goes on decoding


class AsyncCompletionStream:
    """A streamed answer: iterate over it for deltas, the last of which carries `final`.

    Leaving an `async with` block, `aclose` or cancelling the task ends the request at once.  An object that is dropped
    without any of these ends it as soon as its loop runs again.
    """

    def __init__(self, exchange: AsyncExchange, begun: Begun) -> None:
        """Made by `AsyncMiniCPMClient.stream`."""
        self._exchange = exchange
        self._decoder = begun.decoder
        self._ready = iter(begun.deltas)
        self._over = False

    @property
    def partial(self) -> Completion:
        """What was received until now."""
        return self._decoder.partial

    def __aiter__(self) -> Self:
        """Itself: the deltas that are left."""
        return self

    async def __anext__(self) -> Delta:
        """The next delta.

        Raises:
            APIError: The answer did not end well. `partial` has what was received.
        """
        while True:
            delta = next(self._ready, None)
            if delta is not None:
                return delta
            if self._over:
                raise StopAsyncIteration
            try:
                self._ready = iter(await self._more())
            except BaseException:
                await self.aclose()
                raise

    async def aclose(self) -> None:
        """End the request, whether the answer was finished or not."""
        self._over = True
        self._ready = iter(())
        await self._exchange.aclose()

    def abandon(self) -> None:
        """End the request without waiting for it: for finalizers and other places that cannot await."""
        self._over = True
        self._ready = iter(())
        self._exchange.abandon()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    async def _more(self) -> list[Delta]:
        """What the next bytes bring; nothing once the final delta was given."""
        if self._decoder.done:
            self._exchange.client.traits.inline_reasoning |= self._decoder.saw_inline_reasoning
            await self._exchange.drain()
            await self.aclose()
            return []
        try:
            chunk = b"" if self._decoder.failed else await self._exchange.read()
        except APIError as error:
            raise cut_short(self._decoder, error) from error.__cause__
        try:
            return self._decoder.feed(chunk) if chunk else self._decoder.finish()
        except APIError as error:
            leave_answer_behind(error)
            raise
