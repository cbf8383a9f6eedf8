"""Tools and structured output, as they go to a server that knows both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from langchain_core import exceptions as langchain
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1

from langchain_minicpm import ChatMiniCPM
from minicpm_core import errors
from tests.langchain.conftest import streamed, tool_pieces
from tests.support.server import chunk, completion, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.server import ScriptedServer


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}."


def listen(seconds: int) -> str:
    """Listen for a while."""
    return "Nothing."


class Joke(BaseModel):
    """A joke."""

    setup: str = Field(description="How it begins")
    punchline: str = Field(description="How it ends")


class OldJoke(BaseModelV1):
    """A joke."""

    setup: str
    punchline: str


class JokeDict(TypedDict):
    """A joke."""

    setup: str
    punchline: str


JOKE_SCHEMA: dict[str, Any] = {
    "title": "Joke",
    "description": "A joke.",
    "type": "object",
    "properties": {"setup": {"type": "string"}, "punchline": {"type": "string"}},
    "required": ["setup", "punchline"],
}
JOKE = {"setup": "Why?", "punchline": "Because."}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
_CALLED: dict[str, Any] = {
    "message": {"content": None, "tool_calls": [{"id": "a", "function": {"name": "get_weather", "arguments": "{}"}}]}
}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        (False, None),
        (True, "required"),
        ("any", "required"),
        ("required", "required"),
        ("auto", "auto"),
        ("none", None),  # nor the tools: what vLLM would do with a call is to drop it
        ("get_weather", NAMED),
        (NAMED, NAMED),
        ({"type": "tool", "name": "get_weather"}, NAMED),
        ({"type": "any"}, "required"),
    ],
)
def test_tool_choice(model: ChatMiniCPM, server: ScriptedServer, choice: Any, sent: Any) -> None:
    bound = model.bind_tools([get_weather], tool_choice=choice)
    assert isinstance(bound, RunnableBinding)
    if sent in ("required", NAMED):
        server.answers = [whole(completion(choices=[_CALLED]))]
    bound.invoke("Hello")
    assert server.requests[-1].json.get("tool_choice") == sent
    assert ("tools" in server.requests[-1].json) is (choice != "none")


@pytest.mark.parametrize("choice", ["any", "get_weather"])
def test_a_choice_that_the_server_does_not_honour_is_an_error(
    model: ChatMiniCPM, server: ScriptedServer, choice: str
) -> None:
    """LangChain's and ours at once, with what was said instead; whole and streamed."""
    bound = model.bind_tools([get_weather], tool_choice=choice)

    def streamed(question: str) -> Any:
        return list(bound.stream(question))

    asks: list[Callable[[str], Any]] = [bound.invoke, streamed]
    for ask in asks:
        server.answers = [whole(completion("It rains."))]
        with pytest.raises(errors.ToolCallError, match="was to call") as caught:
            ask("Hello")
        assert getattr(langchain, "ModelAPIError", Exception) in type(caught.value).__mro__
        assert caught.value.partial is not None
        assert caught.value.partial.text == "It rains."


def test_two_tools_of_one_name_are_refused_before_anything_is_sent(model: ChatMiniCPM, server: ScriptedServer) -> None:
    with pytest.raises(errors.InvalidInputError, match="Two tools are named 'Joke'"):
        model.bind_tools([Joke, JOKE_SCHEMA]).invoke("Hello")
    assert not server.requests


@pytest.mark.parametrize("choice", ["get_wether", {"type": "tool", "name": "get_wether"}, {"type": "odd"}, 3])
def test_a_tool_choice_that_names_nothing_is_an_error(model: ChatMiniCPM, choice: Any) -> None:
    with pytest.raises(errors.InvalidInputError, match=r"get_weather|must be"):
        model.bind_tools([get_weather], tool_choice=choice)


def test_tools_of_every_kind(model: ChatMiniCPM, server: ScriptedServer) -> None:
    ready: dict[str, Any] = {
        "type": "function",
        "function": {"name": "ready", "parameters": {"type": "object", "properties": {}}},
    }
    bound = model.bind_tools(
        [get_weather, listen, Joke, {**JOKE_SCHEMA, "title": "Pun"}, ready], strict=True, parallel_tool_calls=False
    )
    bound.invoke("Hello")
    body = server.requests[-1].json
    functions = [each["function"] for each in body["tools"]]
    assert [each["name"] for each in functions] == ["get_weather", "listen", "Joke", "Pun", "ready"]
    assert functions[0]["parameters"]["properties"] == {"city": {"type": "string"}}
    assert functions[0]["strict"] is True
    assert body["parallel_tool_calls"] is False
    model.bind_tools([get_weather]).invoke("Hello")
    assert "strict" not in server.requests[-1].json["tools"][0]["function"]


