"""Where a realtime session is had, and how long each of its steps may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, get_args
from urllib.parse import SplitResult, urlsplit

from minicpm_core.errors import ConfigurationError
from minicpm_core.realtime.events import Mode
from minicpm_core.realtime.limits import OnLimit, RealtimeLimits

if TYPE_CHECKING:
    from minicpm_core.realtime.clock import Clock
    from minicpm_core.secret import Secret

DEFAULT_REALTIME_URL = "wss://minicpmo45.modelbest.cn"
"""The vendor's own. It takes no key."""

_PATH = "/v1/realtime"
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeTimeouts:
    """Seconds that each step of a session may take; `None` waits for ever.

    Attributes:
        open: For the connection and its handshake.
        queue: For a worker.
        init: For `session.created`, once the session was asked for.
        idle: For an answer to a unit that was sent. Where nothing is sent, nothing is expected.
        close: For the goodbye, and once more for the end of the connection after it.
    """

    open: float | None = 10.0
    queue: float | None = 300.0
    init: float | None = 60.0
    idle: float | None = 30.0
    close: float | None = 5.0

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise ConfigurationError(f"timeouts.{name} must be a number of seconds above 0 or None.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeSettings:
    """Of a `RealtimeClient`, which describes them.

    Attributes:
        clock: That pacing, silence, limits and metrics go by.
        base_url: As given.
        api_key: Boxed.
        timeouts: By step.
        max_retries: Further tries before a session begins.
        backoff: The shortest and the longest wait between them, in seconds.
        max_pending_units: Units that wait to be sent.
        max_pending_events: Events that wait to be taken.
        max_message_bytes: The longest message that is taken from a server.
        limits: Of time and memory.
    """

    clock: Clock
    base_url: str = DEFAULT_REALTIME_URL
    api_key: Secret | None = None
    timeouts: RealtimeTimeouts = RealtimeTimeouts()
    max_retries: int = 2
    backoff: tuple[float, float] = (0.5, 2.0)
    max_pending_units: int = 8
    max_pending_events: int = 256
    max_message_bytes: int = 16 * 1024 * 1024
    limits: RealtimeLimits = field(default_factory=RealtimeLimits)

    def __post_init__(self) -> None:
        address(self.base_url, "audio")
        least = {"max_retries": 0, "max_pending_units": 1, "max_pending_events": 8, "max_message_bytes": 1024}
        for name, bound in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < bound:
                raise ConfigurationError(f"{name} must be a whole number of {bound} or more, not {value!r:.40}.")
        shortest, longest = self.backoff
        if not 0 <= shortest <= longest < math.inf:
            raise ConfigurationError("backoff must be the shortest and the longest wait, in seconds.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Of one session; `RealtimeClient.session` describes them.

    Attributes:
        mode: Of the session.
        pace: Whether units keep to the schedule of one a second.
        silence_fill: Seconds of silence at most after the last sound.
        on_limit: What to do where a limit is near.
    """

    mode: Mode
    pace: bool = False
    silence_fill: float = 0.0
    on_limit: OnLimit = "close"

    def __post_init__(self) -> None:
        check_silence(self.silence_fill)
        if self.on_limit not in get_args(OnLimit):
            raise ConfigurationError(f"on_limit must be 'close' or 'rollover', not {self.on_limit!r:.40}.")

    @property
    def rolls(self) -> bool:
        """Whether another session takes over at a limit. Not in a chat: it has none, and its question would be lost."""
        return self.on_limit == "rollover" and self.mode != "chat"


def check_silence(seconds: float) -> None:
    """Check for how long silence is wanted.

    Raises:
        ConfigurationError: It is no number of seconds, 0 or more.
    """
    if not seconds >= 0:  # NaN neither
        raise ConfigurationError(f"silence_fill must be a number of seconds, 0 or more, not {seconds!r:.40}.")


def address(base_url: str, mode: Mode) -> str:
    """Where a session of a mode is had.

    Args:
        base_url: Of a server, with or without `/v1` or `/v1/realtime`; http and https stand for ws and wss.
        mode: The session's.

    Raises:
        ConfigurationError: It is no such address, or holds a password, a query or a fragment.
    """
    if mode not in get_args(Mode):
        raise ConfigurationError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r:.40}.")
    parts = _parts(base_url)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError("base_url must not hold a password, a query or a fragment; give a key as `api_key`.")
    path = parts.path.rstrip("/")
    path = path if path.endswith(_PATH) else path.removesuffix("/v1") + _PATH
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}?mode={mode}"


def _parts(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        if parts.scheme in _SCHEMES and parts.hostname and parts.port != 0:
            return parts
    except (ValueError, AttributeError, TypeError):
        pass
    raise ConfigurationError("base_url must be an address such as wss://host or ws://host:8006.")
