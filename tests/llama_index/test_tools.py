"""Tools: what is declared and demanded, what comes back, and what is done with broken calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.tools import FunctionTool

from llama_index_minicpm._responses import ChatReader
from minicpm_core import Delta, InvalidInputError, MalformedReplyError, ToolCallDelta, ToolCallError
from tests.llama_index.support import answer, sent, streamed, tool_call, user
from tests.support.server import ScriptedServer, chunk, whole

if TYPE_CHECKING:
    from llama_index_minicpm import MiniCPM


def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


def sub(a: int) -> int:
    """Negate a number."""
    return -a


NAMED = {"type": "function", "function": {"name": "add"}}
TOOLS = [FunctionTool.from_defaults(add), FunctionTool.from_defaults(sub)]


def call_chunks(*arguments: str, index: int = 0, call: str = "c1", name: str = "add") -> list[dict[str, Any]]:
    head = {"index": index, "id": call, "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": index, "function": {"arguments": text}} for text in arguments]
    return [chunk(tool_calls=[piece]) for piece in (head, *pieces)]


# -- What is sent ------------------------------------------------------------------------------------------------------


def test_tools_are_declared_in_the_chat_completions_form(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.chat_with_tools(TOOLS, "What is 1 + 2?")
    declared = sent(server)["tools"]
    assert [tool["function"]["name"] for tool in declared] == ["add", "sub"]
    assert declared[0]["function"]["parameters"]["required"] == ["a"]
    assert "Add two numbers." in declared[0]["function"]["description"]


@pytest.mark.parametrize(
    ("demand", "choice"),
    [
        ({}, None),
        ({"tool_required": True}, "required"),
        ({"tool_required": True, "tool_choice": None}, "required"),
        ({"tool_choice": "auto"}, "auto"),
        ({"tool_choice": "any"}, "required"),
        ({"tool_choice": "add"}, NAMED),
        (
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
            {"type": "function", "function": {"name": "add"}},
        ),
    ],
)
def test_a_demand_is_sent_and_no_demand_is_not(
    demand: dict[str, Any], choice: Any, llm: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [whole(answer(tool_calls=[tool_call()]))]
    llm.chat_with_tools(TOOLS, "What is 1 + 2?", **demand)
    body = sent(server)
    assert body.get("tool_choice") == choice
    assert "parallel_tool_calls" not in body
    assert None not in body.values()


def test_tools_that_may_not_be_called_are_not_declared(llm: MiniCPM, server: ScriptedServer) -> None:
    """What vLLM would do with a call is to drop it."""
    llm.chat_with_tools(TOOLS, "What is 1 + 2?", tool_choice="none")
    assert {"tools", "tool_choice"}.isdisjoint(sent(server))


@pytest.mark.parametrize("method", ["chat_with_tools", "stream_chat_with_tools"])
def test_a_demand_that_the_server_does_not_meet_is_an_error(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer("Three."))]
    with pytest.raises(ToolCallError, match="was to call a function and did not") as caught:
        list(getattr(llm, method)(TOOLS, "What is 1 + 2?", tool_required=True))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Three."


def test_without_tools_nothing_is_said_of_them(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.chat_with_tools([], "Hello?", tool_choice="auto")
    assert {"tools", "tool_choice", "parallel_tool_calls"}.isdisjoint(sent(server))


@pytest.mark.parametrize(
    ("tools", "demand", "message"),
    [
        (TOOLS, {"tool_choice": "divide"}, r"'divide' is neither .* \(given: add, sub\)"),
        ([], {"tool_required": True}, "no tools are given"),
        ([], {"tool_choice": "add"}, "given: none"),
    ],
)
def test_a_demand_that_cannot_be_met_is_refused(tools: Any, demand: Any, message: str, llm: MiniCPM) -> None:
    with pytest.raises(InvalidInputError, match=message):
        llm.chat_with_tools(tools, "What is 1 + 2?", **demand)


@pytest.mark.parametrize("message", ["And 3?", user("And 3?")])
def test_the_question_follows_the_history_which_is_not_changed(
    message: Any, llm: MiniCPM, server: ScriptedServer
) -> None:
    history = [user("What is 1 + 2?"), ChatMessage("3", role=MessageRole.ASSISTANT)]
    llm.chat_with_tools(TOOLS, message, chat_history=history)
    assert [turn["content"] for turn in sent(server)["messages"]] == ["What is 1 + 2?", "3", "And 3?"]
    assert len(history) == 2


def test_other_settings_go_with_the_call(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.chat_with_tools(TOOLS, "Go", temperature=0.25, parallel_tool_calls=False)
    assert (sent(server)["temperature"], sent(server)["parallel_tool_calls"]) == (0.25, False)


# -- What comes back ---------------------------------------------------------------------------------------------------


def test_calls_become_selections(llm: MiniCPM, server: ScriptedServer) -> None:
    calls = [tool_call(), tool_call("sub", '{"a": 5}', call="call_2")]
    server.answers = [whole(answer("", tool_calls=calls, finish="tool_calls"))]
    response = llm.chat_with_tools(TOOLS, "Go", allow_parallel_tool_calls=True)
    selections = llm.get_tool_calls_from_response(response)
    assert [(each.tool_id, each.tool_name, each.tool_kwargs) for each in selections] == [
        ("call_1", "add", {"a": 1, "b": 2}),
        ("call_2", "sub", {"a": 5}),
    ]


async def test_only_one_call_is_kept_where_parallel_ones_are_not_allowed(llm: MiniCPM, server: ScriptedServer) -> None:
    calls = [tool_call(), tool_call("sub", '{"a": 5}', call="call_2")]
    server.answers = [whole(answer("Well,", tool_calls=calls))]
    for response in (llm.chat_with_tools(TOOLS, "Go"), await llm.achat_with_tools(TOOLS, "Go")):
        assert [each.tool_name for each in llm.get_tool_calls_from_response(response)] == ["add"]
        assert response.message.content == "Well,"
        assert len(response.message.additional_kwargs["tool_calls"]) == 1


def test_calls_without_an_id_get_different_ones(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer("", tool_calls=[tool_call(call=""), tool_call(call="")]))]
    response = llm.chat_with_tools(TOOLS, "Go", allow_parallel_tool_calls=True)
    ids = [each.tool_id for each in llm.get_tool_calls_from_response(response)]
    assert all(ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize("arguments", ["", " ", "{}"])
def test_no_arguments_are_an_empty_object(arguments: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer("", tool_calls=[tool_call("add", arguments)]))]
    (selection,) = llm.get_tool_calls_from_response(llm.chat_with_tools(TOOLS, "Go"))
    assert selection.tool_kwargs == {}


@pytest.mark.parametrize("arguments", ['{"a": 42, "b":', "[1, 2]", "a = 1"])
async def test_broken_arguments_are_reported_and_never_guessed(
    arguments: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [
        whole(answer("", tool_calls=[tool_call("add", arguments)])),
        streamed(*call_chunks(*arguments), finish="tool_calls"),
    ]
    whole_response = llm.chat_with_tools(TOOLS, "Go")
    last_chunk = [each async for each in await llm.astream_chat_with_tools(TOOLS, "Go")][-1]
    for response in (whole_response, last_chunk):
        with pytest.raises(MalformedReplyError, match="'add' with arguments that are not a JSON object"):
            llm.get_tool_calls_from_response(response)


def test_an_answer_without_calls_is_an_error_only_on_request(llm: MiniCPM) -> None:
    response = llm.chat([user()])
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="called no tool"):
        llm.get_tool_calls_from_response(response)


def test_selections_are_the_callers_own(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer("", tool_calls=[tool_call()]))]
    response = llm.chat_with_tools(TOOLS, "Go")
    llm.get_tool_calls_from_response(response)[0].tool_kwargs["a"] = 99
    assert llm.get_tool_calls_from_response(response)[0].tool_kwargs == {"a": 1, "b": 2}


# -- Streams -----------------------------------------------------------------------------------------------------------


def test_a_streamed_call_can_be_read_at_every_chunk(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [streamed(*call_chunks('{"a": ', "1, ", '"b"', ": 2}"), finish="tool_calls")]
    read: list[Any] = []
    for response in llm.stream_chat_with_tools(TOOLS, "Go"):
        selections = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        read.append([(each.tool_id, each.tool_name, each.tool_kwargs) for each in selections])
    assert read[-1] == read[-2] == [("c1", "add", {"a": 1, "b": 2})]
    assert all(len(selections) == 1 for selections in read)


def test_parallel_streamed_calls_are_kept_apart(llm: MiniCPM, server: ScriptedServer) -> None:
    """Two pieces in one chunk, and indexes that alternate: the second is lost or merged elsewhere."""
    first = call_chunks('{"a"', ": 1}")
    second = call_chunks('{"a"', ": 2}", index=1, call="c2", name="sub")
    both = chunk(tool_calls=[each["choices"][0]["delta"]["tool_calls"][0] for each in (first[1], second[1])])
    server.answers = [streamed(first[0], second[0], both, second[2], first[2], finish="tool_calls")]
    *_, last = llm.stream_chat_with_tools(TOOLS, "Go", allow_parallel_tool_calls=True)
    selections = llm.get_tool_calls_from_response(last)
    assert [(each.tool_id, each.tool_kwargs) for each in selections] == [("c1", {"a": 1}), ("c2", {"a": 2})]


def test_reading_unfinished_arguments_costs_little_more_than_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not read from their beginning at every chunk, which would be quadratic."""
    from llama_index.core.llms import utils

    read = 0
    original = cast("Any", utils.parse_partial_json)  # pyright: ignore[reportUnknownMemberType]

    def counting(text: str) -> Any:
        nonlocal read
        read += len(text)
        return original(text)

    monkeypatch.setattr(utils, "parse_partial_json", counting)
    arguments = json.dumps({f"field_{number}": "value" * 5 for number in range(200)})
    reader = ChatReader()
    reader.read(Delta(tool_calls=(ToolCallDelta(0, "c1", "add", ""),)))
    for at in range(0, len(arguments), 4):
        reader.read(Delta(tool_calls=(ToolCallDelta(0, None, None, arguments[at : at + 4]),)))
    assert read < 15 * len(arguments)


