"""What the emulator sees of a picture: it decodes the file and measures it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from minicpm_core.emulator.colours import shares
from minicpm_core.emulator.loading import decoded, payload
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.media.tokens import count_image_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

    from minicpm_core.emulator.dialects import Dialect

_MOST_PIXELS = 80_000_000
_SAME_FORMAT = {"MPO": "JPEG"}
"""Pillow's name for the JPEGs of some phones, which hold a second picture after the first."""
_SIDE = 64
"""Pictures are measured on a copy of at most this many pixels a side."""
_ORIENTATION = 0x0112
"""EXIF's tag for how the stored picture must be turned."""

_OPAQUE = 255
_WORTH_NAMING = 0.05
_ONE_COLOUR = 8
"""How far JPEG takes the channels of a single colour apart."""
_FLAT = 0.55
"""The share of pixels equal to their left neighbour that tells drawn from photographed: seen to part the two well."""

_BRIGHTNESS = ((50, "very dark"), (100, "dark"), (160, "of medium brightness"), (215, "bright"), (256, "very bright"))
"""Upper bound of the mean luminance, words."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What was measured.

    Attributes:
        width: Pixels, as the picture is meant to be seen.
        height: Pixels, as the picture is meant to be seen.
        file_format: Of the file, such as `JPEG`.
        exif_orientation: How it was stored: 1 is upright, 2 to 8 were turned or mirrored.
        kind: `plain` (one colour), `flat graphic` or `photo`.
        colours: Names and shares (0..1) of the colours that cover at least a twentieth, the largest first.
        bands: The main colour of the top, the middle and the bottom third.
        luminance: Mean, 0 (black) to 255 (white).
        transparent: Parts of it are see-through; they are measured as white.
        tokens: What it costs in the prompt.
    """

    width: int
    height: int
    file_format: str
    exif_orientation: int
    kind: str
    colours: tuple[tuple[str, float], ...]
    bands: tuple[str, str, str]
    luminance: float
    transparent: bool
    tokens: int

    @property
    def colour(self) -> str:
        """The main colour."""
        return self.colours[0][0]

    @property
    def brightness(self) -> str:
        """The brightness in words."""
        return next(words for bound, words in _BRIGHTNESS if self.luminance < bound)

    @property
    def orientation(self) -> str:
        """`landscape`, `portrait` or `square`."""
        if self.width == self.height:
            return "square"
        return "landscape" if self.width > self.height else "portrait"


def look_at(url: str, dialect: Dialect, model: str) -> Picture:
    """Decode and measure the picture of a data URL.

    Args:
        url: `data:image/…;base64,…`.
        dialect: Decides which file formats are taken.
        model: Whose token formula counts.

    Raises:
        Refusal: It is not a data URL, not base64, or not a picture that this kind of server decodes.
    """
    image, file_format = opened(decoded(payload(url, "picture")[1]))
    if f"image/{file_format.lower()}" not in dialect.backend.image_types:
        raise Refusal("bad_image", f"Failed to load image: {dialect.title} does not take {file_format}.")
    return measured(image, file_format, model)


def opened(data: bytes) -> tuple[Image, str]:
    """A decoded picture, and the format of its file.

    Raises:
        Refusal: It is no picture, is broken or has too many pixels.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height <= _MOST_PIXELS:
            image.load()
            return image, _SAME_FORMAT.get(image.format or "", image.format or "")
        reason = f"{image.width} x {image.height} pixels are too many"
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise whatever a broken file makes them raise
        # Pillow names the memory address of the buffer, which tells nobody anything.
        reason = re.sub(r"<_io\.BytesIO object at 0x[0-9a-f]+>", "<_io.BytesIO object>", str(error))
    raise Refusal("bad_image", f"Failed to load image: {reason}")


def measured(image: Image, file_format: str, model: str) -> Picture:
    """The measures of a decoded picture."""
    from PIL import Image as Images
    from PIL import ImageOps

    exif_orientation = int(image.getexif().get(_ORIENTATION, 1) or 1)
    upright = ImageOps.exif_transpose(image)
    transparent = False
    if upright.has_transparency_data:
        layered = upright.convert("RGBA")
        transparent = layered.getchannel("A").getextrema() != (_OPAQUE, _OPAQUE)
        upright = Images.alpha_composite(Images.new("RGBA", layered.size, "white"), layered)
    whole = upright.convert("RGB")
    small = whole.copy()
    small.thumbnail((_SIDE, _SIDE), Images.Resampling.BOX)
    rows = _rows(small)
    named = shares(_flat(rows))
    third = max(1, len(rows) // 3)
    top, middle, bottom = (
        shares(_flat(band))[0][0] for band in (rows[:third], rows[third:-third] or rows, rows[-third:])
    )
    return Picture(
        width=whole.width,
        height=whole.height,
        file_format=file_format,
        exif_orientation=exif_orientation,
        kind=_kind(whole),
        colours=tuple((name, share) for name, share in named if share >= _WORTH_NAMING)[:4] or (named[0],),
        bands=(top, middle, bottom),
        luminance=sum(0.299 * r + 0.587 * g + 0.114 * b for r, g, b in _flat(rows)) / (small.width * small.height),
        transparent=transparent,
        tokens=count_image_tokens(whole.size, model),
    )


def _rows(image: Image) -> list[list[tuple[int, int, int]]]:
    data = image.tobytes()
    pixels = list(zip(data[::3], data[1::3], data[2::3], strict=True))
    return [pixels[start : start + image.width] for start in range(0, len(pixels), image.width)]


def _flat(rows: list[list[tuple[int, int, int]]]) -> Iterator[tuple[int, int, int]]:
    return chain.from_iterable(rows)


def _kind(image: Image) -> str:
    """Plain, flat or photographic: neighbours in a drawn area are equal, in a photographed one they seldom are."""
    from PIL import ImageChops, ImageStat

    if all(high - low <= _ONE_COLOUR for low, high in ImageStat.Stat(image).extrema):
        return "plain"
    grey = image.convert("L")
    steps = ImageChops.difference(grey, ImageChops.offset(grey, 1, 0)).histogram()
    return "flat graphic" if steps[0] / sum(steps) > _FLAT else "photo"
