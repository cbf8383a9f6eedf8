"""Fuzz the reading of pictures. See README.md for how to run it."""
# ruff: noqa: INP001 - a script

from __future__ import annotations

import base64
import contextlib
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Literal

try:
    import atheris  # pyright: ignore[reportMissingImports]
except ImportError:
    sys.exit("atheris is missing: pip install --target /tmp/atheris atheris, and put that on PYTHONPATH.")

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the pictures of the tests

with atheris.instrument_imports(include=["minicpm_core.media"]):
    from minicpm_core.errors import MiniCPMError
    from minicpm_core.media import MediaLimits, image_from_base64, image_from_bytes, image_from_url, load_image
    from minicpm_core.media.sniff import lookalike, sniff

from tests.core.media.pictures import animated, encoded, exif_block, jpeg, png, quarters

ACCEPT = frozenset({"image/png", "image/jpeg"})
LIMITS = MediaLimits(max_bytes=1024 * 1024, max_pixels=1_000_000)
MOST_PIXELS = 2_000_000
"""That come out: 9 tiles of 448 x 448 at most, or what the limit lets through. A strip gets borders."""
DETAILS: tuple[Literal["auto", "low", "high", "original"], ...] = ("auto", "low", "high", "original")


class BrokenPromiseError(Exception):
    """Something came out that should not have."""


def load(data: bytes, choice: int) -> None:
    """Load a picture that is handed over as bytes, as Base64 or in a data URL, in one of the ways to send it."""
    choice, how = divmod(choice, 4)
    several, detail = divmod(choice, len(DETAILS))
    if how == 0:
        source = image_from_bytes(data)
    elif how == 1:
        source = image_from_base64(base64.b64encode(data))
    else:
        source = image_from_url(("data:image/png;base64," if how == 2 else "data:") + data.decode("latin-1"))  # noqa: PLR2004
    parts = load_image(
        source, accept=ACCEPT, limits=LIMITS, detail=DETAILS[detail], frames="all" if several % 2 else "first"
    )
    if not parts:
        raise BrokenPromiseError("Nothing came out.")
    for part in parts:
        content = base64.b64decode(part.base64, validate=True)
        if part.media_type not in ACCEPT or sniff(content) != part.media_type:
            raise BrokenPromiseError("It is of a type that was not to come out.")
        if not 0 < part.width * part.height <= MOST_PIXELS:
            raise BrokenPromiseError("It is larger than the limit.")


def one_input(data: bytes) -> None:
    """The first byte says how the rest is handed over and sent."""
    if not data:
        return
    sniff(data[1:])
    lookalike(data[1:])
    with contextlib.suppress(MiniCPMError):
        load(data[1:], data[0])


def seeds() -> list[bytes]:
    """Pictures of all types, as bytes and as text."""
    pictures = [
        png(),
        jpeg(exif=exif_block(6)),
        animated("GIF"),
        animated("WEBP"),
        *(encoded(quarters(), kind) for kind in ("GIF", "WEBP", "BMP", "TIFF")),
        encoded(quarters(), "WEBP", exif=exif_block(8)),
        encoded(quarters(), "TIFF", compression="tiff_lzw", exif=exif_block(5)),
        encoded(quarters().convert("CMYK"), "JPEG"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
    ]
    texts = [base64.b64encode(picture) for picture in pictures]
    return [
        *(b"\0" + picture for picture in pictures),
        *(b"\1" + picture for picture in pictures),
        *(b"\2" + text for text in texts),
        *(b"\3image/png;base64," + text for text in texts),
    ]


def main() -> None:
    """Write the first corpus, and run."""
    warnings.simplefilter("error")  # as in the tests
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            (Path(folder) / str(number)).write_bytes(seed)
        given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        atheris.Setup([*sys.argv, *([] if given else [folder])], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
