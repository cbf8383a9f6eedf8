"""The life of a session: opened, carried on from one connection to the next where a limit is near, and ended.

A connection is left like this: nothing more is sent; what was sent is answered; the goodbye is said, and the server
ends the connection, as its worker is not free before. Only then the next one is opened. What is not answered by then,
because the server was quicker, is sent over the next one; what waits meanwhile stays in its queue.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

from minicpm_core.errors import APIError, MalformedReplyError
from minicpm_core.realtime.client_events import SessionClose
from minicpm_core.realtime.clock import comes_within
from minicpm_core.realtime.errors import BY_REASON, ContextFullError, RealtimeTimeoutError, SessionTimeLimitError
from minicpm_core.realtime.events import QueueDone, QueueUpdate, SessionClosed, SessionCreated, SessionReplaced
from minicpm_core.realtime.limits import Guard
from minicpm_core.realtime.machine import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minicpm_core.realtime.client_events import SessionInit
    from minicpm_core.realtime.errors import RealtimeError
    from minicpm_core.realtime.events import ServerEvent
    from minicpm_core.realtime.flight import Flight
    from minicpm_core.realtime.incoming import Incoming
    from minicpm_core.realtime.limits import Limit
    from minicpm_core.realtime.link import Link
    from minicpm_core.realtime.metrics import Meter
    from minicpm_core.realtime.outgoing import Outgoing
    from minicpm_core.realtime.settings import RealtimeSettings, SessionOptions

_ERRORS: Mapping[Limit, type[RealtimeError]] = {"time_limit": SessionTimeLimitError, "context_full": ContextFullError}
_LAST_ANSWERS_SECONDS = 3.0
"""How long a rollover waits for what was sent to be answered; what is not is sent to the next session."""


class Relay:
    """Carries one session.

    Args:
        settings: Of the client.
        options: Of the session.
        make_link: Makes a connection that is not open yet.
        init: What to begin with, each time.
        on_queue: Gets the place in the queue.
        outgoing: The way out.
        incoming: The way in.
        flight: Between the two.
        meter: Counts.

    Attributes:
        link: The connection of now.
        error: How all ended badly; `None` while it lasts.
    """

    def __init__(
        self,
        settings: RealtimeSettings,
        options: SessionOptions,
        *,
        make_link: Callable[[], Link],
        init: SessionInit,
        on_queue: Callable[[QueueUpdate], None] | None,
        outgoing: Outgoing,
        incoming: Incoming,
        flight: Flight,
        meter: Meter,
    ) -> None:
        self.link = make_link()
        self.error: APIError | None = None
        self._settings = settings
        self._options = options
        self._make_link = make_link
        self._init = init
        self._on_queue = on_queue
        self._outgoing = outgoing
        self._incoming = incoming
        self._flight = flight
        self._meter = meter
        self._clock = settings.clock
        self._began = 0.0
        self._heard_out = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._farewell: asyncio.Task[None] | None = None
        self._closers = 0
        self._closing = self._leaving = self._replacing = False

    @property
    def changing(self) -> bool:
        """Whether another session is about to take over: what is sent now waits for it, or for the error."""
        carried = self._task is not None and not self._task.done() and not self._closing and self.error is None
        return self._options.rolls and carried and self.link.machine.state is not State.ACTIVE

    async def open(self) -> None:
        """Begin, with retries, and carry the session from then on.

        Raises:
            APIError: It did not begin.
        """
        await self._open()
        self._task = asyncio.create_task(self._run())

    async def close(self, reason: str) -> None:
        """End the session, and leave nothing behind.

        Args:
            reason: Told to the server.
        """
        if self._task is None:
            return
        if self._farewell is None:
            self._closing = True
            self._outgoing.box.discard()
            self._shut()
            self._farewell = asyncio.create_task(self._part(self._task, reason))
        farewell = self._farewell
        self._closers += 1
        try:  # one that is cancelled leaves the parting to the others
            await asyncio.wait({farewell})
            if not farewell.cancelled():
                farewell.result()
        finally:
            self._closers -= 1
            if not self._closers:
                await self.abandon()

    async def _part(self, task: asyncio.Task[None], reason: str) -> None:
        if self._replacing:
            task.cancel()
        elif self.link.machine.state is State.ACTIVE:
            await self._say_goodbye(self.link, reason)
        await asyncio.wait({task})

    async def abandon(self) -> None:
        """Leave nothing behind: no connection, no task."""
        self._closing = True
        tasks = [task for task in (self._task, self._farewell) if task is not None]
        self._task = None
        self._shut()
        for task in tasks:
            task.cancel()
        if tasks:
            await self.link.cut()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _shut(self) -> None:
        """Nothing more goes out, and nothing more comes in."""
        self._outgoing.box.close()
        self._incoming.box.close()
        self._flight.end()

    # --- From one connection to the next ------------------------------------------------------------------------------

    async def _open(self) -> None:
        for attempt in range(1, self._settings.max_retries + 2):
            heard: list[ServerEvent] = []
            self._meter.opened()
            try:
                await self.link.open(self._init, partial(self._meanwhile, heard))
            except APIError as error:
                error.attempts = attempt
                if attempt > self._settings.max_retries or not error.retryable:
                    raise
            else:
                for event in heard:
                    self._incoming.box.put_now(event)
                return
            await asyncio.sleep(random.uniform(*self._settings.backoff))  # noqa: S311 - no secret
            self.link = self._make_link()

    def _meanwhile(self, heard: list[ServerEvent], event: ServerEvent) -> None:
        """While a session is opened: the place in the queue is told, and the rest is kept."""
        if isinstance(event, QueueDone):
            self._began = self._meter.assigned()
        elif isinstance(event, SessionCreated):
            self._meter.created()
        if isinstance(event, QueueUpdate):
            if self._on_queue is not None:
                self._on_queue(event)
        elif len(heard) < self._settings.max_pending_events:
            heard.append(event)

    async def _run(self) -> None:
        try:
            while (limit := await self._leg()) is not None:
                await self._replace(limit)
        except APIError as error:  # the next session did not begin
            self.error = error
        finally:
            self._heard_out.set()
            self._shut()

    async def _leg(self) -> Limit | None:
        """One connection, to its end. Gives the limit that it ended at, if another one is to follow."""
        link = self.link
        self._heard_out.clear()
        self._leaving = self._replacing = False
        guard = Guard(self._settings.limits, mode=self._options.mode, on_limit=self._options.on_limit, now=self._began)
        self._outgoing.start(link, on_sent=self._incoming.expect, on_lost=self._incoming.lift)
        keeper = asyncio.create_task(self._keep(link, guard))
        try:
            await self._incoming.run(link, guard, swallow=self._is_taken_over)
        finally:
            keeper.cancel()
            await self._outgoing.stop()
            await asyncio.gather(keeper, return_exceptions=True)
        limit = self._next_limit(link)
        self._heard_out.set()
        if limit is None:
            self._shut()
        silent = isinstance(link.machine.error, RealtimeTimeoutError | MalformedReplyError)
        await (link.cut() if silent else link.see_out())
        return limit

    def _next_limit(self, link: Link) -> Limit | None:
        error = link.machine.error
        limit: Limit | None = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), None)
        if limit is not None and self._options.rolls:
            if not self._closing:
                self._replacing = True
                return limit
            error = None  # closed by its user, just as it was being left
        self.error = error
        return None

    def _is_taken_over(self, event: SessionClosed) -> bool:
        if not self._options.rolls or self._closing:
            return False
        ending = BY_REASON.get(event.reason or "")
        return self._leaving or (ending is not None and ending.error in _ERRORS.values())

    async def _replace(self, limit: Limit) -> None:
        self._incoming.begin_anew()
        number = self._meter.another()
        self._incoming.box.put_now(SessionReplaced(reason=limit, number=number, lasted_s=self._meter.elapsed))
        self._outgoing.box.put_back(self._flight.unsent())
        self.link = self._make_link()
        await self._open()

    # --- Limits -------------------------------------------------------------------------------------------------------

    async def _keep(self, link: Link, guard: Guard) -> None:
        """Wait for a limit, and leave there."""
        moved = self._incoming.moved
        while (limit := self._due(guard)) is None:
            moved.clear()
            await comes_within(guard.wait(self._clock.now()), moved.wait(), clock=self._clock)
        if self._options.rolls:
            self._leaving = True
            await self._outgoing.stop()
            await comes_within(_LAST_ANSWERS_SECONDS, self._flight.landed(), clock=self._clock)
        if link.machine.state is State.ACTIVE:
            link.machine.give_up(_limit_error(limit, link.machine.state))
            await self._say_goodbye(link, limit)

    def _due(self, guard: Guard) -> Limit | None:
        now = self._clock.now()
        limit = guard.reached(now)
        if limit is None and self._incoming.speaking is None and not len(self._flight):
            limit = guard.near(now)
        return limit

    async def _say_goodbye(self, link: Link, reason: str) -> None:
        timeouts = self._settings.timeouts
        try:
            async with asyncio.timeout(timeouts.close):
                await link.send(SessionClose(reason=reason))
                await self._heard_out.wait()
        except TimeoutError:
            link.machine.timed_out("close", timeouts.close or 0.0)
            await link.cut()


def _limit_error(limit: Limit, state: State) -> APIError:
    reason = {"time_limit": "timeout", "context_full": "context_full"}[limit]
    ending = BY_REASON[reason]
    return ending.error(f"{ending.message} It was {state}.", code=reason, state=str(state))
