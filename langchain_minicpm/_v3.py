"""Native events of LangChain's third streaming protocol (`stream_events(version="v3")`).

langchain-core would make them from chunks, at seven times the cost; and only here a tool call that was cut off can be
told from a whole one without touching its text.

    message-start
      content-block-start, content-block-delta …, content-block-finish     for each block, indices from 0
    message-finish                                                         with usage and metadata

Thoughts end when something else begins; the text and the tool calls stay open to the end, so that an answer has one
text block even if the text goes on after a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_minicpm._messages import (
    BROKEN_ARGUMENTS,
    additional_kwargs_of,
    metadata_of,
    parsed_arguments,
    usage_of,
)
from langchain_minicpm._provider import PROVIDER

if TYPE_CHECKING:
    from langchain_protocol.protocol import FinalizedContentBlock, MessagesData

    from minicpm_core.types import Completion, Delta, ToolCallDelta


class EventWriter:
    """Turns the deltas of one stream into events.

    Args:
        model: What was asked for, where the server does not say which model answered.
    """

    __slots__ = ("_calls", "_model", "_next", "_reasoning", "_reasoning_index", "_started", "_text", "_text_index")

    def __init__(self, model: str) -> None:
        self._model = model
        self._started = False
        self._next = 0
        self._text_index = -1
        self._text: list[str] = []
        self._reasoning_index = -1
        self._reasoning: list[str] = []
        self._calls: dict[int, int] = {}

    def write(self, delta: Delta) -> list[MessagesData]:
        """The events of one delta, in order."""
        if delta.index:
            return []  # a stream has one answer: a second choice was not asked for
        text = delta.text
        if text and self._text_index >= 0 and not (delta.reasoning or delta.tool_calls):
            if self._reasoning_index >= 0:
                return self._slow(delta)
            self._text.append(text)
            return [
                {
                    "event": "content-block-delta",
                    "index": self._text_index,
                    "delta": {"type": "text-delta", "text": text},
                }
            ]
        return self._slow(delta)

    def _slow(self, delta: Delta) -> list[MessagesData]:
        events: list[MessagesData] = []
        if not self._started:
            self._started = True
            events.append({"event": "message-start", "role": "ai", "id": "", "metadata": {"provider": PROVIDER}})
        if delta.reasoning:
            self._write_reasoning(delta.reasoning, events)
        if delta.text or delta.tool_calls:
            self._finish_reasoning(events)
        if delta.text:
            self._write_text(delta.text, events)
        for call in delta.tool_calls:
            self._write_call(call, events)
        if delta.final is not None:
            self._finish(delta.final, events)
        return events

    def _take_index(self) -> int:
        index = self._next
        self._next += 1
        return index

    def _write_reasoning(self, reasoning: str, events: list[MessagesData]) -> None:
        if self._reasoning_index < 0:
            self._reasoning_index = self._take_index()
            events.append({
                "event": "content-block-start", "index": self._reasoning_index,
                "content": {"type": "reasoning", "reasoning": ""},
            })  # fmt: skip
        self._reasoning.append(reasoning)
        events.append({
            "event": "content-block-delta", "index": self._reasoning_index,
            "delta": {"type": "reasoning-delta", "reasoning": reasoning},
        })  # fmt: skip

    def _finish_reasoning(self, events: list[MessagesData]) -> None:
        if self._reasoning_index >= 0:
            events.append({
                "event": "content-block-finish", "index": self._reasoning_index,
                "content": {"type": "reasoning", "reasoning": "".join(self._reasoning)},
            })  # fmt: skip
            self._reasoning_index, self._reasoning = -1, []

    def _write_text(self, text: str, events: list[MessagesData]) -> None:
        if self._text_index < 0:
            self._text_index = self._take_index()
            events.append({
                "event": "content-block-start", "index": self._text_index, "content": {"type": "text", "text": ""},
            })  # fmt: skip
        self._text.append(text)
        events.append({
            "event": "content-block-delta", "index": self._text_index, "delta": {"type": "text-delta", "text": text},
        })  # fmt: skip

    def _write_call(self, call: ToolCallDelta, events: list[MessagesData]) -> None:
        index = self._calls.get(call.index)
        if index is None:
            index = self._calls[call.index] = self._take_index()
            events.append({
                "event": "content-block-start", "index": index,
                "content": {
                    "type": "tool_call_chunk", "id": call.id, "name": call.name, "args": "", "index": call.index,
                },
            })  # fmt: skip
        if call.arguments:
            events.append({
                "event": "content-block-delta", "index": index,
                "delta": {"type": "tool-call-delta", "args": call.arguments},
            })  # fmt: skip

    def _finish(self, completion: Completion, events: list[MessagesData]) -> None:
        choice = completion.choices[0]
        self._finish_reasoning(events)
        if self._text_index >= 0:
            events.append({
                "event": "content-block-finish", "index": self._text_index,
                "content": {"type": "text", "text": "".join(self._text)},
            })  # fmt: skip
        for number, call in enumerate(choice.tool_calls):
            if number not in self._calls:
                continue
            args = parsed_arguments(call.arguments)
            block: FinalizedContentBlock = (
                {
                    "type": "invalid_tool_call", "id": call.id, "name": call.name, "args": call.arguments,
                    "error": BROKEN_ARGUMENTS,
                }
                if args is None
                else {"type": "tool_call", "id": call.id, "name": call.name, "args": args}
            )  # fmt: skip
            events.append({"event": "content-block-finish", "index": self._calls[number], "content": block})
        finish: dict[str, Any] = {
            "event": "message-finish",
            "metadata": metadata_of(completion, choice, model=self._model),
            "usage": usage_of(completion.usage),
            "additional_kwargs": additional_kwargs_of(choice),
        }
        events.append(cast("MessagesData", {key: value for key, value in finish.items() if value}))
