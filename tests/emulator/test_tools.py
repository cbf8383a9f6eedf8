"""Tools are called when the text asks for them, and answered from when they have spoken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.support import THINKING, plain, tool

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory
    from tests.emulator.support import Asker

WEATHER = tool("get_weather", "Current weather for a city", city={"type": "string"})
ADDER = tool("add_numbers", "Take two integers and return their sum.", a={"type": "integer"}, b={"type": "integer"})
NOW = tool("current_time")


def called(message: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and parsed arguments of the calls."""
    return [
        (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls", [])
    ]


CALLS: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = [
    ("What is the weather in San Francisco, CA?", [("get_weather", {"city": "San Francisco, CA"})]),
    ("Use get_weather for 'Ålesund'.", [("get_weather", {"city": "Ålesund"})]),
    ("Add the numbers 3 and 4.", [("add_numbers", {"a": 3, "b": 4})]),
    ("What is the time?", [("current_time", {})]),
    ("Count to 3.", []),
]


@pytest.mark.parametrize(("asked", "calls"), CALLS)
def test_the_text_decides_which_tool_is_called(asker: Asker, asked: str, calls: list[Any]) -> None:
    answer = asker.ask(asked, tools=[ADDER, WEATHER, NOW])["choices"][0]
    assert called(answer["message"]) == calls
    assert answer["finish_reason"] == ("tool_calls" if calls else "stop")


def test_none_forbids_and_required_demands(asker: Asker) -> None:
    assert called(asker.message("weather in Rome", tools=[WEATHER], tool_choice="none")) == []
    assert [name for name, _ in called(asker.message("Hello!", tools=[WEATHER, NOW], tool_choice="required"))]


def test_a_named_tool_is_called(asker: Asker) -> None:
    choice = {"type": "function", "function": {"name": "current_time"}}
    assert called(asker.message("weather in Rome", tools=[WEATHER, NOW], tool_choice=choice)) == [("current_time", {})]


def test_llama_server_takes_a_named_tool_for_auto(asker_of: AskerFactory) -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    message = asker_of(dialect="llamacpp").message("Count to 3.", tools=[WEATHER], tool_choice=choice)
    assert message["content"] == "1 2 3"


@pytest.mark.parametrize("dialect", ["vllm", "llamacpp", "transformers", "ollama"])
def test_a_streamed_call_is_the_same_call(asker_of: AskerFactory, dialect: str) -> None:
    asker = asker_of(dialect=dialect)
    stream = asker.stream("weather in 北京市 and 'Bergen'", tools=[WEATHER])
    pieces = [piece for delta in stream.deltas for piece in delta.get("tool_calls", [])]
    assert {piece["index"] for piece in pieces} == {0}
    assert [piece["id"] for piece in pieces if "id" in piece] == [pieces[0]["id"]]
    assert "".join(piece["function"].get("name", "") for piece in pieces) == "get_weather"
    arguments = "".join(piece["function"].get("arguments", "") for piece in pieces)
    assert json.loads(arguments) == {"city": "Bergen"}
    assert stream.finish_reasons == ["tool_calls"]


def test_a_tool_s_result_is_answered_from_and_not_asked_for_again(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Paris?"}]
    call = asker.message(turns, tools=[WEATHER])
    turns += [
        {"role": "assistant", "content": None, "tool_calls": call["tool_calls"]},
        {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": '{"temp_c": 18}'},
    ]
    assert asker.text(turns, tools=[WEATHER]) == 'The tool get_weather says: {"temp_c": 18}\n(emulator, not a model)'
    turns += [{"role": "assistant", "content": "18."}, {"role": "user", "content": "And the weather in Rome?"}]
    assert called(asker.message(turns, tools=[WEATHER])) == [("get_weather", {"city": "Rome"})]


def test_a_tool_s_pictures_are_looked_at(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Draw something."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "draw", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "image_url", "image_url": {"url": plain("red")}}]},
    ]
    assert "A plain red square" in asker.text(turns)


def test_a_form_after_a_tool_is_filled_from_its_result(asker: Asker) -> None:
    schema = {"type": "object", "properties": {"temperature": {"type": "integer"}}}
    turns = [
        {"role": "user", "content": "How warm?"},
        {"role": "tool", "tool_call_id": "x", "content": "temperature: 18"},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(asker.text(turns, response_format=form)) == {"temperature": 18}


def test_thoughts_come_before_a_call(asker: Asker) -> None:
    message = asker.message("weather in Rome", model=THINKING, tools=[WEATHER])
    assert "I call it" in message["reasoning"]
    assert message["content"] is None
    assert called(message) == [("get_weather", {"city": "Rome"})]
