"""What users write. mypy and pyright check that it is typed as it should be; it is not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import httpx
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock

from langchain_minicpm import ChatMiniCPM, image_block
from llama_index_minicpm import MiniCPM
from minicpm_core import (
    AsyncMiniCPMClient,
    Choice,
    Completion,
    Delta,
    Message,
    MiniCPMClient,
    RateLimitError,
    TextPart,
    Timeouts,
    Usage,
)
from minicpm_core.media import count_image_tokens, image_from_path

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from llama_index.core.base.llms.types import ChatResponse


def core() -> None:
    """The core by itself."""
    client = MiniCPMClient(api_key="key", base_url="http://localhost:8000/v1", model="m", timeout=30)
    picture = image_from_path(Path("photo.jpg"))
    messages = [Message("user", (TextPart("What is this?"), picture))]
    completion = client.complete(messages, {"temperature": 0, "max_tokens": 100})
    assert_type(completion, Completion)
    assert_type(completion.choices, tuple[Choice, ...])
    assert_type(completion.usage, Usage | None)
    try:
        with client.stream(messages) as stream:
            for delta in stream:
                assert_type(delta, Delta)
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    assert_type(count_image_tokens((640, 480), "MiniCPM-V-4.6-1B"), int)


async def core_on_asyncio() -> None:
    """The same, awaited."""
    async with AsyncMiniCPMClient(timeout=Timeouts(connect=5)) as client:
        assert_type(await client.complete([Message("user", "Hello!")]), Completion)
        async for delta in await client.stream([Message("user", "Hello!")]):
            assert_type(delta, Delta)


def langchain() -> AIMessage:
    """LangChain."""
    model = ChatMiniCPM(
        model="MiniCPM-V-4.6-Thinking", api_key="key", temperature=0, thinking=True, http_client=httpx.Client()
    )
    question = HumanMessage([{"type": "text", "text": "What is this?"}, image_block(Path("photo.jpg"))])
    return model.invoke([question], max_tokens=100)


def llama_index() -> ChatResponse:
    """LlamaIndex."""
    llm = MiniCPM(model="MiniCPM-V-4.6-Thinking", api_key="key", temperature=0, thinking=True, timeout=30)
    message = ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), ImageBlock(path=Path("photo.jpg"))])
    return llm.chat([message], max_tokens=100)
