"""Structured output: asked for as the server enforces it, always checked here, and asked for once more."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field, field_validator

from langchain_minicpm import ChatMiniCPM
from langchain_minicpm._structured import METHODS
from minicpm_core.errors import InvalidInputError, StructuredOutputError
from minicpm_core.structured import repair_message
from tests.langchain.conftest import KEY, streamed
from tests.support.server import chunk, completion, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_minicpm._structured import Method
    from minicpm_core.emulator.server import EmulatorServer
    from tests.support.server import Answer, ScriptedServer


class Person(BaseModel):
    """A person."""

    name: str
    age: int = Field(ge=0)


class PersonDict(TypedDict):
    """A person."""

    name: str
    age: int


PERSON_SCHEMA: dict[str, Any] = {"title": "Person", "description": "A person.", **Person.model_json_schema()}
ADA = {"name": "Ada", "age": 36}
BAD = json.dumps({"name": "Ada", "age": -1})
SCHEMAS = pytest.mark.parametrize("schema", [Person, PersonDict, PERSON_SCHEMA], ids=["pydantic", "typed", "json"])
BY_TEXT: list[Method] = ["json_schema", "json_mode", "prompt"]


def said(text: str | None, finish: str = "stop", **more: Any) -> Answer:
    """An answer in text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": finish}
    return whole(completion(choices=[choice]))


def called(arguments: str, name: str = "Person", finish: str = "tool_calls") -> Answer:
    """An answer that is a call."""
    call = {"id": "call-1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return said(None, finish, tool_calls=[call])


def written(text: str, finish: str = "stop", size: int = 5) -> Answer:
    """An answer in text, streamed in pieces."""
    return streamed(
        *(chunk(text[at : at + size]) for at in range(0, len(text), size)),
        chunk(finish=finish),
    )


def plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


@SCHEMAS
@pytest.mark.parametrize("method", BY_TEXT)
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ADA),
        f"```json\n{json.dumps(ADA)}\n```",
        f"Here you are: {json.dumps(ADA)}. Anything else?",
        f"{json.dumps(ADA)}\n\n\n",
    ],
    ids=["bare", "fenced", "in prose", "padded"],
)
def test_the_object_is_found_in_the_answer(
    model: ChatMiniCPM, server: ScriptedServer, schema: Any, method: Method, text: str
) -> None:
    server.answers[:] = [said(text)]
    assert plain(model.with_structured_output(schema, method=method).invoke("Who?")) == ADA
    assert len(server.requests) == 1


@SCHEMAS
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "batch", "abatch", "stream", "astream"])
async def test_an_answer_that_does_not_fit_is_asked_for_once_more(
    model: ChatMiniCPM, server: ScriptedServer, schema: Any, how: str
) -> None:
    """With the question, the bad answer, and the validator's words."""
    server.answers[:] = [written(BAD) if "stream" in how else said(BAD), said(json.dumps(ADA))]
    minimum = schema is not PersonDict
    if not minimum:  # a TypedDict has no bounds
        wrong = json.dumps({"name": "Ada"})
        server.answers[0] = written(wrong) if "stream" in how else said(wrong)
    asking = model.with_structured_output(schema)
    got = {
        "invoke": lambda: asking.invoke("Who?"),
        "batch": lambda: asking.batch(["Who?"])[0],
        "stream": lambda: list(asking.stream("Who?"))[-1],
    }
    if how == "ainvoke":
        value = await asking.ainvoke("Who?")
    elif how == "abatch":
        value = (await asking.abatch(["Who?"]))[0]
    elif how == "astream":
        value = [each async for each in asking.astream("Who?")][-1]
    else:
        value = got[how]()
    assert plain(value) == ADA
    first, second = (request.json for request in server.requests)
    assert second["response_format"] == first["response_format"]
    question, bad, repair = second["messages"]
    assert [question] == first["messages"]
    assert bad["role"] == "assistant"
    assert "Ada" in bad["content"]
    assert repair["role"] == "user"
    assert "age" in repair["content"]


