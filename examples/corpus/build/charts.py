"""The charts of the corpus: `python charts.py`.  All figures in them are made up."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from drawing import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_LEFT, _TOP, _FOOT = 60, 56, 44
_FULL_TURN = 360


def _frame(title: str, size: tuple[int, int], *, ground: str, ink: str, top: float) -> Sheet:
    """A titled sheet with a scale of five steps up to `top`."""
    sheet = Sheet(*size, ground)
    sheet.write(size[0] / 2, 18, title, size=20, ink=ink, anchor="ma")
    for step in range(6):
        y = size[1] - _FOOT - step / 5 * (size[1] - _TOP - _FOOT)
        sheet.pen.line([(_LEFT, y), (size[0] - 20, y)], fill="#999999")
        sheet.write(_LEFT - 8, y, f"{step / 5 * top:g}", size=12, ink=ink, anchor="rm")
    return sheet


def bars(
    name: str,
    title: str,
    values: Sequence[float],
    labels: Sequence[str],
    fill: str,
    *,
    size: tuple[int, int] = (640, 400),
    ground: str = "white",
    ink: str = "#222222",
    top: float = 100,
) -> None:
    """A bar chart."""
    sheet = _frame(title, size, ground=ground, ink=ink, top=top)
    slot = (size[0] - _LEFT - 20) / len(values)
    for at, (value, label) in enumerate(zip(values, labels, strict=True)):
        x = _LEFT + at * slot
        y = size[1] - _FOOT - value / top * (size[1] - _TOP - _FOOT)
        sheet.pen.rectangle([x + slot * 0.08, y, x + slot * 0.92, size[1] - _FOOT], fill=fill)
        sheet.write(x + slot / 2, size[1] - _FOOT + 8, label, size=12, ink=ink, anchor="ma")
    sheet.save("charts", name)


def lines(
    name: str,
    title: str,
    series: dict[str, Sequence[float]],
    *,
    size: tuple[int, int] = (640, 400),
    ground: str = "white",
    ink: str = "#222222",
    top: float = 100,
) -> None:
    """A line chart; each series is named after its colour in the legend's text `colour label`."""
    sheet = _frame(title, size, ground=ground, ink=ink, top=top)
    for row, (legend, values) in enumerate(series.items()):
        colour, label = legend.split(" ", 1)
        step = (size[0] - _LEFT - 30) / (len(values) - 1)
        points = [
            (_LEFT + at * step, size[1] - _FOOT - value / top * (size[1] - _TOP - _FOOT))
            for at, value in enumerate(values)
        ]
        sheet.pen.line(points, fill=colour, width=4)
        sheet.write(_LEFT + 12, _TOP + 4 + 20 * row, label, size=14, ink=colour)
    for at, month in enumerate(MONTHS):
        sheet.write(_LEFT + at * (size[0] - _LEFT - 30) / 11, size[1] - _FOOT + 8, month, size=12, ink=ink, anchor="ma")
    sheet.save("charts", name)


def pie(name: str, title: str, parts: dict[str, tuple[float, str]], *, ring: bool = False) -> None:
    """A pie, or a ring; parts are shares (of 1) and colours."""
    sheet = Sheet(480, 480)
    sheet.write(240, 16, title, size=20, anchor="ma")
    angle = -90.0
    for label, (share, colour) in parts.items():
        end = angle + share * _FULL_TURN
        sheet.pen.pieslice([60, 70, 420, 430], angle, end, fill=colour, outline="white")
        middle = math.radians((angle + end) / 2)
        where = (240 + 125 * math.cos(middle), 250 + 125 * math.sin(middle))
        sheet.write(*where, f"{label} {share:.0%}", size=14, ink="white", anchor="mm")
        angle = end
    if ring:
        sheet.pen.ellipse([175, 185, 305, 315], fill="white")
    sheet.save("charts", name)


