"""The synchronous shell: it sends, sleeps and reads; what to send and what it means is decided by `protocol`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from minicpm_core._base import ClientBase, fits, lower_headers
from minicpm_core._pools import leave_sync_pool, sync_pool
from minicpm_core.backends import BACKENDS
from minicpm_core.errors import APIError
from minicpm_core.media import resolve_messages
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
    from collections.abc import Generator, Iterator, Sequence
    from types import TracebackType

    from minicpm_core.backends import Backend
    from minicpm_core.config import ChatOptions
    from minicpm_core.protocol.flow import Begun, Flow
    from minicpm_core.protocol.request import Request
    from minicpm_core.types import Completion, Delta, Message, ModelInfo

T = TypeVar("T")


class MiniCPMClient(ClientBase):
    """Chat completions, synchronously. Safe to share between threads; usable again after `close`.

    Example:
        ```python
        with MiniCPMClient(base_url="http://localhost:8000/v1") as client:
            answer = client.complete([Message("user", "Hello!")])
        ```
    """

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
        merged = self._options(options)
        backend = self.backend()
        resolved = resolve_messages(messages, backend.image_types)
        prepare = self._preparer(backend, resolved, merged, stream=False)
        with _Exchange(self) as exchange:
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
        merged = self._options(options)
        backend = self.backend()
        resolved = resolve_messages(messages, backend.image_types)
        prepare = self._preparer(backend, resolved, merged, stream=True)
        exchange = _Exchange(self)
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
        with _Exchange(self) as exchange:
            return exchange.drive(models_flow(self.config, self._known_backend() or BACKENDS["generic"]))

    def backend(self) -> Backend:
        """The server's kind. With `backend="auto"` and a URL that does not tell, one free request finds out, once."""
        known = self._known_backend()
        if known is not None:
            return known
        with self._detecting:
            if self.traits.backend is None:
                with _Exchange(self) as exchange:
                    self.traits.backend = exchange.drive(detect_flow(self.config))
        return self.traits.backend or BACKENDS["generic"]

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


class _Exchange:
    """One call: drives a flow, and holds the response that is open."""

    def __init__(self, client: MiniCPMClient) -> None:
        self.client = client
        self._pool: Any = None
        self._shard: Any = None
        self._response: Any = None
        self._chunks: Iterator[bytes] = iter(())
        self._request: Request | None = None

    def drive(self, flow: Flow[T]) -> T:
        """Carry a flow's commands out until it returns."""
        try:
            command = next(flow)
            while True:
                outcome: Outcome = None
                if isinstance(command, Send):
                    self.close()
                    outcome = self._send(command.request)
                elif isinstance(command, Sleep):
                    self.close()
                    time.sleep(command.seconds)
                else:
                    outcome = self._read(command)
                command = flow.send(outcome)
        except StopIteration as stop:
            return stop.value

    def chunks(self) -> Iterator[bytes]:
        """The rest of the open response.

        Raises:
            APIError: The connection failed.
        """
        try:
            yield from self._chunks
        except Exception as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """End the open response, whether it was read or not, and give its connection back."""
        response, self._response = self._response, None
        shard, self._shard = self._shard, None
        try:
            if response is not None:
                response.close()
        finally:
            if shard is not None:
                self._pool.give(shard, used=response is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """Close: a stream that was left must not keep its connection."""
        self.close()

    def _send(self, request: Request) -> Outcome:
        self._request = request
        http_client = self.client._http_client  # noqa: SLF001 - the same module
        if http_client is None:
            self._pool = sync_pool(self.client)
            self._shard = self._pool.take()
            http_client = self._shard.client
        try:
            self._response = http_client.send(self.client._http_request(http_client, request), stream=True)  # noqa: SLF001
            headers = lower_headers(self._response.headers)
            # Raw bytes are cheaper, but not where they are compressed or, by a mock transport, read already.
            decoded = "content-encoding" in headers or self._response.is_stream_consumed
            self._chunks = self._response.iter_bytes() if decoded else self._response.iter_raw()
            if request.stream and self._response.status_code == 200:  # noqa: PLR2004
                return Opened(headers)
            return Reply(self._response.status_code, headers, self._body(headers))
        except APIError as error:
            return Failure(error)
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            return Failure(self._failure(error))

    def _body(self, headers: dict[str, str]) -> bytes:
        limit = self.client.config.max_response_bytes
        if fits(headers, limit):
            return self._response.read()
        received: list[bytes] = []
        size = 0
        for chunk in self._chunks:
            size += len(chunk)
            if size > limit:
                raise self.client._too_large()  # noqa: SLF001
            received.append(chunk)
        return b"".join(received)

    def _read(self, _command: Read) -> Outcome:
        try:
            return next(self._chunks, b"")
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            return Failure(self._failure(error))

    def _failure(self, error: Exception) -> APIError:
        assert self._request is not None
        reused = self._shard is None or self._shard.used
        return self.client._transport_failure(error, self._request, reused=reused)  # noqa: SLF001


class CompletionStream:
    """A streamed answer: iterate over it for deltas, the last of which carries `final`.

    Leaving the loop early, `close`, the end of a `with` block or of the object itself ends the request at once.
    """

    def __init__(self, exchange: _Exchange, begun: Begun) -> None:
        """Made by `MiniCPMClient.stream`."""
        self._exchange = exchange
        self._decoder = begun.decoder
        self._deltas = _iterate(exchange, begun)

    @property
    def partial(self) -> Completion:
        """What was received until now."""
        return self._decoder.partial

    def __iter__(self) -> Iterator[Delta]:
        """The deltas that are left."""
        return self._deltas

    def __next__(self) -> Delta:
        """The next delta."""
        return next(self._deltas)

    def close(self) -> None:
        """End the request, whether the answer was finished or not."""
        self._deltas.close()
        self._exchange.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _iterate(exchange: _Exchange, begun: Begun) -> Generator[Delta, None, None]:
    """The deltas. It knows the exchange and not the stream, so that dropping the two needs no garbage collector."""
    decoder = begun.decoder
    try:
        yield from begun.deltas
        feed = decoder.feed
        for chunk in exchange.chunks():
            yield from feed(chunk)
        yield from decoder.finish()
        exchange.client.traits.inline_reasoning |= decoder.saw_inline_reasoning
    except APIError as error:
        if decoder.done:
            return  # the answer was complete: how the connection ended does not matter
        raise cut_short(decoder, error) from error.__cause__
    finally:
        exchange.close()
