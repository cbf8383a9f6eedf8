"""The signs and flags of the corpus: `python signs.py`."""

from __future__ import annotations

import math

from drawing import Sheet


def flag(name: str, bands: list[str], *, upright: bool = False) -> None:
    """Bands of colour, from the top or from the left."""
    sheet = Sheet(480, 320)
    for at, colour in enumerate(bands):
        across, down = (480 / len(bands), 320) if upright else (480, 320 / len(bands))
        x, y = (at * across, 0) if upright else (0, at * down)
        sheet.pen.rectangle([x, y, x + across, y + down], fill=colour)
    sheet.save("signs", name)


def stop() -> None:
    """The red octagon."""
    sheet = Sheet(400, 400, "#c9dcea")
    for radius, colour in ((190, "white"), (178, "#c1121f")):
        corners = [math.radians(22.5 + 45 * at) for at in range(8)]
        points = [(200 + radius * math.cos(corner), 200 + radius * math.sin(corner)) for corner in corners]
        sheet.pen.polygon(points, fill=colour)
    sheet.write(200, 200, "STOP", size=110, ink="white", anchor="mm")
    sheet.save("signs", "stop_sign")


def board(name: str, lines: list[str], *, ground: str, ink: str, size: tuple[int, int], letters: int) -> None:
    """Lines of large letters on a ground."""
    sheet = Sheet(*size, ground)
    sheet.pen.rectangle([10, 10, size[0] - 11, size[1] - 11], outline=ink, width=5)
    step = size[1] / (len(lines) + 1)
    for at, line in enumerate(lines, 1):
        sheet.write(size[0] / 2, at * step, line, size=letters, ink=ink, anchor="mm")
    sheet.save("signs", name)


def sun_flag() -> None:
    """Japan's."""
    sheet = Sheet(480, 320)
    sheet.pen.ellipse([144, 64, 336, 256], fill="#bc002d")
    sheet.save("signs", "flag_of_japan")


def main() -> None:
    """Draw all."""
    flag("flag_of_germany", ["#000000", "#dd0000", "#ffce00"])
    flag("flag_of_italy", ["#009246", "#ffffff", "#ce2b37"], upright=True)
    flag("flag_of_ukraine", ["#0057b7", "#ffd700"])
    sun_flag()
    stop()
    board("emergency_exit", ["EMERGENCY", "EXIT"], ground="#0a8f3c", ink="white", size=(640, 320), letters=84)
    board("wet_floor", ["CAUTION", "wet floor"], ground="#ffd500", ink="black", size=(360, 520), letters=64)
    board(
        "jazz_poster",
        ["JAZZ", "at the", "Blue Door", "7 May, 20:00"],
        ground="#6a1fb0",
        ink="#ffe066",
        size=(420, 640),
        letters=60,
    )
    board(
        "museum_hours",
        ["Museum of Tides", "Tue to Sun 10-18", "closed on Monday"],
        ground="#0b6e75",
        ink="#e6ffff",
        size=(700, 280),
        letters=44,
    )


if __name__ == "__main__":
    main()
