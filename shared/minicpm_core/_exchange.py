"""One call that is under way, synchronously: sends what a flow asks for, and reads what comes."""

from __future__ import annotations

import contextlib
import threading
from time import sleep
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from minicpm_core._inbound import ACCEPTED, Body, Inflater, inflater_for, lower_headers
from minicpm_core._pools import hang_up, http_request, sync_pool
from minicpm_core._uploads import AsyncUpload, Upload
from minicpm_core.config import Timeouts
from minicpm_core.errors import APIConnectionError, APIError, ConfigurationError, MiniCPMError
from minicpm_core.protocol.body import PiecedBody
from minicpm_core.protocol.flow import Failure, Opened, Outcome, Reply, Send, Sleep
from minicpm_core.protocol.transport import failure_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicpm_core._base import ClientBase
    from minicpm_core.protocol.flow import Flow
    from minicpm_core.protocol.request import Request

T = TypeVar("T")

DRAIN_SECONDS = 2.0
"""How long the end of a connection may take after the answer is complete, before it is closed instead of kept."""

OK = 200
_DEFAULT_TIMEOUTS = Timeouts()
_SYSTEM_MODULES = frozenset({"builtins", "socket", "ssl"})


class ExchangeBase:
    """What both shells know of one call that is under way.

    Args:
        client: Whose call it is.
    """

    _upload_by: ClassVar[type[Upload | AsyncUpload]]

    def __init__(self, client: ClientBase) -> None:
        self.client = client
        self._http_client = client._http_client  # noqa: SLF001 - a part of it
        self._url = client.config.base_url
        self._origin = "/".join(self._url.split("/", 3)[:3])
        self._lane: Any = None
        self._response: Any = None
        self._inflater: Inflater | None = None
        self._upload: Upload | AsyncUpload | None = None
        self._finished = False
        self._read_seconds: float | None = None

    def _http_request(self, request: Request) -> Any:
        """The request as an object of the HTTP library."""
        timeouts = request.timeout or self.client.config.timeout
        headers = request.headers if "accept-encoding" in request.headers else _with_encoding(request)
        body: bytes | Upload | AsyncUpload
        if isinstance(request.body, PiecedBody):
            body = self._upload = self._upload_by(request.body)
        else:
            body, self._upload = request.body, None
        if self._http_client is None:
            timeouts = _DEFAULT_TIMEOUTS if timeouts is None else timeouts
            sent = http_request(request.method, self._url + request.path, headers=headers, body=body, timeouts=timeouts)
        else:  # with its own headers, cookies and, unless ours are set, timeouts
            extensions = {} if timeouts is None else {"timeout": timeouts.as_dict()}
            if self._upload is not None:
                headers = {**headers, "content-length": str(len(self._upload))}
            sent = self._http_client.build_request(
                request.method,
                self._url + request.path,
                headers=headers,
                content=body or None,
                extensions=extensions,
            )
        self._read_seconds = sent.extensions.get("timeout", {}).get("read")
        return sent

    def _failure(self, error: Exception) -> APIError:
        """The caller's error for a transport's, without what refers to the request, and so to the key.

        Raises:
            ConfigurationError: The host name cannot be one.
            InvalidMediaError: A file could not be sent, whatever the transport made of it.
            Exception: The same, if it is none of a transport.
        """
        if self._upload is not None and self._upload.error is not None:
            raise self._upload.error from None
        if isinstance(error, APIError):
            return error
        if isinstance(error, UnicodeError):  # what a resolver says of a label that is empty or too long
            raise ConfigurationError(f"base_url cannot be used, its host name is no name: {self._url}.") from None
        reused = self._response is None and (self._lane is None or self._lane.used)
        found = failure_for(
            error,
            url=self._url,
            reused=reused,
            timeout_read=self._read_seconds,
            secrets=self.client.config.secrets,
        )
        if found is None:
            raise error
        found.__cause__ = _system_error(error)
        return found


