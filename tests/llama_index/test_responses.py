"""The core's answers as LlamaIndex's: messages, raw, counts, log probabilities, and the chunks of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import LogProb, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.callbacks.token_counting import get_tokens_from_response

from llama_index_minicpm._responses import ChatReader, CompletionReader, chat_response, completion_response
from minicpm_core import Choice, Completion, Delta, ToolCall, ToolCallDelta, Usage

USAGE = Usage(7, 5, 12, cached_tokens=4, reasoning_tokens=3)
CALL = ToolCall("c1", "add", '{"a": 1}')
LOGPROBS = {
    "content": [
        {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []},
        {
            "token": "!",
            "logprob": -0.2,
            "bytes": None,
            "top_logprobs": [
                {"token": "!", "logprob": -0.2, "bytes": [33]},
                {"token": "?", "logprob": -1.5, "bytes": [63]},
            ],
        },
    ]
}


def whole(**choice: Any) -> Completion:
    return Completion(
        choices=(Choice(finish_reason="stop", **choice),),
        usage=USAGE,
        model="m",
        id="id-1",
        request_id="req-1",
        created=1,
        extras={"system_fingerprint": "fp"},
    )


def kinds(blocks: list[Any]) -> list[str]:
    return [type(block).__name__ for block in blocks]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"text": "Hi!"}, ["TextBlock"]),
        ({"text": "Hi!", "reasoning": "hm"}, ["ThinkingBlock", "TextBlock"]),
        ({"text": ""}, ["TextBlock"]),
        ({"text": "", "tool_calls": (CALL,)}, ["ToolCallBlock"]),
        (
            {"text": "Now", "reasoning": "hm", "tool_calls": (CALL, CALL)},
            ["ThinkingBlock", "TextBlock", *["ToolCallBlock"] * 2],
        ),
    ],
)
def test_an_answer_has_a_block_for_each_thing_in_it(choice: dict[str, Any], expected: list[str]) -> None:
    assert kinds(chat_response(whole(**choice)).message.blocks) == expected


def test_text_is_the_content_and_thoughts_are_not() -> None:
    message = chat_response(whole(text="Hi!", reasoning="hm")).message
    assert message.content == "Hi!"
    assert message.blocks[0] == ThinkingBlock(content="hm", num_tokens=3)


def test_an_empty_answer_has_empty_content() -> None:
    assert chat_response(whole(text="")).message.content == ""


def test_calls_are_blocks_with_parsed_arguments_and_json_beside() -> None:
    message = chat_response(whole(tool_calls=(CALL,))).message
    assert message.blocks == [ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": 1})]
    assert message.additional_kwargs == {
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    }


@pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", "add(1)"])
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    (block,) = chat_response(whole(tool_calls=(ToolCall("c1", "add", arguments),))).message.blocks
    assert isinstance(block, ToolCallBlock)
    assert block.tool_kwargs == arguments


def test_a_refusal_is_kept() -> None:
    assert chat_response(whole(refusal="No.")).message.additional_kwargs == {"refusal": "No."}


def test_additional_kwargs_of_a_plain_answer_are_empty() -> None:
    """LlamaIndex's memory counts them as tokens of the conversation."""
    assert chat_response(whole(text="Hi!", reasoning="hm")).message.additional_kwargs == {}


def test_raw_is_plain_and_has_everything_that_the_server_said() -> None:
    raw = chat_response(whole(text="Hi!", reasoning="hm", extras={"stop_reason": 1})).raw
    assert json.loads(json.dumps(raw)) == {
        "id": "id-1",
        "model": "m",
        "created": 1,
        "request_id": "req-1",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi!", "reasoning": "hm"},
                "finish_reason": "stop",
                "stop_reason": 1,
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 5,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }


def test_raw_has_all_choices_and_the_message_the_first() -> None:
    response = chat_response(Completion((Choice(0, "a"), Choice(1, "b"))))
    assert response.message.content == "a"
    assert response.raw is not None
    assert [choice["message"]["content"] for choice in response.raw["choices"]] == ["a", "b"]


def test_a_promoted_answer_is_marked() -> None:
    raw = chat_response(whole(text="Hi!", reasoning_promoted=True)).raw
    assert raw is not None
    assert raw["choices"][0]["reasoning_promoted"] is True


@pytest.mark.parametrize("make", [chat_response, completion_response])
def test_counts_are_where_llamaindex_looks_for_them(make: Any) -> None:
    response = make(whole(text="Hi!"))
    assert get_tokens_from_response(response) == (7, 5)
    assert response.additional_kwargs == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


@pytest.mark.parametrize("make", [chat_response, completion_response])
def test_an_answer_without_usage_says_nothing_of_it(make: Any) -> None:
    response = make(Completion((Choice(text="Hi!"),)))
    assert response.additional_kwargs == {}
    assert "usage" not in response.raw
    assert get_tokens_from_response(response) == (0, 0)


@pytest.mark.parametrize("make", [chat_response, completion_response])
def test_log_probabilities_are_lists_of_candidates(make: Any) -> None:
    assert make(whole(text="Hi!", logprobs=LOGPROBS)).logprobs == [
        [LogProb(token="Hi", logprob=-0.1, bytes=[72, 105])],
        [LogProb(token="!", logprob=-0.2, bytes=[33]), LogProb(token="?", logprob=-1.5, bytes=[63])],
    ]


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"tokens": ["a"]},
        {"content": [None]},
        {"content": [{"logprob": -0.1}]},
        {"content": [{"token": "a", "logprob": None}]},
        {"content": [{"token": "a", "logprob": -0.1, "bytes": ["x"]}]},
        {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": True}]},
        {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": [None]}]},
    ],
)
def test_log_probabilities_of_no_known_shape_are_left_in_raw(logprobs: dict[str, Any] | None) -> None:
    response = chat_response(whole(text="Hi!", logprobs=logprobs))
    assert response.logprobs is None
    assert response.raw is not None
    assert response.raw["choices"][0].get("logprobs") == logprobs


