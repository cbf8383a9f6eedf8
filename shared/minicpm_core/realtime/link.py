"""One connection with the state of its session: how it is opened, heard and told, and what each failure is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from minicpm_core.errors import APIError
from minicpm_core.realtime.codec import Codec
from minicpm_core.realtime.connection import connect, cut, how_closed
from minicpm_core.realtime.events import ErrorEvent, SessionClosed
from minicpm_core.realtime.machine import Machine, State
from minicpm_core.realtime.settings import address
from minicpm_core.secret import redact

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed

    from minicpm_core.realtime.client_events import ClientEvent, SessionInit
    from minicpm_core.realtime.events import Generation, Mode, ServerEvent
    from minicpm_core.realtime.settings import RealtimeSettings


class Link:
    """A connection that may become a session. It is used once.

    Args:
        settings: Of the client.
        mode: Of the session.
        generation: Of the protocol.
        ssl_context: For wss.

    Attributes:
        machine: Where the session stands.
        generation: Of the protocol.
    """

    def __init__(
        self, settings: RealtimeSettings, *, mode: Mode, generation: Generation, ssl_context: ssl.SSLContext | None
    ) -> None:
        self.machine = Machine(mode=mode, generation=generation)
        self.generation: Generation = generation
        self._codec = Codec(generation=generation)
        self._settings = settings
        self._url = address(settings.base_url, mode)
        self._ssl_context = ssl_context
        self._socket: ClientConnection | None = None

    async def open(self, init: SessionInit, on_event: Callable[[ServerEvent], None]) -> None:
        """Connect, wait in the queue, and begin the session.

        Args:
            init: What to begin it with.
            on_event: Gets what the server says meanwhile.

        Raises:
            APIError: It did not come to that. The connection is gone then.
        """
        timeouts = self._settings.timeouts
        try:
            async with asyncio.timeout(timeouts.open):
                self._socket = await connect(self._url, self._settings, self._ssl_context)
        except TimeoutError:
            self.machine.timed_out("open", timeouts.open or 0.0)
            self.check()
        self.machine.opened()
        try:
            await self._until(State.ASSIGNED, "queue", timeouts.queue, on_event)
            await self.send(init)
            await self._until(State.ACTIVE, "init", timeouts.init, on_event)
        except BaseException:
            await self.cut()
            raise

    def check(self) -> None:
        """Raise how the session ended badly, if it did."""
        if self.machine.error is not None:
            raise self.machine.error

    async def hear(self) -> tuple[ServerEvent, ...]:
        """The events of the next message. Where the session ends with one, it is among them.

        Raises:
            APIError: The connection ended, or the message is none.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            message = await self._connected.recv()
        except ConnectionClosed as closed:
            self._lost(closed)
            self.check()
            return ()
        try:
            events = tuple(map(self._redacted, self._codec.decode(message)))
        except APIError as error:
            self.machine.fail(error)
            raise
        for event in events:
            self.machine.hear(event)
        return events

    async def send(self, event: ClientEvent) -> bool:
        """Say something.

        Returns:
            Whether it was handed over. If not, the connection has ended; `hear` gives what came before that, and tells
            how: only the last words of a server say so.

        Raises:
            InvalidInputError: It cannot be said, or not now.
        """
        from websockets.exceptions import ConnectionClosed

        text = self._codec.encode(event)
        self.machine.say(event)
        try:
            await self._connected.send(text)
        except ConnectionClosed:
            return False
        return True

    async def see_out(self) -> None:
        """After `session.closed`: wait for the server to end the connection, as it is not free before it does."""
        from websockets.exceptions import ConnectionClosed

        try:
            async with asyncio.timeout(self._settings.timeouts.close):
                while True:
                    await self._connected.recv()
        except (ConnectionClosed, TimeoutError):
            await self.cut()

    async def cut(self) -> None:
        """End the connection at once."""
        if self._socket is not None:
            await cut(self._socket)

    @property
    def _connected(self) -> ClientConnection:
        if self._socket is None:
            raise RuntimeError("The link was not opened.")
        return self._socket

    def _lost(self, closed: ConnectionClosed) -> None:
        code, reason = how_closed(closed)
        self.machine.lost(code, self._hidden(reason))

    async def _until(
        self, goal: State, phase: str, seconds: float | None, on_event: Callable[[ServerEvent], None]
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self.machine.state is not goal:
                    for event in await self.hear():
                        on_event(event)
                    self.check()
        except TimeoutError:
            self.machine.timed_out(phase, seconds or 0.0)
            self.check()

    def _redacted(self, event: ServerEvent) -> ServerEvent:
        """Servers may repeat what they were sent, and these words end up in errors."""
        if isinstance(event, ErrorEvent):
            return replace(event, message=self._hidden(event.message))
        if isinstance(event, SessionClosed) and event.diagnostic is not None:
            return replace(event, diagnostic=self._hidden(event.diagnostic))
        return event

    def _hidden(self, text: str) -> str:
        key = self._settings.api_key
        return text if key is None else redact(text, (key.reveal(),))
