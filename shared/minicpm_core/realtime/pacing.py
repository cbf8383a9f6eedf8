"""When the next unit is due: a schedule of one unit a second that does not drift. Pure: times are given and told."""

from __future__ import annotations

from collections import deque

UNIT_SECONDS = 1.0
"""A unit lasts a second."""

CATCH_UP = 2
"""Units that a late sender sends in any one second, until it is on time again."""


class Pacer:
    """The schedule: the n-th unit is due n periods after the first, whatever the others were late.

    Who is late because the connection was (the network, a rollover) catches up, with at most `burst` units in any one
    period. Who is late because there was nothing to send, by more than a period, begins a new schedule instead: a
    microphone that was off for a minute has not 60 units to make up for.

    Args:
        period: Seconds from one unit to the next.
        burst: Units in any one period while it catches up, 1 or more; with 1 it never does.
    """

    def __init__(self, *, period: float = UNIT_SECONDS, burst: int = CATCH_UP) -> None:
        self._period = period
        self._first: float | None = None
        self._count = 0
        self._recent: deque[float] = deque(maxlen=burst)

    def due(self, now: float) -> float:
        """When the next unit may be sent; in the past or `now` for at once."""
        if self._first is None:
            return now
        scheduled = self._first + self._count * self._period
        if len(self._recent) < (self._recent.maxlen or 1):
            return scheduled
        return max(scheduled, self._recent[0] + self._period)

    def starved(self, now: float) -> None:
        """There was nothing to send until now."""
        if self._first is not None and now - (self._first + self._count * self._period) > self._period:
            self._first, self._count = now, 0

    def sent(self, now: float) -> None:
        """A unit was sent."""
        if self._first is None:
            self._first = now
        self._count += 1
        self._recent.append(now)
