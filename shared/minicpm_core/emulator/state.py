"""What an emulator keeps between requests: its settings, a log of what it received, faults that wait."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.faults import FaultPlan, parse_fault
from minicpm_core.emulator.realtime.state import RealtimeState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.emulator.settings import EmulatorSettings


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request as it came in. The values of its headers are not kept: one of them is the key.

    Attributes:
        method: Such as `POST`.
        path: Such as `/v1/chat/completions`.
        header_names: In lower case, in their order.
        body: The parsed JSON; `None` where there was none.
        size: Bytes of the body.
    """

    method: str
    path: str
    header_names: tuple[str, ...]
    body: Any = field(repr=False)
    size: int


class EmulatorState:
    """Safe to use from the server's thread and the test's at once."""

    def __init__(self, settings: EmulatorSettings) -> None:
        """Begin with an empty log."""
        self.settings = settings
        self.realtime = RealtimeState(settings.realtime)
        self._lock = threading.Lock()
        self._log: deque[RecordedRequest] = deque()
        self._logged_bytes = 0
        self._waiting: deque[FaultPlan] = deque()

    def record(self, request: RecordedRequest) -> None:
        """Log a request, and forget the oldest ones where the log grows too large."""
        with self._lock:
            self._log.append(request)
            self._logged_bytes += request.size
            while self._logged_bytes > self.settings.log_bytes and len(self._log) > 1:
                self._logged_bytes -= self._log.popleft().size

    @property
    def requests(self) -> list[RecordedRequest]:
        """The log, the oldest first."""
        with self._lock:
            return list(self._log)

    def inject(self, fault: str, times: int) -> None:
        """Give the next answers a fault.

        Raises:
            ConfigurationError: The fault is unknown.
        """
        plan = parse_fault(fault)
        with self._lock:
            self._waiting.extend([plan] * times)

    def next_fault(self, headers: Mapping[str, str], header: str) -> FaultPlan:
        """The faults of the answer to a request: those that it asks for, else those that wait, else the setting's.

        Raises:
            ConfigurationError: The request asks for an unknown fault.
        """
        if header in headers:
            return parse_fault(headers[header])
        with self._lock:
            return self._waiting.popleft() if self._waiting else self.settings.fault

    def reset(self) -> None:
        """Empty the log and forget the faults that wait."""
        with self._lock:
            self._log.clear()
            self._logged_bytes = 0
            self._waiting.clear()
        self.realtime.reset()
