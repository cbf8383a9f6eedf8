"""Where the code of a page runs: beside a photograph and other media, with the emulator as its server."""

from __future__ import annotations

import asyncio
import inspect
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import ROOT
from tests.media.samples import sample
from tests.support.loops import own_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer
    from tests.docs.pages import Block
    from tests.media.matrix import Medium

_ = own_loop  # a fixture
_FILES: tuple[Medium, ...] = ("video", "audio", "PDF")


@pytest.fixture
def served(minicpm_emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> EmulatorServer:
    """The emulator, named in the environment as a server of one's own is."""
    monkeypatch.setenv("MINICPM_BASE_URL", minicpm_emulator.base_url)
    monkeypatch.setenv("MINICPM_REALTIME_URL", minicpm_emulator.realtime_url)
    return minicpm_emulator


@pytest.fixture
def run(
    request: pytest.FixtureRequest,
    served: EmulatorServer,
    own_loop: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Block, dict[str, Any]], None]:
    """Run a block as it stands; then each test that it defines, with its fixtures."""
    shutil.copy(ROOT / "examples" / "photos" / "cat.jpg", tmp_path / "photo.jpg")
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "photos")
    for medium in _FILES:
        made = sample(medium)
        (tmp_path / made.name).write_bytes(made.data)
    monkeypatch.chdir(tmp_path)

    def run(block: Block, names: dict[str, Any]) -> None:
        known = set(names)
        exec(compile(block.compiled_source, str(block.page), "exec"), names)
        for name in set(names) - known:
            if name.startswith("test_"):
                wanted = inspect.signature(names[name]).parameters
                done = names[name](**{fixture: request.getfixturevalue(fixture) for fixture in wanted})
                if inspect.iscoroutine(done):
                    asyncio.run(done)

    return run