class Exchange(ExchangeBase):
    """One call: drives a flow, and holds the response that is open."""

    _upload_by: ClassVar[type[Upload | AsyncUpload]] = Upload
    _pool: Any = None
    _chunks: Iterator[bytes] = iter(())

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
                    sleep(command.seconds)
                else:
                    outcome = self._read_or_fail()
                command = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except APIError as error:
            leave_answer_behind(error)
            raise

    def read(self) -> bytes:
        """The next bytes of the open response; none at its end.

        Raises:
            APIError: The connection failed.
        """
        try:
            for chunk in self._chunks:
                if chunk:
                    return chunk
            if self._inflater is not None:
                self._inflater.finish()
            self._response.close()
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            failure = self._failure(error)
        else:
            self._finished = True
            return b""
        raise failure  # here, so that it does not refer to the transport's error

    def drain(self) -> None:
        """Read to the end after the answer is complete, if it comes soon, so that the connection can be used again."""
        if self._finished:
            return
        network = self._response.extensions.get("network_stream")
        socket = network and network.get_extra_info("socket")
        if socket is None:
            return  # nothing to hang up with, should the server keep us waiting
        guard = threading.Timer(DRAIN_SECONDS, hang_up, (socket,))
        guard.daemon = True
        try:
            guard.start()
        except RuntimeError:  # the interpreter is ending, and makes no more threads
            return
        try:
            with contextlib.suppress(APIError):  # the answer is complete, however the connection ends
                while self.read():
                    pass
        finally:
            guard.cancel()

    def close(self) -> None:
        """End the open response, whether it was read or not, and give its connection back."""
        lane, self._lane = self._lane, None
        response, self._response = self._response, None
        finished, self._finished = self._finished, False
        if lane is not None:
            self._pool.give(lane, finished=finished)
        elif response is not None and not finished:
            response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """Close: a stream that was left must not keep its connection."""
        self.close()

    def _send(self, request: Request) -> Outcome:
        try:
            sent = self._http_request(request)
            if self._http_client is None:
                self._pool = sync_pool(self.client)
                self._lane = self._pool.take(self._origin)
                self._response = self._lane.transport.handle_request(sent)
            else:
                self._response = self._http_client.send(sent, stream=True)
            headers = self._opened()
            if request.stream and self._response.status_code == OK:
                return Opened(headers)
            return Reply(self._response.status_code, headers, self._body())
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            failure = self._failure(error)
        if self._lane is not None and is_stale(failure):
            self._pool.close(self._pool.take_idle(self._origin))  # they have waited longer still
        return Failure(failure)

    def _opened(self) -> dict[str, str]:
        """Prepare for reading the response that has just begun."""
        headers = lower_headers(self._response.headers)
        inflater = self._inflater = inflater_for(headers, self._url)
        self._chunks = iter(self._response.stream)
        if inflater is not None:
            self._chunks = (piece for chunk in self._chunks for piece in inflater.feed(chunk))
        return headers

    def _body(self) -> bytes:
        config = self.client.config
        body = Body(
            self._response.status_code, most=config.max_response_bytes, seconds=self._read_seconds, url=self._url
        )
        while body.takes(self.read()):
            pass
        return body.joined()

    def _read_or_fail(self) -> Outcome:
        try:
            return self.read()
        except APIError as error:
            return Failure(error)


def leave_answer_behind(error: APIError) -> None:
    """Part an error from a parser's below it, which holds the whole answer, in which a server may repeat the key."""
    while isinstance(error.__context__, ValueError) and not isinstance(error.__context__, MiniCPMError):
        error.__context__ = error.__context__.__context__


def is_stale(failure: APIError) -> bool:
    """Whether a kept connection broke, as one that the server has closed does."""
    return isinstance(failure, APIConnectionError) and failure.stale


def _with_encoding(request: Request) -> dict[str, str]:
    return {**request.headers, "accept-encoding": "identity" if request.stream else ACCEPTED}


def _system_error(error: BaseException) -> OSError | None:
    """The operating system's own error below a transport's, on its own."""
    found: OSError | None = None
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, OSError) and type(current).__module__ in _SYSTEM_MODULES and current.args:
            found = current
        current = current.__cause__ or current.__context__
    if found is not None:
        found.__cause__ = found.__context__ = found.__traceback__ = None
    return found
