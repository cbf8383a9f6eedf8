"""The server's end of one WebSocket, with what a fault may do to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.realtime.words import encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.websockets import WebSocket

    from minicpm_core.emulator.realtime.words import Frame

_WAITING = 4
"""Messages that may wait; the rest waits in the network."""


class BinaryMessageError(Exception):
    """A binary message came, which the gateway does not take."""


class Wire:
    """Hears and says.

    Args:
        websocket: Accepted.
        hang_up: Ends the connection without a close frame, once what was said has been sent.
        freeze: Takes nothing more from the connection, not even pings.
        novel: Whether to add events and fields that nobody knows.
    """

    def __init__(
        self, websocket: WebSocket, *, hang_up: Callable[[], None], freeze: Callable[[], None], novel: bool
    ) -> None:
        self._websocket = websocket
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING)
        self._novel = novel
        self.hang_up = hang_up
        self.freeze = freeze

    async def pump(self) -> None:
        """Take what comes, until the client has gone."""
        while (message := dict(await self._websocket.receive()))["type"] != "websocket.disconnect":
            await self._inbox.put(message)

    async def hear(self) -> str:
        """The next text.

        Raises:
            BinaryMessageError: It is none.
        """
        text = (await self._inbox.get()).get("text")
        if text is None:
            raise BinaryMessageError
        return str(text)

    async def drain(self) -> None:
        """Take what comes and do nothing about it, for as long as the connection lasts."""
        while True:
            await self._inbox.get()

    async def say(self, frame: Frame) -> None:
        """Send an event."""
        if self._novel:
            await self.say_raw('{"type": "session.novelty", "novelty": [1]}')
            frame = {**frame, "novelty": {"of": "tomorrow"}}
        await self.say_raw(encoded(frame))

    async def say_raw(self, data: str | bytes) -> None:
        """Send a message as it is."""
        if isinstance(data, bytes):
            await self._websocket.send_bytes(data)
        else:
            await self._websocket.send_text(data)

    async def close(self, code: int | None) -> None:
        """End the connection; without a code, without a close frame."""
        if code is None:
            self.hang_up()
        else:
            await self._websocket.close(code)
