"""Who asks a server what it is, when many calls want to know at once: one of them, and the others wait for it.

The question belongs to the `ServerTraits` that a model object's clients share.  A thread waits for a thread only: one
that waited for a task might be the thread that the task's event loop needs.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minicpm_core.protocol.request import ServerTraits

_SLOW = 1.0
_PATIENCE = 10

_lock = threading.Lock()
_asking: dict[tuple[int, bool], Future[bool]] = {}


class Question:
    """One client's turn to ask, or to wait for one who asks.

    Args:
        traits: What the answer is kept in.
        in_loop: The caller is a task, not a thread.
    """

    def __init__(self, traits: ServerTraits, *, in_loop: bool) -> None:
        self._key = (id(traits), in_loop)
        self._begun = time.monotonic()
        with _lock:
            asked = _asking.get((id(traits), False)) or _asking.get(self._key)
            self.mine = asked is None
            self.asked: Future[bool] = asked or Future()
            if self.mine:
                self.asked.set_running_or_notify_cancel()  # a waiting task that is cancelled must not cancel it
                _asking[self._key] = self.asked

    def settle(self, *, answered: bool) -> None:
        """Let those who wait go on. `answered`: the question was put, whatever came of it; else another one asks."""
        with _lock:
            _asking.pop(self._key, None)
        self.asked.set_result(answered)

    def next_time(self) -> float:
        """When to ask again after an answer that told nothing, on the monotonic clock.

        At once where that was quick (no server yet).  Where it took long, a while later, so that a server which never
        answers this question does not hold up every call.
        """
        now = time.monotonic()
        took = now - self._begun
        return now + _PATIENCE * took if took > _SLOW else now


def _forget_after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent's threads and tasks are not here
    _lock = threading.Lock()
    _asking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
