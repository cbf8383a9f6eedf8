"""An emulator, a client of it, and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from minicpm_core import MiniCPMClient
from minicpm_core.emulator import EmulatorServer
from tests.captions.support import COLOURS, Run, png
from tests.core.media.pdfs import document, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    """An emulator with an empty log."""
    with EmulatorServer(dialect="vllm") as running:
        yield running


@pytest.fixture
def client(server: EmulatorServer) -> Iterator[MiniCPMClient]:
    """A client of it that does not retry."""
    with MiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0) as opened:
        yield opened


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Captions by the one captioner, then by the other."""
    return Run(asynchronous=request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in folders within each other, a PDF of two pages, and things that are passed over."""
    root = tmp_path / "pictures"
    (root / "inner").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / "red.png").write_bytes(png("red"))
    (root / "green.dat").write_bytes(png("green"))
    (root / "inner" / "blue.png").write_bytes(png("blue"))
    (root / "b.pdf").write_bytes(document(text(b"One"), text(b"Two")))
    (root / "notes.png").write_text("no picture, whatever its name")
    (root / ".secret.png").write_bytes(png("red"))
    (root / ".hidden" / "red.png").write_bytes(png("red"))
    (root / "dangling.png").symlink_to(root / "nowhere.png")
    return root


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    """Twelve pictures that differ."""
    paths = [tmp_path / f"{number:02}.png" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(png(COLOURS[number % len(COLOURS)], (40 + number, 30)))
    return paths
