"""A jitter buffer for a player: pieces of speech come when they come, and are heard one after the other.

As the vendor's page plays: the first piece of a turn waits 200 ms, the others follow back to back; a new turn cuts
what is left of the one before; and where a piece comes too late, that is a gap, counted if it is longer than 10 ms.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicpm_core.realtime import samples
from minicpm_core.realtime.events import (
    OUTPUT_RATE,
    AudioDelta,
    Listen,
    ResponseDone,
    ResponseInterrupted,
    SessionReplaced,
)
from minicpm_core.realtime.wav import seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.realtime.events import ServerEvent

INITIAL_SECONDS = 0.2
"""What the vendor's page waits before it plays a turn."""

_GAP_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class GapMetrics:
    """How smooth it sounded.

    Attributes:
        turns: Turns that were begun.
        played_s: Seconds of speech that were taken in to be played.
        gaps: Silences inside of turns, longer than 10 ms, because a piece came too late.
        gap_s: How long all of them were, in seconds.
        longest_gap_s: How long the longest was.
        cut_s: Seconds that were thrown away unheard: by an interrupt or by the next turn.
    """

    turns: int = 0
    played_s: float = 0.0
    gaps: int = 0
    gap_s: float = 0.0
    longest_gap_s: float = 0.0
    cut_s: float = 0.0


class Timeline:
    """When each piece is heard. Pure: the times are given.

    Args:
        initial: Seconds that the first piece of a turn waits.

    Attributes:
        turns: Turns that were begun.
    """

    def __init__(self, *, initial: float = INITIAL_SECONDS) -> None:
        self._initial = initial
        self._until: float | None = None
        self._turn: str | None = None
        self._ended = False
        self.turns = self._gaps = 0
        self._played = self._gap = self._longest = self._cut = 0.0

    def add(self, duration: float, response_id: str | None, now: float) -> float:
        """When a piece that came now begins to be heard."""
        until = self._until
        if until is None or response_id != self._turn or (self._ended and response_id is None):
            self.cut(now)
            self.turns += 1
            begins = now + self._initial
        else:
            begins = max(until, now)
            self._late(0.0 if self._ended else now - until)
        self._turn, self._until, self._ended = response_id, begins + duration, False
        self._played += duration
        return begins

    def end(self) -> None:
        """The turn is complete: what was taken in is heard to its end, and the silence after it is no gap."""
        self._ended = True

    def cut(self, now: float) -> None:
        """Throw away what is not heard yet."""
        if self._until is not None:
            self._cut += max(self._until - now, 0.0)
        self._until = None

    def renew(self, now: float) -> bool:
        """Another session takes over: its turns are others, whatever their names. Whether it broke one off."""
        broken_off = not self._ended
        if broken_off:
            self.cut(now)
        self._turn = None
        return broken_off

    def busy(self, now: float) -> bool:
        """Whether something is heard, or waits to be."""
        return self._until is not None and now < self._until

    def metrics(self) -> GapMetrics:
        """What it came to."""
        return GapMetrics(
            turns=self.turns,
            played_s=self._played,
            gaps=self._gaps,
            gap_s=self._gap,
            longest_gap_s=self._longest,
            cut_s=self._cut,
        )

    def _late(self, gap: float) -> None:
        if gap > _GAP_SECONDS:
            self._gaps += 1
            self._gap += gap
            self._longest = max(self._longest, gap)


class JitterBuffer:
    """Holds speech until it is to be heard. A player pulls (`pull`), or is told when each piece begins (`push`).

    It may be pushed to and pulled from in different threads, as the callbacks of sound cards are.

    Args:
        initial: Seconds that the first piece of a turn waits.
        sample_rate: Samples a second.
        clock: Tells the time in seconds; any that does not go back.
    """

    def __init__(
        self,
        *,
        initial: float = INITIAL_SECONDS,
        sample_rate: int = OUTPUT_RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = sample_rate
        self._clock = clock
        self._timeline = Timeline(initial=initial)
        self._lock = threading.Lock()
        self._audio = bytearray()
        self._opens = 0.0

    def take(self, event: ServerEvent) -> None:
        """Do what an event of a session asks for: take speech in, end a turn, or fall silent. Others do nothing."""
        if isinstance(event, AudioDelta):
            self.push(event.audio, response_id=event.response_id)
        elif isinstance(event, Listen | ResponseDone):
            self.end()
        elif isinstance(event, ResponseInterrupted):
            self.clear()
        elif isinstance(event, SessionReplaced):
            self._renew()

    def push(self, audio: bytes, *, response_id: str | None = None) -> float:
        """Take a piece in. Of another turn than the one before, it cuts what is left of that.

        Args:
            audio: Float32 in little-endian order, one channel.
            response_id: Of the turn.

        Returns:
            When it begins to be heard, by the clock.

        Raises:
            InvalidInputError: A sample is cut off.
        """
        duration = seconds(audio, sample_rate=self._rate)
        with self._lock:
            turn = self._timeline.turns
            begins = self._timeline.add(duration, response_id, self._clock())
            if self._timeline.turns != turn:
                self._audio.clear()
                self._opens = begins
            self._audio += audio
            return begins

    def pull(self, count: int) -> bytes:
        """The next samples to be heard, silence where there are none.

        Args:
            count: Samples wanted.

        Returns:
            `count` samples of float32, 4 bytes each.
        """
        size = count * samples.F32_BYTES
        with self._lock:
            if self._clock() < self._opens:
                return bytes(size)
            taken = bytes(self._audio[:size])
            del self._audio[:size]
        return taken + bytes(size - len(taken))

    def end(self) -> None:
        """The turn is complete: what was taken in plays to its end."""
        with self._lock:
            self._timeline.end()

    def clear(self) -> None:
        """Fall silent at once: throw away what was not heard."""
        with self._lock:
            self._timeline.cut(self._clock())
            self._audio.clear()

    def _renew(self) -> None:
        with self._lock:
            if self._timeline.renew(self._clock()):
                self._audio.clear()

    @property
    def playing(self) -> bool:
        """Whether something is heard, or waits to be."""
        with self._lock:
            return self._timeline.busy(self._clock())

    @property
    def buffered(self) -> float:
        """Seconds that were not pulled yet."""
        with self._lock:
            return len(self._audio) / samples.F32_BYTES / self._rate

    @property
    def metrics(self) -> GapMetrics:
        """How smooth it sounded so far."""
        with self._lock:
            return self._timeline.metrics()
