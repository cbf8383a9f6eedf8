"""Native tool calls, assembled from a stream.

Servers number the pieces of parallel calls in every possible way: by index, by id, by neither; they repeat an id on
every piece or give two calls the same one, start a second call on the index of the first, send arguments as text, as an
object, whole, in pieces or not at all.  The assembler gives every call a number and an id of its own, in order of
appearance, and keeps the arguments as text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from minicpm_core.types import ToolCall, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def made_up_id() -> str:
    """An id for a call that the server gave none, unique in any conversation."""
    return f"call_{uuid4().hex[:24]}"


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    server_index: int | None
    server_id: str | None
    arguments: list[str] = field(default_factory=list[str])

    def whole(self) -> ToolCall:
        return ToolCall(self.id, self.name, "".join(self.arguments))

    def is_complete(self) -> bool:
        """Whether the arguments are a finished JSON object, so that what follows belongs to another call."""
        text = "".join(self.arguments)
        if not text.endswith("}"):
            return False
        try:
            json.loads(text)
        except ValueError:
            return False
        return True


class ToolCallAssembler:
    """Collects the pieces of one choice's tool calls."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        """Begin without calls."""
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        """Whether any call was seen."""
        return bool(self._calls)

    def feed(self, pieces: Sequence[Mapping[str, Any]]) -> tuple[ToolCallDelta, ...]:
        """Take the `tool_calls` of a delta (or of a whole message) and give them with our numbers."""
        return tuple(self._piece(piece) for piece in pieces)

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls as they stand."""
        return tuple(call.whole() for call in self._calls)

    def _piece(self, piece: Mapping[str, Any]) -> ToolCallDelta:
        function: Mapping[str, Any] = piece.get("function") or {}
        index = piece.get("index")
        server_id: str | None = piece.get("id") or None
        name: str = function.get("name") or ""
        arguments = arguments_text(function.get("arguments"))
        number = self._find(index if isinstance(index, int) else None, server_id, name)
        if number is not None:
            call = self._calls[number]
            call.arguments.append(arguments)
            if call.name or not name:
                return ToolCallDelta(number, None, None, arguments)
            call.name = name  # the name came after the first piece
            return ToolCallDelta(number, None, name, arguments)
        taken = {call.id for call in self._calls}
        call = _Call(
            id=server_id if server_id and server_id not in taken else made_up_id(),
            name=name,
            server_index=index if isinstance(index, int) else None,
            server_id=server_id,
            arguments=[arguments],
        )
        self._calls.append(call)
        return ToolCallDelta(len(self._calls) - 1, call.id, name or None, arguments)

    def _find(self, index: int | None, server_id: str | None, name: str) -> int | None:
        """Our number of the call that a piece continues; `None` if it begins a new one."""
        for number in range(len(self._calls) - 1, -1, -1):
            call = self._calls[number]
            if index is not None and call.server_index is not None:
                same = call.server_index == index
            elif server_id is not None:
                same = call.server_id == server_id
            else:
                same = number == len(self._calls) - 1
            if same:
                return None if self._begins_another(call, server_id, name) else number
        return None

    @staticmethod
    def _begins_another(call: _Call, server_id: str | None, name: str) -> bool:
        if server_id and call.server_id and server_id != call.server_id:
            return True
        if not name or not call.name:
            return False
        if server_id and server_id == call.server_id:
            return False  # id and name repeated on every piece
        return name != call.name or call.is_complete()


def arguments_text(arguments: Any) -> str:
    """Arguments as JSON text, whichever way a server sent them; empty if it sent none."""
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)
