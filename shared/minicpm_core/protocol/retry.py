"""Whether to try again, and when: a pure function of what went wrong and how often it was tried.

Exponential backoff with full jitter (the delay is drawn from 0 to the bound, so that clients that failed together do
not return together); a server's `Retry-After` is obeyed up to `max_retry_after`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from minicpm_core.errors import APIConnectionError, APIStatusError, APITimeoutError, StreamInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.errors import APIError

Delay: TypeAlias = float | None
"""Seconds to wait before the next try; `None` to give up."""

BASE_SECONDS = 0.5
CAP_SECONDS = 8.0
_DOUBLINGS = 10  # more than it takes to reach the cap, and few enough for a float


def retry_delay(
    error: APIError,
    *,
    attempt: int,
    max_retries: int,
    max_retry_after: float,
    uniform: Callable[[float, float], float],
) -> Delay:
    """How long to wait before the next try.

    Args:
        error: What the last try ended with.
        attempt: How many tries there were, 1 after the first.
        max_retries: How many more than one are allowed.
        max_retry_after: The longest wait that a server may ask for.
        uniform: Draws a number between two, such as `random.uniform`.

    Returns:
        Seconds, or `None` where trying again is useless, not allowed, or would take too long.
    """
    if attempt > max_retries or not _may_resend(error):
        return None
    asked = error.retry_after if isinstance(error, APIStatusError) else None
    if asked is not None:
        return asked if asked <= max_retry_after else None
    if isinstance(error, APIConnectionError) and error.stale and attempt == 1:
        return 0.0  # a pooled connection that the server had closed: nothing is overloaded
    return uniform(0.0, min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt - 1, _DOUBLINGS)))


def _may_resend(error: APIError) -> bool:
    """Whether the request can be made again without asking the server to do finished work twice."""
    if isinstance(error, APITimeoutError):
        return error.phase in {"connect", "pool"}  # later the server may still be at work
    if isinstance(error, StreamInterruptedError):
        return True  # only asked before anything was handed on
    if isinstance(error, APIConnectionError):
        return error.retryable and (error.stale or not error.sent)
    return error.retryable


def asks_too_long(error: APIError, max_retry_after: float) -> bool:
    """Whether the server asked for a longer wait than is allowed, so that the error should say so."""
    return isinstance(error, APIStatusError) and (error.retry_after or 0.0) > max_retry_after
