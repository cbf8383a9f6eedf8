"""Settings of an emulator, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minicpm_core.emulator.dialects import DIALECTS, Dialect, DialectName
from minicpm_core.emulator.faults import FaultPlan, parse_fault
from minicpm_core.emulator.realtime.settings import RealtimeEmulation
from minicpm_core.errors import ConfigurationError
from minicpm_core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    """How an emulator behaves. Make one with `EmulatorSettings.create`.

    Attributes:
        dialect: The kind of server to imitate.
        api_key: The key to ask for; `None` takes any, and none.
        pace: Tokens a second of a stream; 0 is as fast as possible.
        context: Tokens that a prompt may have.
        models: The ids to offer.
        fault: A fault of every answer (see `faults`).
        max_body_bytes: The largest request that is read.
        parsers: Whether thoughts and tool calls are read out of what the model writes; the dialect knows it too.
        log_bytes: The request log forgets its oldest entries beyond this many bytes of bodies.
        realtime: How it behaves in realtime sessions.
    """

    dialect: Dialect
    api_key: Secret | None = None
    pace: float = 0.0
    context: int = 32_768
    models: tuple[str, ...] = ()
    fault: FaultPlan = field(default_factory=dict[str, float])
    max_body_bytes: int = 64 * _MIB
    parsers: bool = True
    log_bytes: int = 64 * _MIB
    realtime: RealtimeEmulation = field(default_factory=RealtimeEmulation)

    @classmethod
    def create(
        cls,
        *,
        dialect: DialectName | str = "modelbest",
        api_key: str | None = None,
        pace: float = 0.0,
        context: int = 32_768,
        models: Sequence[str] | None = None,
        fault: str | None = None,
        max_body_bytes: int = 64 * _MIB,
        parsers: bool = True,
        realtime: RealtimeEmulation | None = None,
    ) -> EmulatorSettings:
        """Settings from plain arguments.

        Args:
            dialect: A row of `DIALECTS`.
            api_key: The key to ask for; `None` takes any, and none.
            pace: Tokens a second of a stream; 0 is as fast as possible.
            context: Tokens that a prompt may have.
            models: The ids to offer; `None` offers the dialect's.
            fault: A fault of every answer, written as in the `X-Emulator-Fault` header.
            max_body_bytes: The largest request that is read.
            parsers: `False` behaves as a server that was started without parsers for thoughts and tool calls.
            realtime: How it behaves in realtime sessions.

        Raises:
            ConfigurationError: A setting cannot be.
        """
        row = next((row for name, row in DIALECTS.items() if name == dialect), None)
        if row is None:
            raise ConfigurationError(f"Unknown dialect {dialect!r}: it must be one of {', '.join(DIALECTS)}.")
        if not pace >= 0:
            raise ConfigurationError(f"pace must be 0 or more tokens a second, not {pace!r}.")
        if context < 1 or max_body_bytes < 1:
            raise ConfigurationError("context and max_body_bytes must be 1 or more.")
        if models is not None and (isinstance(models, str) or not models):
            raise ConfigurationError("models must be a list of at least one id.")
        return cls(
            dialect=row if parsers else row.without_parsers(),
            api_key=Secret(api_key) if api_key else None,
            pace=float(pace),
            context=context,
            models=row.models if models is None else tuple(models),
            fault=parse_fault(fault) if fault else {},
            max_body_bytes=max_body_bytes,
            parsers=parsers,
            realtime=realtime or RealtimeEmulation(),
        )
