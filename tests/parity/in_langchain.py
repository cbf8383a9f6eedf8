"""Conversations in LangChain's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_minicpm import image_block

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.messages import BaseMessage

    from tests.parity.conversations import Picture, Turn


def to_langchain(turns: list[Turn], folder: Path) -> list[BaseMessage]:
    """The conversation as `ChatMiniCPM` takes it."""
    return [_message(turn, _content(turn, folder)) for turn in turns]


def _message(turn: Turn, content: Any) -> BaseMessage:
    if turn.role == "assistant":
        return _answer(turn, content)
    if turn.role == "tool" and turn.form == 2 and turn.name is None:
        return HumanMessage([{"type": "tool_result", "tool_use_id": turn.answers, "content": content}])
    if turn.role == "developer" and turn.form == 0:
        return ChatMessage(content=content, role="developer", name=turn.name)
    kinds: dict[str, tuple[type[BaseMessage], dict[str, Any]]] = {
        "system": (SystemMessage, {}),
        "developer": (SystemMessage, {"additional_kwargs": {"__openai_role__": "developer"}}),
        "user": (HumanMessage, {}),
        "tool": (ToolMessage, {"tool_call_id": turn.answers}),
    }
    kind, more = kinds[turn.role]
    return kind(content, name=turn.name, **more)


def _answer(turn: Turn, content: Any) -> AIMessage:
    extra: dict[str, Any] = {}
    if turn.form == 1:
        content = [*({"type": "reasoning", "reasoning": thought} for thought in turn.reasoning), *content]
    elif turn.reasoning:
        extra["reasoning_content"] = "\n".join(filter(None, turn.reasoning))
    calls: list[Any] = [{"id": call.id, "name": call.name, "args": call.arguments} for call in turn.calls]
    return AIMessage(content, name=turn.name, tool_calls=calls, additional_kwargs=extra)


def _content(turn: Turn, folder: Path) -> str | list[dict[str, Any] | str]:
    if turn.form != 1 and len(turn.parts) == 1 and isinstance(turn.parts[0], str):
        return turn.parts[0]
    return [
        _picture(part, folder, turn.form)
        if not isinstance(part, str)
        else part
        if turn.form == 2
        else {"type": "text", "text": part}
        for part in turn.parts
    ]


def _picture(picture: Picture, folder: Path, form: int) -> dict[str, Any]:
    """A block of version 1, version 0, or OpenAI's."""
    if picture.way not in {"data_url", "base64"}:
        return dict(image_block(picture.source(folder), detail=picture.detail))
    detail = {"detail": picture.detail} if picture.detail else {}
    forms: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "data_url": (
            {"type": "image", "url": picture.data_url, "extras": detail},
            {"type": "image_url", "image_url": {"url": picture.data_url, **detail}},
        ),
        "base64": (
            {"type": "image", "base64": picture.base64, "mime_type": "image/png", "extras": detail},
            {"type": "image", "source_type": "base64", "data": picture.base64, "mime_type": "image/png", **detail},
        ),
    }
    return forms[picture.way][form > 0]
