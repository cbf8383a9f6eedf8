"""Captions of 1,000 pictures: ours, beside a bare `asyncio.gather` of the same calls by the same client.

The emulator of this library answers after 20 ms, in a process of its own.  What is compared is what the captioners add:
reading and hashing files, the cache on disk, order, back-pressure, nodes.  Then a run is killed midway and taken up
again, and the calls are counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from PIL import Image

from llama_index_minicpm import MiniCPM, MiniCPMImageCaptioner
from minicpm_core import AsyncMiniCPMClient, Message, TextPart
from minicpm_core.captions import CAPTION_PROMPT, AsyncCaptioner, CaptionCache, Captioner
from minicpm_core.client import MiniCPMClient
from minicpm_core.media import image_from_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from server import Server

PICTURES = 1000
LATENCY_MS = 20
AT_A_TIME = 16
ROUNDS = 3
_CASES = ("asyncio.gather", "AsyncCaptioner", "Captioner", "MiniCPMImageCaptioner.acall", "MiniCPMImageCaptioner()")


class Took(NamedTuple):
    """What a run took: seconds by the clock, calls, and MiB that it added to the process at most."""

    seconds: float
    calls: int
    mib: float


def pictures(folder: Path, count: int = PICTURES) -> list[Path]:
    """Small pictures that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (64, 48), (number % 256, number // 256 * 40, 90)).save(path)
    return paths


class Emulator:
    """An emulator in a process of its own, which answers after 20 ms and counts its calls."""

    _PROGRAM = """
import sys
from minicpm_core.emulator import EmulatorServer

with EmulatorServer(dialect="vllm", fault="slow=%g") as server:
    print(server.base_url, flush=True)
    for _ in sys.stdin:
        print(sum(1 for request in server.requests if request.body), flush=True)
"""

    def __enter__(self) -> Self:
        self._running = subprocess.Popen(
            [sys.executable, "-c", self._PROGRAM % (LATENCY_MS / 1000)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._answer()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._running.communicate()  # the end of its input ends it

    def calls(self) -> int:
        """How many chat requests came in until now."""
        assert self._running.stdin is not None
        self._running.stdin.write("\n")
        self._running.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._running.stdout is not None
        return self._running.stdout.readline().strip()


def _connection(url: str) -> dict[str, Any]:
    return {"base_url": url, "backend": "vllm"}


async def _gathered(url: str, paths: list[Path]) -> None:
    """The same calls, as many at a time, and nothing else."""
    gate = asyncio.Semaphore(AT_A_TIME)
    async with AsyncMiniCPMClient(**_connection(url)) as client:

        async def ask(path: Path) -> str:
            async with gate:
                message = Message("user", (image_from_path(path), TextPart(CAPTION_PROMPT)))
                return (await client.complete([message])).choices[0].text

        answers = await asyncio.gather(*(ask(path) for path in paths))
    assert all(answers)


async def _asynchronous(url: str, paths: list[Path], cache: Path) -> None:
    async with AsyncMiniCPMClient(**_connection(url)) as client:
        captioner = AsyncCaptioner(client, cache=CaptionCache(cache), concurrency=AT_A_TIME)
        found = [one.caption async for one in captioner.captions(paths)]
    assert all(found)


def _synchronous(url: str, paths: list[Path], cache: Path) -> None:
    with MiniCPMClient(**_connection(url)) as client:
        captioner = Captioner(client, cache=CaptionCache(cache), concurrency=AT_A_TIME)
        assert all(one.caption for one in captioner.captions(paths))


def _llama_index(url: str, cache: Path) -> MiniCPMImageCaptioner:
    return MiniCPMImageCaptioner(llm=MiniCPM(**_connection(url)), cache_dir=cache, num_workers=AT_A_TIME)


def run_case(name: str, url: str, folder: Path, cache: Path) -> None:
    """One case, in this process."""
    paths = sorted(folder.glob("*.png"))
    cases: dict[str, Callable[[], object]] = {
        "asyncio.gather": lambda: asyncio.run(_gathered(url, paths)),
        "AsyncCaptioner": lambda: asyncio.run(_asynchronous(url, paths, cache)),
        "Captioner": lambda: _synchronous(url, paths, cache),
        "MiniCPMImageCaptioner.acall": lambda: asyncio.run(_llama_index(url, cache).acall(paths)),
        "MiniCPMImageCaptioner()": lambda: _llama_index(url, cache)(paths),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    cases[name]()
    seconds = time.perf_counter() - began
    print(json.dumps([seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]), flush=True)


def _started(name: str, url: str, folder: Path, cache: Path) -> subprocess.Popen[str]:
    program = (
        "import sys; from pathlib import Path; from rag_cases import run_case; "
        "run_case(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))"
    )
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", program, name, url, str(folder), str(cache)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))},
    )


def measured(name: str, server: Emulator, folder: Path, cache: Path) -> Took:
    """One case in a process of its own."""
    before = server.calls()
    with _started(name, server.url, folder, cache) as running:
        said, _ = running.communicate()
    if running.returncode:
        raise RuntimeError(f"{name} failed.")
    seconds, mib = json.loads(said)
    return Took(seconds, server.calls() - before, mib)


def killed_and_resumed(server: Emulator, folder: Path, cache: Path, at: int) -> tuple[int, int, int]:
    """Kill a run when so many captions are kept, and take it up again.

    Returns:
        Captions that were kept when it died, calls of the first run, calls of the second.
    """
    before = server.calls()
    kept = CaptionCache(cache)
    with _started("MiniCPMImageCaptioner.acall", server.url, folder, cache) as running:
        while len(kept) < at and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    time.sleep(0.5)  # what was under way is answered, and counted
    first, found = server.calls() - before, len(kept)
    second = measured("MiniCPMImageCaptioner.acall", server, folder, cache)
    return found, first, second.calls


def main(_: Server) -> list[str]:
    """All tables."""
    with tempfile.TemporaryDirectory() as made, Emulator() as server:
        root = Path(made)
        folder = root / "pictures"
        pictures(folder)
        took: dict[str, list[Took]] = {name: [] for name in _CASES}
        for number in range(ROUNDS):
            for name in _CASES:
                cache = root / f"cache-{number}-{_CASES.index(name)}"
                took[name].append(measured(name, server, folder, cache))
        again = measured("MiniCPMImageCaptioner.acall", server, folder, root / "cache-0-3")
        found, first, second = killed_and_resumed(server, folder, root / "killed", PICTURES // 2)
    return [_table(took, again), _killed(found, first, second)]


def _table(took: dict[str, list[Took]], again: Took) -> str:
    middle = {name: sorted(runs)[len(runs) // 2] for name, runs in took.items()}
    floor = middle[_CASES[0]].seconds
    lines = [
        f"### Captions: {PICTURES} pictures, {LATENCY_MS} ms a call, {AT_A_TIME} at a time",
        "",
        "| | seconds, median | to gather | calls | MiB more at most |",
        "|---|---:|---:|---:|---:|",
    ]
    rows = [*middle.items(), ("MiniCPMImageCaptioner.acall, again", again)]
    lines += [
        f"| {name} | {one.seconds:.2f} | {one.seconds / floor:.2f}x | {one.calls} | {one.mib:.0f} |"
        for name, one in rows
    ]
    notes = [
        f"Medians of {ROUNDS}, each in a process of its own; imports are not counted.",
        "`asyncio.gather` makes the same calls with the same client, as many at a time: no cache, no hashes, no nodes.",
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def _killed(found: int, first: int, second: int) -> str:
    return "\n".join(
        [
            "### Captions: killed midway (SIGKILL) and taken up again",
            "",
            "| pictures | kept when it died | calls before | calls after | paid for twice |",
            "|---:|---:|---:|---:|---:|",
            f"| {PICTURES} | {found} | {first} | {second} | {first + second - PICTURES} |",
            "",
            f"- Paid for twice are the calls that were under way when it died, {AT_A_TIME} at most.",
            "",
        ]
    )
