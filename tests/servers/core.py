"""Asking through the core's own clients."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from minicpm_core import AsyncMiniCPMClient, Message, MiniCPMClient, TextPart, ToolCall
from minicpm_core.media import image_from_bytes, image_from_file, image_from_path, image_from_pil, image_from_url
from tests.servers.support import OPTIONS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minicpm_core import ChatOptions, Completion, Delta, ImageSource
    from tests.servers.support import Question, Server, Source, Turn

_IMAGES: Final[dict[type, Callable[[Any], ImageSource]]] = {
    bytes: image_from_bytes,
    str: image_from_url,
    BytesIO: image_from_file,
    Path: image_from_path,
    Image.Image: image_from_pil,
}


class Core:
    """`MiniCPMClient` and `AsyncMiniCPMClient`."""

    def __init__(self, server: Server) -> None:
        self._settings = server.settings

    def invoke(self, question: Question) -> Answer:
        with MiniCPMClient(**self._settings) as client:
            return _whole(client.complete(_messages(question), _options(question)))

    def stream(self, question: Question) -> Answer:
        with (
            MiniCPMClient(**self._settings) as client,
            client.stream(_messages(question), _options(question)) as deltas,
        ):
            return _joined(list(deltas))

    async def ainvoke(self, question: Question) -> Answer:
        async with AsyncMiniCPMClient(**self._settings) as client:
            return _whole(await client.complete(_messages(question), _options(question)))

    async def astream(self, question: Question) -> Answer:
        async with (
            AsyncMiniCPMClient(**self._settings) as client,
            await client.stream(_messages(question), _options(question)) as deltas,
        ):
            return _joined([delta async for delta in deltas])

    def backends(self) -> set[str]:
        async def found() -> str:
            async with AsyncMiniCPMClient(**self._settings) as client:
                return (await client.backend()).name

        with MiniCPMClient(**self._settings) as client:
            return {client.backend().name, asyncio.run(found())}


def _options(question: Question) -> ChatOptions:
    options: ChatOptions = {**OPTIONS, "thinking": question.thinking, "tools": question.tools}
    return options


def _messages(question: Question) -> list[Message]:
    return [_message(turn) for turn in question.turns]


def _message(turn: Turn) -> Message:
    return Message(
        turn.role,
        tuple(TextPart(part) if isinstance(part, str) else _image(part.source) for part in turn.parts),
        tool_calls=tuple(ToolCall(call.id, call.name, json.dumps(call.arguments)) for call in turn.calls),
        tool_call_id=turn.answers,
    )


def _image(source: Source) -> ImageSource:
    return next(make(source) for kind, make in _IMAGES.items() if isinstance(source, kind))


def _whole(completion: Completion) -> Answer:
    calls = tuple((call.name, json.loads(call.arguments)) for call in completion.tool_calls)
    usage = completion.usage
    return Answer(
        completion.reasoning,
        completion.text,
        calls,
        tokens=(usage.prompt_tokens, usage.completion_tokens) if usage else None,
    )


def _joined(deltas: Sequence[Delta]) -> Answer:
    finals = [delta.final for delta in deltas if delta.final is not None]
    assert len(finals) == 1
    assert deltas[-1].final is finals[0]
    arguments: dict[int, list[str]] = {}
    for delta in deltas:
        for piece in delta.tool_calls:
            arguments.setdefault(piece.index, []).append(piece.arguments)
    assert ["".join(pieces) for pieces in arguments.values()] == [call.arguments for call in finals[0].tool_calls]
    whole = _whole(finals[0])
    assert "".join(delta.text for delta in deltas) == whole.text
    assert "".join(delta.reasoning for delta in deltas) == whole.reasoning
    return whole