@pytest.mark.parametrize("text", [BAD, "I do not know.", "", '{"name": "Ada", "age": 36,,}'])
def test_two_answers_that_do_not_fit_are_an_error_with_the_raw_text(
    model: ChatMiniCPM, server: ScriptedServer, text: str
) -> None:
    server.answers[:] = [said(text)]
    with pytest.raises(StructuredOutputError) as caught:
        model.with_structured_output(Person).invoke("Who?")
    assert len(server.requests) == 2
    assert (caught.value.text, caught.value.truncated) == (text, False)
    assert caught.value.problem
    assert "'Person'" in str(caught.value)
    assert isinstance(caught.value, OutputParserException)
    assert caught.value.llm_output == text
    if text:
        assert text not in str(caught.value), "what the model wrote is not for logs"
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("how", ["invoke", "stream"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_that_was_cut_off_says_so_and_is_not_asked_for_again(
    model: ChatMiniCPM, server: ScriptedServer, how: str, method: Method
) -> None:
    """In particular arguments that were cut off are no object, although LangChain mends them in streams."""
    text = '{"name": "Ada", "age": 3'
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "Person", "arguments": text}}
    answers = {
        ("invoke", "json_schema"): said(text, "length"),
        ("invoke", "function_calling"): called(text, finish="length"),
        ("stream", "json_schema"): written(text, "length"),
        ("stream", "function_calling"): streamed(chunk(tool_calls=[call]), chunk(finish="length")),
    }
    server.answers[:] = [answers[how, method]]
    asking = model.with_structured_output(Person, method=method)
    with pytest.raises(StructuredOutputError, match="max_tokens") as caught:
        asking.invoke("Who?") if how == "invoke" else list(asking.stream("Who?"))
    assert caught.value.truncated
    assert caught.value.text.startswith(text)
    assert len(server.requests) == 1


