"""What answers become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration

from tests.langchain.conftest import USAGE
from tests.support.server import completion, whole

if TYPE_CHECKING:
    from langchain_minicpm import ChatMiniCPM
    from tests.support.server import ScriptedServer


def answer(model: ChatMiniCPM, server: ScriptedServer, message: dict[str, Any], **more: Any) -> AIMessage:
    """The message that an answer of the server becomes."""
    finish = more.pop("finish_reason", "stop")
    extras = more.pop("choice", {})
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **extras}]
    server.answers[:] = [whole(completion(choices=choices, **more), headers={"x-request-id": "req-1"})]
    return model.invoke("Hello")


def call(name: str = "look", arguments: Any = '{"a": 1}', number: int = 1) -> dict[str, Any]:
    return {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_text_metadata_and_usage(model: ChatMiniCPM, server: ScriptedServer) -> None:
    got = answer(model, server, {"content": "Hi."}, usage=USAGE, system_fingerprint="fp")
    assert got.content == "Hi."
    assert got.response_metadata == {
        "finish_reason": "stop",
        "model_name": "MiniCPM-V-4.6-1B",
        "model_provider": "minicpm",
        "id": "chatcmpl-1",
        "request_id": "req-1",
        "created": 1,
        "system_fingerprint": "fp",
    }
    assert got.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 4,
        "total_tokens": 13,
        "input_token_details": {"cache_read": 2},
        "output_token_details": {"reasoning": 1},
    }
    assert got.id
    assert got.id.startswith("lc_run"), "a server that repeats an id must not make LangGraph replace messages"


def test_a_server_that_says_little(model: ChatMiniCPM, server: ScriptedServer) -> None:
    """The model's name is known even so, or LangChain's usage callback would drop the counts."""
    server.answers[:] = [whole({"choices": [{"message": {"content": "Hi."}}]})]
    got = model.invoke("Hello", model="another")
    assert got.response_metadata == {"model_name": "another", "model_provider": "minicpm"}
    assert got.usage_metadata is None


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_a_block_of_its_own(model: ChatMiniCPM, server: ScriptedServer, name: str) -> None:
    model.thinking = True
    got = answer(model, server, {"content": "Hi.", name: "Hm."})
    assert got.content == "Hi."
    assert got.additional_kwargs == {"reasoning_content": "Hm."}
    blocks = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Hi."}]
    assert got.content_blocks == blocks
    model.output_version = "v1"
    assert answer(model, server, {"content": "Hi.", name: "Hm."}).content == blocks


def test_reasoning_in_place_of_the_answer_is_promoted_and_flagged(model: ChatMiniCPM, server: ScriptedServer) -> None:
    got = answer(model, server, {"content": None, "reasoning": "Hi."})
    assert got.content == "Hi."
    assert got.response_metadata["reasoning_promoted"] is True


def test_tool_calls(model: ChatMiniCPM, server: ScriptedServer) -> None:
    calls = [call(), call("listen", "", 2), call("wait", {"s": 1}, 3)]
    got = answer(model, server, {"content": None, "tool_calls": calls}, finish_reason="tool_calls")
    assert got.content == ""
    assert [(each["name"], each["args"], each["id"]) for each in got.tool_calls] == [
        ("look", {"a": 1}, "call-1"),
        ("listen", {}, "call-2"),
        ("wait", {"s": 1}, "call-3"),
    ]
    assert [block["type"] for block in got.content_blocks] == ["tool_call"] * 3


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "null", "not JSON"])
def test_arguments_that_are_no_object_are_an_invalid_call(
    model: ChatMiniCPM, server: ScriptedServer, arguments: str
) -> None:
    got = answer(model, server, {"content": "", "tool_calls": [call(arguments=arguments)]}, finish_reason="length")
    assert got.tool_calls == []
    assert [(each["name"], each["args"], each["id"]) for each in got.invalid_tool_calls] == [
        ("look", arguments, "call-1")
    ]
    assert [block["type"] for block in got.content_blocks] == ["invalid_tool_call"]


def test_a_refusal_is_a_block(model: ChatMiniCPM, server: ScriptedServer) -> None:
    got = answer(model, server, {"content": None, "refusal": "No."})
    assert got.content_blocks == [{"type": "refusal", "refusal": "No."}]


def test_logprobs_are_in_the_metadata(model: ChatMiniCPM, server: ScriptedServer) -> None:
    logprobs: dict[str, Any] = {"content": [{"token": "Hi", "logprob": -0.1, "top_logprobs": []}]}
    got = answer(model, server, {"content": "Hi"}, choice={"logprobs": logprobs})
    assert got.response_metadata["logprobs"] == logprobs


def test_several_answers_are_several_generations_and_usage_is_counted_once(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    choices = [{"index": n, "message": {"content": f"Hi {n}."}, "finish_reason": "stop"} for n in range(2)]
    server.answers[:] = [whole(completion(choices=choices))]
    result = model.generate([[HumanMessage("Hello")]], n=2)
    first, second = result.generations[0]
    assert (first.text, second.text) == ("Hi 0.", "Hi 1.")
    assert isinstance(first, ChatGeneration)
    assert isinstance(second, ChatGeneration)
    assert isinstance(first.message, AIMessage)
    assert isinstance(second.message, AIMessage)
    assert first.message.usage_metadata is not None
    assert second.message.usage_metadata is None
    assert server.requests[-1].json["n"] == 2


def test_an_answer_holds_json_alone(model: ChatMiniCPM, server: ScriptedServer) -> None:
    """Objects in messages break their storage."""
    got = answer(model, server, {"content": "Hi.", "tool_calls": [call()]}, usage=USAGE, timings={"ms": 1.5})
    assert json.loads(got.model_dump_json())["response_metadata"]["timings"] == {"ms": 1.5}


def test_the_blocks_of_a_stored_answer_name_each_call_once() -> None:
    call_block: dict[Any, Any] = {"type": "tool_call", "id": "1", "name": "f", "args": {}}
    stored = AIMessage(
        content=[call_block, "Hi."],
        tool_calls=[{"id": "1", "name": "f", "args": {}}],
        response_metadata={"model_provider": "minicpm"},
    )
    assert [block["type"] for block in stored.content_blocks] == ["tool_call", "text"]


def test_the_blocks_of_a_piece_keep_calls_apart_from_text() -> None:
    """Blocks with equal indices are merged, and text has one too."""
    piece = AIMessageChunk(
        content="Hi.",
        tool_call_chunks=[{"type": "tool_call_chunk", "id": "1", "name": "f", "args": "{", "index": 0}],
        response_metadata={"model_provider": "minicpm"},
    )
    assert piece.content_blocks == [
        {"type": "text", "text": "Hi."},
        {"type": "tool_call_chunk", "id": "1", "name": "f", "args": "{", "index": "lc_tool_0"},
    ]
