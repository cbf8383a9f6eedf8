"""Native tool calls, assembled from a stream.

Servers number the pieces of parallel calls in every possible way: by index, by id, by neither; they repeat an id on
every piece or give two calls the same one, start a second call on the index of the first, send arguments as text, as an
object, whole, in pieces or not at all.  The assembler gives every call a number and an id of its own, in order of
appearance, and keeps the arguments as text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from minicpm_core.protocol.fields import number_of, object_of, objects_of, text_of, written
from minicpm_core.protocol.repair import StreamRepair, repaired_arguments
from minicpm_core.types import ToolCall, ToolCallDelta


def made_up_id() -> str:
    """An id for a call that the server gave none, unique in any conversation."""
    return f"call_{uuid4().hex[:24]}"


_NOT_THE_SERVERS = -1


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    server_index: int | None
    server_id: str | None
    arguments: list[str] = field(default_factory=list[str])
    repaired: bool = False
    repair: StreamRepair = field(default_factory=StreamRepair)

    def grow(self, piece: str) -> str:
        """Take the next characters of the arguments, and give what of them is to be handed on."""
        given = self.repair.feed(piece)
        self.arguments.append(given)
        return given

    def end(self) -> str:
        """What was held back of the arguments, which are over."""
        given = self.repair.release()
        self.arguments.append(given)
        return given

    def whole(self) -> ToolCall:
        repaired = self.repaired or (self.repair.changed and self.is_complete())
        return ToolCall(self.id, self.name, "".join(self.arguments), repaired)

    def is_complete(self) -> bool:
        """Whether the arguments are a finished JSON object, so that what follows belongs to another call."""
        text = "".join(self.arguments)
        if not text.rstrip().endswith("}"):
            return False
        try:
            return isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            return False


@dataclass(frozen=True, slots=True)
class _Piece:
    index: int | None
    id: str | None
    name: str
    arguments: str


class ToolCallAssembler:
    """Collects the pieces of one choice's tool calls."""

    __slots__ = ("_calls", "_ids")

    def __init__(self) -> None:
        """Begin without calls."""
        self._calls: list[_Call] = []
        self._ids: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any call was seen."""
        return bool(self._calls)

    def feed(self, pieces: Any) -> tuple[ToolCallDelta, ...]:
        """Take the `tool_calls` of a delta and give its pieces with our numbers."""
        return tuple(self._take(_read(piece)) for piece in objects_of(pieces))

    def feed_whole(self, calls: Any) -> None:
        """Take the `tool_calls` of a whole message: each entry is a call of its own, whatever its id and index."""
        for call in objects_of(calls):
            self._begin_whole(_read(call))

    def add(self, name: str, arguments: str) -> ToolCallDelta:
        """Take a call that came whole, from elsewhere than `tool_calls`; no later piece belongs to it."""
        delta = self._begin_whole(_Piece(None, None, name, arguments))
        self._calls[-1].server_index, self._calls[-1].server_id = _NOT_THE_SERVERS, delta.id
        return delta

    def end(self) -> tuple[ToolCallDelta, ...]:
        """End the calls: give what was held back of their arguments."""
        held = [(number, call.end()) for number, call in enumerate(self._calls)]
        return tuple(ToolCallDelta(number, None, None, text) for number, text in held if text)

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls as they stand."""
        return tuple(call.whole() for call in self._calls)

    def _take(self, piece: _Piece) -> ToolCallDelta:
        number = self._find(piece)
        if number is None:
            return self._begin(piece)
        call = self._calls[number]
        arguments = call.grow(piece.arguments)
        if call.name or not piece.name:
            return ToolCallDelta(number, None, None, arguments)
        call.name = piece.name  # the name came after the first piece
        return ToolCallDelta(number, None, piece.name, arguments)

    def _begin_whole(self, piece: _Piece) -> ToolCallDelta:
        repaired = repaired_arguments(piece.arguments)
        call = self._new(piece)
        call.repaired = repaired is not None
        call.arguments.append(piece.arguments if repaired is None else repaired)
        return ToolCallDelta(len(self._calls) - 1, call.id, call.name or None, call.arguments[0])

    def _begin(self, piece: _Piece) -> ToolCallDelta:
        call = self._new(piece)
        return ToolCallDelta(len(self._calls) - 1, call.id, call.name or None, call.grow(piece.arguments))

    def _new(self, piece: _Piece) -> _Call:
        own_id = piece.id if piece.id and piece.id not in self._ids else made_up_id()
        self._ids.add(own_id)
        call = _Call(own_id, piece.name, piece.index, piece.id)
        self._calls.append(call)
        return call

    def _find(self, piece: _Piece) -> int | None:
        """Our number of the call that a piece continues; `None` if it begins a new one."""
        for number in range(len(self._calls) - 1, -1, -1):
            call = self._calls[number]
            if piece.index is not None and call.server_index is not None:
                same = call.server_index == piece.index
            elif piece.id is not None:
                same = call.server_id == piece.id
            else:
                same = number == len(self._calls) - 1
            if same:
                return None if _begins_another(call, piece) else number
        return None


def _read(piece: dict[str, Any]) -> _Piece:
    function = object_of(piece.get("function"))
    return _Piece(
        index=number_of(piece.get("index")),
        id=text_of(piece.get("id")),
        name=text_of(function.get("name")) or "",
        arguments=arguments_text(function.get("arguments")),
    )


def _begins_another(call: _Call, piece: _Piece) -> bool:
    """Whether a piece that has the number or the id of a call is the first of another one all the same."""
    if piece.id and call.server_id and piece.id != call.server_id:
        return True
    if not piece.name or not call.name:
        return False
    if piece.name != call.name:
        return True
    # The name again: on every piece of one call, or another call of the same tool. A complete object takes no more.
    repeated = bool(piece.id) and not piece.arguments.strip()
    return not repeated and call.is_complete()


def arguments_text(arguments: Any) -> str:
    """Arguments as JSON text, whichever way a server sent them; empty if it sent none."""
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return written(arguments)