# -- LlamaIndex's own helpers ------------------------------------------------------------------------------------------


async def test_predict_and_call_calls_the_tool(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole(answer("", tool_calls=[tool_call()]))]
    assert str(llm.predict_and_call(TOOLS, "What is 1 + 2?")) == "3"
    assert str(await llm.apredict_and_call(TOOLS, "What is 1 + 2?")) == "3"


def test_blocks_of_other_integrations_are_read() -> None:
    """A message that was made elsewhere may keep arguments as text."""
    from llama_index_minicpm._tools import tool_selections

    block = ToolCallBlock(tool_call_id=None, tool_name="add", tool_kwargs='{"a": 1}')
    (selection,) = tool_selections(ChatMessage(role=MessageRole.ASSISTANT, blocks=[block]))
    assert (selection.tool_id, selection.tool_kwargs) == ("add", {"a": 1})


@pytest.mark.parametrize("streaming", [False, True])
def test_arguments_that_were_repaired_are_marked(streaming: bool, llm: MiniCPM, server: ScriptedServer) -> None:
    slip = '{"a": 1, "b": 2,}'
    if streaming:
        server.answers = [streamed(*call_chunks(slip[:8], slip[8:-1], slip[-1:]))]
        *_, response = llm.stream_chat_with_tools(TOOLS, "What is 1 + 2?")
    else:
        server.answers = [whole(answer(tool_calls=[tool_call(arguments=slip)]))]
        response = llm.chat_with_tools(TOOLS, "What is 1 + 2?")
    (selection,) = llm.get_tool_calls_from_response(response)
    assert selection.tool_kwargs == {"a": 1, "b": 2}
    assert cast("Any", response.raw)["choices"][0]["repaired_tool_calls"] == [selection.tool_id]
