"""An event loop for the synchronous calls of LlamaIndex's engines, which take the thread's and never close it."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """A loop that is closed after a synchronous test; asynchronous ones have their own."""
    if inspect.iscoroutinefunction(request.function):
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
