"""uvicorn, with what the emulator needs beside it: a sign when it answers, a prompt end, and connections that break.

Imported only when a server is started, since it needs the extra `[emulator]`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from minicpm_core.emulator.app import create_app
from minicpm_core.emulator.realtime.app import HANG_UP

_websockets: type[asyncio.Protocol] | None = None
with contextlib.suppress(ImportError):  # without websockets it still serves HTTP
    from minicpm_core.emulator.realtime.uvicorn_protocol import WebSocketProtocol as _websockets  # noqa: N813 - a class, or none

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from minicpm_core.emulator.settings import EmulatorSettings
    from minicpm_core.emulator.state import EmulatorState

_GRACE = 5
"""Seconds that requests may take to end after their connections were closed."""


_MOST_MESSAGE = 128 * 1024 * 1024
"""Bytes of a message in a realtime session, as the vendor's gateway is set."""


class _Protocol(H11Protocol):
    """HTTP/1.1 in which the app may close the connection in mid-answer, and that logs under the emulator's name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logging.getLogger(__name__)
        app = self.app

        async def closable(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[HANG_UP] = self.transport.close
            await app(scope, receive, send)

        self.app = closable


class StoppableServer(uvicorn.Server):
    """A server that says when it answers, and that ends without waiting for clients."""

    def __init__(self, settings: EmulatorSettings, state: EmulatorState) -> None:
        """Configure; nothing runs yet."""
        config = uvicorn.Config(
            create_app(settings, state),
            http=_Protocol,
            loop="asyncio",
            ws=_websockets or "none",
            ws_max_size=_MOST_MESSAGE,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)
        self.ready = threading.Event()
        self.on_ready: Callable[[], None] | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`, and never leave anyone waiting for `ready`."""
        try:
            super().run(sockets)
        finally:
            self.ready.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say so."""
        await super().startup(sockets)
        self.ready.set()
        if self.on_ready is not None:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection, which ends the requests on them, and stop. Realtime sessions are closed with 1012."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, _Protocol):
                connection.transport.close()
        await super().shutdown(sockets)
