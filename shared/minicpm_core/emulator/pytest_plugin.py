"""pytest fixtures, there as soon as this package is installed: test your own chains without a key and without a model.

    def test_my_chain(minicpm_emulator):
        chain = build_my_chain(base_url=minicpm_emulator.base_url)
        assert "4" in chain.invoke("What is 2 + 2?")
        assert minicpm_emulator.requests[0].body["temperature"] == 0

Its `realtime_url` is for realtime sessions.

pytest loads this file in every run, so it imports nothing but pytest; the server is made when a test first asks for it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicpm_core.emulator.server import EmulatorServer


class EmulatorFactory(Protocol):
    """What `minicpm_emulator_factory` gives."""

    def __call__(self, **settings: Any) -> EmulatorServer:
        """Start a server of its own with the settings of `EmulatorServer`; the fixture stops it."""
        ...


@pytest.fixture(scope="session")
def minicpm_emulator_session() -> Iterator[EmulatorServer]:
    """One emulator for the whole run. Use `minicpm_emulator`, which keeps tests apart."""
    from minicpm_core.emulator.server import EmulatorServer

    with EmulatorServer() as server:
        yield server


@pytest.fixture
def minicpm_emulator(minicpm_emulator_session: EmulatorServer) -> Iterator[EmulatorServer]:
    """The run's emulator, with an empty request log and no fault waiting."""
    minicpm_emulator_session.reset()
    yield minicpm_emulator_session
    minicpm_emulator_session.reset()


@pytest.fixture
def minicpm_emulator_factory() -> Iterator[EmulatorFactory]:
    """Start emulators with settings of their own: `minicpm_emulator_factory(dialect="llamacpp", api_key="k")`."""
    from minicpm_core.emulator.server import EmulatorServer

    with ExitStack() as servers:

        def start(**settings: Any) -> EmulatorServer:
            return servers.enter_context(EmulatorServer(**settings))

        yield start
