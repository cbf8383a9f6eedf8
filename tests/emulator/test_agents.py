"""Agents can be tried without a model: tools are chosen, called for each subject, and answered from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from langchain_core.output_parsers import PydanticOutputParser as LangChainParser
from llama_index.core.agent.react import ReActChatFormatter, ReActOutputParser
from llama_index.core.agent.react.types import ActionReasoningStep, BaseReasoningStep, ObservationReasoningStep
from llama_index.core.llms import ChatMessage
from llama_index.core.output_parsers import PydanticOutputParser as LlamaIndexParser
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from tests.emulator.support import plain, shown, tool
from tests.emulator.test_tools import called

if TYPE_CHECKING:
    from tests.emulator.support import Asker

WEATHER = tool("get_weather", "Current weather for a city", city={"type": "string"})
TIME = tool("get_time", "The time in a city", city={"type": "string"})
ADD = tool("add_numbers", "Adds", a={"type": "integer"}, b={"type": "integer"})
MULTIPLY = tool("multiply_numbers", "Multiplies", a={"type": "integer"}, b={"type": "integer"})
SQUARE = tool("square", "The square of a number", x={"type": "number"})
HANDOFF = tool("handoff", "Hand off to the weather agent or the time agent", to_agent={"enum": ["weather", "time"]})

PLANS: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = [
    (
        "What is the weather in Paris and Rome?",
        [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})],
    ),
    (
        "The weather in Paris, New York and San Francisco, CA, please.",
        [("get_weather", {"city": city}) for city in ("Paris", "New York", "San Francisco, CA")],
    ),
    (
        "What are the weather and the time in Oslo?",
        [("get_weather", {"city": "Oslo"}), ("get_time", {"city": "Oslo"})],
    ),
    (
        "Give me the weather in Paris and the time in Rome.",
        [("get_weather", {"city": "Paris"}), ("get_time", {"city": "Rome"})],
    ),
    (
        "Add 3 and 4, then multiply 5 by 6.",
        [("add_numbers", {"a": 3, "b": 4}), ("multiply_numbers", {"a": 5, "b": 6})],
    ),
    ("Multiply the numbers 3 and 4.", [("multiply_numbers", {"a": 3, "b": 4})]),
    ("Square 3, 4 and 5.", [("square", {"x": 3}), ("square", {"x": 4}), ("square", {"x": 5})]),
    ("Compare Paris and Rome.", []),
]


def turn(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message with calls."""
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call: dict[str, Any], text: str) -> dict[str, Any]:
    """What a tool said."""
    return {"role": "tool", "tool_call_id": call["id"], "content": text}


@pytest.mark.parametrize(("asked", "calls"), PLANS)
def test_a_text_may_ask_for_several_calls(asker: Asker, asked: str, calls: list[Any]) -> None:
    message = asker.message(asked, tools=[WEATHER, TIME, ADD, MULTIPLY, SQUARE])
    assert called(message) == calls


def test_parallel_calls_have_ids_and_indexes_of_their_own(asker: Asker) -> None:
    stream = asker.stream("What is the weather in Paris and Rome?", tools=[WEATHER])
    pieces = [piece for delta in stream.deltas for piece in delta.get("tool_calls", [])]
    assert {piece["index"] for piece in pieces} == {0, 1}
    assert len({piece["id"] for piece in pieces if "id" in piece}) == 2


