"""What a session measures of itself, and the snapshot of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minicpm_core.realtime.events import AudioDelta, Listen, ResponseDone, TextDelta
from minicpm_core.realtime.jitter import GapMetrics, Timeline
from minicpm_core.realtime.wav import seconds

if TYPE_CHECKING:
    from minicpm_core.realtime.clock import Clock
    from minicpm_core.realtime.events import ServerEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMetrics:
    """A session so far. Seconds are those of the client's `clock`; `None` is what has not happened yet.

    Attributes:
        elapsed_s: Since the worker was there, of the session that lasts now.
        queue_wait_s: From the beginning of the connection until a worker was there.
        init_s: From then until the session had begun.
        time_to_first_audio_s: From the first unit sent until the first speech came.
        answer_delay_s: From the last sound sent (silence that was filled in is none) until the latest turn's first
            speech came.
        speech_s: Seconds of speech that came.
        gaps: How smooth the speech would sound through a jitter buffer of 200 ms.
        units_sent: Units sent, silence among them.
        units_filled: Of these, silence that was filled in.
        units_unanswered: Sent, and not answered yet.
        units_pending: Waiting to be sent.
        events_pending: Waiting to be taken.
        kv_tokens: Tokens in the model's memory, as last told.
        kv_peak: The most there were.
        kv_shrinks: How often it held less than before.
        interrupts: How often `interrupt` was called.
        replaced: How often another session took over.
    """

    elapsed_s: float = 0.0
    queue_wait_s: float | None = None
    init_s: float | None = None
    time_to_first_audio_s: float | None = None
    answer_delay_s: float | None = None
    speech_s: float = 0.0
    gaps: GapMetrics = field(default_factory=GapMetrics)
    units_sent: int = 0
    units_filled: int = 0
    units_unanswered: int = 0
    units_pending: int = 0
    events_pending: int = 0
    kv_tokens: int | None = None
    kv_peak: int | None = None
    kv_shrinks: int = 0
    interrupts: int = 0
    replaced: int = 0


class Meter:
    """Takes note of what happens.

    Args:
        clock: Of the session.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timeline = Timeline()
        self._opened = self._assigned = clock.now()
        self._first_unit: float | None = None
        self._last_sound: float | None = None
        self._turn: str | None = None
        self._spoke = False
        self.queue_wait: float | None = None
        self.init: float | None = None
        self.first_audio: float | None = None
        self.answer_delay: float | None = None
        self.speech = 0.0
        self.sent = self.filled = self.interrupts = self.replaced = self.shrinks = 0
        self.tokens: int | None = None
        self.peak: int | None = None

    def opened(self) -> None:
        """A connection is begun."""
        self._opened = self._clock.now()

    def assigned(self) -> float:
        """A worker is there. Gives when."""
        self._assigned = self._clock.now()
        self.queue_wait = self._assigned - self._opened
        return self._assigned

    def created(self) -> None:
        """The session has begun; what the model remembers begins anew."""
        self.init = self._clock.now() - self._assigned
        self.tokens = None

    def unit(self, now: float, *, filled: bool) -> None:
        """A unit was sent."""
        self.sent += 1
        self.filled += int(filled)
        self._first_unit = now if self._first_unit is None else self._first_unit
        self._last_sound = self._last_sound if filled else now

    def kv(self, tokens: int, *, shrunk: bool) -> None:
        """The model's memory."""
        self.tokens = tokens
        self.peak = max(tokens, self.peak or 0)
        self.shrinks += int(shrunk)

    def heard(self, event: ServerEvent) -> None:
        """Something is handed on."""
        if isinstance(event, AudioDelta):
            self._speech(event)
        elif isinstance(event, Listen | ResponseDone):
            self._timeline.end()
            self._spoke = False
        elif isinstance(event, TextDelta) and event.response_id != self._turn:
            self._spoke = False

    def interrupted(self) -> None:
        """`interrupt` was called."""
        self.interrupts += 1
        self._timeline.cut(self._clock.now())
        self._spoke = False

    def another(self) -> int:
        """Another session takes over. Gives how many did."""
        self.replaced += 1
        self._timeline.renew(self._clock.now())
        self._spoke = False
        return self.replaced

    @property
    def elapsed(self) -> float:
        """Seconds since the worker was there."""
        return self._clock.now() - self._assigned

    def snapshot(self, *, unanswered: int, pending: int, events: int) -> SessionMetrics:
        """All of it."""
        return SessionMetrics(
            elapsed_s=self.elapsed,
            queue_wait_s=self.queue_wait,
            init_s=self.init,
            time_to_first_audio_s=self.first_audio,
            answer_delay_s=self.answer_delay,
            speech_s=self.speech,
            gaps=self._timeline.metrics(),
            units_sent=self.sent,
            units_filled=self.filled,
            units_unanswered=unanswered,
            units_pending=pending,
            events_pending=events,
            kv_tokens=self.tokens,
            kv_peak=self.peak,
            kv_shrinks=self.shrinks,
            interrupts=self.interrupts,
            replaced=self.replaced,
        )

    def _speech(self, event: AudioDelta) -> None:
        now, duration = self._clock.now(), seconds(event.audio)
        self._timeline.add(duration, event.response_id, now)
        self.speech += duration
        if self.first_audio is None and self._first_unit is not None:
            self.first_audio = now - self._first_unit
        if not self._spoke and self._last_sound is not None:
            self.answer_delay = now - self._last_sound
        self._turn, self._spoke = event.response_id, True
