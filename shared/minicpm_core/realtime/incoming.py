"""The way in: what the server says is noted, sorted out and handed on."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from minicpm_core.errors import APIError
from minicpm_core.realtime.events import (
    AudioDelta,
    ContextShrunk,
    ErrorEvent,
    Listen,
    OutputDelta,
    ResponseDone,
    ResponseInterrupted,
    ServerEvent,
    SessionClosed,
    TextDelta,
)
from minicpm_core.realtime.machine import State
from minicpm_core.realtime.mailbox import Mailbox, MailboxClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minicpm_core.realtime.events import Mode
    from minicpm_core.realtime.flight import Flight
    from minicpm_core.realtime.limits import Guard
    from minicpm_core.realtime.link import Link
    from minicpm_core.realtime.metrics import Meter
    from minicpm_core.realtime.settings import RealtimeSettings


class Incoming:
    """Takes what the server of a session says, over one connection after the other.

    Args:
        settings: Of the client.
        mode: Of the session.
        flight: What waits for an answer.
        meter: Counts.

    Attributes:
        box: The events that wait to be taken.
        speaking: The turn that the model is saying; `None` while it listens.
        moved: Set by each event where a limit is near, and when a connection was heard out.
    """

    def __init__(self, settings: RealtimeSettings, *, mode: Mode, flight: Flight, meter: Meter) -> None:
        self._mode: Mode = mode
        self._bound = settings.max_pending_events
        self.box: Mailbox[ServerEvent] = Mailbox(self._bound)
        self.speaking: str | None = None
        self.moved = asyncio.Event()
        self._seconds = settings.timeouts.idle
        self._clock = settings.clock
        self._flight = flight
        self._meter = meter
        self._idle: asyncio.Timeout | None = None
        self._stale: str | None = None

    async def run(self, link: Link, guard: Guard, *, swallow: Callable[[SessionClosed], bool]) -> None:
        """Hear a connection out, to the end of its session; how it ended stands in `link.machine`.

        Args:
            link: An active session.
            guard: Is told how full the model's memory is.
            swallow: Whether this end of a session is not to be handed on, as another one takes over.
        """
        machine = link.machine
        try:
            async with asyncio.timeout(None) as self._idle:
                while machine.state is not State.CLOSED:
                    events = await link.hear()
                    self._idle.reschedule(None)
                    self._settle(link, events)
                    for event in events:
                        if not (isinstance(event, SessionClosed) and swallow(event)):
                            await self._take(event, guard)
                    if len(self._flight):
                        self.expect()
        except TimeoutError:
            machine.timed_out("idle", self._seconds or 0.0)
        except APIError as error:
            machine.fail(error)
        finally:
            self._idle = None
            self.moved.set()

    def expect(self) -> None:
        """An answer is to come, within the time for it."""
        idle, seconds = self._idle, self._seconds
        if idle is not None and seconds is not None and idle.when() is None and not idle.expired():
            idle.reschedule(asyncio.get_running_loop().time() + seconds)

    def interrupt(self) -> None:
        """Drop the rest of the turn that the model is saying."""
        stale = self.speaking
        if stale is not None:
            self._stale, self.speaking = stale, None
            self.box.discard(lambda event: _is_speech(event, stale))
            self.box.put_now(ResponseInterrupted(response_id=stale))
        self._meter.interrupted()

    def lift(self) -> None:
        """Hear out what is left of a connection that has ended, also if nobody takes it: that is not much."""
        self.box.hold(math.inf)

    def begin_anew(self) -> None:
        """Another session takes over: its turns may have the names of turns before."""
        self.box.hold(self._bound)
        self.speaking = self._stale = None

    def _settle(self, link: Link, events: Sequence[ServerEvent]) -> None:
        """Strike off what a message answers.

        The first generation sends one for each unit: speech, which may be empty, that it listens, or an error. A
        question of a chat is answered when its answer is complete: one that stops halfway has stalled.
        """
        if link.generation == 1:
            if all(isinstance(event, OutputDelta | ErrorEvent) for event in events):
                self._flight.answered_one()
            return
        for event in events:
            if isinstance(event, ResponseDone) or (isinstance(event, OutputDelta) and self._mode != "chat"):
                if event.input_id is None and self._mode == "chat":
                    self._flight.answered_one()
                else:
                    self._flight.answered(event.input_id)

    async def _take(self, event: ServerEvent, guard: Guard) -> None:
        if isinstance(event, OutputDelta | ResponseDone):
            await self._watch(event, guard)
        if self._stale is not None and _is_speech(event, self._stale):
            return
        if isinstance(event, TextDelta | AudioDelta):
            self.speaking = event.response_id
        elif isinstance(event, Listen | ResponseDone):
            self.speaking = None
        if guard.near(self._clock.now()):
            self.moved.set()
        self._meter.heard(event)
        await self._hand_on(event)

    async def _watch(self, event: OutputDelta | ResponseDone, guard: Guard) -> None:
        tokens = event.metrics.kv_cache_length if event.metrics is not None else None
        if tokens is None:
            return
        forgotten = guard.note(tokens)
        self._meter.kv(tokens, shrunk=forgotten is not None)
        if forgotten is not None:
            await self._hand_on(ContextShrunk(forgotten_tokens=forgotten, kv_cache_length=tokens))

    async def _hand_on(self, event: ServerEvent) -> None:
        try:
            await self.box.put(event)
        except MailboxClosedError:
            return  # nobody takes anything after `close`


def _is_speech(event: ServerEvent, response_id: str) -> bool:
    return isinstance(event, TextDelta | AudioDelta) and event.response_id == response_id
