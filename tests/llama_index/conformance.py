"""What LlamaIndex expects of a `FunctionCallingLLM`, a test for each row; any integration can be put to it.

    class TestMine(FunctionCallingContract):
        def make(self, base_url, **settings):
            return Mine(base_url, **settings)

`settings` are `is_function_calling` and `system_prompt`.  The server behind `base_url` speaks Chat Completions.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import pickle
from abc import abstractmethod
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock, ThinkingBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool

from tests.llama_index.support import (
    CHATS,
    METHODS,
    PICTURE,
    STREAMS,
    USAGE,
    answer,
    endless,
    sent,
    streamed,
    text_of,
    tool_call,
    user,
)
from tests.support.server import ScriptedServer, Wait, chunk, whole

if TYPE_CHECKING:
    from llama_index.core.llms.function_calling import FunctionCallingLLM

    from minicpm_core.emulator.server import EmulatorServer

SECRET = "sk-a-secret-of-the-tests"
CITY = '{"city": "Paris"}'


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It rains in {city}."


def photo(city: str) -> list[Any]:
    """Take a photo of a city."""
    return [TextBlock(text=f"{city}:"), ImageBlock(image=PICTURE)]


TOOLS: list[Any] = [FunctionTool.from_defaults(weather)]


class City(BaseModel):
    """A city."""

    city: str


PROMPT = PromptTemplate("The city in: {text}")


async def called(llm: Any, method: str, *args: Any, **kwargs: Any) -> list[Any]:
    """All that a method gives, whichever of the four kinds it is; one, where it does not stream."""
    result = getattr(llm, method)(*args, **kwargs)
    if inspect.iscoroutine(result):
        result = await result
    if hasattr(result, "__aiter__"):
        return [each async for each in result]
    return list(result) if "stream" in method else [result]


def said(method: str, *pieces: dict[str, Any], **message: Any) -> Any:
    """A server's answer: pieces for a stream, else a message."""
    return streamed(*pieces) if "stream" in method else whole(answer(**message))


