"""Where nothing on the server reads what the model writes, thoughts and calls arrive as text, and tools are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.support import THINKING, parsed, plain, shape, shown, tool
from tests.emulator.test_tools import called

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory
    from tests.emulator.support import Asker

RECORDED = Path(__file__).parents[1] / "wire" / "data" / "vllm-thinking-noparser"
OMNI = "MiniCPM-O-4.5-9B"
WEATHER = tool("get_weather", "Current weather for a city", city={"type": "string"})
DAYS = tool("forecast", "The weather of the next days", city={"type": "string"}, days={"type": "integer"})
XML = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"
HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
ASKED = "What is the weather in Paris?"


def declaring(*tools: dict[str, Any]) -> dict[str, Any]:
    """A system turn that declares tools as the chat template does."""
    lines = "\n".join(json.dumps(one) for one in tools)
    said = (
        "Be brief.\n\n# Tools\n\nYou have access to the following functions:\n\n"
        f"<tools>\n{lines}\n</tools>\n\nAnswer in the format <tool_call>\n<function=example>\n</function>\n</tool_call>"
    )
    return {"role": "system", "content": said}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (None, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        ("auto", '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        ("required", 'tool_choice="required" requires --tool-call-parser to be set'),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            'tool_choice=function "get_weather" requires --tool-call-parser to be set',
        ),
    ],
)
def test_vllm_without_a_parser_refuses_tools_in_its_own_words(asker_of: AskerFactory, choice: Any, said: str) -> None:
    fields = {} if choice is None else {"tool_choice": choice}
    response = asker_of(dialect="vllm", parsers=False).post(ASKED, tools=[WEATHER], **fields)
    assert response.status_code == 400
    error = {"message": said, "type": "BadRequestError", "param": None, "code": 400}
    assert response.json() == {"error": error}


def test_vllm_without_a_parser_takes_tools_that_may_not_be_called(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="vllm", parsers=False)
    assert asker.text("Count to 3.", tools=[WEATHER], tool_choice="none") == "1 2 3"


@pytest.mark.parametrize("dialect", ["llamacpp", "transformers", "ollama"])
def test_other_servers_without_parsers_leave_the_call_in_the_text(asker_of: AskerFactory, dialect: str) -> None:
    answer = asker_of(dialect=dialect, parsers=False).ask(
        ASKED, tools=[WEATHER], chat_template_kwargs={"enable_thinking": False}
    )["choices"][0]
    assert answer["message"]["content"].endswith(XML)
    assert "tool_calls" not in answer["message"]
    assert answer["finish_reason"] == "stop"


def test_a_body_without_parsers_has_the_shape_that_vllm_s_has(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="vllm", parsers=False)
    recorded = json.loads((RECORDED / "text.json").read_bytes())
    assert shape(asker.ask("Say hello.", model=THINKING)) == shape(recorded)
    stream = parsed((RECORDED / "stream_usage.sse").read_bytes())
    ours = asker.stream("Say hello.", model=THINKING, stream_options={"include_usage": True})
    for at in (0, 1, -2, -1):
        assert shape(ours.chunks[at]) == shape(stream.chunks[at])


def test_thoughts_end_with_a_lone_tag_where_the_template_opened_them(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="vllm", parsers=False)
    message = asker.message("Count to 3.", model=THINKING)
    thoughts, tag, text = message["content"].partition("\n</think>\n\n")
    assert (bool(thoughts), bool(tag), text) == (True, True, "1 2 3")
    assert "<think>" not in thoughts
    assert message["reasoning"] is None
    assert asker.stream("Count to 3.", model=THINKING).joined("content") == message["content"]


def test_thoughts_have_both_tags_where_the_model_opens_them_itself(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="vllm", parsers=False)
    message = asker.message("Count to 3.", model=OMNI, chat_template_kwargs={"enable_thinking": True})
    assert re.fullmatch(r"<think>\n.+\n</think>\n\n1 2 3", message["content"])


def test_without_a_parser_json_comes_without_thoughts(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="vllm", parsers=False)
    assert json.loads(asker.text("What is 2 + 2?", model=THINKING, response_format={"type": "json_object"}))


@pytest.mark.parametrize(
    ("model", "written"), [("MiniCPM-V-4.6-1B", XML), (OMNI, HERMES), ("MiniCPM-V-4.5-9B", HERMES)]
)
@pytest.mark.parametrize("parsers", [True, False])
def test_tools_that_the_system_turn_declares_are_called_in_the_model_s_own_words(
    asker_of: AskerFactory, model: str, written: str, parsers: bool
) -> None:
    asker = asker_of(dialect="vllm", parsers=parsers)
    answer = asker.ask([declaring(WEATHER), {"role": "user", "content": ASKED}], model=model)["choices"][0]
    assert answer["message"]["content"] == written
    assert answer["finish_reason"] == "stop"


def test_a_description_may_stand_without_its_envelope(asker: Asker) -> None:
    messages = [declaring(WEATHER["function"]), {"role": "user", "content": ASKED}]
    assert asker.text(messages) == XML


def test_values_that_are_no_text_are_written_as_json(asker: Asker) -> None:
    messages = [declaring(DAYS), {"role": "user", "content": "Give the forecast for Oslo and the next 3 days."}]
    assert "<parameter=days>\n3\n</parameter>" in asker.text(messages)


def test_a_streamed_call_is_cut_inside_its_tags(asker: Asker) -> None:
    messages = [declaring(WEATHER), {"role": "user", "content": "What is the weather in Paris and Rome?"}]
    stream = asker.stream(messages)
    pieces = [delta["content"] for delta in stream.deltas if delta.get("content")]
    assert "".join(pieces) == f"{XML}\n{XML.replace('Paris', 'Rome')}"
    assert not any(tag in piece for piece in pieces for tag in ("<tool_call>", "</tool_call>", "<function="))


@pytest.mark.parametrize("stream", [False, True])
def test_a_written_call_ends_where_the_tokens_end(asker: Asker, stream: bool) -> None:
    messages = [declaring(WEATHER), {"role": "user", "content": ASKED}]
    if stream:
        sent = asker.stream(messages, max_tokens=9)
        text, finish = sent.joined("content"), sent.finish_reasons[0]
    else:
        answer = asker.ask(messages, max_tokens=9)["choices"][0]
        text, finish = answer["message"]["content"], answer["finish_reason"]
    assert finish == "length"
    assert XML.startswith(text)
    assert len(text) < len(XML)


def test_a_written_call_ends_at_a_stop_text(asker: Asker) -> None:
    messages = [declaring(WEATHER), {"role": "user", "content": ASKED}]
    assert asker.text(messages, stop=["</tool_call>"]) == XML.removesuffix("</tool_call>")


@pytest.mark.parametrize("call", [XML, HERMES])
def test_a_tool_response_in_a_user_turn_is_answered_from(asker: Asker, call: str) -> None:
    messages = [
        declaring(WEATHER),
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": call},
        {"role": "user", "content": "<tool_response>\n18 degrees\n</tool_response>"},
    ]
    assert asker.text(messages).startswith("The tool get_weather says: 18 degrees\n")


def test_two_tool_responses_are_told_apart(asker: Asker) -> None:
    messages = [
        declaring(WEATHER, DAYS),
        {"role": "user", "content": "Weather in Paris and the forecast for Oslo, 2 days"},
        {"role": "assistant", "content": f"{XML}\n{XML.replace('get_weather', 'forecast')}"},
        {"role": "user", "content": "<tool_response>\nsun\n</tool_response>\n<tool_response>\nrain\n</tool_response>"},
    ]
    assert asker.text(messages).splitlines()[:2] == ["The tool get_weather says: sun", "The tool forecast says: rain"]


def test_a_tool_response_may_show_a_picture(asker: Asker) -> None:
    picture = shown("<tool_response>\na map\n</tool_response>", plain("blue"))
    messages = [declaring(WEATHER), {"role": "user", "content": ASKED}, {"role": "assistant", "content": XML}, picture]
    assert "plain blue square" in asker.text(messages)


def test_a_user_who_only_writes_like_a_tool_is_still_the_user(asker: Asker) -> None:
    messages = [declaring(WEATHER), {"role": "user", "content": "<tool_response>weather in Rome</tool_response>"}]
    assert "<parameter=city>\nRome" in asker.text(messages)


def test_tools_of_the_request_win_over_declared_ones(asker: Asker) -> None:
    messages = [declaring(WEATHER), {"role": "user", "content": "What is the weather in Paris?"}]
    assert called(asker.message(messages, tools=[WEATHER])) == [("get_weather", {"city": "Paris"})]


@pytest.mark.parametrize("lines", ["{", "[]", "[" * 3000, '{"name": 5}', '{"function": {"name": null}}', ""])
def test_a_declaration_that_makes_no_sense_is_a_text(asker: Asker, lines: str) -> None:
    messages = [
        {"role": "system", "content": f"<tools>\n{lines}\n</tools>"},
        {"role": "user", "content": "Count to 2."},
    ]
    assert asker.text(messages) == "1 2"