def scatter(name: str, title: str, colour: str, *, ground: str = "white", ink: str = "#222222") -> None:
    """Points about a rising line."""
    chance = random.Random(name)  # noqa: S311 - made-up figures, the same each time
    sheet = _frame(title, (520, 520), ground=ground, ink=ink, top=50)
    for _ in range(180):
        x = chance.uniform(0, 1)
        y = min(max(x + chance.gauss(0, 0.12), 0), 1)
        at = (_LEFT + x * 430, 476 - y * 416)
        sheet.pen.ellipse([at[0] - 5, at[1] - 5, at[0] + 5, at[1] + 5], fill=colour)
    sheet.save("charts", name)


def heat(name: str, title: str) -> None:
    """A week by the hour, from pale to dark orange."""
    sheet = Sheet(720, 300)
    sheet.write(360, 12, title, size=20, anchor="ma")
    for day, label in enumerate(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]):
        sheet.write(50, 60 + day * 30 + 15, label, size=13, anchor="rm")
        for hour in range(24):
            warm = math.exp(-((hour - 17) ** 2) / 30) * (0.5 if day > 4 else 1)  # noqa: PLR2004 - the weekend
            fill = (255, int(225 - 110 * warm), int(180 - 180 * warm))
            x, y = 60 + hour * 27, 60 + day * 30
            sheet.pen.rectangle([x, y, x + 25, y + 28], fill=fill)
    sheet.save("charts", name)


def main() -> None:
    """Draw all."""
    years = [str(year) for year in range(2018, 2026)]
    bars(
        "solar_output",
        "Solar output in 2025 (GWh)",
        [12, 20, 38, 55, 71, 84, 88, 79, 58, 34, 17, 10],
        MONTHS,
        "#f5c400",
    )
    bars(
        "umbrellas_sold", "Umbrellas sold by month", [64, 58, 61, 72, 49, 33, 25, 30, 52, 77, 91, 85], MONTHS, "#1f5fd0"
    )
    bars(
        "forest_area", "Forest area by year (km2)", [52, 55, 57, 61, 66, 72, 79, 88], years, "#2e8b3d", ground="#e8f5e0"
    )
    bars(
        "server_errors",
        "Server errors by day",
        [4, 7, 3, 88, 95, 40, 6],
        ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        "#d01818",
    )
    bars(
        "night_trains",
        "Night trains by year",
        [8, 9, 14, 16, 25, 37, 52, 74],
        years,
        "#9a6bff",
        ground="#101018",
        ink="#dddddd",
    )
    lines(
        "temperatures",
        "Mean temperature by month (C)",
        {
            "#d01818 Lisbon": [12, 13, 15, 16, 19, 22, 24, 25, 23, 19, 15, 12],
            "#1f5fd0 Bergen": [2, 2, 4, 7, 11, 14, 16, 15, 12, 8, 5, 3],
        },
        top=30,
    )
    lines(
        "share_price",
        "Share price of Kestrel plc",
        {
            "#4cff7a Kestrel": [20, 24, 22, 31, 40, 38, 52, 61, 57, 72, 80, 93],
        },
        ground="#0c1a10",
        ink="#bbddbb",
    )
    lines(
        "river_levels",
        "River level at the old bridge (cm)",
        {
            "#0a7f86 2024": [180, 210, 260, 240, 190, 150, 120, 110, 130, 170, 220, 230],
            "#f08010 2025": [200, 250, 380, 330, 230, 170, 130, 100, 120, 190, 260, 290],
        },
        size=(900, 360),
        top=400,
    )
    pie(
        "energy_mix",
        "Where the power came from",
        {
            "wind": (0.42, "#1f5fd0"),
            "sun": (0.23, "#e0a000"),
            "water": (0.2, "#0a9aa6"),
            "gas": (0.15, "#777777"),
        },
    )
    pie(
        "household_budget",
        "What a household spends",
        {
            "rent": (0.45, "#d01818"),
            "food": (0.25, "#e86a10"),
            "travel": (0.18, "#8a2be2"),
            "rest": (0.12, "#555555"),
        },
        ring=True,
    )
    scatter("height_and_shoes", "Shoe size and height", "#c2188f")
    scatter("stars_by_heat", "Stars: heat and light", "#fff3b0", ground="#05060f", ink="#bbbbcc")
    heat("bicycles_by_hour", "Bicycles on the quay by day and hour")


if __name__ == "__main__":
    main()