def test_without_parallel_calls_they_are_made_one_after_the_other(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Paris and Rome?"}]
    cities: list[str] = []
    for _ in range(2):
        calls = asker.message(turns, tools=[WEATHER], parallel_tool_calls=False)["tool_calls"]
        assert len(calls) == 1
        cities.append(json.loads(calls[0]["function"]["arguments"])["city"])
        turns += [turn(calls), result(calls[0], "sun")]
    assert cities == ["Paris", "Rome"]
    assert called(asker.message(turns, tools=[WEATHER], parallel_tool_calls=False)) == []


def test_the_answer_holds_every_result(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Paris and Rome?"}]
    calls = asker.message(turns, tools=[WEATHER])["tool_calls"]
    turns += [turn(calls), result(calls[0], "sun"), result(calls[1], "rain")]
    assert asker.text(turns, tools=[WEATHER]).splitlines()[:2] == [
        "The tool get_weather says: sun",
        "The tool get_weather says: rain",
    ]


def test_after_a_handoff_the_next_agent_calls_its_own_tool(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Ask the weather agent for the weather in Oslo."}]
    calls = asker.message(turns, tools=[HANDOFF])["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"to_agent": "weather"}
    turns += [turn(calls), result(calls[0], "You are the weather agent now.")]
    assert called(asker.message(turns, tools=[HANDOFF, WEATHER])) == [("get_weather", {"city": "Oslo"})]


def test_a_forced_call_is_made_although_there_are_results(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Paris?"}]
    calls = asker.message(turns, tools=[WEATHER])["tool_calls"]
    turns += [turn(calls), result(calls[0], "sun")]
    assert called(asker.message(turns, tools=[WEATHER], tool_choice="required")) == [("get_weather", {"city": "Paris"})]


def test_a_picture_that_follows_a_tool_s_result_is_the_tool_s(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Use camera to look at the door."}]
    calls = asker.message(turns, tools=[tool("camera")])["tool_calls"]
    turns += [turn(calls), result(calls[0], "1 image"), shown("Output of tool camera:", plain("red"))]
    text = asker.text(turns, tools=[tool("camera")])
    assert text.startswith("The tool camera says: 1 image\nThe tool camera shows: ")
    assert "plain red square" in text


ARGUMENTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("Report for Oslo in celsius", {"unit": {"enum": ["fahrenheit", "celsius"]}}, {"unit": "celsius"}),
    ("Report 5 days, verbose", {"days": {"type": "integer"}, "verbose": {"type": "boolean"}},
     {"days": 5, "verbose": True}),
    ("Report on red, green and blue", {"words": {"type": "array", "items": {"type": "string"}}},
     {"words": ["red", "green", "blue"]}),
    ("Report on 1, 2 and 3", {"values": {"type": "array", "items": {"type": "integer"}}}, {"values": [1, 2, 3]}),
    ("Report for 'Ada'", {"person": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
     {"person": {"name": "Ada"}}),
    ("Report for 'Ada'", {"who": {"type": "string"}, "team": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
     {"who": "Ada", "team": None}),
    ("Report for 'Ada'", {"who": {"type": "string"}, "limit": {"type": "integer", "default": 7}},
     {"who": "Ada", "limit": 7}),
    ("Report to ada@example.com by 2026-05-04", {"to": {"type": "string", "format": "email"},
     "by": {"type": "string", "format": "date"}}, {"to": "ada@example.com", "by": "2026-05-04"}),
    ("Report: Alice is 30 and lives in Berlin.", {"name": {"type": "string"}, "age": {"type": "integer"},
     "city": {"type": "string"}}, {"name": "Alice", "age": 30, "city": "Berlin"}),
    ("Report the file notes.txt", {"path": {"type": "string"}}, {"path": "notes.txt"}),
    ("Report in red or blue", {"colours": {"type": "array", "items": {"enum": ["green", "blue", "red"]}}},
     {"colours": ["blue", "red"]}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "properties", "arguments"), ARGUMENTS)
def test_arguments_come_from_the_text_as_the_schema_wants_them(
    asker: Asker, asked: str, properties: dict[str, Any], arguments: dict[str, Any]
) -> None:
    report = tool("report")
    report["function"]["parameters"] |= {"properties": properties, "required": list(properties)}
    assert called(asker.message(asked, tools=[report])) == [("report", arguments)]


def test_an_argument_that_nobody_asked_for_is_left_out(asker: Asker) -> None:
    weather = tool("get_weather", "", city={"type": "string"}, unit={"enum": ["c", "f"], "default": "c"})
    weather["function"]["parameters"]["required"] = ["city"]
    assert called(asker.message("weather in Rome", tools=[weather])) == [("get_weather", {"city": "Rome"})]
    assert called(asker.message("weather in Rome in f", tools=[weather])) == [
        ("get_weather", {"city": "Rome", "unit": "f"})
    ]


def test_llamaindex_s_react_loop_runs_to_its_end(asker: Asker) -> None:
    def get_weather(city: str) -> str:
        """Current weather for a city."""
        return f"sun in {city}"

    made = FunctionTool.from_defaults(get_weather)
    steps: list[BaseReasoningStep] = []
    for _ in range(2):
        asked = [ChatMessage("What is the weather in Paris?")]
        messages = ReActChatFormatter().format([made], asked, steps)
        sent = [{"role": message.role.value, "content": message.content} for message in messages]
        step = ReActOutputParser().parse(asker.text(sent))
        steps.append(step)
        if isinstance(step, ActionReasoningStep):
            arguments = cast("dict[str, str]", step.action_input)  # pyright: ignore[reportUnknownMemberType]
            assert (step.action, arguments) == ("get_weather", {"city": "Paris"})
            steps.append(ObservationReasoningStep(observation=get_weather(**arguments)))
    assert steps[-1].is_done
    assert "Answer: The tool get_weather says: sun in Paris" in steps[-1].get_content()


def test_a_react_agent_answers_in_its_format_where_no_tool_fits(asker: Asker) -> None:
    system = ReActChatFormatter().format([FunctionTool.from_defaults(len, name="measure", description="")], [], [])[0]
    said = asker.text([{"role": "system", "content": system.content}, {"role": "user", "content": "Count to 3."}])
    assert ReActOutputParser().parse(said).get_content().endswith("\nAnswer: 1 2 3")


class Person(BaseModel):
    """A person."""

    name: str
    age: int = Field(description="In years")
    tags: list[str] = []


ALICE = {"name": "Alice", "age": 30}
FORMATS = [
    LlamaIndexParser(output_cls=Person).format("The person is named Alice, age: 30."),
    "The person is named Alice, age: 30.\n\n" + LangChainParser(pydantic_object=Person).get_format_instructions(),
]


@pytest.mark.parametrize("prompt", FORMATS)
def test_a_prompt_that_asks_for_json_by_a_schema_gets_it(asker: Asker, prompt: str) -> None:
    person = Person.model_validate_json(asker.text(prompt))
    assert (person.name, person.age) == ("Alice", 30)


def test_the_schema_may_stand_in_the_system_turn(asker: Asker) -> None:
    system = f"Answer in JSON that fits this schema: {json.dumps(Person.model_json_schema())}"
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "She is named Alice, age: 30."}]
    assert json.loads(asker.text(turns)).items() >= ALICE.items()


def test_a_request_to_repair_json_is_still_one_for_json(asker: Asker) -> None:
    turns = [
        {"role": "user", "content": FORMATS[0]},
        {"role": "assistant", "content": "{"},
        {"role": "user", "content": "That is no valid JSON. She is named Alice, age: 30."},
    ]
    assert json.loads(asker.text(turns)).items() >= ALICE.items()


def test_json_that_is_only_spoken_of_is_no_order(asker: Asker) -> None:
    assert asker.text("Repeat: JSON has no schema") == "JSON has no schema"
    assert "received" in asker.text('What is the JSON schema {"a": 1}?')
