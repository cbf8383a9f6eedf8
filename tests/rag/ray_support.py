"""A Ray cluster on this machine, and small pictures that are all of another size."""

from __future__ import annotations

import base64
import io
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from minicpm_core.emulator import EmulatorServer

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the home folder
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Of the driver, before Ray is imported."""
WARNINGS = [
    "ignore:`use_push_based_shuffle` is deprecated:DeprecationWarning",
    "ignore:`use_polars` is deprecated:DeprecationWarning",
    "ignore:`use_arrow_tensor_v2` is deprecated:DeprecationWarning",
]
"""Ray Data warns of settings of its own when it reads them."""


def cut_photographs(folder: Path, count: int) -> list[Path]:
    """Crops of the shipped photographs as small JPEG files, each of another size, so that each can be told by it."""
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    paths: list[Path] = []
    for number in range(count):
        photo, width, height = photos[number % len(photos)], 60 + number % 25, 50 + number // 25
        left, top = (37 * number) % (photo.width - width), (23 * number) % (photo.height - height)
        path = folder / f"crop{number:04}.jpg"
        photo.crop((left, top, left + width, top + height)).save(path, quality=85)
        paths.append(path)
    return paths


def size_of(path: Path) -> str:
    """How the emulator tells the size of a picture."""
    with Image.open(path) as image:
        return f"{image.width} x {image.height} pixels"


def sizes_asked(server: EmulatorServer) -> Counter[str]:
    """How often each picture was asked for, by its size."""
    return Counter(size_of_request(request.body) for request in server.requests if request.body)


def size_of_request(body: Any) -> str:
    """Of the picture in a request."""
    (url,) = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return f"{image.width} x {image.height} pixels"


def actors_under(driver: int) -> list[int]:
    """The processes of Ray actors that a driver's cluster runs: Linux only."""
    parents: dict[int, int] = {}
    actors: list[int] = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            status, command = (process / "status").read_text(), (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        found = re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE)
        parents[int(process.name)] = int(found[1]) if found else 0
        if command.startswith(b"ray::MapWorker"):
            actors.append(int(process.name))
    return [actor for actor in actors if _descends(actor, driver, parents)]


def _descends(process: int, ancestor: int, parents: dict[int, int]) -> bool:
    while process:
        if process == ancestor:
            return True
        process = parents.get(process, 0)
    return False


def environment(**more: str) -> dict[str, str]:
    """For a driver of its own."""
    return {**os.environ, **ENVIRONMENT, **more}
