"""A choice among tools is honoured: by the server, or made sure of here, or an error says that it was not."""

from __future__ import annotations

import copy
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.config import ClientConfig
from minicpm_core.errors import InvalidInputError, ToolCallError
from minicpm_core.protocol.forced import ANY_TOOL, NO_TOOL
from minicpm_core.protocol.reply import ReplyContext, parse_completion
from minicpm_core.types import Message
from tests.core.support import USER, body_of, decode, first_of, prepare
from tests.support.server import chunk, completion

if TYPE_CHECKING:
    from minicpm_core.backends import BackendName

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": _SCHEMA}}
_CLOCK = {"type": "function", "function": {"name": "get_time"}}
_TOOLS = [_WEATHER, _CLOCK]
_NAMED = {"type": "function", "function": {"name": "get_weather"}}
_TRUSTED: tuple[BackendName, ...] = ("vllm", "sglang", "generic", "modelbest")
_PROMPTED = ClientConfig.create(base_url="http://h/v1", model="MiniCPM-V-4.6-1B", tool_calling="prompted")
_CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
_FORCED = ReplyContext(tools={"get_weather": _SCHEMA}, must_call="get_weather", call_as_json=True)
_CHECKED = ReplyContext(title="A server", tools={"get_weather": _SCHEMA}, must_call="get_weather")


def _body(backend: BackendName, choice: Any, **how: Any) -> dict[str, Any]:
    asked = {"tools": _TOOLS, "tool_choice": choice, "model": "MiniCPM-V-4.6-1B", **how}
    return body_of(Message("system", "Be brief."), USER, backend=backend, **asked)


def _system(body: dict[str, Any]) -> str:
    said = body["messages"][0]["content"]
    assert isinstance(said, str)
    return said


@pytest.mark.parametrize(
    ("choice", "checked", "backends"),
    [
        ("auto", "", _TRUSTED),
        ("none", NO_TOOL, ("sglang", "generic")),
        ("required", ANY_TOOL, _TRUSTED),
        (_NAMED, "get_weather", _TRUSTED),
    ],
)
def test_a_server_that_honours_the_choice_is_given_it_and_checked(
    choice: Any, checked: str, backends: tuple[BackendName, ...]
) -> None:
    for backend in backends:
        body = _body(backend, choice)
        assert (body["tools"], body["tool_choice"]) == (_TOOLS, choice)
        assert _system(body) == "Be brief."
        context = prepare(backend=backend, tools=_TOOLS, tool_choice=choice, model="MiniCPM-V-4.6-1B").context
        assert (context.must_call, context.call_as_json) == (checked, False)


@pytest.mark.parametrize("backend", ["llamacpp", "ollama", "transformers", "vllm", "modelbest"])
def test_tools_that_may_not_be_called_are_left_out_where_the_server_would_call_them(backend: BackendName) -> None:
    body = _body(backend, "none", parallel_tool_calls=None)
    assert not {"tools", "tool_choice"} & set(body)
    assert _system(body) == "Be brief."


def test_a_named_tool_is_the_only_one_where_one_can_be_required() -> None:
    """llama-server takes a named choice for `auto`, and honours `required`."""
    body = _body("llamacpp", _NAMED)
    assert (body["tools"], body["tool_choice"]) == ([_WEATHER], "required")
    assert prepare(backend="llamacpp", tools=_TOOLS, tool_choice=_NAMED).context.must_call == "get_weather"
    assert _body("llamacpp", "required")["tool_choice"] == "required"


@pytest.mark.parametrize(("backend", "config"), [("ollama", None), ("vllm", _PROMPTED)])
def test_a_call_is_made_sure_of_by_a_schema_where_the_server_holds_to_one(
    backend: BackendName, config: ClientConfig | None
) -> None:
    body = _body(backend, _NAMED, config=config)
    assert not {"tools", "tool_choice"} & set(body)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"] == {"name": {"const": "get_weather"}, "arguments": _SCHEMA}
    assert "# Tools" in _system(body)
    assert "get_time" not in _system(body)
    assert "You MUST call the function get_weather now." in _system(body)
    any_of = _body(backend, "required", config=config)["response_format"]["json_schema"]["schema"]["anyOf"]
    assert [each["properties"]["name"]["const"] for each in any_of] == ["get_weather", "get_time"]
    context = prepare(backend=backend, tools=_TOOLS, tool_choice="required", config=config).context
    assert (context.must_call, context.call_as_json, set(context.tools)) == (
        "a function",
        True,
        {"get_weather", "get_time"},
    )


