"""Asking through `MiniCPM`, with `chat_with_tools` and LlamaIndex's messages."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from PIL import Image

from llama_index_minicpm import MiniCPM
from tests.servers.support import OPTIONS, Answer
from tests.support.declared import declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_index.core.base.llms.types import ChatResponse

    from tests.servers.support import Question, Server, Source, Turn


class LlamaIndex:
    """`MiniCPM`."""

    def __init__(self, server: Server) -> None:
        self._settings: dict[str, Any] = {**server.settings, **OPTIONS}

    def invoke(self, question: Question) -> Answer:
        with MiniCPM(**self._settings) as llm:
            if question.tools:
                return _whole(llm.chat_with_tools(**_with_tools(question)))
            return _whole(llm.chat(_messages(question), thinking=question.thinking))

    def stream(self, question: Question) -> Answer:
        with MiniCPM(**self._settings) as llm:
            if question.tools:
                return _joined(list(llm.stream_chat_with_tools(**_with_tools(question))))
            return _joined(list(llm.stream_chat(_messages(question), thinking=question.thinking)))

    async def ainvoke(self, question: Question) -> Answer:
        async with MiniCPM(**self._settings) as llm:
            if question.tools:
                return _whole(await llm.achat_with_tools(**_with_tools(question)))
            return _whole(await llm.achat(_messages(question), thinking=question.thinking))

    async def astream(self, question: Question) -> Answer:
        async with MiniCPM(**self._settings) as llm:
            if question.tools:
                stream = await llm.astream_chat_with_tools(**_with_tools(question))
            else:
                stream = await llm.astream_chat(_messages(question), thinking=question.thinking)
            return _joined([response async for response in stream])

    def backends(self) -> set[str]:
        async def found() -> str:
            async with MiniCPM(**self._settings) as llm:
                return (await llm._async().backend()).name

        with MiniCPM(**self._settings) as llm:
            return {llm._sync().backend().name, asyncio.run(found())}


def _with_tools(question: Question) -> dict[str, Any]:
    return {
        "tools": [declared(tool) for tool in question.tools],
        "chat_history": _messages(question),
        "allow_parallel_tool_calls": True,
        "thinking": question.thinking,
    }


def _messages(question: Question) -> list[ChatMessage]:
    return [_message(turn) for turn in question.turns]


def _message(turn: Turn) -> ChatMessage:
    blocks: list[Any] = [
        TextBlock(text=part) if isinstance(part, str) else image_of(part.source) for part in turn.parts if part
    ]
    blocks += (
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments) for call in turn.calls
    )
    answers = {"tool_call_id": turn.answers} if turn.answers else {}
    return ChatMessage(role=MessageRole(turn.role), blocks=blocks, additional_kwargs=answers)


def image_of(source: Source) -> ImageBlock:
    """A block; LlamaIndex has no place for a Pillow image, so its file is handed over."""
    if isinstance(source, Image.Image):
        buffer = BytesIO()
        source.save(buffer, "PNG")
        return ImageBlock(image=buffer)
    if isinstance(source, Path):
        return ImageBlock(path=source)
    return ImageBlock(url=source) if isinstance(source, str) else ImageBlock(image=source)


def _whole(response: ChatResponse) -> Answer:
    blocks = response.message.blocks
    calls = [block for block in blocks if isinstance(block, ToolCallBlock)]
    counts = _more(response)
    return Answer(
        "".join(block.content or "" for block in blocks if isinstance(block, ThinkingBlock)),
        "".join(block.text for block in blocks if isinstance(block, TextBlock)),
        tuple((call.tool_name, cast("dict[str, Any]", call.tool_kwargs)) for call in calls),
        tokens=(counts["prompt_tokens"], counts["completion_tokens"]) if counts else None,
    )


def _joined(responses: Sequence[ChatResponse]) -> Answer:
    whole = _whole(responses[-1])
    assert "".join(response.delta or "" for response in responses) == whole.text
    assert "".join(_more(response).get("thinking_delta", "") for response in responses) == whole.reasoning
    return whole


def _more(response: ChatResponse) -> dict[str, Any]:
    return cast("dict[str, Any]", response.additional_kwargs)  # pyright: ignore[reportUnknownMemberType]
