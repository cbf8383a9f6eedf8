"""What runs behind a session: a queue each way, the connections between them, and what is counted.

Both queues are bounded and drop nothing: who sends waits while `max_pending_units` units wait to be sent; and while
nobody takes the events, nothing more is read from the server, which ends the session at some point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core.realtime.clock import comes_within
from minicpm_core.realtime.errors import SessionStateError
from minicpm_core.realtime.flight import Flight
from minicpm_core.realtime.incoming import Incoming
from minicpm_core.realtime.mailbox import MailboxClosedError
from minicpm_core.realtime.metrics import Meter
from minicpm_core.realtime.outgoing import Outgoing
from minicpm_core.realtime.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.errors import APIError
    from minicpm_core.realtime.client_events import ChatAppend, InputAppend, SessionInit
    from minicpm_core.realtime.events import QueueUpdate, ServerEvent
    from minicpm_core.realtime.link import Link
    from minicpm_core.realtime.metrics import SessionMetrics
    from minicpm_core.realtime.settings import RealtimeSettings, SessionOptions

_AFTERTHOUGHT_SECONDS = 2.0
"""How long after the last silence the rest of an answer may take."""


class Engine:
    """Runs one session.

    Args:
        settings: Of the client.
        options: Of the session.
        make_link: Makes a connection that is not open yet.
        init: What to begin with, each time.
        on_queue: Gets the place in the queue.
        rest: Gives the units that complete what was begun, when silence follows it.

    Attributes:
        incoming: The way in.
        outgoing: The way out.
        relay: Opens and closes.
    """

    def __init__(
        self,
        settings: RealtimeSettings,
        options: SessionOptions,
        *,
        make_link: Callable[[], Link],
        init: SessionInit,
        on_queue: Callable[[QueueUpdate], None] | None,
        rest: Callable[[], list[bytes]],
    ) -> None:
        self._clock = settings.clock
        self._told: APIError | None = None
        self._meter = Meter(settings.clock)
        self._flight = Flight(keep=options.rolls, bound=settings.max_pending_units)
        self.incoming = Incoming(settings, mode=options.mode, flight=self._flight, meter=self._meter)
        self.outgoing = Outgoing(
            options,
            bound=settings.max_pending_units,
            clock=settings.clock,
            flight=self._flight,
            meter=self._meter,
            rest=rest,
            announce=self.incoming.box.put_now,
        )
        self.relay = Relay(
            settings,
            options,
            make_link=make_link,
            init=init,
            on_queue=on_queue,
            outgoing=self.outgoing,
            incoming=self.incoming,
            flight=self._flight,
            meter=self._meter,
        )

    async def close(self, reason: str) -> None:
        """End the session.

        Args:
            reason: Told to the server.

        Raises:
            APIError: It had ended badly, and nothing had told so yet; or it did not end in time.
        """
        await self.relay.close(reason)
        if self.relay.error is not self._told:
            self.check_end()

    # --- What is sent -------------------------------------------------------------------------------------------------

    def check(self, event: InputAppend | ChatAppend) -> None:
        """Look whether something may be sent, or may wait until another session has taken over.

        Raises:
            SessionStateError: It may not.
            APIError: The session has ended badly.
        """
        self.check_end()
        machine = self.relay.link.machine
        if self.relay.changing:
            machine.check_mode(event)
        else:
            machine.check(event)

    def check_end(self) -> None:
        """Tell how the session ended badly, if it did.

        Raises:
            APIError: It did.
        """
        self._told = self.relay.error
        if self._told is not None:
            raise self._told

    async def put(self, item: bytes | ChatAppend) -> None:
        """Have something sent, once there is room for it among what waits.

        Raises:
            SessionStateError: The session was closed meanwhile.
            APIError: It has ended badly.
        """
        try:
            await self.outgoing.box.put(item)
        except MailboxClosedError:
            self.check_end()
            raise SessionStateError("The session was closed while this waited to be sent.") from None

    # --- What comes ---------------------------------------------------------------------------------------------------

    async def next_event(self) -> ServerEvent | None:
        """What the server says next; `None` when the session was closed.

        Raises:
            APIError: It has ended badly.
        """
        try:
            return await self.incoming.box.get()
        except MailboxClosedError:
            self.check_end()
            return None

    async def answered(self) -> None:
        """Wait until all that is sent, or waits to be, is answered; or for the end.

        Raises:
            APIError: The session has ended badly.
        """
        while (len(self.outgoing.box) or len(self._flight)) and not self._flight.over:
            await self.outgoing.box.empty()
            await self._flight.landed()
        self.check_end()

    async def goes_on(self) -> bool:
        """Whether there is an event to come, or may be: not after the silence. Waits no longer than that takes."""
        if not self.outgoing.silent or len(self._flight) or len(self.incoming.box):
            return True
        try:
            more = await comes_within(_AFTERTHOUGHT_SECONDS, self.incoming.box.filled(), clock=self._clock)
        except MailboxClosedError:
            return True  # the session has ended, and the next event says how
        return more or not self.outgoing.silent

    def metrics(self) -> SessionMetrics:
        """What it has come to so far."""
        return self._meter.snapshot(
            unanswered=len(self._flight), pending=len(self.outgoing.box), events=len(self.incoming.box)
        )
