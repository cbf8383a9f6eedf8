"""Whether to try again, and when."""

from __future__ import annotations

import pytest

from minicpm_core.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    InvalidRequestError,
    MalformedReplyError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from minicpm_core.protocol.retry import asks_too_long, retry_delay


def _delay(error: APIError, *, attempt: int = 1, max_retries: int = 2, longest: float = 60.0) -> float | None:
    """With the longest delay that the bounds allow in the place of a drawn one."""
    return retry_delay(
        error, attempt=attempt, max_retries=max_retries, max_retry_after=longest, uniform=lambda _, high: high
    )


def _status(status: int, *, retryable: bool, retry_after: float | None = None) -> APIStatusError:
    return APIStatusError("x", status_code=status, retryable=retryable, retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ServerError("x", retryable=True), True),
        (RateLimitError("x", retryable=True), True),
        (InvalidRequestError("x"), False),
        (MalformedReplyError("x"), False),
        (APITimeoutError("x", phase="connect"), True),
        (APITimeoutError("x", phase="pool"), True),
        (APITimeoutError("x", phase="write"), False),
        (APITimeoutError("x", phase="read"), False),
        (APIConnectionError("x"), True),
        (APIConnectionError("x", sent=True), False),
        (APIConnectionError("x", retryable=False), False),
        (APIConnectionError("x", sent=True, stale=True), True),
        (StreamInterruptedError("x"), True),
    ],
)
def test_a_request_is_made_again_where_the_server_cannot_have_finished_it(error: APIError, *, again: bool) -> None:
    assert (_delay(error) is not None) is again


@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 1), (1, 2), (2, 3), (5, 6)])
def test_never_more_than_max_retries_and_one(max_retries: int, attempts: int) -> None:
    made = 1
    while _delay(ServerError("x", retryable=True), attempt=made, max_retries=max_retries) is not None:
        made += 1
    assert made == attempts


def test_the_bound_doubles_up_to_a_cap() -> None:
    bounds = [_delay(ServerError("x", retryable=True), attempt=n, max_retries=9_999) for n in range(1, 8)]
    assert bounds == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert _delay(ServerError("x", retryable=True), attempt=5_000, max_retries=9_999) == 8.0


def test_the_delay_is_drawn_from_nothing_to_the_bound() -> None:
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.125

    delay = retry_delay(
        ServerError("x", retryable=True), attempt=2, max_retries=2, max_retry_after=60, uniform=draw
    )  # fmt: skip
    assert delay == 0.125
    assert drawn == [(0.0, 1.0)]


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_names_a_time_is_obeyed_exactly(status: int) -> None:
    assert _delay(_status(status, retryable=True, retry_after=7.5)) == 7.5
    assert _delay(_status(status, retryable=True, retry_after=0.0)) == 0.0


def test_a_server_that_asks_for_too_long_is_given_up() -> None:
    error = _status(429, retryable=True, retry_after=61.0)
    assert _delay(error) is None
    assert asks_too_long(error, 60.0)
    assert _delay(error, longest=61.0) == 61.0
    assert _delay(_status(429, retryable=True, retry_after=float("inf"))) is None


def test_a_time_makes_no_refusal_worth_repeating() -> None:
    assert _delay(_status(400, retryable=False, retry_after=1.0)) is None


def test_a_stale_connection_is_replaced_at_once_but_once() -> None:
    stale = APIConnectionError("x", sent=True, stale=True)
    assert _delay(stale, attempt=1) == 0.0
    assert _delay(stale, attempt=2) == 1.0


def test_only_a_status_can_ask_for_too_long() -> None:
    assert not asks_too_long(APIConnectionError("x"), 0.0)
    assert not asks_too_long(_status(429, retryable=True), 0.0)
