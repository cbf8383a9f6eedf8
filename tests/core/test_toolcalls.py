"""Tool calls come out in order, each once, with an id of its own, however a server numbers their pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.protocol.toolcalls import ToolCallAssembler, made_up_id
from minicpm_core.types import ToolCall, ToolCallDelta


def _piece(
    arguments: Any = None, *, index: Any = None, call_id: Any = None, name: Any = None, **more: Any
) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fields = {"index": index, "id": call_id, "function": function, **more}
    return {key: value for key, value in fields.items() if value is not None}


def _assemble(*deltas: list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    """The calls, checked against the pieces that were handed out."""
    assembler = ToolCallAssembler()
    pieces = [piece for delta in deltas for piece in assembler.feed(delta)]
    calls = assembler.calls()
    for number, call in enumerate(calls):
        own = [piece for piece in pieces if piece.index == number]
        assert own[0].id == call.id
        assert [piece.id for piece in own[1:]] == [None] * (len(own) - 1)
        assert "".join(piece.name or "" for piece in own) == call.name
        assert "".join(piece.arguments for piece in own) == call.arguments
    assert len({call.id for call in calls}) == len(calls)
    assert all(call.id for call in calls)
    return calls


def _told(calls: tuple[ToolCall, ...]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in calls]


_PARIS, _ROME = '{"city": "Paris"}', '{"city": "Rome"}'
_BOTH = [("weather", _PARIS), ("weather", _ROME)]


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [
                [_piece(index=0, call_id="a", name="weather")],
                [_piece('{"city": ', index=0)],
                [_piece('"Paris"}', index=0)],
                [_piece(index=1, call_id="b", name="weather")],
                [_piece(_ROME, index=1)],
            ],
            id="by index, the first piece without arguments",
        ),
        pytest.param(
            [
                [_piece("", index=0, call_id="a", name="weather"), _piece("", index=1, call_id="b", name="weather")],
                [_piece('{"city": ', index=1), _piece('{"city": ', index=0)],
                [_piece('"Paris"}', index=0), _piece('"Rome"}', index=1)],
            ],
            id="by index, mixed",
        ),
        pytest.param(
            [
                [
                    _piece(_PARIS, index=0, call_id="a", name="weather"),
                    _piece(_ROME, index=1, call_id="b", name="weather"),
                ]
            ],
            id="whole, in one delta",
        ),
        pytest.param(
            [[_piece(_PARIS, call_id="a", name="weather")], [_piece(_ROME, call_id="b", name="weather")]],
            id="whole, without an index",
        ),
        pytest.param(
            [[_piece(_PARIS, name="weather")], [_piece(_ROME, name="weather")]],
            id="whole, without index and id",
        ),
        pytest.param(
            [
                [_piece("", call_id="a", name="weather")],
                [_piece("", call_id="b", name="weather")],
                [_piece('{"city": ', call_id="a"), _piece('{"city": ', call_id="b")],
                [_piece('"Rome"}', call_id="b"), _piece('"Paris"}', call_id="a")],
            ],
            id="by id, mixed",
        ),
        pytest.param(
            [
                [_piece('{"city": ', index=0, call_id="a", name="weather")],
                [_piece('"Paris"}', index=0, call_id="a", name="weather")],
                [_piece("", index=0, call_id="a", name="weather")],
                [_piece(_ROME, index=1, call_id="b", name="weather")],
            ],
            id="id and name on every piece",
        ),
        pytest.param(
            [
                [_piece(_PARIS, index=0, call_id="a", name="weather")],
                [_piece('{"city": ', index=0, call_id="b", name="weather")],
                [_piece('"Rome"}', index=0)],
            ],
            id="the second on the index of the first",
        ),
        pytest.param(
            [[_piece(_PARIS, index=0, name="weather")], [_piece(_ROME, index=0, name="weather")]],
            id="the second on the index of the first, without ids",
        ),
        pytest.param(
            [[_piece(_PARIS, call_id="a", name="weather")], [_piece(_ROME, call_id="a", name="weather")]],
            id="one id for two calls",
        ),
        pytest.param(
            [
                [
                    _piece(_PARIS, index=0, call_id="a", name="weather"),
                    _piece(_ROME, index=1, call_id="a", name="weather"),
                ]
            ],
            id="one id for two calls, with an index",
        ),
        pytest.param(
            [
                [_piece('{"city": ', index="0", call_id="a", name="weather")],
                [_piece('"Paris"}', index="0")],
                [_piece(_ROME, index="1", call_id="b", name="weather")],
            ],
            id="indexes as text",
        ),
        pytest.param(
            [
                [_piece({"city": "Paris"}, index=0, call_id="a", name="weather")],
                [_piece({"city": "Rome"}, index=1, call_id="b", name="weather")],
            ],
            id="arguments as objects",
        ),
        pytest.param(
            [
                [_piece(index=0, call_id="a"), _piece(index=1, call_id="b")],
                [_piece(index=0, name="weather"), _piece(index=1, name="weather")],
                [_piece(_PARIS, index=0), _piece(_ROME, index=1)],
            ],
            id="the name after the id",
        ),
        pytest.param(
            [[_piece(_PARIS, index=5, name="weather")], [_piece(_ROME, index=2, name="weather")]],
            id="indexes in no order",
        ),
        pytest.param(
            [
                [_piece(_PARIS, index=0, call_id="", name="weather", type="function"), "noise", None],
                [_piece(_ROME, index=1, call_id="", name="weather", type=None)],
            ],
            id="empty ids and entries that are none",
        ),
    ],
)
def test_two_calls_of_one_tool_are_two_calls(deltas: list[list[dict[str, Any]]]) -> None:
    assert _told(_assemble(*deltas)) == _BOTH


def test_calls_of_different_tools_stay_apart_without_any_number() -> None:
    calls = _assemble([_piece("", name="time")], [_piece("", name="weather")], [_piece(_PARIS)])
    assert _told(calls) == [("time", ""), ("weather", _PARIS)]


def test_one_id_for_calls_of_two_tools() -> None:
    calls = _assemble([_piece("", call_id="a", name="time")], [_piece(_PARIS, call_id="a", name="weather")])
    assert _told(calls) == [("time", ""), ("weather", _PARIS)]
    assert calls[0].id == "a"
    assert calls[1].id != "a"


def test_a_name_repeated_before_the_arguments_are_complete_begins_nothing() -> None:
    pieces = ['{"a": {"b": 1}', ', "c": {}', "}"]
    assert _told(_assemble(*([_piece(piece, name="f")] for piece in pieces))) == [("f", "".join(pieces))]


def test_ids_of_the_server_are_kept_and_missing_ones_are_made_up() -> None:
    calls = _assemble([_piece(_PARIS, call_id="call-1", name="weather"), _piece(_ROME, name="time")])
    assert calls[0].id == "call-1"
    assert calls[1].id.startswith("call_")
    assert made_up_id() != made_up_id()


def test_arguments_are_kept_as_they_were_written() -> None:
    """Not parsed, not repaired, not spelt anew."""
    odd = ' {"a":1.0,  "b": "\\u00e9", "a": NaN'
    assert _assemble([_piece(odd, name="f")])[0].arguments == odd
    assert _assemble([_piece({"name": "café"}, name="f")])[0].arguments == '{"name": "café"}'


@pytest.mark.parametrize("arguments", [None, ""])
def test_a_call_without_arguments_has_none(arguments: str | None) -> None:
    assert _told(_assemble([_piece(arguments, index=0, call_id="a", name="now")])) == [("now", "")]


def test_the_entries_of_a_whole_message_are_calls_of_their_own() -> None:
    """Whatever their ids and indexes, and even if they have no arguments."""
    assembler = ToolCallAssembler()
    assembler.feed_whole(
        [_piece("", name="now"), _piece("", name="now"), _piece("{}", index=0, call_id="a", name="now")]
    )
    assembler.feed_whole([_piece("{}", index=0, call_id="a", name="now")])
    calls = assembler.calls()
    assert _told(calls) == [("now", ""), ("now", ""), ("now", "{}"), ("now", "{}")]
    assert len({call.id for call in calls}) == 4


def test_a_piece_tells_what_is_new() -> None:
    assembler = ToolCallAssembler()
    assert not assembler
    assert assembler.feed([_piece("{", index=3, call_id="a", name="f")]) == (ToolCallDelta(0, "a", "f", "{"),)
    assert assembler.feed([_piece("}", index=3, call_id="a", name="f")]) == (ToolCallDelta(0, None, None, "}"),)
    assert assembler


_CALLS = st.lists(
    st.tuples(st.sampled_from(["f", "g"]), st.dictionaries(st.sampled_from("ab"), st.integers(0, 9), min_size=1)),
    min_size=1,
    max_size=4,
)


@given(calls=_CALLS, numbering=st.sampled_from(["index", "id", "both", "neither", "every"]), size=st.integers(1, 6))
def test_any_numbering_gives_the_calls_that_were_made(
    calls: list[tuple[str, dict[str, int]]], numbering: str, size: int
) -> None:
    """Sent one after the other, in pieces of any size."""
    deltas: list[list[dict[str, Any]]] = []
    for number, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        for start in range(0, len(text), size):
            named = start == 0 or numbering == "every"
            deltas.append([
                _piece(
                    text[start : start + size],
                    index=number if numbering in {"index", "both", "every"} else None,
                    call_id=f"id-{number}" if numbering == "id" or (numbering in {"both", "every"} and named) else None,
                    name=name if named else None,
                )
            ])  # fmt: skip
    assert _told(_assemble(*deltas)) == [(name, json.dumps(arguments)) for name, arguments in calls]


def test_the_pieces_of_a_call_that_share_a_delta_are_one() -> None:
    """Frameworks join the pieces of different deltas, and not those within one."""
    first = {"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"x"', ": 1}")]
    other = {"index": 1, "id": "b", "function": {"name": "zoom", "arguments": "{}"}}
    pieces = ToolCallAssembler().feed([first, more[0], other, more[1]])
    assert [(piece.index, piece.name, piece.arguments) for piece in pieces] == [
        (0, "look", '{"x": 1}'),
        (1, "zoom", "{}"),
    ]
