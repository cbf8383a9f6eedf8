"""What the walks through the blocks of picture files share: their result, their bound, and how they fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from minicpm_core.media.exif import UPRIGHT

MAX_BLOCKS = 300_000
"""Steps of a walk. A GIF of 64 MiB has 262,144 full sub-blocks; no other format needs as many."""

CUT_OFF = "is cut off: its end is missing"


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says.

    Attributes:
        media_type: The true MIME type.
        width: Pixels, as stored.
        height: Pixels, as stored.
        orientation: EXIF orientation, 1 (upright) to 8.
        animated: It has more than one frame.
        layered: It has more than one frame, and every program that knows nothing of them shows the first (an APNG).
        deep_gray: 16-bit grayscale, which Pillow (and so most servers) turns into a white sheet.
        alpha: Something may show through: servers disagree on what is behind it.
        odd_colours: CMYK, or a colour profile that is far from sRGB: servers take no notice of profiles.
    """

    media_type: str
    width: int
    height: int
    orientation: int = UPRIGHT
    animated: bool = False
    layered: bool = False
    deep_gray: bool = False
    alpha: bool = False
    odd_colours: bool = False

    @property
    def plain(self) -> bool:
        """Whether the bytes can be sent as they are to a server that takes the type."""
        return self.orientation == UPRIGHT and not self.animated and not self.deep_gray

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height after the orientation was applied."""
        turned = self.orientation > 4  # noqa: PLR2004  # EXIF's 5 to 8 lie on their side
        return (self.height, self.width) if turned else (self.width, self.height)


class BrokenError(Exception):
    """The walk found something wrong; the text ends the sentence that begins with the picture's name."""


def cut_off() -> NoReturn:
    """End the walk: the file ends too early."""
    raise BrokenError(CUT_OFF)
