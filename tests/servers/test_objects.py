"""Calls that are demanded, and objects by schema, on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest
from langchain_core.messages import AIMessageChunk
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM
from minicpm_core.backends import BACKENDS
from minicpm_core.errors import ToolCallError
from tests.servers.support import OPTIONS, Server, cases, servers
from tests.support.declared import declared

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.server
SERVERS = servers()
ASKED: Final = "What is the weather in Paris?"
_TOOL: Final = next(case.question.tools[0] for case in cases() if case.question.tools)
_OTHER: Final[dict[str, Any]] = {
    "type": "function",
    "function": {"name": "get_time", "description": "The time.", "parameters": {"type": "object", "properties": {}}},
}
CHOICES: Final = {"required": ("any", [_TOOL]), "named": ("get_weather", [_TOOL, _OTHER])}
ENFORCING: Final = {"vllm", "llamacpp", "sglang", "ollama"}
SERVED = pytest.mark.parametrize("server", SERVERS, ids=str)
WAYS = pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def _settings(server: Server) -> dict[str, Any]:
    return {**server.settings, **OPTIONS}


async def _langchain(runnable: Any, way: str) -> Any:
    if way == "invoke":
        return runnable.invoke(ASKED)
    if way == "ainvoke":
        return await runnable.ainvoke(ASKED)
    pieces = list(runnable.stream(ASKED)) if way == "stream" else [piece async for piece in runnable.astream(ASKED)]
    assert all(isinstance(piece, AIMessageChunk) for piece in pieces)
    return pieces[0] + pieces[1:]


async def _llama_index(llm: MiniCPM, way: str, **how: Any) -> Any:
    if way == "invoke":
        return llm.chat_with_tools(**how)
    if way == "ainvoke":
        return await llm.achat_with_tools(**how)
    if way == "stream":
        return list(llm.stream_chat_with_tools(**how))[-1]
    return [response async for response in await llm.astream_chat_with_tools(**how)][-1]


def _check(server: Server, ask: Callable[[], list[str]]) -> None:
    """The demand is met; where the server can only be told in words, it may be said that it was not."""
    try:
        names = ask()
    except ToolCallError as error:
        if server.backend in ENFORCING:
            raise
        partial = error.partial
    else:
        assert set(names) == {"get_weather"}
        return
    assert partial is not None
    assert not partial.tool_calls


@SERVED
@WAYS
@pytest.mark.parametrize("choice", CHOICES)
def test_a_demanded_call_in_langchain(choice: str, way: str, server: Server) -> None:
    wanted, tools = CHOICES[choice]

    def ask() -> list[str]:
        with ChatMiniCPM(**_settings(server)) as model:
            got = asyncio.run(_langchain(model.bind_tools(tools, tool_choice=wanted), way))
        assert not got.invalid_tool_calls
        return [call["name"] for call in got.tool_calls]

    _check(server, ask)


@SERVED
@WAYS
@pytest.mark.parametrize("choice", CHOICES)
def test_a_demanded_call_in_llama_index(choice: str, way: str, server: Server) -> None:
    wanted, tools = CHOICES[choice]

    def ask() -> list[str]:
        how = {"tools": [declared(tool) for tool in tools], "user_msg": ASKED, "tool_choice": wanted}
        with MiniCPM(**_settings(server)) as llm:
            response = asyncio.run(_llama_index(llm, way, **how))
            return [call.tool_name for call in llm.get_tool_calls_from_response(response)]

    _check(server, ask)


def _held_to_a_schema(server: Server) -> None:
    if server.backend is not None and not BACKENDS[server.backend].enforces_schema:  # type: ignore[index]
        pytest.skip("It holds no answer to a schema, and the tiny model knows no other instructions than its own.")


@SERVED
@WAYS
async def test_an_object_in_langchain(way: str, server: Server) -> None:
    """The one that the model knows; a stream ends with the whole of it."""
    _held_to_a_schema(server)
    asked = "Give me a person as JSON."
    async with ChatMiniCPM(**_settings(server)) as model:
        runnable = model.with_structured_output(Person)
        if way == "invoke":
            found = runnable.invoke(asked)
        elif way == "ainvoke":
            found = await runnable.ainvoke(asked)
        elif way == "stream":
            found = list(runnable.stream(asked))[-1]
        else:
            found = [each async for each in runnable.astream(asked)][-1]
    assert found == Person(name="Ada", age=36)


@SERVED
@WAYS
async def test_an_object_in_llama_index(way: str, server: Server) -> None:
    _held_to_a_schema(server)
    prompt = PromptTemplate("Give me a person as JSON.")
    async with MiniCPM(**_settings(server)) as llm:
        if way == "invoke":
            found: Any = llm.structured_predict(Person, prompt)
        elif way == "ainvoke":
            found = await llm.astructured_predict(Person, prompt)
        elif way == "stream":
            found = list(llm.stream_structured_predict(Person, prompt))[-1]
        else:
            found = [each async for each in await llm.astream_structured_predict(Person, prompt)][-1]
    assert found == Person(name="Ada", age=36)
