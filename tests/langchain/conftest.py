"""A scripted server and a model that talks to it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from langchain_minicpm import ChatMiniCPM
from tests.support.server import ScriptedServer, chunk, events, sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Action, Answer

KEY = "sk-test-1234567890"
USAGE: dict[str, Any] = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def streamed(*chunks: dict[str, Any] | Action, headers: dict[str, str] | None = None) -> Answer:
    """A streamed answer, each chunk in an event of its own, with usage and `[DONE]` at the end."""
    usage: dict[str, Any] = {"id": "chatcmpl-1", "model": "MiniCPM-V-4.6-1B", "choices": [], "usage": USAGE}
    written = [sse(each) if isinstance(each, dict) else each for each in chunks]
    return events([*written, sse(usage, "[DONE]")], headers=headers)


def thoughts_and_text() -> Answer:
    """Two pieces of reasoning, two of text."""
    return streamed(
        chunk(role="assistant", content=""),
        chunk(reasoning="Let me "),
        chunk(reasoning="think."),
        chunk("Hel"),
        chunk("lo"),
        chunk(finish="stop"),
        headers={"x-request-id": "req-1"},
    )


def tool_pieces(*arguments: str, finish: str = "tool_calls") -> Answer:
    """One call of `get_weather` whose arguments come in pieces."""
    first, *others = arguments
    call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "get_weather", "arguments": first}}
    pieces = [chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in others]
    return streamed(chunk(tool_calls=[call]), *pieces, chunk(finish=finish))


def png(size: tuple[int, int] = (32, 24), colour: str = "red") -> bytes:
    """A small picture."""
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "PNG")
    return held.getvalue()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def model(server: ScriptedServer) -> Iterator[ChatMiniCPM]:
    with ChatMiniCPM(api_key=KEY, base_url=server.base_url, backend="vllm", max_retries=0) as made:
        yield made
