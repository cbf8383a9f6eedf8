"""Where tools are declared: in the request, or in the system turn for servers that take none."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.config import ClientConfig
from minicpm_core.errors import ConfigurationError, InvalidInputError, InvalidRequestError
from minicpm_core.protocol.flow import Opened, Reply, complete_flow, stream_flow
from minicpm_core.protocol.request import ServerTraits
from minicpm_core.protocol.rules import refuses_tools
from minicpm_core.types import Message, ToolCall
from tests.core.support import USER, body_of, bytes_of, prepare
from tests.core.test_flow import Drive
from tests.support.server import chunk, completion, sse

if TYPE_CHECKING:
    from minicpm_core.protocol.flow import Outcome
    from minicpm_core.protocol.request import Prepared

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
_FUNCTION: dict[str, Any] = {"name": "get_weather", "description": "Wetter für Städte", "parameters": _SCHEMA}
_TOOL = {"type": "function", "function": _FUNCTION}
_OMNI = "MiniCPM-O-4.5-9B"
_CALL = Message(
    "assistant",
    "Let me look.",
    tool_calls=(ToolCall("a", "get_weather", '{"city": "Paris", "days": 1}'), ToolCall("b", "get_weather", "")),
    reasoning="Hm.",
)
_RESULTS = (Message("tool", "18", tool_call_id="a"), Message("tool", "none", tool_call_id="b"))
_XML_CALLS = (
    "Let me look.\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n1\n</parameter>\n</function>\n</tool_call>\n"
    "<tool_call>\n<function=get_weather>\n</function>\n</tool_call>"
)
_JSON_CALLS = (
    'Let me look.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 1}}\n</tool_call>\n'
    '<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>'
)


def _config(tool_calling: str | None = None, *, max_retries: int = 2) -> ClientConfig:
    return ClientConfig.create(
        base_url="http://h/v1", model="MiniCPM-V-4.6-Instruct", tool_calling=tool_calling, max_retries=max_retries
    )


_PROMPTED = _config("prompted")


def _prompted(*messages: Message, **options: Any) -> dict[str, Any]:
    return body_of(*messages, config=_PROMPTED, **{"tools": [_TOOL], **options})


def test_prompted_tools_go_into_the_system_turn_and_not_into_the_request() -> None:
    body = _prompted(Message("system", "Be brief."), USER, tool_choice="auto", parallel_tool_calls=True)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)
    system, user = body["messages"]
    assert system["role"] == "system"
    assert system["content"].startswith("# Tools\n")
    assert system["content"].endswith("</IMPORTANT>\n\nBe brief."), "the template of V 4.6 has the caller's words last"
    (line,) = (line for line in system["content"].splitlines() if line.startswith('{"type"'))
    assert json.loads(line) == _TOOL
    assert "Städte" in line
    assert "<function=example_function_name>" in system["content"]
    assert user == {"role": "user", "content": "Hello."}


def test_a_system_turn_is_made_where_there_is_none() -> None:
    assert [turn["role"] for turn in _prompted(USER)["messages"]] == ["system", "user"]


@pytest.mark.filterwarnings("ignore:MiniCPM-o 4.5 is not trained to call tools")
def test_each_model_is_asked_in_the_format_of_its_template() -> None:
    said = _prompted(USER, model=_OMNI)["messages"][0]["content"]
    assert '{"name": <function-name>, "arguments": <args-json-object>}' in said
    assert "<function=" not in said
    briefly = _prompted(Message("system", "Be brief."), USER, model=_OMNI)["messages"][0]["content"]
    assert briefly == f"Be brief.\n\n{said}", "the template of o 4.5 has them first"


@pytest.mark.filterwarnings("ignore:MiniCPM-o 4.5 is not trained to call tools")
@pytest.mark.parametrize(("model", "calls"), [("MiniCPM-V-4.6-1B", _XML_CALLS), (_OMNI, _JSON_CALLS)])
def test_the_history_is_written_as_the_template_writes_it(model: str, calls: str) -> None:
    """Also where this request declares no tools; thoughts of the tool loop stay, since no question came after."""
    for options in ({"tools": [_TOOL]}, {"tools": None}):
        *_, question, call, results = _prompted(USER, _CALL, *_RESULTS, model=model, **options)["messages"]
        assert question == {"role": "user", "content": "Hello."}
        assert call == {"role": "assistant", "content": calls, "reasoning": "Hm."}
        told = "<tool_response>\n18\n</tool_response>\n<tool_response>\nnone\n</tool_response>"
        assert results == {"role": "user", "content": told}


def test_values_of_earlier_calls_are_spelt_as_the_template_spells_them() -> None:
    """Lists and objects as JSON, all else as Python would: the model is shown what it was trained on."""
    arguments = '{"a": true, "b": null, "c": 1.5, "d": ["é", false], "e": "true"}'
    _, _, call = _prompted(USER, Message("assistant", "", tool_calls=(ToolCall("a", "f", arguments),)))["messages"]
    assert re.findall(r"\n(.*)\n</parameter>", call["content"]) == ["True", "None", "1.5", '["é", false]', "true"]


def test_thoughts_of_an_earlier_tool_loop_are_dropped() -> None:
    sent = _prompted(USER, _CALL, *_RESULTS, USER)["messages"]
    assert [turn["role"] for turn in sent] == ["system", "user", "assistant", "user", "user"]
    assert "reasoning" not in sent[2]


def test_a_call_in_the_history_must_have_arguments_that_are_an_object() -> None:
    broken = Message("assistant", "", tool_calls=(ToolCall("a", "f", "[1]"),))
    with pytest.raises(InvalidInputError, match="the call of 'f' are not a JSON object"):
        _prompted(USER, broken)


def test_tools_that_may_not_be_called_are_not_declared() -> None:
    assert _prompted(USER, tool_choice="none")["messages"] == [{"role": "user", "content": "Hello."}]


def test_calls_in_the_answer_are_read_also_where_tools_are_prompted() -> None:
    assert prepare(tools=[_TOOL], config=_PROMPTED).context.tools == {"get_weather": _SCHEMA}
    assert prepare(tools=[_TOOL], tool_choice="none", config=_PROMPTED).context.tools == {}


def test_native_is_the_request_whatever_was_learned() -> None:
    knows = ServerTraits(native_tools=False)
    assert body_of(tools=[_TOOL], config=_config("native"), traits=knows)["tools"] == [_TOOL]
    assert "tools" not in body_of(tools=[_TOOL], traits=knows)


@pytest.mark.parametrize("wrong", ["none", "", 3])
def test_an_unknown_way_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="tool_calling"):
        _config(wrong)


# --- Learning --------------------------------------------------------------------------------------------------------

_REFUSALS = [
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    'tool_choice="required" requires --tool-call-parser to be set',
    "tools param requires --jinja flag",
    "registry.ollama.ai/library/minicpm-v:latest does not support tools",
    "litellm.UnsupportedParamsError: openai does not support parameters: ['tools'], for model=x",
    "Unexpected fields in the request: {'tools'}",
]


@pytest.mark.parametrize("words", _REFUSALS)
def test_servers_that_take_no_tools_are_known_by_their_words(words: str) -> None:
    assert refuses_tools(words)


@pytest.mark.parametrize(
    "words",
    ["Invalid schema for function 'f' in tools", "Unexpected fields in the request: {'banana'}", "tools: too many", ""],
)
def test_other_refusals_are_none_of_tools(words: str) -> None:
    assert not refuses_tools(words)


def _refusal(words: str, status: int = 400) -> Reply:
    error = {"message": words, "type": "BadRequestError", "param": None, "code": status}
    return Reply(status, {}, json.dumps({"error": error}).encode())


class _Client:
    """Makes calls with a tool, and keeps what was sent."""

    def __init__(self, config: ClientConfig) -> None:
        self.config, self.traits = config, ServerTraits()
        self.bodies: list[dict[str, Any]] = []

    def _prepare(self, *, stream: bool) -> Prepared:
        made = prepare(tools=[_TOOL], config=self.config, traits=self.traits, stream=stream)
        self.bodies.append(json.loads(bytes_of(made.request)))
        return made

    def complete(self, *outcomes: Outcome) -> Any:
        return Drive(*outcomes)(complete_flow(lambda: self._prepare(stream=False), self.config, self.traits))

    def stream(self, *outcomes: Outcome) -> Any:
        return Drive(*outcomes)(stream_flow(lambda: self._prepare(stream=True), self.config, self.traits))

    @property
    def native(self) -> list[bool]:
        return ["tools" in body for body in self.bodies]


_CALLED = "<tool_call>\n<function=get_weather>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"


def _answer() -> Reply:
    return Reply(200, {}, json.dumps(completion(_CALLED)).encode())


@pytest.mark.parametrize(("words", "status"), [(_REFUSALS[0], 400), (_REFUSALS[2], 500)])
def test_auto_learns_from_a_refusal_once_and_the_same_call_goes_on(words: str, status: int) -> None:
    client = _Client(_config())
    done = client.complete(_refusal(words, status), _answer())
    assert [(call.name, call.arguments) for call in done.tool_calls] == [("get_weather", '{"days": 3}')]
    assert done.text == ""
    assert client.native == [True, False]
    client.complete(_answer())
    assert client.native == [True, False, False]


def test_auto_learns_in_a_stream() -> None:
    client = _Client(_config())
    begun = client.stream(_refusal(_REFUSALS[0]), Opened({}), sse(chunk(_CALLED)))
    assert [call.name for delta in begun.deltas for call in delta.tool_calls] == ["get_weather"]
    assert client.native == [True, False]


def test_what_is_learned_counts_as_a_request() -> None:
    """Without retries the call fails, and the next one knows."""
    client = _Client(_config(max_retries=0))
    with pytest.raises(InvalidRequestError):
        client.complete(_refusal(_REFUSALS[0]))
    client.complete(_answer())
    assert client.native == [True, False]


@pytest.mark.parametrize("way", ["native", "prompted"])
def test_a_way_that_was_chosen_is_kept(way: str) -> None:
    client = _Client(_config(way))
    with pytest.raises(InvalidRequestError):
        client.complete(_refusal(_REFUSALS[0]))
    assert client.traits.native_tools
    assert client.native == [way == "native"]
