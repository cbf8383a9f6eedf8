"""`predict_and_call` for models that cannot call tools, and streams in which only one call is allowed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.agent.react import ReActChatFormatter
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.tools import FunctionTool

from minicpm_core import MalformedReplyError
from tests.llama_index.support import PICTURE, PICTURE_URL, answer, endless, sent, streamed, user
from tests.support.server import ScriptedServer, Wait, chunk, whole

if TYPE_CHECKING:
    from llama_index_minicpm import MiniCPM


def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


def fail(a: int) -> int:
    """Fail."""
    raise RuntimeError(f"It is not {a}.")


TOOLS = [FunctionTool.from_defaults(add), FunctionTool.from_defaults(fail)]
FAMILY = ["predict_and_call", "apredict_and_call"]


def step(action: str = "add", arguments: str = '{"a": 1, "b": 2}') -> str:
    return f"Thought: I need a tool.\nAction: {action}\nAction Input: {arguments}"


@pytest.fixture
def plain(llm: MiniCPM) -> MiniCPM:
    """A model that cannot call tools."""
    llm.is_function_calling = False
    return llm


async def predicted(llm: MiniCPM, method: str, *args: Any, **kwargs: Any) -> Any:
    """What one of the two forms answers."""
    result = getattr(llm, method)(*args, **kwargs)
    return await result if method.startswith("a") else result


@pytest.mark.parametrize("method", FAMILY)
async def test_a_model_without_tools_is_asked_in_words(method: str, plain: MiniCPM, server: ScriptedServer) -> None:
    """LlamaIndex's own fails here with a validation error."""
    server.answers = [whole(answer(step()))]
    result = await predicted(plain, method, TOOLS, "What is 1 + 2?", temperature=0.25)
    assert str(result) == "3"
    assert result.sources[0].raw_output == 3
    body = sent(server)
    assert "tools" not in body
    assert "Add two numbers." in body["messages"][0]["content"]
    assert body["temperature"] == 0.25


@pytest.mark.parametrize("method", FAMILY)
async def test_pictures_the_history_and_the_system_turn_go_along(
    method: str, plain: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [whole(answer(step()))]
    history = [ChatMessage("Be brief.", role=MessageRole.SYSTEM), user("Hello?"), ChatMessage("Hi.", role="assistant")]
    question = user([TextBlock(text="Add what you see."), ImageBlock(image=PICTURE)])
    await predicted(plain, method, TOOLS, question, chat_history=history)
    messages = sent(server)["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[0]["content"].endswith("Be brief.")
    assert messages[-1]["content"][1]["image_url"]["url"] == PICTURE_URL
    assert len(history) == 3


@pytest.mark.parametrize("method", FAMILY)
async def test_an_answer_without_a_call(method: str, plain: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer("Thought: I know.\nAnswer: Three."))]
    with pytest.raises(ValueError, match=r"called no tool\. It wrote: .*Three"):
        await predicted(plain, method, TOOLS, "What is 1 + 2?")
    result = await predicted(plain, method, TOOLS, "What is 1 + 2?", error_on_no_tool_call=False)
    assert (str(result), result.sources) == ("Thought: I know.\nAnswer: Three.", [])


@pytest.mark.parametrize("method", FAMILY)
async def test_a_tool_that_is_not_there_is_named(method: str, plain: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer(step("divide")))]
    with pytest.raises(MalformedReplyError, match="'divide', which is none of the tools: add, fail"):
        await predicted(plain, method, TOOLS, "What is 1 / 2?")


@pytest.mark.parametrize("method", FAMILY)
async def test_a_tool_that_fails_is_an_error_only_on_request(
    method: str, plain: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [whole(answer(step("fail", '{"a": 5}')))]
    assert "It is not 5." in str(await predicted(plain, method, TOOLS, "Fail"))
    with pytest.raises(ValueError, match=r"It is not 5\."):
        await predicted(plain, method, TOOLS, "Fail", error_on_tool_error=True)


async def test_the_words_can_be_ones_own(plain: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer(step()))]
    formatter = ReActChatFormatter.from_defaults(system_header="Tools: {tool_names}. {tool_desc}")
    plain.predict_and_call(TOOLS, "What is 1 + 2?", react_chat_formatter=formatter)
    assert sent(server)["messages"][0]["content"].startswith("Tools: add, fail.")


@pytest.mark.parametrize("parallel", [False, True])
async def test_streams_have_one_call_where_parallel_ones_are_not_allowed(
    parallel: bool, llm: MiniCPM, server: ScriptedServer
) -> None:
    """LlamaIndex checks whole answers only."""
    calls = [
        {
            "index": at,
            "id": f"c{at}",
            "type": "function",
            "function": {"name": "add", "arguments": json.dumps({"a": at})},
        }
        for at in range(2)
    ]
    server.answers = [streamed(chunk(tool_calls=calls), finish="tool_calls")]
    options: Any = {"allow_parallel_tool_calls": parallel}
    some = list(llm.stream_chat_with_tools(TOOLS, "Go", **options))
    others = [each async for each in await llm.astream_chat_with_tools(TOOLS, "Go", **options)]
    for response in (*some, *others):
        assert len(llm.get_tool_calls_from_response(response)) == 1 + parallel


@pytest.mark.parametrize("way", ["closed", "dropped"])
async def test_a_stream_with_tools_that_is_left_is_ended(way: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [endless(Wait())]
    stream = llm.stream_chat_with_tools(TOOLS, "Go")
    next(stream)
    if way == "closed":
        stream.close()
    del stream
    assert server.wait_until_closed()


@pytest.mark.parametrize("way", ["closed", "dropped"])
async def test_an_asynchronous_one_is_ended_too(way: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [endless(Wait())]
    stream = await llm.astream_chat_with_tools(TOOLS, "Go")
    await anext(stream)
    if way == "closed":
        await stream.aclose()
    del stream
    await asyncio.sleep(0)
    assert await asyncio.to_thread(server.wait_until_closed)