def test_a_completion_is_the_text_alone() -> None:
    response = completion_response(whole(text="Hi!", reasoning="hm"))
    assert (response.text, str(response)) == ("Hi!", "Hi!")
    assert response.raw is not None
    assert response.raw["choices"][0]["message"]["reasoning"] == "hm"


# -- Streams ---------------------------------------------------------------------------------------------------------


def read(reader: Any, *deltas: Delta) -> list[Any]:
    return [response for response in map(reader.read, deltas) if response is not None]


THOUGHT = (Delta(reasoning="h"), Delta(reasoning="m"), Delta("Hi"), Delta("!"))
FINAL = Delta(final=whole(text="Hi!", reasoning="hm"))


def test_chunks_carry_what_is_new_and_all_so_far() -> None:
    chunks = read(ChatReader(), *THOUGHT, FINAL)
    assert [chunk.delta for chunk in chunks] == ["", "", "Hi", "!", ""]
    assert [chunk.message.content for chunk in chunks] == ["", "", "Hi", "Hi!", "Hi!"]
    assert {chunk.message.role.value for chunk in chunks} == {"assistant"}


def test_thoughts_come_in_their_own_chunks_and_only_there() -> None:
    chunks = read(ChatReader(), *THOUGHT, FINAL)
    assert [chunk.additional_kwargs.get("thinking_delta") for chunk in chunks] == ["h", "m", None, None, None]
    assert ["thinking_delta" in chunk.additional_kwargs for chunk in chunks] == [True, True, False, False, False]


def test_the_last_chunk_has_the_whole_answer_and_the_only_raw() -> None:
    chunks = read(ChatReader(), *THOUGHT, FINAL)
    assert FINAL.final is not None
    assert chunks[-1] == chat_response(FINAL.final, delta="")
    assert [chunk.raw is None for chunk in chunks] == [True, True, True, True, False]
    assert kinds(chunks[-1].message.blocks) == ["ThinkingBlock", "TextBlock"]


def test_a_thought_and_text_in_one_delta_are_both_there() -> None:
    (chunk,) = read(ChatReader(), Delta("Hi", "hm"))
    assert (chunk.delta, chunk.additional_kwargs) == ("Hi", {"thinking_delta": "hm"})


@pytest.mark.parametrize("reader", [ChatReader, CompletionReader])
def test_other_choices_are_not_mixed_into_the_first(reader: Any) -> None:
    chunks = read(reader(), Delta("a"), Delta("b", index=1), Delta("c"))
    assert [chunk.delta for chunk in chunks] == ["a", "c"]
    assert str(chunks[-1]).endswith("ac")


@pytest.mark.parametrize("reader", [ChatReader, CompletionReader])
def test_log_probabilities_come_with_their_chunk(reader: Any) -> None:
    (chunk,) = read(reader(), Delta("Hi!", logprobs=LOGPROBS))
    assert [len(candidates) for candidates in chunk.logprobs] == [1, 2]


def test_chunks_are_kept_apart() -> None:
    """A caller who changes one, or keeps them all, sees what each was when it came."""
    chunks = read(ChatReader(), Delta("a"), Delta("b"))
    chunks[0].message.blocks.append(TextBlock(text="mine"))
    assert chunks[1].message.content == "ab"


def test_completion_chunks_carry_text_so_far_and_thoughts_aside() -> None:
    chunks = read(CompletionReader(), *THOUGHT, FINAL)
    assert [chunk.text for chunk in chunks] == ["", "", "Hi", "Hi!", "Hi!"]
    assert [chunk.delta for chunk in chunks] == ["", "", "Hi", "!", ""]
    assert [chunk.additional_kwargs.get("thinking_delta") for chunk in chunks] == ["h", "m", None, None, None]
    assert get_tokens_from_response(chunks[-1]) == (7, 5)


def test_calls_grow_chunk_by_chunk() -> None:
    pieces = [
        Delta(tool_calls=(ToolCallDelta(0, "c1", "add", ""),)),
        Delta(tool_calls=(ToolCallDelta(0, None, None, '{"a": '), ToolCallDelta(1, "c2", "sub", "{"))),
        Delta(tool_calls=(ToolCallDelta(1, None, None, "}"), ToolCallDelta(0, None, None, "1}"))),
        Delta("Done"),
    ]
    chunks = read(ChatReader(), *pieces)
    texts = [
        [call["function"]["arguments"] for call in chunk.message.additional_kwargs["tool_calls"]] for chunk in chunks
    ]
    assert texts == [[""], ['{"a": ', "{"], ['{"a": 1}', "{}"], ['{"a": 1}', "{}"]]
    assert [kinds(chunk.message.blocks) for chunk in chunks] == [
        ["ToolCallBlock"],
        ["ToolCallBlock", "ToolCallBlock"],
        ["ToolCallBlock", "ToolCallBlock"],
        ["TextBlock", "ToolCallBlock", "ToolCallBlock"],
    ]
    assert [block.tool_kwargs for block in chunks[2].message.blocks] == [{"a": 1}, {}]


def test_a_call_without_a_name_yet_is_not_shown() -> None:
    (chunk,) = read(ChatReader(), Delta(tool_calls=(ToolCallDelta(0, "c1", None, '{"a"'),)))
    assert kinds(chunk.message.blocks) == []
    assert chunk.message.additional_kwargs == {"tool_calls": []}
