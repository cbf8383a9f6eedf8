"""A client for the run's emulator, and for emulators of one's own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.emulator.support import Asker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory


class AskerFactory(Protocol):
    """What `asker_of` gives."""

    def __call__(self, **settings: Any) -> Asker:
        """A client of a new emulator with these settings."""
        ...


@pytest.fixture
def asker(minicpm_emulator: EmulatorServer) -> Iterator[Asker]:
    """A client of the run's emulator."""
    with Asker(minicpm_emulator) as client:
        yield client


@pytest.fixture
def asker_of(minicpm_emulator_factory: EmulatorFactory) -> Iterator[AskerFactory]:
    """Clients of emulators with settings of their own."""
    with ExitStack() as clients:

        def start(**settings: Any) -> Asker:
            return clients.enter_context(Asker(minicpm_emulator_factory(**settings)))

        yield start
