"""The errors of realtime sessions, each of them langchain-core's own as well; see `_errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_core import exceptions as langchain

from langchain_minicpm._errors import CLASSES, as_langchain
from minicpm_core.realtime import errors as core

if TYPE_CHECKING:
    from minicpm_core.errors import MiniCPMError


class RealtimeError(core.RealtimeError, langchain.ModelError):
    """A session did not begin, or did not end well."""


class SessionStateError(core.SessionStateError, langchain.ModelInvalidRequestError):
    """This cannot be sent in the state that the session is in. Nothing was sent."""


class SessionRejectedError(core.SessionRejectedError, langchain.ModelPermissionDeniedError):
    """The server refused the handshake."""


class QueueFullError(core.QueueFullError, langchain.ModelRateLimitError):
    """Too many sessions are waiting already."""


class WorkerBusyError(core.WorkerBusyError, langchain.ModelRateLimitError):
    """The worker has a session already."""


class SessionFailedError(core.SessionFailedError, langchain.ModelAPIError):
    """The gateway lost the worker, or could not reach it."""


class BackendError(core.BackendError, langchain.ModelAPIError):
    """The model's side failed, or refused what it was sent."""


class SessionTimeLimitError(core.SessionTimeLimitError, langchain.ModelAPIError):
    """The session reached the limit of its time."""


class ContextFullError(core.ContextFullError, langchain.ContextOverflowError):
    """The model's memory is full."""


class SessionEndedError(core.SessionEndedError, langchain.ModelAPIError):
    """The server ended the session for a reason of its own."""


class UnexpectedEventError(core.UnexpectedEventError, langchain.ModelAPIError):
    """The server said something that has no place where it was said."""


class NotConnectedError(core.NotConnectedError, langchain.ModelConnectionError):
    """No connection could be made."""


class ConnectionLostError(core.ConnectionLostError, langchain.ModelConnectionError):
    """The connection ended without a goodbye."""


class ServerShutdownError(core.ServerShutdownError, langchain.ModelConnectionError):
    """The server is going away or restarting."""


class RealtimeTimeoutError(core.RealtimeTimeoutError, langchain.ModelTimeoutError):
    """A step took too long."""


REALTIME_CLASSES: Final[dict[type[MiniCPMError], type[MiniCPMError]]] = {
    core.RealtimeError: RealtimeError,
    core.SessionStateError: SessionStateError,
    core.SessionRejectedError: SessionRejectedError,
    core.QueueFullError: QueueFullError,
    core.WorkerBusyError: WorkerBusyError,
    core.SessionFailedError: SessionFailedError,
    core.BackendError: BackendError,
    core.SessionTimeLimitError: SessionTimeLimitError,
    core.ContextFullError: ContextFullError,
    core.SessionEndedError: SessionEndedError,
    core.UnexpectedEventError: UnexpectedEventError,
    core.NotConnectedError: NotConnectedError,
    core.ConnectionLostError: ConnectionLostError,
    core.ServerShutdownError: ServerShutdownError,
    core.RealtimeTimeoutError: RealtimeTimeoutError,
    **CLASSES,
}
"""The class to raise for each class of the core."""


def as_langchain_too(error: MiniCPMError) -> MiniCPMError:
    """The same error in the class that langchain-core knows, too."""
    return as_langchain(error, classes=REALTIME_CLASSES)
