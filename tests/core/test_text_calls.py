"""Calls in the text of a reply, whole and streamed: both give the same, and nothing where no tools were declared."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import StreamInterruptedError
from minicpm_core.protocol.reply import ReplyContext, parse_completion
from minicpm_core.protocol.stream import StreamDecoder
from tests.core.support import decode, first_of, prepare
from tests.support.server import chunk, sse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.types import Choice

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": _SCHEMA}}
_TOOLS = ReplyContext(tools={"get_weather": _SCHEMA})
_THINKING = ReplyContext(tools={"get_weather": _SCHEMA}, thinking=True, hold=True)
_PARIS = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n1\n</parameter>\n</function>\n</tool_call>"
)
_ROME = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
_NATIVE = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}


def _message(text: str, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": text, **message}, "finish_reason": finish}]}


def _whole(text: str, context: ReplyContext, **message: Any) -> Choice:
    return parse_completion(200, {}, json.dumps(_message(text, **message)).encode(), context).choices[0]


def _chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _streamed(pieces: Sequence[str], context: ReplyContext, finish: str = "stop") -> Choice:
    deltas = decode(*(_chunk(content=piece) for piece in pieces), _chunk(finish), context=context)
    choice = first_of(deltas)
    assert "".join(delta.text for delta in deltas) == choice.text
    assert "".join(delta.reasoning for delta in deltas) == choice.reasoning
    calls = [piece for delta in deltas for piece in delta.tool_calls]
    assert [(call.id, call.name, call.arguments) for call in calls] == [
        (call.id, call.name, call.arguments) for call in choice.tool_calls
    ]
    return choice


def _told(choice: Choice) -> tuple[str, str, list[tuple[str, str]]]:
    return choice.reasoning, choice.text, [(call.name, call.arguments) for call in choice.tool_calls]


_IN_PARIS = ("get_weather", '{"city": "Paris", "days": 1}')
_IN_ROME = ("get_weather", '{"city": "Rome"}')
_ANSWERS: dict[str, tuple[str, ReplyContext, tuple[str, str, list[tuple[str, str]]]]] = {
    "a call": (_PARIS, _TOOLS, ("", "", [_IN_PARIS])),
    "two calls after a text": (
        f"Let me look.\n\n{_PARIS}\n{_ROME}",
        _TOOLS,
        ("", "Let me look.", [_IN_PARIS, _IN_ROME]),
    ),
    "after thoughts": (f"Hm.\n</think>\n\n{_PARIS}", _THINKING, ("Hm.", "", [_IN_PARIS])),
    "in thoughts": (f"<think>Not {_PARIS}</think>\n\nNo.", _THINKING, (f"Not {_PARIS}", "No.", [])),
    "no tools declared": (_PARIS, ReplyContext(), ("", _PARIS, [])),
}


@pytest.mark.parametrize(("text", "context", "told"), _ANSWERS.values(), ids=_ANSWERS)
def test_whole_and_streamed_replies_give_the_same(
    text: str, context: ReplyContext, told: tuple[str, str, list[tuple[str, str]]]
) -> None:
    assert _told(_whole(text, context)) == told
    assert _told(_streamed(text, context)) == told
    for cut in range(1, len(text)):
        assert _told(_streamed([text[:cut], text[cut:]], context)) == told, cut


@given(data=st.data(), answer=st.sampled_from(list(_ANSWERS.values())))
def test_any_cuts_give_the_same(data: st.DataObject, answer: Any) -> None:
    text, context, told = answer
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    assert _told(_streamed([text[a:b] for a, b in pairwise((0, *cuts, len(text)))], context)) == told


def test_each_call_has_an_id_of_its_own_and_the_finish_reason_stays_the_servers() -> None:
    choice = _streamed([_PARIS, _PARIS], _TOOLS)
    first, second = choice.tool_calls
    assert first.id
    assert second.id
    assert first.id != second.id
    assert choice.finish_reason == "stop"


def test_native_calls_beside_calls_in_the_text_are_calls_of_their_own() -> None:
    oslo = ("get_weather", '{"city": "Oslo"}')
    assert _told(_whole(_PARIS, _TOOLS, tool_calls=[_NATIVE])) == ("", "", [_IN_PARIS, oslo])
    chunks = (_chunk(content=_PARIS), _chunk(tool_calls=[_NATIVE]), _chunk("tool_calls"))
    assert _told(first_of(decode(*chunks, context=_TOOLS))) == ("", "", [_IN_PARIS, oslo])


@pytest.mark.parametrize("context", [_TOOLS, ReplyContext()], ids=["tools", "none"])
def test_the_text_before_a_native_call_is_the_servers(context: ReplyContext) -> None:
    chunks = (_chunk(content="Let me look.\n\n"), _chunk(tool_calls=[_NATIVE]), _chunk("tool_calls"))
    assert first_of(decode(*chunks, context=context)).text == "Let me look.\n\n"
    assert _whole("Let me look.\n\n", context, tool_calls=[_NATIVE]).text == "Let me look.\n\n"


def test_a_call_that_was_taken_for_thoughts_is_a_call() -> None:
    """A reasoning parser may believe that thinking was on: then the whole answer comes in its field."""
    choice = _whole("", _TOOLS, reasoning=_PARIS)
    assert _told(choice) == ("", "", [_IN_PARIS])
    streamed = first_of(decode(_chunk(reasoning=_PARIS), _chunk("stop"), context=_TOOLS))
    assert _told(streamed) == ("", "", [_IN_PARIS])


def test_a_call_that_never_ends_keeps_what_came() -> None:
    cut = _PARIS[: _PARIS.index("is\n")]
    told = ("", "", [("get_weather", "<parameter=city>\nPar")])
    assert _told(_streamed([cut], _TOOLS, finish="length")) == told
    assert _told(_whole(cut, _TOOLS)) == told


def test_a_stream_that_is_cut_in_a_call_has_it_in_its_partial_answer() -> None:
    decoder = StreamDecoder({}, _TOOLS)
    decoder.feed(sse(_chunk(content="Let me look.\n\n" + _PARIS[:60])))
    with pytest.raises(StreamInterruptedError) as caught:
        decoder.finish()
    partial = caught.value.partial
    assert partial is not None
    assert partial.text == "Let me look."
    assert [call.name for call in partial.tool_calls] == ["get_weather"]


def test_a_request_with_tools_reads_calls_in_the_text() -> None:
    assert prepare(tools=[_TOOL]).context.tools == {"get_weather": _SCHEMA}
    assert prepare(tools=[_TOOL], tool_choice="none").context.tools == {}
    assert prepare().context.tools == {}


def test_a_closing_tag_of_thoughts_in_an_argument_is_part_of_the_argument() -> None:
    call = '<tool_call>\n{"name": "look", "arguments": {"at": "a </think> b"}}\n</tool_call>'
    body = json.dumps({"choices": [{"message": {"content": call}, "finish_reason": "stop"}]}).encode()
    whole = parse_completion(200, {}, body, ReplyContext(tools={"look": {}})).choices[0]
    streamed = first_of(
        decode(chunk(call[:50]), chunk(call[50:]), chunk(finish="stop"), context=ReplyContext(tools={"look": {}}))
    )
    for choice in (whole, streamed):
        assert (choice.text, choice.reasoning) == ("", "")
        assert [json.loads(each.arguments) for each in choice.tool_calls] == [{"at": "a </think> b"}]
