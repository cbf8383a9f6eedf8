"""A client for the run's emulator, and for emulators of one's own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from minicpm_core.emulator import EmulatorServer
from tests.emulator.support import Asker

if TYPE_CHECKING:
    from collections.abc import Iterator


class AskerFactory(Protocol):
    """What `asker_of` gives."""

    def __call__(self, **settings: Any) -> Asker:
        """A client of an emulator with these settings."""
        ...


@pytest.fixture
def asker(minicpm_emulator: EmulatorServer) -> Iterator[Asker]:
    """A client of the run's emulator."""
    with Asker(minicpm_emulator) as client:
        yield client


@pytest.fixture(scope="session")
def emulators() -> Iterator[dict[str, EmulatorServer]]:
    """Emulators by their settings, which live as long as the run: stopping one takes a fifth of a second."""
    running: dict[str, EmulatorServer] = {}
    with ExitStack() as afterwards:
        yield running
        for server in running.values():
            afterwards.callback(server.stop)


@pytest.fixture
def asker_of(emulators: dict[str, EmulatorServer]) -> Iterator[AskerFactory]:
    """Clients of emulators with settings of their own."""
    with ExitStack() as clients:

        def start(**settings: Any) -> Asker:
            name = repr(settings)
            if name not in emulators:
                emulators[name] = EmulatorServer(**settings).start()
            emulators[name].reset()
            return clients.enter_context(Asker(emulators[name]))

        yield start
