"""How the emulator behaves in realtime sessions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicpm_core.emulator.realtime.faults import parse_session_fault
from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from minicpm_core.realtime.events import Generation, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeEmulation:
    """How an emulator behaves in realtime sessions.

    Attributes:
        generation: Of the protocol: 2 is what the vendor runs, 1 that of gateways of spring 2026.
        workers: Sessions that can be had at once; others wait. With 0 they wait for ever.
        queue_size: Sessions that may wait; the next one is told `queue_full`.
        audio_limit: Seconds that a session of mode `audio` may last; the vendor's 600.
        video_limit: Seconds that a session of mode `video` may last; the vendor's 300.
        release: Seconds that a worker is busy with itself after a connection was dropped; whoever gets it meanwhile is
            told `session_failed`, as the vendor's gateway does.
        speed: How much faster its clock goes: at 20 the limits and the news of the queue come after a twentieth of the
            time, for clients that send twenty units a second.
        fault: A fault of every session (see `faults`).

    Raises:
        ConfigurationError: A setting cannot be.
    """

    generation: Generation = 2
    workers: int = 64
    queue_size: int = 1000
    audio_limit: float = 600.0
    video_limit: float = 300.0
    release: float = 0.0
    speed: float = 1.0
    fault: str | None = None

    def __post_init__(self) -> None:
        if self.generation not in {1, 2}:
            raise ConfigurationError(f"generation must be 1 or 2, not {self.generation!r}.")
        if self.workers < 0 or self.queue_size < 0 or not 0 <= self.release < math.inf:
            raise ConfigurationError("workers, queue_size and release must be 0 or more.")
        for name in ("audio_limit", "video_limit", "speed"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigurationError(f"{name} must be above 0.")
        parse_session_fault(self.fault or "")

    def limit(self, mode: Mode) -> float | None:
        """Seconds of the wall clock that a session may last; `None` for a chat, which has no limit."""
        seconds = {"audio": self.audio_limit, "video": self.video_limit}.get(mode)
        return None if seconds is None else seconds / self.speed
