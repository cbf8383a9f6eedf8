"""What an emulator keeps of its realtime sessions: faults that wait, and a log for tests."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.realtime.faults import QUERY, SessionPlan, parse_session_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.emulator.realtime.settings import RealtimeEmulation

_MOST_SESSIONS = 256
_MOST_UNITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedUnit:
    """A unit as it came in, measured.

    Attributes:
        number: From 1.
        input_id: As the client named it.
        samples: At 16 kHz.
        level: In dB below full scale; `-inf` for digital silence.
        frames: Sizes in bytes of the pictures.
        force_listen: Whether the model had to listen.
    """

    number: int
    input_id: str | None
    samples: int
    level: float
    frames: tuple[int, ...] = ()
    force_listen: bool = False


@dataclass(slots=True, kw_only=True)
class RecordedSession:
    """A session as it went.

    Attributes:
        mode: `audio`, `video` or `chat`.
        generation: Of the protocol.
        header_names: Of the handshake, in lower case. Their values are not kept: one of them is the key.
        state: Where it stands, or stood when it ended.
        init: What it was begun with; sound in it is replaced by its number of samples.
        units: The last units.
        count: Units in all; in a chat, questions.
        questions: The last question of a chat as it came, without sound and pictures.
        close_code: That the emulator closed with; `None` while it lasts, or where the client went.
        ended: Why it ended: a reason, an error's code, a fault's name, `dropped` where the client did.
    """

    mode: str
    generation: int
    header_names: tuple[str, ...] = ()
    state: str = "connecting"
    init: Any = None
    units: deque[RecordedUnit] = field(default_factory=lambda: deque[RecordedUnit](maxlen=_MOST_UNITS))
    count: int = 0
    questions: deque[Any] = field(default_factory=lambda: deque[Any](maxlen=8))
    close_code: int | None = None
    ended: str | None = None


class RealtimeState:
    """Safe to use from the server's thread and the test's at once.

    Args:
        settings: Of the emulator.
    """

    def __init__(self, settings: RealtimeEmulation) -> None:
        self._lock = threading.Lock()
        self._sessions: deque[RecordedSession] = deque(maxlen=_MOST_SESSIONS)
        self._waiting: deque[SessionPlan] = deque()
        self._usual = parse_session_fault(settings.fault or "")

    def record(self, session: RecordedSession) -> None:
        """Log a session. What becomes of it is written into the same record."""
        with self._lock:
            self._sessions.append(session)

    @property
    def sessions(self) -> list[RecordedSession]:
        """The log, the oldest first."""
        with self._lock:
            return list(self._sessions)

    def inject(self, fault: str, times: int) -> None:
        """Give the next sessions a fault.

        Raises:
            ConfigurationError: The fault is unknown.
        """
        plan = parse_session_fault(fault)
        with self._lock:
            self._waiting.extend([plan] * times)

    def next_plan(self, query: Mapping[str, str], headers: Mapping[str, str], header: str) -> SessionPlan:
        """The faults of a session: those that it asks for, else those that wait, else the setting's.

        Raises:
            ConfigurationError: The session asks for an unknown fault.
        """
        asked = query.get(QUERY, headers.get(header))
        if asked is not None:
            return parse_session_fault(asked)
        with self._lock:
            return self._waiting.popleft() if self._waiting else self._usual

    def reset(self) -> None:
        """Empty the log and forget the faults that wait."""
        with self._lock:
            self._sessions.clear()
            self._waiting.clear()
