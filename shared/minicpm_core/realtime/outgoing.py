"""The way out: units that wait, when each is sent, what goes with it, and the silence after them.

A unit is taken from the queue only when it is due, and between the taking and the sending nothing is waited for: so a
session that is replaced, or closed, never holds one that is neither waiting nor sent.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from minicpm_core.realtime.audio import UNIT_BYTES
from minicpm_core.realtime.client_events import ChatAppend, InputAppend
from minicpm_core.realtime.clock import comes_within
from minicpm_core.realtime.errors import SessionStateError
from minicpm_core.realtime.events import SilenceEnded
from minicpm_core.realtime.mailbox import Mailbox, MailboxClosedError
from minicpm_core.realtime.pacing import UNIT_SECONDS, Pacer

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.realtime.clock import Clock
    from minicpm_core.realtime.events import ServerEvent
    from minicpm_core.realtime.flight import Flight
    from minicpm_core.realtime.link import Link
    from minicpm_core.realtime.metrics import Meter
    from minicpm_core.realtime.settings import SessionOptions

_GRACE_SECONDS = 0.5
"""How late a unit may be before silence takes its place: microphones are not punctual."""

_SILENCE = bytes(UNIT_BYTES)


class Outgoing:
    """Sends the units of a session, over one connection after the other.

    Args:
        options: Of the session.
        bound: Units that may wait.
        clock: Of the session.
        flight: Gets what was sent.
        meter: Counts.
        rest: Gives the units that complete what was begun, when silence follows it.
        announce: Gets the session's own events.

    Attributes:
        box: The units that wait.
        frame: The picture for the next unit.
        forced: In how many of the next units the model must listen.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        bound: int,
        clock: Clock,
        flight: Flight,
        meter: Meter,
        rest: Callable[[], list[bytes]],
        announce: Callable[[ServerEvent], None],
    ) -> None:
        self.box: Mailbox[bytes | InputAppend | ChatAppend] = Mailbox(bound)
        self.frame: tuple[bytes, ...] = ()
        self.forced = 0
        self._clock = clock
        self._flight = flight
        self._meter = meter
        self._rest = rest
        self._announce = announce
        self._pacer = Pacer() if options.pace else None
        self._wanted = self._left = 0.0 if options.mode == "chat" else options.silence_fill
        self._silence: Pacer | None = None
        self._last: float | None = None
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._stopping = self._busy = self._ended = False

    def name(self) -> str:
        """A name for the next unit or question."""
        self._count += 1
        return f"in_{self._count}"

    def fill(self, seconds: float) -> None:
        """Want so much silence after the last sound, from now on."""
        self._wanted = self._left = seconds
        self._silence, self._last, self._ended = None, self._clock.now(), False
        self.box.nudge()

    @property
    def silent(self) -> bool:
        """Whether the silence that was wanted is used up, and nothing waits to be sent."""
        return self._ended and not len(self.box)

    def begun(self) -> None:
        """A unit was begun. Where nothing follows it, silence does, also before the first and after all the silence."""
        if self._last is None or self._silence is not None:
            self._silence, self._left, self._last = None, self._wanted, self._clock.now()
            self._ended = False
            self.box.nudge()

    def start(self, link: Link, *, on_sent: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Begin to send over a connection, until it ends or `stop`.

        Args:
            link: An active session.
            on_sent: Called before each unit, as an answer is to be expected.
            on_lost: Called where the connection turns out to have ended.
        """
        self._stopping = False
        self._task = asyncio.create_task(self._run(link, on_sent, on_lost))

    async def stop(self) -> None:
        """Send nothing more. A unit that is just being sent is sent to its end."""
        self._stopping = True
        if self._task is not None:
            if not self._busy:
                self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, link: Link, on_sent: Callable[[], None], on_lost: Callable[[], None]) -> None:
        while not self._stopping:
            try:
                await self._flight.room()
                item, filled = await self._next()
            except MailboxClosedError:
                return
            self._busy = True
            try:
                on_sent()
                if not await self._send(link, self._event(item), filled=filled):
                    on_lost()
                    return  # the session has ended: who reads it, or sends more, is told why
            finally:
                self._busy = False

    def _event(self, item: bytes | InputAppend | ChatAppend) -> InputAppend | ChatAppend:
        if not isinstance(item, bytes):
            return item
        shown, self.frame = self.frame, ()
        forced = self.forced > 0
        self.forced -= int(forced)
        return InputAppend(audio=item, video_frames=shown, force_listen=True if forced else None, input_id=self.name())

    async def _send(self, link: Link, event: InputAppend | ChatAppend, *, filled: bool) -> bool:
        self._flight.sent(event)  # before, as the answer may be here before `send` comes back
        now = self._clock.now()
        try:
            sent = await link.send(event)
        except SessionStateError:
            return False  # it has ended a moment ago
        if sent and isinstance(event, InputAppend):
            self._meter.unit(now, filled=filled)
            self._sent(now, filled=filled)
        return sent

    def _sent(self, now: float, *, filled: bool) -> None:
        if self._pacer is not None:
            self._pacer.sent(now)
        if filled and self._silence is not None:
            self._silence.sent(now)
            self._left -= UNIT_SECONDS
        else:
            self._silence, self._left, self._last, self._ended = None, self._wanted, now, False

    async def _next(self) -> tuple[bytes | InputAppend | ChatAppend, bool]:
        """What to send, when it is due, and whether it is silence that was filled in."""
        while True:
            if len(self.box):
                await self._until_due()
                if len(self.box):  # `close` may have cleared it out meanwhile
                    return self.box.take_now(), False
            elif self._silence_in() <= 0:
                if self._silence_begins():
                    return _SILENCE, True
            else:
                await self._something()

    async def _until_due(self) -> None:
        if self._pacer is not None:
            now = self._clock.now()
            wait = self._pacer.due(now) - now
            if wait > 0:
                await self._clock.sleep(wait)

    async def _something(self) -> None:
        """Wait until there is something to send, or silence is due, or what is wanted has changed."""
        wait = self._silence_in()
        if wait < math.inf:
            await comes_within(wait, self.box.change(), clock=self._clock)
        else:
            await self.box.change()
        if len(self.box) and self._pacer is not None:
            self._pacer.starved(self._clock.now())

    def _silence_in(self) -> float:
        """Seconds until the next step of the silence; infinite where none is wanted."""
        if self._last is None or self._wanted < UNIT_SECONDS:
            return math.inf
        now = self._clock.now()
        if self._silence is None:
            return self._last + UNIT_SECONDS + _GRACE_SECONDS - now
        self._silence.starved(now)  # silence has nothing to catch up with
        return self._silence.due(now) - now

    def _silence_begins(self) -> bool:
        """Silence is due. Whether to send a unit of it; before the first, what was begun is completed instead."""
        if self._left < UNIT_SECONDS:
            self._silence, self._last, self._ended = None, None, True
            self._announce(SilenceEnded(seconds=self._wanted - self._left))
            return False
        if self._silence is None:
            self._silence = Pacer()
            begun = self._rest()
            self.box.put_back(begun)
            return not begun
        return True
