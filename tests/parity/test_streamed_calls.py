"""Calls in a stream, however a server numbers, cuts and spells them, are the same calls in both frameworks."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_minicpm._chunks import chunk_writer
from llama_index_minicpm._responses import ChatReader
from llama_index_minicpm._tools import tool_selections
from minicpm_core.protocol.reply import ReplyContext
from minicpm_core.protocol.stream import StreamDecoder
from tests.support.server import chunk, sse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import AIMessageChunk

    from minicpm_core.types import Completion, Delta

_SCHEMA = {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "array"}}}
_TOOLS = {"look": _SCHEMA, "zoom": _SCHEMA}
_HARD = [
    "<tool_call>", "<function=look>", "</think>", "```", "`", "\n", "{", "}", '"', "\\", "🙂", ",}", ",\n]", "[DONE]",
    "data: ", "</tool_response>", "\u2028",
]  # fmt: skip
_TEXTS = st.lists(st.sampled_from(_HARD) | st.text(max_size=3), max_size=4).map("".join)
_ARGUMENTS = st.fixed_dictionaries(
    {}, optional={"a": _TEXTS, "b": st.integers(), "c": st.lists(st.integers() | _TEXTS, max_size=3)}
)
_CALLS = st.lists(st.tuples(st.sampled_from(sorted(_TOOLS)), _ARGUMENTS), min_size=1, max_size=4)
_NUMBERINGS: dict[str, Callable[[int, bool], dict[str, Any]]] = {
    "index, id at first": lambda n, first: {"index": n, **({"id": f"id{n}"} if first else {})},
    "index": lambda n, _: {"index": n},
    "id": lambda n, _: {"id": f"id{n}"},
    "neither": lambda _n, _first: {},
    "both each time": lambda n, _: {"index": n, "id": f"id{n}"},
    "one index": lambda n, first: {"index": 0, **({"id": f"id{n}"} if first else {})},
    "one id": lambda n, _: {"index": n, "id": "x"},
}
pytestmark = pytest.mark.slow
_EXAMPLES = settings(max_examples=40, deadline=None)


def _cut(data: st.DataObject, whole: Any, most: int) -> list[Any]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=most)))
    return [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]


def _check(data: st.DataObject, events: Sequence[dict[str, Any]], calls: Any, text: str) -> None:
    body = sse(*events, "[DONE]")
    decoder = StreamDecoder({}, ReplyContext(tools=_TOOLS))
    deltas = [delta for piece in _cut(data, body, 12) if piece for delta in decoder.feed(piece)] + decoder.finish()
    final = cast("Completion", deltas[-1].final)
    ids = [call.id for call in final.tool_calls]
    assert all(ids)
    assert len(set(ids)) == len(calls)
    for v1 in (False, True):
        message = _message(deltas, v1=v1)
        assert [(call["name"], call["args"]) for call in message.tool_calls] == calls
        assert [call["id"] for call in message.tool_calls] == ids
        assert (message.text, message.invalid_tool_calls) == (text, [])
    reader = ChatReader()
    responses = [response for delta in deltas if (response := reader.read(delta)) is not None]
    found = [tool_selections(response.message) for response in responses][-1]  # read at every chunk, as agents do
    assert [(each.tool_name, each.tool_kwargs, each.tool_id) for each in found] == [
        (name, arguments, each) for (name, arguments), each in zip(calls, ids, strict=True)
    ]
    assert "".join(response.delta or "" for response in responses) == text


def _message(deltas: Sequence[Delta], *, v1: bool) -> AIMessageChunk:
    write = chunk_writer(v1=v1, model="m")
    first, *others = [cast("AIMessageChunk", made.message) for delta in deltas if (made := write(delta)) is not None]
    return first.__add__(others)


@pytest.mark.parametrize("numbering", _NUMBERINGS)
@_EXAMPLES
@given(data=st.data(), calls=_CALLS)
def test_calls_of_their_own_field(numbering: str, data: st.DataObject, calls: Any) -> None:
    """Several pieces share an event, and calls with indexes take turns."""
    rows: list[list[dict[str, Any]]] = []
    for number, (name, arguments) in enumerate(calls):
        pieces = _cut(data, json.dumps(arguments, ensure_ascii=data.draw(st.booleans())), 4)
        functions = [{"name": name, "arguments": pieces[0]}, *({"arguments": piece} for piece in pieces[1:])]
        rows.append(
            [{**_NUMBERINGS[numbering](number, at == 0), "function": function} for at, function in enumerate(functions)]
        )
    flat = [piece for row in rows for piece in row]
    if numbering in {"index, id at first", "index", "both each time"} and data.draw(st.booleans()):
        flat = [row[0] for row in rows]
        rest = [row[1:] for row in rows]
        while any(rest):
            flat.append(data.draw(st.sampled_from([row for row in rest if row])).pop(0))
    events = [chunk(tool_calls=shared) for shared in _cut(data, flat, len(flat)) if shared]
    _check(data, [*events, chunk(finish="tool_calls")], calls, "")


def _xml(name: str, arguments: dict[str, Any]) -> str:
    as_text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
    spelt = [f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in as_text.items()]
    return f"<tool_call>\n<function={name}>\n{''.join(spelt)}</function>\n</tool_call>"


def _json(name: str, arguments: dict[str, Any]) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"


@pytest.mark.parametrize("write", [_xml, _json])
@_EXAMPLES
@given(data=st.data(), calls=_CALLS, text=st.sampled_from(["", "Let me look.", "a < b, 🙂"]))
def test_calls_in_the_text(write: Callable[..., str], data: st.DataObject, calls: Any, text: str) -> None:
    """With tags, fences and whole calls inside the values; nothing of a call is left in the text."""
    said = "\n".join(write(*call) for call in calls)
    pieces = _cut(data, f"{text}\n\n{said}" if text else said, 8)
    _check(data, [*map(chunk, pieces), chunk(finish="stop")], calls, text)
