"""Measuring on a noisy machine: many short rounds in turn, CPU time, medians.

CPU time of this process is the figure to trust where others use the machine too; cases are run in turn, so that a slow
minute is slow for all of them, and the median of the rounds is reported with the minimum beside it.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Figure:
    """CPU microseconds (or another unit, as the table says) for one unit of work: the median and the least."""

    median: float
    least: float


def in_turn(cases: Mapping[str, Callable[[], None]], *, rounds: int, calls: int, units: int = 1) -> dict[str, Figure]:
    """CPU microseconds a unit for each case.

    Args:
        cases: What to run, by name.
        rounds: How often each case has its turn.
        calls: How often it is called in a turn.
        units: Units of work in one call, such as the chunks of a stream.
    """
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()  # connections, caches, first imports
    for _ in range(rounds):
        for name, case in cases.items():
            gc.collect()
            begin = time.process_time()
            for _ in range(calls):
                case()
            samples[name].append((time.process_time() - begin) * 1e6 / calls / units)
    return {name: Figure(statistics.median(found), min(found)) for name, found in samples.items()}


class Took(NamedTuple):
    """Milliseconds of one call: of this process on a processor, and by the clock."""

    cpu: float
    wall: float


def timed(case: Callable[[], object]) -> Took:
    """How long one call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    case()
    return Took((time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: a figure, and what it is compared with."""

    name: str
    figure: Figure
    goal: str = ""


def table(title: str, unit: str, rows: list[Row], notes: list[str]) -> str:
    """A Markdown table."""
    lines = [f"### {title}", "", f"| | {unit}, median (least) | |", "|---|---:|---|"]
    lines += [f"| {row.name} | {row.figure.median:,.1f} ({row.figure.least:,.1f}) | {row.goal} |" for row in rows]
    lines += ["", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)