def test_a_format_of_the_callers_own_is_kept() -> None:
    own = {"type": "json_object"}
    body = _body("ollama", "required", response_format=own)
    assert body["response_format"] == own
    assert "You MUST call a function now." in _system(body)


@pytest.mark.parametrize(("choice", "tools"), [("required", _TOOLS), (_NAMED, [_WEATHER])])
def test_a_model_is_told_in_words_where_nothing_else_is_honoured(choice: Any, tools: list[Any]) -> None:
    body = _body("transformers", choice)
    assert body["tools"] == tools
    assert not {"tool_choice", "response_format"} & set(body)
    assert _system(body).startswith("Be brief.\n\nYou MUST call ")
    assert prepare(backend="transformers", tools=_TOOLS, tool_choice=choice).context.must_call


@pytest.mark.parametrize("backend", ["llamacpp", "vllm", "generic", "ollama"])
def test_a_named_tool_must_be_declared(backend: BackendName) -> None:
    missing = {"type": "function", "function": {"name": "get_whether"}}
    with pytest.raises(InvalidInputError, match="'get_whether', which is not among the tools"):
        _body(backend, missing)


def test_the_callers_tools_are_not_changed() -> None:
    tools = copy.deepcopy(_TOOLS)
    for backend in ("llamacpp", "ollama", "transformers"):
        body_of(USER, backend=backend, tools=tools, tool_choice=_NAMED)
    assert tools == _TOOLS


# --- Reading ---------------------------------------------------------------------------------------------------------


def _whole(text: str, context: ReplyContext) -> Any:
    return parse_completion(200, {}, json.dumps(completion(text)).encode(), context).choices[0]


def _stream(text: str, context: ReplyContext, step: int) -> Any:
    pieces = [text[at : at + step] for at in range(0, len(text), step)]
    return first_of(decode(*map(chunk, pieces), chunk(finish="stop"), context=context))


_ANSWERS = {
    "JSON": _CALL,
    "padded JSON": f"\n{_CALL}  \n\n ",
    "a call in the model's own format": f"<tool_call>\n{_CALL}\n</tool_call>",
}


@pytest.mark.parametrize("text", _ANSWERS.values(), ids=_ANSWERS)
def test_an_answer_that_is_a_call_is_read_as_one(text: str) -> None:
    for choice in (_whole(text, _FORCED), *(_stream(text, _FORCED, step) for step in (1, 7, len(text)))):
        assert choice.text == ""
        (call,) = choice.tool_calls
        assert call.id
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})


@pytest.mark.parametrize("context", [_FORCED, _CHECKED], ids=["as JSON", "in words"])
@pytest.mark.parametrize("text", ["It is sunny.", '{"name": "other", "arguments": {}}', _CALL[:-9]])
def test_an_answer_without_the_call_is_an_error_that_has_it(text: str, context: ReplyContext) -> None:
    for ask in (partial(_whole, text, context), partial(_stream, text, context, 3)):
        with pytest.raises(ToolCallError, match="was to call get_weather and did not") as caught:
            ask()
        assert caught.value.partial is not None
        assert caught.value.partial.text == text
        assert not caught.value.retryable


# --- Checking what a server was trusted with -------------------------------------------------------------------------


def _native(*names: str) -> dict[str, Any]:
    calls = [{"index": n, "id": f"c{n}", "function": {"name": name, "arguments": "{}"}} for n, name in enumerate(names)]
    return {"role": "assistant", "content": "Well.", "tool_calls": calls}


@pytest.mark.parametrize(
    ("must_call", "names", "said"),
    [
        ("get_weather", ("get_time",), "was to call get_weather and did not"),
        ("get_weather", (), "was to call get_weather and did not"),
        (ANY_TOOL, (), "was to call a function and did not"),
        (NO_TOOL, ("get_time",), "was to call no function, and did"),
        ("get_weather", ("get_weather",), ""),
        ("get_weather", ("get_time", "get_weather"), ""),
        (ANY_TOOL, ("get_time",), ""),
        (NO_TOOL, (), ""),
    ],
)
def test_a_choice_that_a_server_says_to_honour_is_checked(must_call: str, names: tuple[str, ...], said: str) -> None:
    """Whole and streamed: a server that ignores the choice gives an error and not another answer."""
    context = ReplyContext(title="A server", tools={"get_weather": {}, "get_time": {}}, must_call=must_call)
    message = _native(*names)
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    event = {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}
    for ask in (partial(parse_completion, 200, {}, body, context), partial(decode, event, context=context)):
        if not said:
            assert ask()
            continue
        with pytest.raises(ToolCallError, match=said) as caught:
            ask()
        assert caught.value.partial is not None
        assert [call.name for call in caught.value.partial.tool_calls] == list(names)