def call_pieces(*calls: dict[str, Any]) -> list[dict[str, Any]]:
    return [chunk(tool_calls=[{"index": at, **call}]) for at, call in enumerate(calls)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class FunctionCallingContract:
    """The contract. LlamaIndex's agents use what Pydantic deprecates; clients that leak say so when collected."""

    @abstractmethod
    def make(self, base_url: str, **settings: Any) -> FunctionCallingLLM:
        """The model under test, with the key `SECRET`."""
        raise NotImplementedError

    @pytest.fixture
    def llm(self, server: ScriptedServer) -> Any:
        return self.make(server.base_url, is_function_calling=True)

    @pytest.fixture
    def emulated(self, minicpm_emulator: EmulatorServer) -> Any:
        return self.make(minicpm_emulator.base_url, is_function_calling=True)

    # -- The eight calls -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("method", METHODS)
    async def test_each_of_the_eight_calls_answers(self, method: str, emulated: Any) -> None:
        responses = await called(emulated, method, "Count to 5." if "complete" in method else [user("Count to 5.")])
        assert text_of(responses[-1]) == "1 2 3 4 5"
        assert (len(responses) > 2) is ("stream" in method)

    def test_metadata_is_made_without_io(self) -> None:
        llm = self.make("http://127.0.0.1:9/v1", is_function_calling=True)
        assert llm.metadata.is_chat_model
        assert llm.metadata.is_function_calling_model
        assert llm.metadata.context_window >= 8192

    @pytest.mark.parametrize("method", [name for name in STREAMS if name.endswith("chat")])
    async def test_a_streams_errors_are_raised_by_the_call(self, method: str) -> None:
        llm: Any = self.make("http://127.0.0.1:9/v1", is_function_calling=True)
        call = getattr(llm, method)
        with pytest.raises(Exception, match=r"(?i)connect|refused"):
            await call([user()]) if method.startswith("a") else call([user()])

    @pytest.mark.parametrize("method", STREAMS)
    async def test_usage_comes_with_the_last_chunk(self, method: str, llm: Any, server: ScriptedServer) -> None:
        server.answers = [streamed(chunk("Hello."))]
        llm.callback_manager = CallbackManager([counter := TokenCountingHandler()])
        responses = await called(llm, method, "Hello?" if "complete" in method else [user()])
        assert sent(server).get("stream_options") == {"include_usage": True}
        assert counter.total_llm_token_count == USAGE["total_tokens"]
        assert dict(responses[-1].raw)["usage"]

    @pytest.mark.parametrize("method", ["stream_chat", "stream_complete"])
    def test_a_stream_that_is_left_is_ended(self, method: str, llm: Any, server: ScriptedServer) -> None:
        server.answers = [endless(Wait())]
        stream = getattr(llm, method)("Hello?" if "complete" in method else [user()])
        next(stream)
        stream.close()
        assert server.wait_until_closed()

    def test_a_cut_stream_is_an_error(self, llm: Any, server: ScriptedServer) -> None:
        from tests.support.server import events, sse

        server.answers = [events([sse(chunk("Hel"))])]
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever the integration has
            list(llm.stream_chat([user()]))

    def test_an_error_with_status_200_is_an_error(self, llm: Any, server: ScriptedServer) -> None:
        server.answers = [whole({"error": {"message": "overloaded", "code": 503}})]
        with pytest.raises(Exception, match="overloaded"):
            llm.chat([user()])

    def test_it_works_in_one_event_loop_after_another(self, llm: Any) -> None:
        for _ in range(2):
            assert text_of(asyncio.run(llm.achat([user()]))) == "Hello."
        gc.collect()

    # -- Reasoning -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("method", CHATS)
    @pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
    async def test_reasoning_is_a_block_and_a_delta(
        self, method: str, field: str, llm: Any, server: ScriptedServer
    ) -> None:
        pieces: list[dict[str, Any]] = [chunk(**{field: "I "}), chunk(**{field: "think."}), chunk("So.")]
        server.answers = [said(method, *pieces, text="So.", **{field: "I think."})]
        responses = await called(llm, method, [user()])
        thoughts = [block.content for block in responses[-1].message.blocks if isinstance(block, ThinkingBlock)]
        assert thoughts == ["I think."]
        if "stream" in method:
            deltas = [each.additional_kwargs.get("thinking_delta") for each in responses]
            assert "".join(each or "" for each in deltas) == "I think."

    @pytest.mark.parametrize("method", CHATS)
    async def test_think_tags_are_no_answer(self, method: str, llm: Any, server: ScriptedServer) -> None:
        text = "<think>I think.</think>So."
        server.answers = [said(method, chunk(text[:9]), chunk(text[9:]), text=text)]
        assert text_of((await called(llm, method, [user()]))[-1]).strip() == "So."

    # -- Tools ---------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("demand", "choice"), [({"tool_required": True}, "required"), ({"tool_choice": "weather"}, "weather")]
    )
    @pytest.mark.parametrize("method", [f"{name}_with_tools" for name in CHATS])
    async def test_a_call_can_be_demanded(
        self, method: str, demand: dict[str, Any], choice: str, llm: Any, server: ScriptedServer
    ) -> None:
        call = tool_call("weather", CITY)
        server.answers = [said(method, *call_pieces(call), text="", tool_calls=[call])]
        (selection,) = llm.get_tool_calls_from_response((await called(llm, method, TOOLS, "Paris", **demand))[-1])
        assert (selection.tool_name, selection.tool_kwargs) == ("weather", {"city": "Paris"})
        assert choice in json.dumps(sent(server)["tool_choice"])

    def test_the_history_is_not_changed(self, llm: Any) -> None:
        history = [user("Hello?")]
        llm.chat_with_tools(TOOLS, "Paris", chat_history=history)
        assert len(history) == 1

    def test_nothing_is_sent_as_null(self, llm: Any, server: ScriptedServer) -> None:
        llm.chat_with_tools([], "Paris")
        assert None not in sent(server).values()

    def test_streamed_calls_that_share_a_chunk_are_all_there(self, llm: Any, server: ScriptedServer) -> None:
        calls = [{"index": at, **tool_call("weather", CITY, call=f"c{at}")} for at in range(2)]
        server.answers = [streamed(chunk(tool_calls=calls), finish="tool_calls")]
        *_, last = llm.stream_chat_with_tools(TOOLS, "Paris", allow_parallel_tool_calls=True)
        assert [each.tool_id for each in llm.get_tool_calls_from_response(last)] == ["c0", "c1"]

    def test_calls_without_an_id_get_different_ones(self, llm: Any, server: ScriptedServer) -> None:
        server.answers = [whole(answer("", tool_calls=[tool_call("weather", CITY, call="")] * 2))]
        response = llm.chat_with_tools(TOOLS, "Paris", allow_parallel_tool_calls=True)
        ids = [each.tool_id for each in llm.get_tool_calls_from_response(response)]
        assert all(ids)
        assert len(set(ids)) == 2

    def test_every_chunk_can_be_asked_for_calls(self, llm: Any, server: ScriptedServer) -> None:
        head, *rest = ("", '{"city": ', '"Paris"', "}")
        first = {"index": 0, **tool_call("weather", head)}
        pieces = [{"index": 0, "function": {"arguments": text}} for text in rest]
        server.answers = [streamed(*(chunk(tool_calls=[piece]) for piece in (first, *pieces)), finish="tool_calls")]
        found: list[Any] = []
        for response in llm.stream_chat_with_tools(TOOLS, "Paris"):
            found = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        assert [each.tool_kwargs for each in found] == [{"city": "Paris"}]

    def test_broken_arguments_are_not_guessed(self, llm: Any, server: ScriptedServer) -> None:
        server.answers = [whole(answer("", tool_calls=[tool_call("weather", '{"city": "Paris", "day":')]))]
        response = llm.chat_with_tools(TOOLS, "Paris")
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever the integration has
            llm.get_tool_calls_from_response(response)

    @pytest.mark.parametrize("method", ["predict_and_call", "apredict_and_call"])
    async def test_a_model_without_tools_calls_them_in_words(self, method: str, server: ScriptedServer) -> None:
        llm = self.make(server.base_url, is_function_calling=False)
        server.answers = [whole(answer(f"Thought: Well.\nAction: weather\nAction Input: {CITY}"))]
        assert str((await called(llm, method, TOOLS, "Paris"))[0]) == "It rains in Paris."

    # -- Agents --------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("streaming", [False, True])
    async def test_a_function_agent_calls_its_tool(self, streaming: bool, emulated: Any) -> None:
        agent: Any = FunctionAgent(llm=emulated, tools=TOOLS, streaming=streaming)
        assert "It rains in Paris." in str(await agent.run(user_msg="What is the weather in Paris?"))

    async def test_a_tools_picture_reaches_the_model(self, emulated: Any, minicpm_emulator: EmulatorServer) -> None:
        agent: Any = FunctionAgent(llm=emulated, tools=[FunctionTool.from_defaults(photo)], streaming=False)
        await agent.run(user_msg="Take a photo in Paris.")
        assert "data:image/png;base64," in json.dumps(minicpm_emulator.requests[-1].body)

    async def test_a_react_agent_sees_no_thoughts(self, llm: Any, server: ScriptedServer) -> None:
        text = "<think>Answer: no.</think>Thought: I can answer without using any more tools.\nAnswer: Yes."
        server.answers = [streamed(chunk(text))]
        agent: Any = ReActAgent(llm=llm, tools=TOOLS)
        handler = agent.run(user_msg="Well?")
        seen = [event async for event in handler.stream_events() if isinstance(event, AgentStream)]
        assert (str(await handler), bool(seen)) == ("Yes.", True)

    # -- Objects -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "method",
        ["structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict"],
    )
    @pytest.mark.parametrize("tools", [True, False])
    async def test_objects_keep_the_system_prompt_and_are_demanded(
        self, method: str, tools: bool, minicpm_emulator: EmulatorServer
    ) -> None:
        llm = self.make(minicpm_emulator.base_url, is_function_calling=tools, system_prompt="Be brief.")
        found = (await called(llm, method, City, PROMPT, text="The city is Paris."))[-1]
        assert found == City(city="Paris")
        body: Any = minicpm_emulator.requests[-1].body
        assert body["messages"][0]["role"] == "system"
        assert "Be brief." in json.dumps(body["messages"][0]["content"])
        assert "{{" not in json.dumps(body["messages"])
        if tools:
            assert "response_format" in body or body["tool_choice"] != "auto"

    @pytest.mark.parametrize("method", ["stream_complete", "astream_complete"])
    async def test_a_structured_llm_streams_completions(self, method: str, emulated: Any) -> None:
        responses = await called(emulated.as_structured_llm(City), method, "The city is Paris.")
        assert responses[-1].raw == City(city="Paris")

    # -- Blocks --------------------------------------------------------------------------------------------------------

    def test_a_picture_in_a_file_object_is_sent(self, llm: Any, server: ScriptedServer) -> None:
        llm.chat([user([ImageBlock(image=BytesIO(PICTURE))])])
        assert "data:image/png;base64," in json.dumps(sent(server)["messages"])

    def test_a_pictures_type_is_never_unknown(self, llm: Any, server: ScriptedServer, tmp_path: Any) -> None:
        file = tmp_path / "picture.unknown"
        file.write_bytes(PICTURE)
        llm.chat([user([ImageBlock(path=file)])])
        assert "data:image/png;base64," in json.dumps(sent(server)["messages"])

    def test_cache_points_in_the_history_do_no_harm(self, llm: Any, server: ScriptedServer) -> None:
        from llama_index.core.base.llms.types import CacheControl, CachePoint

        point = CachePoint(cache_control=CacheControl(type="ephemeral"))
        llm.chat([ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="Hello?"), point])])
        assert "Hello?" in json.dumps(sent(server)["messages"])

    # -- What is kept --------------------------------------------------------------------------------------------------

    def test_the_key_is_shown_nowhere(self, llm: Any) -> None:
        shown = [repr(llm), str(llm), json.dumps(llm.to_dict(), default=str), repr(pickle.dumps(llm))]
        assert [SECRET in each for each in shown] == [False] * 4

    def test_it_survives_a_pickle(self, llm: Any) -> None:
        assert pickle.loads(pickle.dumps(llm)).metadata == llm.metadata
