"""How long a session may last and how full the model's memory may be, and when to see to it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from minicpm_core.realtime.events import Mode

OnLimit: TypeAlias = Literal["close", "rollover"]
"""What to do at a limit: end the session with a typed error, or begin another one, which is announced."""

Limit: TypeAlias = Literal["time_limit", "context_full"]
"""Which limit it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeLimits:
    """Of a session; `None` for no limit. The defaults are the vendor's, whose servers close at the time limits.

    Attributes:
        video_seconds: With pictures, from the worker's being there on.
        audio_seconds: Without.
        max_kv_tokens: Of the model's memory, as the server's metrics tell it. Servers do not close there, but forget.
        early_seconds: A rollover waits for the model to be silent from so long before the time limit on …
        latest_seconds: … and does not wait any longer so long before it.
        early_fraction: A rollover waits for silence from this part of `max_kv_tokens` on.
    """

    video_seconds: float | None = 300.0
    audio_seconds: float | None = 600.0
    max_kv_tokens: int | None = 8192
    early_seconds: float = 30.0
    latest_seconds: float = 6.0
    early_fraction: float = 0.9

    def __post_init__(self) -> None:
        for name in ("video_seconds", "audio_seconds", "max_kv_tokens"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise ConfigurationError(f"limits.{name} must be a number above 0 or None.")
        if not 0 <= self.latest_seconds <= self.early_seconds < math.inf:
            raise ConfigurationError("limits.early_seconds must not be less than latest_seconds, nor that below 0.")
        if not 0 < self.early_fraction <= 1:
            raise ConfigurationError("limits.early_fraction must be above 0 and at most 1.")


class Guard:
    """Watches one session. A chat has no limits: each question brings its whole history.

    Args:
        limits: Of the session.
        mode: Of the session.
        on_limit: Whether to look for a good moment before the limit.
        now: When the worker was there.

    Attributes:
        began: When the worker was there.
        tokens: In the model's memory, when last told.
    """

    def __init__(self, limits: RealtimeLimits, *, mode: Mode, on_limit: OnLimit, now: float) -> None:
        seconds = {"video": limits.video_seconds, "audio": limits.audio_seconds}.get(mode)
        early = (limits.early_seconds, limits.latest_seconds) if on_limit == "rollover" else (0.0, 0.0)
        end = math.inf if seconds is None else now + seconds
        most = math.inf if limits.max_kv_tokens is None or mode == "chat" else limits.max_kv_tokens
        self.began = now
        self.tokens: int | None = None
        # A limit shorter than the margin still leaves the session half of its time.
        self._from, self._latest = (max(end - margin, now + (seconds or 0.0) / 2) for margin in early)
        self._most = most
        self._many = most * limits.early_fraction if on_limit == "rollover" else most

    def note(self, tokens: int) -> int | None:
        """Take note of how full the memory is. Gives how many tokens were forgotten, if it has shrunk."""
        before, self.tokens = self.tokens, tokens
        return before - tokens if before is not None and tokens < before else None

    def near(self, now: float) -> Limit | None:
        """Which limit is so near that the next good moment should be taken."""
        if (self.tokens or 0) >= self._many:
            return "context_full"
        return "time_limit" if now >= self._from else None

    def reached(self, now: float) -> Limit | None:
        """Which limit cannot be put off any longer."""
        if (self.tokens or 0) >= self._most:
            return "context_full"
        return "time_limit" if now >= self._latest else None

    def wait(self, now: float) -> float:
        """Seconds until the time changes an answer of `near` or `reached`; infinite where it will not."""
        return min((at - now for at in (self._from, self._latest) if at > now), default=math.inf)
