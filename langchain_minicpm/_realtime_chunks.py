"""What a realtime Runnable yields: one event each, and sums of them.

LangChain adds up what a Runnable streams, with `+` and one by one.  Copying what there is at each addition would cost
minutes of sound thousands of times over, so a sum only remembers its two sides, and is put together when it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpm_core.realtime.events import OUTPUT_RATE, AudioDelta, ServerEvent, TextDelta
from minicpm_core.realtime.samples import F32_BYTES
from minicpm_core.realtime.turns import Turn, TurnCollector

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN = 60


class RealtimeChunk:
    """One event of a realtime session, or several that were added up.

    `chunk + chunk` is all events of both, in their order; adding takes the same time however long the left side is.
    Neither `repr` nor `to_dict`, which tracers call, shows sound or a session id.

    Args:
        *events: Of `minicpm_core.realtime`, such as `TextDelta` and `AudioDelta`.
    """

    __slots__ = ("_events", "_left", "_whole")

    def __init__(self, *events: ServerEvent) -> None:
        self._left: RealtimeChunk | None = None
        self._events = events
        self._whole: tuple[ServerEvent, ...] | None = events

    def __add__(self, other: object) -> RealtimeChunk:
        if not isinstance(other, RealtimeChunk):
            return NotImplemented
        both = RealtimeChunk(*other.events)
        both._left, both._whole = self, None
        return both

    @property
    def events(self) -> tuple[ServerEvent, ...]:
        """All events, in their order."""
        if self._whole is None:
            parts: list[tuple[ServerEvent, ...]] = []
            part: RealtimeChunk | None = self
            while part is not None:
                own, part = part.split()
                parts.append(own)
            self._whole = tuple(event for some in reversed(parts) for event in some)
        return self._whole

    def split(self) -> tuple[tuple[ServerEvent, ...], RealtimeChunk | None]:
        """The latest events that lie together, and the sum of what came before them."""
        return (self._events, self._left) if self._whole is None else (self._whole, None)

    @property
    def event(self) -> ServerEvent | None:
        """The latest event, which is the only one in what is streamed."""
        latest = self._events or self.events
        return latest[-1] if latest else None

    @property
    def text(self) -> str:
        """What the model said in all of them, as it came."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def audio(self) -> bytes:
        """How it sounds: float32 in little-endian order, 24 kHz, one channel."""
        return b"".join(event.audio for event in self.events if isinstance(event, AudioDelta))

    @property
    def audio_seconds(self) -> float:
        """How long it sounds."""
        return sum(seconds(event) for event in self.events)

    @property
    def turns(self) -> list[Turn]:
        """What the model said, turn by turn. One that was not finished counts as interrupted."""
        collector = TurnCollector()
        ended = [turn for event in self.events for turn in collector.take(event)]
        return ended + collector.end()

    def to_dict(self) -> dict[str, Any]:
        """What a trace shows: no sound."""
        kinds = [type(event).__name__ for event in self.events]
        return {
            "events": kinds if len(kinds) == 1 else len(kinds),
            "text": self.text,
            "audio_seconds": round(self.audio_seconds, 3),
        }

    def __repr__(self) -> str:
        events, text = self.events, self.text
        kind = type(events[0]).__name__ if len(events) == 1 else f"{len(events)} events"
        said = f", text={text[:_SHOWN] + '…' if len(text) > _SHOWN else text!r}" if text else ""
        heard = f", audio_seconds={self.audio_seconds:.3g}" if self.audio_seconds else ""
        return f"RealtimeChunk({kind}{said}{heard})"

    def __eq__(self, other: object) -> bool:
        return self.events == other.events if isinstance(other, RealtimeChunk) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.events)

    def __reduce__(self) -> tuple[Callable[..., RealtimeChunk], tuple[ServerEvent, ...]]:
        return RealtimeChunk, self.events


def seconds(event: ServerEvent) -> float:
    """How long the sound of an event is."""
    return len(event.audio) / (F32_BYTES * OUTPUT_RATE) if isinstance(event, AudioDelta) else 0.0
