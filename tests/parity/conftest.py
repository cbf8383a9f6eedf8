"""Pictures on disk, and one event loop and two HTTP clients for all examples of a module."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.parity.conversations import write_files
from tests.parity.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """What records the requests."""
    with asyncio.Runner() as runner, Wire(runner) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures are."""
    made = tmp_path_factory.mktemp("pictures")
    write_files(made)
    return made
