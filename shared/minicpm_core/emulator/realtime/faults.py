"""What can be made to go wrong in a realtime session, so that users can see what their own code does then.

A fault is written like those of the HTTP emulator, `name=value` joined by semicolons: `backend-error; at=3`.

`at` says when: in a state (`connecting`, `queued`, `assigned`, `initialising`, `active`, `closing`), or in place of the
answer to a unit, by its number from 1.  A connection asks for it with the query parameter `fault` or the header
`X-Emulator-Fault`, a test with `EmulatorServer.inject_realtime`, every session has it by `RealtimeEmulation.fault`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY = "fault"

Place: TypeAlias = "str | int"
"""A state of the session, or the number of a unit."""

PLACES = ("connecting", "queued", "assigned", "initialising", "active", "closing")


@dataclass(frozen=True, slots=True)
class SessionFault:
    """One kind of fault.

    Attributes:
        does: What happens.
        at: Where it happens if nothing else is said; `None` for what concerns the whole session.
        default: The value where none is written; `None` if one must be.
        lowest: The smallest number.
        highest: The largest number.
        whole: The number must be a whole one.
        words: The value is a word: some that servers use. Others are taken too.
    """

    does: str
    at: Place | None = None
    default: float | None = 0
    lowest: float = 0
    highest: float = math.inf
    whole: bool = True
    words: tuple[str, ...] = ()


SESSION_FAULTS: Mapping[str, SessionFault] = {
    "backend-error": SessionFault("`session.closed` with `backend_error` and a diagnostic.", 1),
    "closed": SessionFault("`session.closed` with this reason.", 1, words=("timeout", "error", "context_full")),
    "error": SessionFault(
        "An `error` with this code; ends the session but for an active one of the first generation.",
        1,
        words=("session_failed", "worker_busy", "queue_full", "inference_failed", "not_ready"),
    ),
    "vanish": SessionFault("Closes with 1000 and not a word: a worker that went cleanly.", 1),
    "worker-killed": SessionFault("`session_failed`, as when a worker is killed.", 1),
    "unreachable": SessionFault("`session_failed`, as when the worker does not answer.", "assigned"),
    "race": SessionFault("`session_failed`, as when one reconnects before the worker is free again.", "assigned"),
    "queue-full": SessionFault("`queue_full`, and closes with 1013.", "queued"),
    "restart": SessionFault("Closes with 1012, as a gateway that restarts.", 1),
    "close": SessionFault("Closes with this code and not a word.", 1, None, 1000, 4999),
    "drop": SessionFault("Ends the connection without a close frame: 1006.", 1),
    "stall": SessionFault("Says nothing more; pings are answered.", 1),
    "half-open": SessionFault("Neither says nor takes anything more, pings included.", 1),
    "garbage": SessionFault("Sends what is no JSON.", 1),
    "binary": SessionFault("Sends a binary message.", 1),
    "untyped": SessionFault("Sends an event without a type.", 1),
    "bad-audio": SessionFault("Sends speech that is no base64.", 1),
    "cut-audio": SessionFault("Sends speech that ends inside of a sample.", 1),
    "misplaced": SessionFault("Says `session.created` once more.", 1),
    "refuse": SessionFault("Refuses the handshake with this status.", "connecting", 403, 400, 599),
    "queue": SessionFault("Lets it wait for so many seconds, although a worker is free.", default=0, whole=False),
    "slow": SessionFault("Takes so many seconds more for each unit.", default=1, whole=False),
    "limit": SessionFault("Ends it after so many seconds.", default=1, whole=False),
    "context": SessionFault("Begins with so many tokens in the model's memory.", default=8150),
    "growth": SessionFault("Adds so many tokens to it with each unit.", default=100),
    "slide": SessionFault("Halves the memory at 8192 tokens, as backends do that let it slide."),
    "future": SessionFault("Adds events and fields that nobody knows yet: they must make no difference."),
    "done": SessionFault("Sends `response.done` in full duplex too: it must make no difference."),
    "mute": SessionFault("Answers without sound."),
}
"""Every fault by its name."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """The faults of one session.

    Attributes:
        values: Those that concern all of it, and the value of the others.
        strikes: Those that happen somewhere, by where.
    """

    values: Mapping[str, float] = field(default_factory=dict[str, float])
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    strikes: Mapping[Place, str] = field(default_factory=dict[Place, str])

    def number(self, name: str, otherwise: float = 0) -> float:
        """The value of a fault, or something else where it was not asked for."""
        return self.values.get(name, otherwise)


NO_FAULT = SessionPlan()


def parse_session_fault(text: str) -> SessionPlan:
    """The faults that a text asks for.

    Args:
        text: Such as `backend-error; at=3` or `queue=2; slow=0.1`.

    Raises:
        ConfigurationError: A name or a place is unknown, or a value is missing or cannot be.
    """
    values: dict[str, float] = {}
    words: dict[str, str] = {}
    place: Place | None = None
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        name, _, written = (piece.strip() for piece in part.partition("="))
        if name == "at":
            place = _place(written)
        elif name not in SESSION_FAULTS:
            raise ConfigurationError(f"Unknown fault {name!r}: it must be one of {', '.join(SESSION_FAULTS)}.")
        elif SESSION_FAULTS[name].words:
            words[name] = written or SESSION_FAULTS[name].words[0]
        else:
            values[name] = _value(name, written, SESSION_FAULTS[name])
    strikes: dict[Place, str] = {}
    for name in (*values, *words):
        usual = SESSION_FAULTS[name].at
        if usual is not None:
            where = usual if place is None or name == "refuse" else place
            if where in strikes:
                raise ConfigurationError(f"Only one of {strikes[where]} and {name} can happen at {where}.")
            strikes[where] = name
    return SessionPlan(values, words, strikes)


def _place(written: str) -> Place:
    if written in PLACES:
        return written
    if written.isdecimal() and int(written) > 0:
        return int(written)
    raise ConfigurationError(f"at must be one of {', '.join(PLACES)}, or the number of a unit, not {written!r}.")


def _value(name: str, written: str, fault: SessionFault) -> float:
    if not written:
        if fault.default is None:
            raise ConfigurationError(f"The fault {name} needs a value, such as {name}={fault.lowest:g}.")
        return fault.default
    try:
        value = float(written)
    except ValueError:
        raise ConfigurationError(f"The fault {name} needs a number, not {written!r}.") from None
    if not fault.lowest <= value <= fault.highest or math.isinf(value) or (fault.whole and value != int(value)):
        raise ConfigurationError(f"The fault {name} cannot have the value {written!r}.")
    return value
