"""What holds for every test: no setting of the person who runs them leaks in, and no clock decides."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PREFIXES = ("MINICPM_", "MODELBEST_", "LANGSMITH_", "LANGCHAIN_", "OPENAI_")
_KEPT_PREFIX = "MINICPM_TEST_"
_PROXIES = frozenset({"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"})

settings.register_profile(
    "house",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


def pytest_configure() -> None:
    """Forget the keys, addresses, tracing and proxies of the environment, for child processes too.

    And heed Ctrl-C: a shell that starts a run in the background lets it ignore the signal, and children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        foreign = name.startswith(_PREFIXES) and not name.startswith(_KEPT_PREFIX)
        if foreign or name.upper() in _PROXIES:
            del os.environ[name]


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """A test fails that leaves a task of its event loop behind."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()
