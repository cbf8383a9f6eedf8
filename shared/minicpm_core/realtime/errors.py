"""How realtime sessions end badly, and the table that tells which way it was.

    APIError
    └── RealtimeError                    a session was wanted, and did not begin or did not end well
        ├── SessionRejectedError         the handshake was refused: a wrong address, or a service that is not ready
        ├── QueueFullError               too many are waiting (1013)
        ├── WorkerBusyError              the worker belongs to somebody else
        ├── SessionFailedError           the gateway lost or could not reach the worker
        ├── BackendError                 the model's side failed, or refused what it was sent
        ├── SessionTimeLimitError        the session reached its 300 or 600 seconds
        ├── ContextFullError             the model's memory is full
        ├── SessionEndedError            the server ended the session for a reason of its own
        ├── UnexpectedEventError         the server said something that has no place where it was said
        ├── NotConnectedError            no connection could be made; also an APIConnectionError
        ├── ConnectionLostError          it broke without a goodbye: 1006, or 1000 without `session.closed`; also one
        │   └── ServerShutdownError      the gateway is restarting (1001, 1012)
        └── RealtimeTimeoutError         a step took too long; `phase` says which; also an APITimeoutError
    InvalidInputError
    └── SessionStateError                this cannot be sent now; nothing was

No message holds a session id: it opens the recording on self-hosted gateways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from minicpm_core.errors import APIConnectionError, APIError, APITimeoutError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.realtime.events import ErrorEvent, SessionClosed


class SessionStateError(InvalidInputError):
    """This cannot be sent in the state that the session is in. Nothing was sent."""


class RealtimeError(APIError):
    """A session did not begin, or did not end well.

    Attributes:
        close_code: That the connection was closed with; `None` if it was not, or is not known.
        code: The server's own code or reason, as text.
        diagnostic: What the server said about it.
        state: What the session was doing, such as `queued` or `active`.
    """

    close_code: int | None = None
    code: str | None = None
    diagnostic: str | None = None
    state: str | None = None


class SessionRejectedError(RealtimeError):
    """The server refused the handshake.

    Attributes:
        status_code: The HTTP status. The gateways say 403 for a wrong mode and for a service that is not ready.
    """

    status_code: int = 0


class QueueFullError(RealtimeError):
    """Too many sessions are waiting already."""

    retryable = True


class WorkerBusyError(RealtimeError):
    """The worker has a session already."""

    retryable = True


class SessionFailedError(RealtimeError):
    """The gateway lost the worker, or could not reach it. A session begun too soon after another fails like this."""

    retryable = True


class BackendError(RealtimeError):
    """The model's side failed, or refused what it was sent."""


class SessionTimeLimitError(RealtimeError):
    """The session reached the limit of its time: 300 seconds with video, 600 without."""


class ContextFullError(RealtimeError):
    """The model's memory is full."""


class SessionEndedError(RealtimeError):
    """The server ended the session for a reason of its own. `code` has it."""


class UnexpectedEventError(RealtimeError):
    """The server said something that has no place in the state that the session was in."""


class NotConnectedError(RealtimeError, APIConnectionError):
    """No connection could be made."""


class ConnectionLostError(RealtimeError, APIConnectionError):
    """The connection ended without `session.closed`, whatever its close code."""


class ServerShutdownError(ConnectionLostError):
    """The server is going away or restarting."""


class RealtimeTimeoutError(RealtimeError, APITimeoutError):
    """A step took too long.

    Attributes:
        phase: `open`, `queue`, `init`, `idle` or `close`.
    """

    phase: str = "open"
    retryable = False


class Ending(NamedTuple):
    """A row of the table of ends.

    Attributes:
        error: What is raised.
        message: What happened and what to do next.
    """

    error: type[RealtimeError]
    message: str


