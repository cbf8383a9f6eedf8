"""Agents of both frameworks on a real server: a tool is called, and its result becomes the known answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest
from langchain import agents
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.tools import StructuredTool
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ToolCallResult
from llama_index.core.tools import FunctionTool

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM
from tests.servers.support import OPTIONS, Server, cases, servers
from tests.support.declared import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = pytest.mark.server
SERVERS = servers()
ASKED: Final = "What is the weather in Paris?"
ANSWER: Final = "It is 18 degrees in Paris."
CALL: Final = ("get_weather", {"city": "Paris", "days": 1})
_TOOL: Final = next(case.question.tools[0] for case in cases() if case.question.tools)
_FUNCTION: Final[dict[str, Any]] = _TOOL["function"]
_THOUGHTS: Final = ["I need the weather tool.", "The tool says 18."]
create_agent: Any = vars(agents)["create_agent"]  # whose own types are partly unknown


def get_weather(city: str, days: int = 1) -> str:
    """What the tool says; the model has learnt what to make of it."""
    assert (city, days) == ("Paris", 1)
    return '{"temp_c": 18}'


def _settings(server: Server) -> dict[str, Any]:
    return {**server.settings, **OPTIONS}


# --- LangChain -------------------------------------------------------------------------------------------------------


def _agent(model: ChatMiniCPM) -> Any:
    tool = StructuredTool.from_function(
        get_weather,
        name=_FUNCTION["name"],
        description=_FUNCTION["description"],
        args_schema={"title": "get_weather", "description": "", **_FUNCTION["parameters"]},
    )
    return create_agent(model, [tool])


_SAID: Final = {"messages": [("user", ASKED)]}


async def _invoked(agent: Any) -> list[Any]:
    return list(agent.invoke(_SAID)["messages"])


async def _ainvoked(agent: Any) -> list[Any]:
    return list((await agent.ainvoke(_SAID))["messages"])


async def _streamed(agent: Any) -> list[Any]:
    items = list(agent.stream(_SAID, stream_mode=["messages", "values"]))
    return _checked([item for mode, item in items if mode == "messages"], items[-1][1]["messages"])


async def _astreamed(agent: Any) -> list[Any]:
    items = [item async for item in agent.astream(_SAID, stream_mode=["messages", "values"])]
    return _checked([item for mode, item in items if mode == "messages"], items[-1][1]["messages"])


def _checked(pieces: list[Any], messages: list[Any]) -> list[Any]:
    """The pieces that came while the model wrote must join to its last answer."""
    said = [piece for piece, _ in pieces if isinstance(piece, AIMessageChunk)]
    assert "".join(piece.text for piece in said if piece.id == messages[-1].id) == messages[-1].text
    return messages


_LANGCHAIN: Final[dict[str, Callable[[Any], Coroutine[Any, Any, list[Any]]]]] = {
    "invoke": _invoked,
    "ainvoke": _ainvoked,
    "stream": _streamed,
    "astream": _astreamed,
}


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("mode", _LANGCHAIN)
def test_an_agent_of_langchain(mode: str, thinking: bool, server: Server) -> None:
    """`create_agent` calls the tool, hands its result to the model and ends with the answer; no tag leaks."""
    with ChatMiniCPM(**_settings(server), thinking=thinking) as model:
        messages = asyncio.run(_LANGCHAIN[mode](_agent(model)))
    _, called, result, answer = messages
    assert isinstance(called, AIMessage)
    assert isinstance(result, ToolMessage)
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [CALL]
    assert (called.text, called.invalid_tool_calls) == ("", [])
    assert result.tool_call_id == called.tool_calls[0]["id"]
    assert answer.text == ANSWER
    thoughts = [message.additional_kwargs.get("reasoning_content", "") for message in (called, answer)]
    assert thoughts == (_THOUGHTS if thinking else ["", ""])


# --- LlamaIndex ------------------------------------------------------------------------------------------------------


def _llama_tool() -> Any:
    return FunctionTool.from_defaults(get_weather, tool_metadata=declared(_TOOL).metadata)


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's agents use what Pydantic deprecates
async def test_an_agent_of_llama_index(streaming: bool, thinking: bool, server: Server) -> None:
    """`FunctionAgent` calls the tool and ends with the answer, and its stream says what the answer does."""
    async with MiniCPM(**_settings(server), thinking=thinking) as llm:
        agent: Any = FunctionAgent(llm=llm, tools=[_llama_tool()], streaming=streaming)
        handler = agent.run(user_msg=ASKED)
        events = [event async for event in handler.stream_events()]
        answer = str(await handler)
    results: list[Any] = [event for event in events if isinstance(event, ToolCallResult)]
    assert [(event.tool_name, event.tool_kwargs) for event in results] == [CALL]
    assert [str(event.tool_output) for event in results] == ['{"temp_c": 18}']
    assert answer == ANSWER
    if streaming:
        said = [event for event in events if isinstance(event, AgentStream)]
        assert "".join(event.delta for event in said) == ANSWER
        thoughts = "".join(event.thinking_delta or "" for event in said)
        assert thoughts == ("".join(_THOUGHTS) if thinking else "")


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_predict_and_call(asynchronous: bool, server: Server) -> None:
    """The synchronous family has no agent in LlamaIndex: this is what calls a tool there."""
    async with MiniCPM(**_settings(server)) as llm:
        ask: Any = llm.apredict_and_call if asynchronous else llm.predict_and_call
        answer: Any = ask([_llama_tool()], user_msg=ASKED)
        answer = await answer if asynchronous else answer
    assert str(answer) == '{"temp_c": 18}'
    assert [source.tool_name for source in answer.sources] == ["get_weather"]
