"""The WebSocket below a session: opened, cut, and its failures as errors of ours."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import ConfigurationError
from minicpm_core.realtime.errors import NotConnectedError, SessionRejectedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, MutableMapping

    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed

    from minicpm_core.realtime.settings import RealtimeSettings

_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOO_LONG = 1009
_PING_SECONDS = 20
"""As the gateways do themselves: a connection of which one end is gone is noticed after twice as long at most."""


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """Never at DEBUG, where websockets logs the headers, with the key, and the frames, with the session's id."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name that the base class gives
        return level > logging.DEBUG and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


async def connect(url: str, settings: RealtimeSettings, ssl_context: ssl.SSLContext | None) -> ClientConnection:
    """Open a connection, without a bound on the time.

    Raises:
        ConfigurationError: websockets is not installed.
        SessionRejectedError: The server refused the handshake.
        NotConnectedError: There is no server, or it speaks something else.
    """
    try:
        from websockets.asyncio.client import connect as open_socket
        from websockets.exceptions import InvalidStatus, WebSocketException
    except ImportError as error:
        raise ConfigurationError(
            'Realtime sessions need websockets: pip install "minicpm-integrations[realtime]"'
        ) from error
    key = settings.api_key
    headers: Mapping[str, str] = {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}
    more: dict[str, Any] = {} if ssl_context is None else {"ssl": ssl_context}
    try:
        return await open_socket(
            url,
            additional_headers=headers,
            compression=None,  # samples hardly become smaller
            open_timeout=None,  # ours is around all of it
            close_timeout=settings.timeouts.close,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            max_size=settings.max_message_bytes,
            logger=_Quiet(logging.getLogger(__name__), {}),
            **more,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise SessionRejectedError(
            f"The server refused the handshake with HTTP {status}. Is the address right, and the service ready?",
            status_code=status,
            retryable=status in _RETRIED_STATUSES,
            state="connecting",
        ) from None
    except (OSError, EOFError, WebSocketException) as error:
        raise NotConnectedError(
            f"No connection: {type(error).__name__}: {error}. Is the address right, and the server up?",
            state="connecting",
        ) from error


async def cut(socket: ClientConnection) -> None:
    """End a connection at once, without a goodbye."""
    socket.transport.abort()
    await socket.wait_closed()


def how_closed(error: ConnectionClosed) -> tuple[int | None, str]:
    """The code and the reason that the server gave, or why we gave up; `None` where the connection just broke."""
    if error.rcvd is not None:
        return error.rcvd.code, error.rcvd.reason
    too_long = error.sent is not None and error.sent.code == _TOO_LONG
    return (_TOO_LONG if too_long else None), ""
