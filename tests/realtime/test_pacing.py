"""The schedule of units: it does not drift, and whoever is late catches up without a burst."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.realtime.pacing import Pacer


def test_the_first_unit_is_due_at_once_and_the_nth_n_seconds_later() -> None:
    pacer = Pacer()
    assert pacer.due(5.0) == 5.0
    pacer.sent(5.0)
    for number in range(1, 100):
        due = pacer.due(5.0)
        assert due == 5.0 + number
        pacer.sent(due)


def test_a_timer_that_is_late_is_not_late_ever_after() -> None:
    pacer = Pacer()
    pacer.sent(0.0)
    for number in range(1, 100):
        now = max(pacer.due(0.0), number) + 0.3
        pacer.sent(now)
        assert number <= now <= number + 0.6


def test_who_was_held_up_catches_up_two_units_a_second() -> None:
    pacer = Pacer()
    pacer.sent(0.0)
    now, times = 6.0, list[float]()
    for _ in range(12):  # six seconds late
        now = max(pacer.due(now), now)
        pacer.sent(now)
        times.append(now)
    assert times == [6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 12]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.integers(1, 4))
def test_never_more_than_the_burst_in_any_second(delays: list[float], burst: int) -> None:
    pacer, now, times = Pacer(burst=burst), 0.0, list[float]()
    for delay in delays:
        now = max(pacer.due(now + delay), now + delay)
        pacer.sent(now)
        times.append(now)
    assert all(later - sooner >= 1 - 1e-9 for sooner, later in zip(times, times[burst:], strict=False))
    assert all(at >= number - 1e-9 for number, at in enumerate(at - times[0] for at in times))


@pytest.mark.parametrize(("waited_until", "due"), [(1.4, 1.0), (2.0, 1.0), (2.1, 2.1), (60.0, 60.0)])
def test_a_pause_is_not_made_up_for_and_unpunctuality_changes_nothing(waited_until: float, due: float) -> None:
    pacer = Pacer()
    pacer.sent(0.0)
    pacer.starved(waited_until)
    assert pacer.due(waited_until) == due
    pacer.sent(waited_until)
    assert pacer.due(waited_until) == due + 1
