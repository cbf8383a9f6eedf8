"""Asking through `ChatMiniCPM`, with `bind_tools` and LangChain's messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage

from langchain_minicpm import ChatMiniCPM, image_block
from tests.servers.support import OPTIONS, Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

    from tests.servers.support import Question, Server, Turn


class LangChain:
    """`ChatMiniCPM`."""

    def __init__(self, server: Server) -> None:
        self._settings: dict[str, Any] = {**server.settings, **OPTIONS}

    def invoke(self, question: Question) -> Answer:
        with ChatMiniCPM(**self._settings) as model:
            return _whole(_bound(model, question).invoke(_messages(question)))

    def stream(self, question: Question) -> Answer:
        with ChatMiniCPM(**self._settings) as model:
            return _joined(list(_bound(model, question).stream(_messages(question))))

    async def ainvoke(self, question: Question) -> Answer:
        async with ChatMiniCPM(**self._settings) as model:
            return _whole(await _bound(model, question).ainvoke(_messages(question)))

    async def astream(self, question: Question) -> Answer:
        async with ChatMiniCPM(**self._settings) as model:
            return _joined([chunk async for chunk in _bound(model, question).astream(_messages(question))])

    def backends(self) -> set[str]:
        async def found() -> str:
            async with ChatMiniCPM(**self._settings) as model:
                return (await model._clients().aio.backend()).name

        with ChatMiniCPM(**self._settings) as model:
            return {model._clients().sync.backend().name, asyncio.run(found())}


def _bound(model: ChatMiniCPM, question: Question) -> Runnable[Any, AIMessage]:
    if question.tools:
        return model.bind_tools(question.tools, thinking=question.thinking)
    return model.bind(thinking=question.thinking)


def _messages(question: Question) -> list[BaseMessage]:
    return [_message(turn) for turn in question.turns]


def _message(turn: Turn) -> BaseMessage:
    if turn.role == "tool":
        return ToolMessage(turn.text, tool_call_id=turn.answers)
    if turn.role == "assistant":
        calls: list[Any] = [{"id": call.id, "name": call.name, "args": call.arguments} for call in turn.calls]
        return AIMessage(turn.text, tool_calls=calls)
    if turn.role == "system":
        return SystemMessage(turn.text)
    content: list[Any] = [
        {"type": "text", "text": part} if isinstance(part, str) else image_block(part.source) for part in turn.parts
    ]
    return HumanMessage(content)


def _whole(message: AIMessage) -> Answer:
    assert not message.invalid_tool_calls
    thoughts = [block.get("reasoning", "") for block in message.content_blocks if block["type"] == "reasoning"]
    usage = message.usage_metadata
    return Answer(
        "".join(thoughts),
        str(message.text),
        tuple((call["name"], call["args"]) for call in message.tool_calls),
        tokens=usage and (usage["input_tokens"], usage["output_tokens"]),
    )


def _joined(chunks: Sequence[AIMessage]) -> Answer:
    pieces = [chunk for chunk in chunks if isinstance(chunk, AIMessageChunk)]
    assert len(pieces) == len(chunks)
    assert [piece.chunk_position for piece in pieces] == [*[None] * (len(pieces) - 1), "last"]
    return _whole(pieces[0].__add__(pieces[1:]))
