"""What a fault does to a session, as data: frames that are said, and how the connection ends after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from minicpm_core.emulator.realtime.words import error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minicpm_core.emulator.realtime.faults import SessionPlan
    from minicpm_core.emulator.realtime.words import Frame, Words

_SAID = "Injected by a fault."


@dataclass(frozen=True, slots=True)
class Blow:
    """What happens.

    Attributes:
        frames: What is said, as events or as raw messages.
        close_code: That the connection is closed with; `None` ends it without a close frame.
        ends: Whether the session ends.
    """

    frames: tuple[Frame | str | bytes, ...] = ()
    close_code: int | None = 1000
    ends: bool = True


_Make: TypeAlias = "Callable[[Words, SessionPlan], Blow]"


def _failed(message: str) -> _Make:
    return lambda _words, _plan: Blow((error("session_failed", message),))


def _frame(make: Callable[[Words], Any]) -> _Make:
    """A bad frame, after which the session goes on."""
    return lambda words, _plan: Blow((make(words),), ends=False)


BLOWS: Mapping[str, _Make] = {
    "backend-error": lambda words, _plan: Blow((words.closed("backend_error", _SAID),)),
    "closed": lambda words, plan: Blow((words.closed(plan.words["closed"]),)),
    "error": lambda _words, plan: Blow((error(plan.words["error"], _SAID),)),
    "vanish": lambda _words, _plan: Blow(),
    "worker-killed": _failed("no close frame received or sent"),
    "unreachable": _failed("[Errno 111] Connect call failed ('127.0.0.1', 22400)"),
    "race": _failed("server rejected WebSocket connection: HTTP 403"),
    "queue-full": lambda _words, _plan: Blow((error("queue_full", "Queue full"),), 1013),
    "restart": lambda _words, _plan: Blow((), 1012),
    "close": lambda _words, plan: Blow((), int(plan.number("close"))),
    "drop": lambda _words, _plan: Blow((), None),
    "garbage": _frame(lambda _words: '{"type": "response.output.delta", "kind"'),
    "binary": _frame(lambda _words: b"\x00\x01\x02"),
    "untyped": _frame(lambda _words: {"kind": "listen"}),
    "bad-audio": _frame(lambda words: words.broken_speech("!!!")),
    "cut-audio": _frame(lambda words: words.broken_speech("AAAAAAA=")),
    "misplaced": _frame(lambda _words: {"type": "session.created", "session_id": "sess_again"}),
}
"""Every fault that says or ends something, by its name. `stall`, `half-open` and `refuse` do neither."""
