"""The synchronous shell: it sends, sleeps and reads; what to send and what it means is decided by `protocol`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from minicpm_core._asking import Question
from minicpm_core._base import ClientBase
from minicpm_core._exchange import Exchange, leave_answer_behind
from minicpm_core._pools import leave_sync_pool
from minicpm_core.backends import BACKENDS
from minicpm_core.errors import APIError
from minicpm_core.protocol.flow import complete_flow, cut_short, detect_flow, models_flow, stream_flow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from minicpm_core.backends import Backend
    from minicpm_core.config import ChatOptions
    from minicpm_core.protocol.flow import Begun
    from minicpm_core.types import Completion, Delta, Message, ModelInfo


class MiniCPMClient(ClientBase):
    """Chat completions, synchronously. Safe to share between threads; usable again after `close`.

    Example:
        ```python
        with MiniCPMClient(base_url="http://localhost:8000/v1") as client:
            answer = client.complete([Message("user", "Hello!")])
        ```
    """

    _enters_by = "__enter__"
    _kind = "a synchronous"

    def complete(self, messages: Sequence[Message], options: ChatOptions | None = None) -> Completion:
        """Ask for a whole answer.

        Args:
            messages: The conversation. Not changed.
            options: What this request asks for, over the client's own options.

        Raises:
            InvalidInputError: Something cannot be sent; nothing was.
            ConfigurationError: A setting is missing; nothing was sent.
            APIError: The request did not end well.
        """
        merged = self._checked(messages, options)
        backend = self.backend()
        resolved = self._resolve(messages, backend, merged)
        prepare = self._preparer(backend, resolved, merged, stream=False)
        with Exchange(self) as exchange:
            return exchange.drive(complete_flow(prepare, self.config, self.traits))

    def stream(self, messages: Sequence[Message], options: ChatOptions | None = None) -> CompletionStream:
        """Ask for a streamed answer. The request is made here, and what it is refused with is raised here.

        Args:
            messages: The conversation. Not changed.
            options: What this request asks for, over the client's own options.

        Raises:
            InvalidInputError: Something cannot be sent; nothing was.
            ConfigurationError: A setting is missing; nothing was sent.
            APIError: The request did not begin well.
        """
        merged = self._checked(messages, options)
        backend = self.backend()
        resolved = self._resolve(messages, backend, merged)
        prepare = self._preparer(backend, resolved, merged, stream=True)
        exchange = Exchange(self)
        try:
            begun = exchange.drive(stream_flow(prepare, self.config, self.traits))
        except BaseException:
            exchange.close()
            raise
        return CompletionStream(exchange, begun)

    def list_models(self) -> list[ModelInfo]:
        """The models that the server offers.

        Raises:
            APIError: The server does not tell.
        """
        with Exchange(self) as exchange:
            return exchange.drive(models_flow(self.config, self._known_backend() or BACKENDS["generic"]))

    def backend(self) -> Backend:
        """The server's kind. With `backend="auto"` and a URL that does not tell, one free request finds out, once."""
        known = self._known_backend()
        if known is not None or time.monotonic() < self._ask_after:
            return known or BACKENDS["generic"]
        question = Question(self.traits, in_loop=False)
        while not question.mine and not question.asked.result():  # the one who asked was interrupted
            question = Question(self.traits, in_loop=False)
        if question.mine:
            self._ask(question)
        return self.traits.backend or BACKENDS["generic"]

    def _ask(self, question: Question) -> None:
        answered = False
        try:
            if self.traits.backend is None:
                with Exchange(self) as exchange:
                    exchange.drive(detect_flow(self.config, self.traits))
                self._ask_after = question.next_time()
            answered = True
        finally:
            question.settle(answered=answered)

    def close(self) -> None:
        """Let go of the shared connections. The last client to do so closes them."""
        leave_sync_pool(self)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


class CompletionStream:
    """A streamed answer: iterate over it for deltas, the last of which carries `final`.

    Leaving the loop early, `close`, the end of a `with` block or of the object itself ends the request at once.
    """

    def __init__(self, exchange: Exchange, begun: Begun) -> None:
        """Made by `MiniCPMClient.stream`."""
        self._exchange = exchange
        self._decoder = begun.decoder
        self._ready = iter(begun.deltas)
        self._over = False

    @property
    def partial(self) -> Completion:
        """What was received until now."""
        return self._decoder.partial

    def __iter__(self) -> Self:
        """Itself: the deltas that are left."""
        return self

    def __next__(self) -> Delta:
        """The next delta.

        Raises:
            APIError: The answer did not end well. `partial` has what was received.
        """
        while True:
            delta = next(self._ready, None)
            if delta is not None:
                return delta
            if self._over:
                raise StopIteration
            try:
                self._ready = iter(self._more())
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the request, whether the answer was finished or not."""
        self._over = True
        self._ready = iter(())
        self._exchange.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _more(self) -> list[Delta]:
        """What the next bytes bring; nothing once the final delta was given."""
        if self._decoder.done:
            self._exchange.client.traits.inline_reasoning |= self._decoder.saw_inline_reasoning
            self._exchange.drain()
            self.close()
            return []
        try:
            chunk = b"" if self._decoder.failed else self._exchange.read()
        except APIError as error:
            raise cut_short(self._decoder, error) from error.__cause__
        try:
            return self._decoder.feed(chunk) if chunk else self._decoder.finish()
        except APIError as error:
            leave_answer_behind(error)
            raise
