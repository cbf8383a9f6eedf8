"""A scripted server, and both shells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import _pools
from tests.shells.support import AsyncShell, Shell, SyncShell
from tests.support.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers `Hello.` unless a test says otherwise."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest, server: ScriptedServer) -> Callable[..., Shell]:
    """Makes a client of that server, of either kind, which takes it for vLLM and does not try again."""
    kinds: dict[str, type[Shell]] = {"sync": SyncShell, "async": AsyncShell}

    def made(**settings: Any) -> Shell:
        return kinds[request.param](**({"base_url": server.base_url, "max_retries": 0} | settings))

    return made


@pytest.fixture
def shell(make: Callable[..., Shell]) -> Shell:
    """A client of either kind."""
    return make()


@pytest.fixture(params=["whole", "stream"])
def how(request: pytest.FixtureRequest) -> str:
    """How an answer is asked for."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_connection_of_another_test() -> Iterator[None]:
    """Each test begins with an empty pool, as a process does; the asynchronous ones end with their loop."""
    yield
    pool, _pools._sync_pool = _pools._sync_pool, None
    if pool is not None:
        pool.retire()
