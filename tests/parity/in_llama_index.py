"""Conversations in LlamaIndex's messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

if TYPE_CHECKING:
    from io import BytesIO
    from pathlib import Path

    from tests.parity.conversations import Call, Picture, Turn


def to_llama_index(turns: list[Turn], folder: Path) -> list[ChatMessage]:
    """The conversation as `MiniCPM` takes it."""
    return [_message(turn, folder) for turn in turns]


def _message(turn: Turn, folder: Path) -> ChatMessage:
    blocks: list[Any] = [ThinkingBlock(content=thought) for thought in turn.reasoning]
    blocks += (TextBlock(text=part) if isinstance(part, str) else _picture(part, folder) for part in turn.parts)
    extra: dict[str, Any] = {}
    if turn.name is not None:
        extra["name"] = turn.name
    if turn.answers is not None:
        extra["tool_call_id"] = turn.answers
    if turn.calls and turn.form == 0:
        extra["tool_calls"] = [_openai_call(call) for call in turn.calls]
    else:
        blocks += (
            ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments) for call in turn.calls
        )
    return ChatMessage(role=MessageRole(turn.role), blocks=blocks, additional_kwargs=extra)


def _openai_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": call.id, "type": "function", "function": function}


def _picture(picture: Picture, folder: Path) -> ImageBlock:
    if picture.way == "path":
        return ImageBlock(path=folder / picture.name, detail=picture.detail)
    if picture.way == "data_url":
        return ImageBlock(url=picture.data_url, detail=picture.detail)
    if picture.way == "base64":
        return ImageBlock(image=picture.base64.encode(), detail=picture.detail)
    return ImageBlock(image=cast("bytes | BytesIO", picture.source(folder)), detail=picture.detail)
