"""What captioning costs the client: CPU time and bytes an image, and what that makes for a million of them.

    .venv/bin/python benchmarks/captions_at_scale.py

The captioner of a batch job (`AsyncCaptioner`, the client's own settings) asks a server in another process, which
answers at once, so that all that is measured is what the client does: reading, checking and preparing the picture,
encoding, sending, reading the answer.  Pictures differ, and nothing is cached.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import media_inputs
from PIL import Image
from server import MODEL, Server

from minicpm_core import AsyncMiniCPMClient
from minicpm_core.captions import AsyncCaptioner
from minicpm_core.media.tokens import count_image_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

IN_FLIGHT = 32
IMAGES = 64
ROUNDS = 5
HOURS = 3_600
MILLION = 1_000_000


class Cost(NamedTuple):
    """What a picture costs the client.

    Attributes:
        file: Bytes of the file.
        sent: Bytes of the request's body.
        tokens: Prompt tokens of the picture, by the model's formula.
        cpu: CPU milliseconds, the median of the rounds.
        least: CPU milliseconds, the least round.
    """

    file: int
    sent: int
    tokens: int
    cpu: float
    least: float


def _resized(path: Path, size: tuple[int, int]) -> bytes:
    written = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(written, "JPEG", quality=90)
    return written.getvalue()


INPUTS: dict[str, Callable[[], bytes]] = {
    "web picture, 640 x 427": (media_inputs.PHOTOS / "rocket.jpg").read_bytes,
    "picture of 2 MP, 1600 x 1200": lambda: _resized(media_inputs.photo(), (1600, 1200)),
    "photograph of 12 MP": lambda: media_inputs.photo().read_bytes(),
    "scan of A4 at 300 dpi, JPEG": lambda: media_inputs.scan_jpeg().read_bytes(),
}


def _copies(data: bytes, folder: Path) -> list[Path]:
    """Files that differ by a comment, which no decoder looks at."""
    paths: list[Path] = []
    for number in range(IMAGES):
        paths.append(folder / f"{number:03}.jpg")
        paths[-1].write_bytes(data[:2] + b"\xff\xfe\x00\x06%04d" % number + data[2:])
    return paths


async def _ask(paths: list[Path], base_url: str) -> None:
    async with AsyncMiniCPMClient(base_url=base_url, model=MODEL, backend="vllm", image_cache_bytes=0) as client:
        async for found in AsyncCaptioner(client, concurrency=IN_FLIGHT).captions(paths):
            if found.error is not None:
                raise found.error


def cost(data: bytes, server: Server) -> Cost:
    """What a picture costs."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _copies(data, Path(folder))
        spent: list[float] = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            asyncio.run(_ask(paths, server.base_url()))
            spent.append((time.process_time() - begin) * 1e3 / IMAGES)
    with httpx.Client() as client:
        sent = len(client.get(f"{server.base_url()}/received").content)
    with Image.open(io.BytesIO(data)) as image:
        tokens = count_image_tokens(image.size, MODEL)
    return Cost(len(data), sent, tokens, statistics.median(spent), min(spent))


def main() -> None:
    """Measure, and print the table."""
    print("| A picture | file | sent | prompt tokens | CPU ms, median (least) | a million: CPU hours | sent | tokens |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with Server() as server:
        for name, make in INPUTS.items():
            found = cost(make(), server)
            print(
                f"| {name} | {found.file / 1e3:,.0f} kB | {found.sent / 1e3:,.0f} kB | {found.tokens} "
                f"| {found.cpu:.1f} ({found.least:.1f}) | {found.cpu / 1e3 * MILLION / HOURS:.1f} "
                f"| {found.sent * MILLION / 1e9:,.0f} GB | {found.tokens * MILLION / 1e6:,.0f} M |",
                flush=True,
            )


if __name__ == "__main__":
    main()
