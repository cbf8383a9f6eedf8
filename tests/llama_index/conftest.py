"""A scripted server and a model that asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llama_index_minicpm import MiniCPM
from tests.llama_index.support import KEY
from tests.support.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers `Hello.` unless a test says otherwise."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def llm(server: ScriptedServer) -> MiniCPM:
    """A model on that server, which it takes for vLLM."""
    return MiniCPM(base_url=server.base_url, backend="vllm", api_key=KEY, max_retries=0)
