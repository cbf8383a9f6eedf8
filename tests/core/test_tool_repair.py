"""Slips in arguments are repaired where there is one way to read them, and the call says so."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.protocol.repair import StreamRepair, repaired_arguments
from minicpm_core.protocol.reply import ReplyContext, parse_completion
from minicpm_core.protocol.request import MiniCPMWarning, ServerTraits
from tests.core.support import body_of, decode, first_of
from tests.support.server import chunk

_TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2, ],\n}', {"a": [1, 2]}),
        ('{"a": "x\ny\tz"}', {"a": "x\ny\tz"}),
        ('{"a": ",}", "b": ",]",}', {"a": ",}", "b": ",]"}),
        ('{"a": "\\",}",}', {"a": '",}'}),
    ],
)
def test_commas_and_line_breaks_are_repaired(text: str, value: Any) -> None:
    repaired = repaired_arguments(text)
    assert repaired is not None
    assert json.loads(repaired) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", '{"a": 1}', '{"a": 1', '{"a": "x', '{"a": }', "{a: 1}", "{'a': 1}", "[1,]", "{,}", '{"a": 1,,}',
        '{"a": 1} {"b": 2}', '{"a": 1,} x', "<parameter=a>\n1", '{"a": 1e999,}', '{"a": ' * 100_000,
    ],
)  # fmt: skip
def test_nothing_else_is(text: str) -> None:
    assert repaired_arguments(text) is None


@given(text=st.text(alphabet='{}[]",:\\1a \n'))
def test_what_comes_out_is_an_object(text: str) -> None:
    repaired = repaired_arguments(text)
    assert repaired is None or isinstance(json.loads(repaired), dict)


def _in_pieces(text: str, cuts: list[int]) -> tuple[str, bool]:
    """What is given for a text in pieces, and whether that was changed."""
    repair = StreamRepair()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [repair.feed(text[start:end]) for start, end in pairwise(edges)]
    return "".join([*pieces, repair.release()]), repair.changed


@given(
    text=st.text(alphabet='{}[]",:\\1a \n')
    | st.builds(json.dumps, st.dictionaries(st.text(), st.text() | st.integers())),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_pieces_are_repaired_as_the_whole_is(text: str, cuts: list[int]) -> None:
    """Where the whole is an object but for slips, the pieces join to that object; where it needs none, to itself."""
    (shown, changed), whole = _in_pieces(text, cuts), repaired_arguments(text)
    if whole is not None:
        assert changed
        assert json.loads(shown) == json.loads(whole)
    elif _is_json(text):
        assert (shown, changed) == (text, False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("sent", "kept", "repaired"), [('{"a": 1,}', '{"a": 1}', True), ('{"a": 1', '{"a": 1', False)])
def test_a_call_says_whether_it_was_repaired(sent: str, kept: str, repaired: bool) -> None:
    native = {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": sent}}], "content": None}
    text = {"content": f'<tool_call>{{"name": "f", "arguments": {sent}}}</tool_call>'}
    for message in (native, text):
        body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        (call,) = parse_completion(200, {}, body, ReplyContext(tools={"f": {}})).tool_calls
        assert call.repaired is repaired
        if message is native or repaired:
            assert call.arguments == kept


_SLIPS = '{"a": [1, 2, ],\n "b": "x\ny, }",}'


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_streamed_call_is_repaired_as_it_comes_and_says_so(size: int) -> None:
    """The deltas join to what the call has in the end, so that what is shown early is what is called."""
    pieces = [_SLIPS[at : at + size] for at in range(0, len(_SLIPS), size)]
    first = {"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}
    later = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    deltas = decode(*(chunk(tool_calls=[piece]) for piece in (first, *later)), chunk(finish="tool_calls"))
    (call,) = first_of(deltas).tool_calls
    assert json.loads(call.arguments) == {"a": [1, 2], "b": "x\ny, }"}
    assert call.repaired
    assert "".join(piece.arguments for delta in deltas for piece in delta.tool_calls) == call.arguments


@pytest.mark.parametrize("cut", ['{"a": 1,', '{"a": "x', '{"a": [1,'])
def test_a_streamed_call_that_is_cut_is_kept_as_it_came(cut: str) -> None:
    first = {"index": 0, "id": "c", "function": {"name": "f", "arguments": cut}}
    deltas = decode(chunk(tool_calls=[first]), chunk(finish="length"))
    (call,) = first_of(deltas).tool_calls
    assert (call.arguments, call.repaired) == (cut, False)
    assert "".join(piece.arguments for delta in deltas for piece in delta.tool_calls) == cut


def test_a_model_that_is_not_trained_for_tools_says_so_once() -> None:
    traits = ServerTraits()
    with pytest.warns(MiniCPMWarning, match=r"MiniCPM-o 4\.5 is not trained to call tools"):
        body_of(model="MiniCPM-O-4.5-9B", tools=[_TOOL], traits=traits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        body_of(model="MiniCPM-O-4.5-9B", tools=[_TOOL], traits=traits)
        body_of(model="MiniCPM-O-4.5-9B", traits=ServerTraits())
        body_of(model="MiniCPM-V-4.6-Instruct", tools=[_TOOL], traits=ServerTraits())
