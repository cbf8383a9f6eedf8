"""Agents of LangChain and LangGraph on the emulator: tools, pictures, streams, structured answers, a human asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain import agents
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_minicpm import ChatMiniCPM, image_block
from tests.langchain.conftest import KEY, png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicpm_core.emulator.server import EmulatorServer

EXAMPLES = Path(__file__).parents[2] / "examples"
create_agent: Any = vars(agents)["create_agent"]  # whose own types are partly unknown
BOTH = "How is the weather in Paris and Rome?"


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


@tool
def take_picture(subject: str) -> list[dict[str, Any]]:
    """Take a picture with the camera."""
    return [{"type": "text", "text": f"A picture of {subject}."}, image_block(png((64, 48), "blue"))]


class Forecast(BaseModel):
    """The forecast for a city."""

    city: str


@pytest.fixture
def emulated(minicpm_emulator: EmulatorServer) -> Iterator[ChatMiniCPM]:
    with ChatMiniCPM(api_key=KEY, base_url=minicpm_emulator.base_url) as made:
        yield made


def asked(question: str) -> Any:
    return {"messages": [HumanMessage(question)]}


async def results_of(agent: Any, how: str, question: str) -> list[Any]:
    """The agent's messages, whichever way it runs."""
    if how == "invoke":
        messages = agent.invoke(asked(question))["messages"]
    elif how == "ainvoke":
        messages = (await agent.ainvoke(asked(question)))["messages"]
    elif how == "stream":
        messages = list(agent.stream(asked(question), stream_mode="values"))[-1]["messages"]
    else:
        messages = [each async for each in agent.astream(asked(question), stream_mode="values")][-1]["messages"]
    return list(messages)


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_tools_are_called_at_once_and_their_results_answered(emulated: ChatMiniCPM, how: str) -> None:
    question, wants, *results, answer = await results_of(create_agent(emulated, [get_weather]), how, BOTH)
    assert question.text == BOTH
    assert [call["args"] for call in wants.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len({call["id"] for call in wants.tool_calls}) == 2
    assert [result.text for result in results] == ["It rains in Paris.", "It rains in Rome."]
    assert [result.tool_call_id for result in results] == [call["id"] for call in wants.tool_calls]
    assert "It rains in Paris." in answer.text
    assert "It rains in Rome." in answer.text


def test_what_the_model_writes_streams_piece_by_piece(emulated: ChatMiniCPM) -> None:
    agent = create_agent(emulated, [get_weather])
    items = list(agent.stream(asked(BOTH), stream_mode=["messages", "updates"]))
    pieces = [item[0] for mode, item in items if mode == "messages"]
    updates = [step for mode, item in items if mode == "updates" for step in item]
    spoken = [piece for piece in pieces if isinstance(piece, AIMessageChunk) and piece.text]
    assert len(spoken) > 5
    assert "It rains in Rome." in "".join(piece.text for piece in spoken)
    arguments = [call for piece in pieces if isinstance(piece, AIMessageChunk) for call in piece.tool_call_chunks]
    assert len(arguments) > 2
    assert updates == ["model", "tools", "tools", "model"]
    at = {step: updates.index(step) for step in updates}
    assert at["model"] < at["tools"]


def test_the_picture_that_a_tool_returns_is_seen_by_the_model(
    emulated: ChatMiniCPM, minicpm_emulator: EmulatorServer
) -> None:
    agent = create_agent(emulated, [take_picture])
    *_, answer = agent.invoke(asked('Take a picture of "the sky" and describe it.'))["messages"]
    assert "64 x 48 pixels" in answer.text
    assert "blue" in answer.text
    roles = [message["role"] for message in minicpm_emulator.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]


def test_an_agent_without_tools_answers(emulated: ChatMiniCPM, minicpm_emulator: EmulatorServer) -> None:
    *_, answer = create_agent(emulated, []).invoke(asked("What is 2 + 2?"))["messages"]
    assert "4" in answer.text
    assert "tools" not in minicpm_emulator.requests[-1].body


@pytest.mark.parametrize("form", [Forecast, ProviderStrategy(Forecast)], ids=["schema", "provider"])
def test_a_structured_answer_comes_from_the_server_where_it_can(
    emulated: ChatMiniCPM, minicpm_emulator: EmulatorServer, form: Any
) -> None:
    """LangChain reads in the profile that it can."""
    got = create_agent(emulated, [get_weather], response_format=form).invoke(asked("How is the weather in Paris?"))
    assert got["structured_response"] == Forecast(city="Paris")
    last = minicpm_emulator.requests[-1].body
    assert last["response_format"]["json_schema"]["name"] == "Forecast"
    assert [tool["function"]["name"] for tool in last["tools"]] == ["get_weather"]


def test_a_structured_answer_comes_as_a_call_where_that_is_wanted(
    emulated: ChatMiniCPM, minicpm_emulator: EmulatorServer
) -> None:
    agent = create_agent(emulated, [], response_format=ToolStrategy(Forecast))
    got = agent.invoke(asked("The forecast for Paris, please."))
    assert got["structured_response"] == Forecast(city="Paris")
    assert minicpm_emulator.requests[-1].body["tool_choice"] == "required"
    assert "response_format" not in minicpm_emulator.requests[-1].body


@pytest.mark.parametrize(("backend", "native"), [("vllm", True), ("transformers", False)])
def test_the_profile_says_whether_the_server_holds_answers_to_a_schema(backend: str, native: bool) -> None:
    model = ChatMiniCPM(api_key=KEY, base_url="http://localhost:8000/v1", backend=backend)
    assert model.profile is not None
    assert model.profile.get("structured_output") is native


def test_the_memory_of_an_agent_holds_plain_messages(emulated: ChatMiniCPM) -> None:
    """What a checkpointer stores can be stored: no object of ours is in them."""
    from langgraph.checkpoint.memory import InMemorySaver

    agent = create_agent(emulated, [get_weather, take_picture], checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(asked("How is the weather in Paris?"), thread)
    messages = agent.invoke(asked('Take a picture of "the sky".'), thread)["messages"]
    assert {type(message) for message in messages} == {HumanMessage, AIMessage, ToolMessage}
    assert len(messages) == 8


def run(script: str, server: EmulatorServer, *arguments: str, conversation: Path | None = None) -> str:
    """What an example prints, run in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments],
        env={**os.environ, "MINICPM_BASE_URL": server.base_url, "CONVERSATION": str(conversation)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_the_example_of_an_agent(minicpm_emulator: EmulatorServer) -> None:
    shown = run("langchain_agent.py", minicpm_emulator)
    for line in (
        "[model] get_weather({'city': 'Paris'})",
        "[model] get_weather({'city': 'Rome'})",
        "[model] show_photo({'name': 'coffee'})",
        "[tools] show_photo: The photo 'coffee': ['text', 'image']",
        "600 x 400 pixels",
    ):
        assert line in shown


@pytest.mark.slow
def test_a_conversation_goes_on_in_a_new_process_after_a_human_was_asked(
    minicpm_emulator: EmulatorServer, tmp_path: Path
) -> None:
    kept = tmp_path / "conversation.sqlite"
    stopped = run("langgraph_agent.py", minicpm_emulator, conversation=kept)
    assert "[may I?]" in stopped
    assert "is booked" not in stopped
    resumed = run("langgraph_agent.py", minicpm_emulator, "answer", "yes", conversation=kept)
    assert "[act] A table for 4 in Rome is booked." in resumed
    chats = [request for request in minicpm_emulator.requests if request.method == "POST"]
    assert len(chats) == 2, "what was said before is not asked again"
    roles = [message["role"] for message in minicpm_emulator.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool"]
    run("langgraph_agent.py", minicpm_emulator, "ask", "Book a table for 2 people in Oslo.", conversation=kept)
    refused = run("langgraph_agent.py", minicpm_emulator, "answer", "no", conversation=kept)
    assert "[act] The user does not want that." in refused
    assert "booked" not in refused