@pytest.mark.parametrize("how", ["bound", "given"])
def test_no_tools_at_all_are_left_out(model: ChatMiniCPM, server: ScriptedServer, how: str) -> None:
    """Agents without tools bind an empty list, which strict servers refuse."""
    if how == "bound":
        model.bind_tools([], tool_choice="any", parallel_tool_calls=True).invoke("Hello")
    else:
        model.invoke("Hello", tools=[], tool_choice="auto")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(server.requests[-1].json)


@pytest.mark.parametrize(
    "given", [Joke, {"type": "json_schema", "json_schema": {"name": "Joke", "schema": JOKE_SCHEMA}}]
)
def test_a_response_format_beside_tools(model: ChatMiniCPM, server: ScriptedServer, given: Any) -> None:
    """As LangChain's agents bind it."""
    model.bind_tools([get_weather], response_format=given).invoke("Hello")
    sent = server.requests[-1].json["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "Joke")


def test_tools_may_be_declared_in_the_system_turn(model: ChatMiniCPM, server: ScriptedServer) -> None:
    """For servers that take none; calls are read from the text then, and what was set can be changed."""
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    server.answers[:] = [whole(completion(call))]
    model.tool_calling = "prompted"
    answer = model.bind_tools([get_weather]).invoke("Hello")
    assert [(each["name"], each["args"]) for each in answer.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert "<tool_call>" not in answer.text
    body = server.requests[-1].json
    assert "tools" not in body
    assert "get_weather" in body["messages"][0]["content"]
    model.tool_calling = "native"
    model.bind_tools([get_weather]).invoke("Hello")
    assert "tools" in server.requests[-1].json
    with pytest.raises(errors.ConfigurationError, match="telepathic"):
        ChatMiniCPM(tool_calling="telepathic")


def test_tools_stream(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [tool_pieces('{"city":', ' "Paris"}')]
    chunks = list(model.bind_tools([get_weather]).stream("Hello"))
    pieces = [each.tool_call_chunks for each in chunks if isinstance(each, AIMessageChunk)]
    assert [piece["args"] for found in pieces for piece in found] == ['{"city":', ' "Paris"}']


def say(server: ScriptedServer, text: str) -> None:
    """Let the server answer with a text, in pieces where a stream is wanted."""
    server.answers[:] = [whole(completion(text))]


@pytest.mark.parametrize("schema", [Joke, OldJoke, JokeDict, JOKE_SCHEMA], ids=["pydantic", "v1", "dict", "json"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output(model: ChatMiniCPM, server: ScriptedServer, schema: Any, method: Any) -> None:
    structured = model.with_structured_output(schema, method=method)
    if method == "function_calling":
        name = "Joke" if schema in (Joke, JOKE_SCHEMA) else schema.__name__
        server.answers[:] = [whole(call_of(name, JOKE))]
    else:
        say(server, json.dumps(JOKE))
    got = structured.invoke("Tell me a joke.")
    if isinstance(schema, type) and issubclass(schema, BaseModel | BaseModelV1):
        assert isinstance(got, schema)
        assert got == schema(**JOKE)
    else:
        assert got == JOKE
    body = server.requests[-1].json
    if method == "json_schema":
        assert body["response_format"]["json_schema"]["schema"]["required"] == ["setup", "punchline"]
    elif method == "json_mode":
        assert body["response_format"] == {"type": "json_object"}
    else:
        assert body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"]
        assert body["parallel_tool_calls"] is False


def call_of(name: str, arguments: Any) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    choices = [{"index": 0, "message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]
    return completion(choices=choices)


def test_thoughts_do_not_reach_the_parser(model: ChatMiniCPM, server: ScriptedServer) -> None:
    model.thinking = True
    say(server, f"<think>Hm, {{}}?</think>\n{json.dumps(JOKE)}")
    assert model.with_structured_output(Joke).invoke("Tell me a joke.") == Joke(**JOKE)


@pytest.mark.parametrize("schema", [Joke, JokeDict])
def test_partial_objects_stream(model: ChatMiniCPM, server: ScriptedServer, schema: Any) -> None:
    text = json.dumps(JOKE)
    server.answers[:] = [
        streamed(*(chunk(piece) for piece in (text[:12], text[12:30], text[30:])), chunk(finish="stop"))
    ]
    got = list(model.with_structured_output(schema).stream("Tell me a joke."))
    assert got[-1] == (Joke(**JOKE) if schema is Joke else JOKE)
    assert all(isinstance(each, Joke if schema is Joke else dict) for each in got)
    assert len(got) > 1 or schema is Joke


def test_strict_is_passed_on(model: ChatMiniCPM, server: ScriptedServer) -> None:
    say(server, json.dumps(JOKE))
    model.with_structured_output(Joke, strict=True).invoke("Hello")
    sent = server.requests[-1].json["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["additionalProperties"] is False


@pytest.mark.parametrize("text", [json.dumps(JOKE), "No."])
def test_the_raw_answer_beside_the_parsed(model: ChatMiniCPM, server: ScriptedServer, text: str) -> None:
    say(server, text)
    got = model.with_structured_output(Joke, include_raw=True).invoke("Hello")
    assert isinstance(got["raw"], AIMessage)
    if text == "No.":
        assert got["parsed"] is None
        assert isinstance(got["parsing_error"], OutputParserException)
        with pytest.raises(OutputParserException):
            model.with_structured_output(Joke).invoke("Hello")
    else:
        assert (got["parsed"], got["parsing_error"]) == (Joke(**JOKE), None)


def test_a_refusal_is_no_parsing_error(model: ChatMiniCPM, server: ScriptedServer) -> None:
    refusal = pytest.importorskip("langchain_core.output_parsers._refusal", reason="langchain-core 1.7.5 and later")
    choices = [{"index": 0, "message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]
    server.answers[:] = [whole(completion(choices=choices))]
    with pytest.raises(refusal.ModelRefusalError, match="No"):
        model.with_structured_output(Joke).invoke("Hello")


class Options(BaseCallbackHandler):
    """Keeps what tracers are told of a call's options."""

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.told = kwargs["options"]["ls_structured_output_format"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_tracers_are_told_of_the_schema_and_the_server_is_not(
    model: ChatMiniCPM, server: ScriptedServer, method: Any
) -> None:
    server.answers[:] = [
        whole(call_of("Joke", JOKE)) if method == "function_calling" else whole(completion(json.dumps(JOKE)))
    ]
    listener = Options()
    model.with_structured_output(Joke, method=method).invoke("Hello", {"callbacks": [listener]})
    assert listener.told["schema"] == convert_to_json_schema(Joke)
    assert listener.told["kwargs"]["method"] == method
    assert "ls_structured_output_format" not in server.requests[-1].json


def test_what_cannot_be_is_an_error(model: ChatMiniCPM) -> None:
    with pytest.raises(errors.InvalidInputError, match="telepathy"):
        model.with_structured_output(Joke, method="telepathy")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(errors.InvalidInputError, match="strict"):
        model.with_structured_output(Joke, method="json_mode", strict=True)
    with pytest.raises(errors.InvalidInputError, match="title"):
        model.with_structured_output({"properties": {}})
    with pytest.raises(errors.InvalidInputError):
        model.with_structured_output(3)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_arguments_that_were_repaired_are_marked(model: ChatMiniCPM, server: ScriptedServer, way: str) -> None:
    """Whole and streamed alike: the call is one that can be made, and the metadata says that it was mended."""
    slip = '{"city": "Par\nis",}'
    call = {"id": "call-1", "function": {"name": "get_weather", "arguments": slip}}
    if way == "invoke":
        server.answers = [whole(completion(choices=[{"message": {"content": None, "tool_calls": [call]}}]))]
        got = model.invoke("Hello")
    else:
        server.answers = [tool_pieces(slip[:9], slip[9:13], slip[13:-1], slip[-1:])]
        first, *others = model.stream("Hello")
        assert isinstance(first, AIMessageChunk)
        got = first.__add__(others)
    assert [each["args"] for each in got.tool_calls] == [{"city": "Par\nis"}]
    assert got.invalid_tool_calls == []
    assert got.response_metadata["repaired_tool_calls"] == ["call-1"]