_FAILED = Ending(SessionFailedError, "The gateway lost or could not reach the worker. Begin a new session.")
_BACKEND = Ending(BackendError, "The model's side failed, or refused what it was sent. Look at the server's log.")
_NOT_READY = Ending(SessionFailedError, "The service is not ready. Try again later.")
_SHUTDOWN = Ending(ServerShutdownError, "The server is going away or restarting. Begin a new session in a moment.")
_FULL = Ending(QueueFullError, "Too many sessions are waiting. Try again later.")
_LOST = Ending(
    ConnectionLostError,
    "The connection ended without a goodbye. What the model knew of the conversation is lost; begin a new session.",
)

BY_ERROR_CODE: Mapping[str, Ending] = {
    "queue_full": _FULL,
    "worker_busy": Ending(WorkerBusyError, "The worker has a session already. Try again in a moment."),
    "session_failed": _FAILED,
    "worker_connect_failed": _FAILED,
    "not_ready": _NOT_READY,
    "service_unavailable": _NOT_READY,
    "inference_error": _BACKEND,
    "inference_failed": _BACKEND,  # what the first generation's servers send, whatever their schema says
    "unknown_event": _BACKEND,
    "missing_field": _BACKEND,
    "invalid_payload": _BACKEND,
}
"""By the code of an `error` event. Others are a `BackendError`."""

BY_REASON: Mapping[str, Ending] = {
    "backend_error": _BACKEND,
    "error": _BACKEND,
    "timeout": Ending(SessionTimeLimitError, "The session reached the limit of its time. Begin a new one."),
    "context_full": Ending(ContextFullError, "The model's memory is full. Begin a new session."),
    "server_shutdown": _SHUTDOWN,
}
"""By the reason of a `session.closed` that nobody asked for. Others are a `SessionEndedError`."""

BY_CLOSE_CODE: Mapping[int, Ending] = {
    1000: _LOST,  # a worker that closes cleanly, or dies, is passed on as 1000: it is no proof of a graceful end
    1001: _SHUTDOWN,
    1006: _LOST,
    1009: Ending(RealtimeError, "A message was too long. Send smaller frames, or raise `max_message_bytes`."),
    1012: _SHUTDOWN,
    1013: _FULL,
}
"""By the code of the connection's close, where nothing was said before. Others are a `ConnectionLostError`."""

_UNKNOWN_ERROR = _BACKEND
_UNKNOWN_REASON = Ending(SessionEndedError, "The server ended the session.")


def from_error(event: ErrorEvent, *, state: str) -> RealtimeError:
    """What an `error` event comes to."""
    ending = BY_ERROR_CODE.get(event.code, _UNKNOWN_ERROR)
    return _made(ending, code=event.code or None, diagnostic=event.message or None, state=state)


def from_closed(event: SessionClosed, *, state: str) -> RealtimeError:
    """What a `session.closed` comes to that nobody asked for."""
    ending = BY_REASON.get(event.reason or "", _UNKNOWN_REASON)
    return _made(ending, code=event.reason, diagnostic=event.diagnostic, state=state)


def from_close_code(close_code: int | None, reason: str, *, state: str) -> RealtimeError:
    """What the end of a connection comes to, where neither an error nor a `session.closed` came before it.

    Args:
        close_code: As received; `None` or 1006 if the connection broke.
        reason: As received.
        state: What the session was doing.
    """
    ending = BY_CLOSE_CODE.get(close_code or 1006, _LOST)
    return _made(ending, close_code=close_code or 1006, diagnostic=reason or None, state=state)


def _made(
    ending: Ending,
    *,
    state: str,
    code: str | None = None,
    diagnostic: str | None = None,
    close_code: int | None = None,
) -> RealtimeError:
    told = f" ({_short(code or str(close_code))}" + (f": {_short(diagnostic)})" if diagnostic else ")")
    message = f"{ending.message} It was {state}.{told if code or close_code or diagnostic else ''}"
    return ending.error(message, code=code, diagnostic=diagnostic, close_code=close_code, state=state)


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