def test_blanks_up_to_the_token_limit_do_no_harm(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [said(json.dumps(ADA) + "\n" * 200, "length")]
    assert model.with_structured_output(Person).invoke("Who?") == Person(name="Ada", age=36)


@SCHEMAS
def test_arguments_that_do_not_fit_are_asked_for_once_more(
    model: ChatMiniCPM, server: ScriptedServer, schema: Any
) -> None:
    name = schema.__name__ if isinstance(schema, type) else "Person"
    server.answers[:] = [called('{"name": "Ada"}', name), called(json.dumps(ADA), name)]
    asking = model.with_structured_output(schema, method="function_calling")
    assert plain(asking.invoke("Who?")) == ADA
    second = server.requests[1].json
    assert second["tool_choice"]["function"]["name"] == name
    assert "age" in second["messages"][-1]["content"]


def test_broken_arguments_are_asked_for_once_more(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [called('{"name": Ada}'), called(json.dumps(ADA))]
    assert model.with_structured_output(Person, method="function_calling").invoke("Who?") == Person(name="Ada", age=36)
    assert "broken" in server.requests[1].json["messages"][-1]["content"]


def test_an_object_in_text_will_do_where_a_call_was_asked_for(model: ChatMiniCPM, server: ScriptedServer) -> None:
    """Servers without a tool parser leave it there."""
    server.answers[:] = [said(json.dumps(ADA))]
    assert model.with_structured_output(Person, method="function_calling").invoke("Who?") == Person(name="Ada", age=36)


def test_the_raw_answer_is_the_one_that_was_read(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [said(BAD), said(json.dumps(ADA))]
    got = model.with_structured_output(Person, include_raw=True).invoke("Who?")
    assert (got["raw"].text, got["parsed"], got["parsing_error"]) == (
        json.dumps(ADA),
        Person(name="Ada", age=36),
        None,
    )
    server.answers[:] = [said(BAD)]
    got = model.with_structured_output(Person, include_raw=True).invoke("Who?")
    assert (got["raw"].text, got["parsed"]) == (BAD, None)
    assert isinstance(got["parsing_error"], StructuredOutputError)
    assert got["parsing_error"].problem.startswith("age:")


@SCHEMAS
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_objects_grow(model: ChatMiniCPM, server: ScriptedServer, schema: Any, method: Method) -> None:
    """Dictionaries from their first brace, Pydantic objects from where they are ones; the last is whole."""
    value = {"name": "Ada Lovelace", "age": 36}
    text = json.dumps(value)
    if method == "function_calling":
        name = schema.__name__ if isinstance(schema, type) else "Person"
        first = {"index": 0, "id": "1", "type": "function", "function": {"name": name, "arguments": text[:3]}}
        more = [chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in text[3:]]
        server.answers[:] = [streamed(chunk(tool_calls=[first]), *more, chunk(finish="tool_calls"))]
    else:
        server.answers[:] = [written(f"```json\n{text}\n```\nThat {{is}} all [really].", size=1)]
    got = list(model.with_structured_output(schema, method=method).stream("Who?"))
    assert plain(got[-1]) == value
    assert all(isinstance(each, Person if schema is Person else dict) for each in got)
    assert all(one != two for one, two in pairwise(got))
    if schema is Person:
        assert got[0].name == "Ada Lovelace"
    else:
        names = [each.get("name", "") for each in got]
        assert names == sorted(names, key=len)
        assert len(set(names)) > 5


def test_an_object_that_turns_out_not_to_fit_is_an_error_at_the_end(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [written(BAD), said(BAD)]
    got: list[Any] = []
    with pytest.raises(StructuredOutputError):
        got += model.with_structured_output(PERSON_SCHEMA).stream("Who?")
    assert len(server.requests) == 2


async def test_raw_chunks_stream_beside_the_object(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [written(json.dumps(ADA), size=4)]
    asking = model.with_structured_output(PERSON_SCHEMA, include_raw=True)
    for items in (list(asking.stream("Who?")), [each async for each in asking.astream("Who?")]):
        raw = [item["raw"] for item in items if "raw" in item]
        assert all(isinstance(each, AIMessage) for each in raw)
        assert "".join(each.text for each in raw) == json.dumps(ADA)
        assert items[-1] == {"parsing_error": None}
        assert [item["parsed"] for item in items if "parsed" in item][-1] == ADA
        server.answers[:] = [written(json.dumps(ADA), size=4)]


def test_it_streams_within_a_chain(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [written(json.dumps(ADA))]
    chain = ChatPromptTemplate([("human", "Who is {name}?")]) | model.with_structured_output(PersonDict)
    got = list(chain.stream({"name": "Ada"}))
    assert len(got) > 1
    assert got[-1] == ADA
    assert server.requests[0].json["messages"] == [{"role": "user", "content": "Who is Ada?"}]


def test_a_server_that_ignores_response_format_is_told_the_schema_in_words(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    """As transformers serve does, which takes it and does nothing with it."""
    model.backend = "transformers"
    server.answers[:] = [said(json.dumps(ADA))]
    for method in (None, "json_schema"):
        asking = model.with_structured_output(Person, method=method)
        assert asking.invoke([SystemMessage("Be brief."), HumanMessage("Who?")]) == Person(name="Ada", age=36)
        body = server.requests[-1].json
        assert "response_format" not in body
        system, user = body["messages"]
        assert system["content"].startswith("Be brief.")
        assert '"minimum": 0' in system["content"]
        assert user["content"] == "Who?"
    model.with_structured_output(Person, method="json_mode").invoke("Who?")
    assert "response_format" not in server.requests[-1].json


def test_elsewhere_the_server_holds_the_answer_to_the_schema(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [said(json.dumps(ADA))]
    model.with_structured_output(Person).invoke("Who?")
    body = server.requests[-1].json
    assert body["response_format"]["json_schema"]["name"] == "Person"
    assert [message["role"] for message in body["messages"]] == ["user"]


class Listener(BaseCallbackHandler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.chains: list[Any] = []
        self.models: list[Any] = []

    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        self.chains.append((kwargs["run_id"], kwargs["tags"]))

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.models.append((kwargs["parent_run_id"], kwargs["tags"]))


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_callbacks_see_both_rounds_under_one_run(model: ChatMiniCPM, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [written(BAD) if how == "stream" else said(BAD), said(json.dumps(ADA))]
    listener = Listener()
    asking = model.with_structured_output(Person)
    config: Any = {"callbacks": [listener], "tags": ["mine"]}
    asking.invoke("Who?", config) if how == "invoke" else list(asking.stream("Who?", config))
    (run, _), *others = listener.chains
    assert not others
    assert [parent for parent, _ in listener.models] == [run, run]
    assert all("mine" in tags for _, tags in listener.models)


def test_arguments_of_a_call_go_with_both_rounds(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [said(BAD), said(json.dumps(ADA))]
    model.with_structured_output(Person, seed=7).invoke("Who?", temperature=0.5)
    assert [(request.json["seed"], request.json["temperature"]) for request in server.requests] == [(7, 0.5), (7, 0.5)]


def test_what_a_validator_of_the_class_says_is_told(model: ChatMiniCPM, server: ScriptedServer) -> None:
    class Even(BaseModel):
        """An even number."""

        number: int

        @field_validator("number")
        @classmethod
        def even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("odd numbers are not taken")
            return number

    server.answers[:] = [said('{"number": 3}'), said('{"number": 4}')]
    assert model.with_structured_output(Even).invoke("Which?") == Even(number=4)
    assert server.requests[1].json["messages"][-1]["content"] == repair_message(
        "number: Value error, odd numbers are not taken"
    )


def test_references_in_a_schema_are_followed(model: ChatMiniCPM, server: ScriptedServer) -> None:
    class Team(BaseModel):
        """A team."""

        members: list[Person]

    schema = Team.model_json_schema()
    server.answers[:] = [said(json.dumps({"members": [ADA]}))]
    assert model.with_structured_output(schema).invoke("Who?") == {"members": [ADA]}
    server.answers[:] = [said(json.dumps({"members": [{"name": "Ada"}]}))]
    with pytest.raises(StructuredOutputError) as caught:
        model.with_structured_output(schema).invoke("Who?")
    assert "members[0]" in caught.value.problem


def test_a_schema_that_is_none_is_said_to_be_none(model: ChatMiniCPM, server: ScriptedServer) -> None:
    """Also where parsing errors are asked for: this is not the model's."""
    server.answers[:] = [said(json.dumps(ADA))]
    schema = {"title": "Odd", "type": "object", "properties": {"a": {"type": "telepathy"}}}
    with pytest.raises(InvalidInputError):
        model.with_structured_output(schema, include_raw=True).invoke("Who?")


def test_it_travels(model: ChatMiniCPM, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into another process, for instance; without the key."""
    monkeypatch.setenv("MINICPM_API_KEY", "sk-of-the-other-process")
    data = pickle.dumps(model.with_structured_output(PERSON_SCHEMA, seed=7))
    assert KEY.encode() not in data
    server.answers[:] = [said(json.dumps(ADA))]
    assert pickle.loads(data).invoke("Who?") == ADA


def test_what_does_not_go_together_is_refused(model: ChatMiniCPM) -> None:
    with pytest.raises(InvalidInputError, match="strict"):
        model.with_structured_output(Person, method="prompt", strict=True)
    asking = model.with_structured_output(Person)
    assert asking.OutputType is Person
    assert asking.InputType == model.InputType


@pytest.fixture
def emulated(minicpm_emulator: EmulatorServer) -> Iterator[ChatMiniCPM]:
    with ChatMiniCPM(api_key=KEY, base_url=minicpm_emulator.base_url) as made:
        yield made


@SCHEMAS
@pytest.mark.parametrize("method", [None, *(method for method in METHODS if method != "prompt")])
async def test_on_the_emulator(emulated: ChatMiniCPM, schema: Any, method: Method | None) -> None:
    question = 'Reply in JSON. "name": "Ada", "age": 36'
    asking = emulated.with_structured_output(schema, method=method)
    if method == "json_mode" and schema is not Person:  # which values its JSON has is not told to the server
        schema, asking = Person, emulated.with_structured_output(Person, method=method)
    whole_values = [asking.invoke(question), await asking.ainvoke(question)]
    streams = [list(asking.stream(question)), [each async for each in asking.astream(question)]]
    for value in (*whole_values, *(items[-1] for items in streams)):
        assert {name: plain(value)[name] for name in ADA} == ADA
