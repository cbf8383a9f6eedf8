"""Slips in arguments are repaired where there is one way to read them, and the call says so."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.protocol.repair import repaired_arguments
from minicpm_core.protocol.reply import ReplyContext, parse_completion
from minicpm_core.protocol.request import MiniCPMWarning, ServerTraits
from tests.core.support import body_of

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


def test_a_model_that_is_not_trained_for_tools_says_so_once() -> None:
    traits = ServerTraits()
    with pytest.warns(MiniCPMWarning, match=r"MiniCPM-o 4\.5 is not trained to call tools"):
        body_of(model="MiniCPM-O-4.5-9B", tools=[_TOOL], traits=traits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        body_of(model="MiniCPM-O-4.5-9B", tools=[_TOOL], traits=traits)
        body_of(model="MiniCPM-O-4.5-9B", traits=ServerTraits())
        body_of(model="MiniCPM-V-4.6-Instruct", tools=[_TOOL], traits=ServerTraits())
