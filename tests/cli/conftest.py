"""The command, run in this process or as one of its own."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from minicpm_core.cli import main
from tests.cli.support import PHOTOS, Ran, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer


@pytest.fixture
def minicpm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command here, with pipes for its output."""

    def run(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code = main(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def served(minicpm_emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> EmulatorServer:
    """The emulator, named in the environment as a server of one's own is."""
    monkeypatch.setenv("MINICPM_BASE_URL", minicpm_emulator.base_url)
    return minicpm_emulator


@pytest.fixture
def cat() -> Path:
    """A photograph that is stored turned."""
    return PHOTOS / "cat.jpg"


@pytest.fixture
def rocket() -> Path:
    """A photograph."""
    return PHOTOS / "rocket.jpg"


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start the command in a terminal of its own."""
    started: list[Terminal] = []

    def start(*arguments: str, columns: int = 80, **environment: str) -> Terminal:
        started.append(Terminal.start(arguments, columns, {**os.environ, "TERM": "xterm-256color", **environment}))
        return started[-1]

    yield start
    for one in started:
        one.close()
