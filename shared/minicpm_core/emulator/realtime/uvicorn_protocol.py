"""uvicorn's WebSocket, with what a fault may do to a connection.

Imported only when a server is started, since it needs the extra `[realtime]`.
"""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from minicpm_core.emulator.realtime.app import FREEZE, HANG_UP


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket whose connection the app may end without a goodbye, or no longer listen to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logging.getLogger(__name__)  # by uvicorn's own it would say each address at INFO
        self._frozen = False
        app = self.app

        async def breakable(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {}).update({HANG_UP: self.transport.close, FREEZE: self._freeze})
            await app(scope, receive, send)

        self.app = breakable

    def data_received(self, data: bytes) -> None:
        """What comes, unless nothing is to be taken any more. That the client has gone is noticed all the same."""
        if not self._frozen:
            super().data_received(data)

    def _freeze(self) -> None:
        self._frozen = True
        self.stop_keepalive()
        self.transport.resume_reading()
