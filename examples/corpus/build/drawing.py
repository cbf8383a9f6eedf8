"""What the builders of the corpus share: a sheet to draw on, and how files are stored the same each time."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CORPUS = Path(__file__).parents[1]
INK = "#222222"


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that the pictures need none that is installed."""
    return ImageFont.load_default(size)


class Sheet:
    """A picture being drawn.

    Attributes:
        image: The picture.
        pen: Draws on it.
        width: Pixels.
        height: Pixels.
    """

    def __init__(self, width: int, height: int, ground: str = "white") -> None:
        """Begin with an empty ground."""
        self.image = Image.new("RGB", (width, height), ground)
        self.pen = ImageDraw.Draw(self.image)
        self.width, self.height = width, height

    def write(self, x: float, y: float, text: str, *, size: int = 14, ink: str = INK, anchor: str = "la") -> None:
        """Write a line at x, y."""
        self.pen.text((x, y), text, fill=ink, font=font(size), anchor=anchor)

    def save(self, folder: str, name: str) -> None:
        """Store it as `folder/name.png` of the corpus, with few colours: these are flat pictures."""
        where = CORPUS / folder
        where.mkdir(exist_ok=True)
        small = self.image.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        small.save(where / f"{name}.png", optimize=True)
