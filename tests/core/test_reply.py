"""A whole reply: what its fields may look like, and what comes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minicpm_core.errors import APIError, APIStatusError, MalformedReplyError, ServerError
from minicpm_core.protocol.reply import ReplyContext, parse_completion, parse_models, parse_usage
from minicpm_core.types import Choice, Completion, ModelInfo, Usage
from tests.core.support import PLAIN, THINKING

_STOP = "stop"


def _parse(body: Any, *, context: ReplyContext = PLAIN, headers: dict[str, str] | None = None) -> Completion:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_completion(200, headers or {}, data, context)


def _choice(message: Any, *, context: ReplyContext = PLAIN, finish: Any = _STOP, **more: Any) -> Choice:
    completion = _parse({"choices": [{"message": message, "finish_reason": finish, **more}]}, context=context)
    return completion.choices[0]


def test_the_plain_case() -> None:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "system_fingerprint": "f",
        "service_tier": None,
    }
    assert _parse(body, headers={"x-request-id": "req-1"}) == Completion(
        choices=(Choice(text="Hello.", finish_reason="stop"),),
        usage=Usage(3, 2, 5),
        model="m",
        id="chatcmpl-1",
        request_id="req-1",
        created=7,
        extras={"system_fingerprint": "f"},
    )


def test_a_completion_gives_its_first_choice() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    completion = _parse(
        {"choices": [{"message": {"content": "b", "reasoning": "a", "tool_calls": [call]}}]}, context=THINKING
    )
    assert (completion.text, completion.reasoning, completion.finish_reason) == ("b", "a", None)
    assert completion.tool_calls == completion.choices[0].tool_calls


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ("Hello.", "Hello."),
        ([], ""),
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}], "Hello."),
        (["Hel", {"type": "text", "text": None}, {"type": "image_url"}, None, {"text": "lo."}], "Hello."),
    ],
)
def test_content_is_null_text_or_parts(content: Any, text: str) -> None:
    assert _choice({"content": content}).text == text


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"message": None},
        {"message": "hello"},
        {"text": "x"},
        {"message": {"content": 5}},
        {"message": {"content": {}}},
    ],
)
def test_an_answer_that_cannot_be_read_is_no_empty_answer(choice: Any) -> None:
    with pytest.raises(MalformedReplyError, match="without a message that can be read"):
        _parse({"choices": [choice]})


def test_a_key_echoed_in_a_header_is_not_in_the_request_id() -> None:
    context = ReplyContext(secrets=("sk-secret-key-1234",))
    answer = {"choices": [{"message": {"content": "a"}}]}
    completion = _parse(answer, context=context, headers={"x-request-id": "req-sk-secret-key-1234"})
    assert completion.request_id == "req-**********"
    with pytest.raises(APIStatusError) as raised:
        _parse({"error": {"message": "x"}}, context=context, headers={"x-request-id": "sk-secret-key-1234"})
    assert raised.value.request_id == "**********"


@pytest.mark.parametrize("front", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b" \r\n"])
def test_white_space_and_a_mark_around_the_body_do_no_harm(front: bytes, end: bytes) -> None:
    """Proxies that keep a connection open while a model works write blanks first."""
    assert _parse(front + b'{"choices": [{"message": {"content": "a"}}]}' + end).text == "a"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_comes_by_either_name(field: str) -> None:
    choice = _choice({"content": "\n\nYes.", field: "Hm.\n"}, context=THINKING)
    assert (choice.reasoning, choice.text) == ("Hm.", "Yes.")


def test_reasoning_under_both_names_counts_once() -> None:
    message = {"content": "a", "reasoning": "Hm.", "reasoning_content": "Hm."}
    assert _choice(message, context=THINKING).reasoning == "Hm."


@pytest.mark.parametrize("content", [None, "", "\n\n", " "])
def test_reasoning_is_promoted_where_thinking_was_off_and_there_is_nothing_else(content: str | None) -> None:
    choice = _choice({"content": content, "reasoning": "Hello."})
    assert choice == Choice(text="Hello.", finish_reason="stop", reasoning_promoted=True)


def test_reasoning_is_not_promoted_otherwise() -> None:
    call = [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]
    for choice in (
        _choice({"content": None, "reasoning": "Hm."}, context=THINKING),
        _choice({"content": None, "reasoning": "Hm."}, finish="length"),
        _choice({"content": None, "reasoning": "Hm.", "tool_calls": call}, finish="tool_calls"),
        _choice({"content": "Yes.", "reasoning": "Hm."}),
        _choice({"content": "<think>Hm.</think>"}),
    ):
        assert choice.reasoning == "Hm."
        assert not choice.reasoning_promoted


def test_calls_without_text_have_none() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    choice = _choice({"content": "\n ", "tool_calls": [call, None, "x"]}, finish="tool_calls")
    assert choice.text == ""
    (made,) = choice.tool_calls
    assert (made.name, made.arguments) == ("f", '{"a": 1}')
    assert made.id.startswith("call_")


def test_text_beside_calls_is_kept() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert _choice({"content": "Look.\n", "tool_calls": [call]}).text == "Look.\n"


def test_choices_are_in_the_order_of_their_index() -> None:
    rows = [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]
    assert [choice.text for choice in _parse({"choices": rows}).choices] == ["a", "b"]
    rows = [{"message": {"content": "a"}}, {"index": None, "message": {"content": "b"}}]
    assert [(choice.index, choice.text) for choice in _parse({"choices": rows}).choices] == [(0, "a"), (1, "b")]


def test_what_has_no_place_of_its_own_is_kept() -> None:
    message = {"content": "a", "annotations": [1], "audio": None, "function_call": {"name": "f"}}
    choice = _choice(message, stop_reason="5", token_ids=None)
    assert choice.extras == {"stop_reason": "5", "annotations": [1], "function_call": {"name": "f"}}


def test_log_probabilities_and_refusals_are_kept() -> None:
    choice = _choice({"content": None, "refusal": "No."}, logprobs={"content": [1]})
    assert choice.logprobs == {"content": [1]}
    assert choice.refusal == "No."


def test_halves_of_surrogate_pairs_do_not_reach_the_caller() -> None:
    """They can be neither printed nor sent back."""
    assert _choice({"content": "a\ud83d b \ud83d\ude42"}).text == "a\ufffd b 🙂"
    assert _choice({"content": "x", "reasoning": "\udc00"}, context=THINKING).reasoning == "\ufffd"


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, Usage(3, 2, 5)),
        ({"prompt_tokens": 3, "completion_tokens": 2}, Usage(3, 2, 5)),
        ({"prompt_tokens": 3}, Usage(3, 0, 3)),
        ({"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 9}, Usage(3, 0, 9)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            Usage(3, 2, 5, 1, 0),
        ),
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(3, 2, 5)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "reasoning_tokens": 1}, Usage(3, 2, 5, None, 1)),
        ({"prompt_tokens": True, "completion_tokens": "2"}, Usage(0, 2, 2)),
        (None, None),
        ({}, None),
        ([], None),
        ("5", None),
        ({"prompt_tokens": "many"}, None),
    ],
)
def test_usage_of_every_server(raw: Any, usage: Usage | None) -> None:
    assert parse_usage(raw) == usage


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"", MalformedReplyError, "an empty body"),
        (b" \n", MalformedReplyError, "an empty body"),
        (b"<!doctype html><title>502</title>", MalformedReplyError, "an HTML page, as a proxy or a wrong base_url"),
        (b"<?xml version='1.0'?>", MalformedReplyError, "an HTML page"),
        (b'{"choices": [{"mess', MalformedReplyError, "JSON that is cut or broken"),
        (b"{malformed json: <<<chaos>>>", MalformedReplyError, "JSON that is cut or broken"),
        (b'{"a": 1} trailing', MalformedReplyError, "JSON that is cut or broken"),
        (b"upstream error", MalformedReplyError, "something that is not JSON: upstream error."),
        (b"\xff\xfe{}", MalformedReplyError, "something that is not JSON"),
        (b"data: {}\n\n", MalformedReplyError, "an event stream, which was not asked for"),
        (b"[]", MalformedReplyError, "JSON that is not an object"),
        (b"null", MalformedReplyError, "JSON that is not an object"),
        (b"{}", MalformedReplyError, "an answer without choices"),
        (b'{"choices": []}', MalformedReplyError, "an answer without choices"),
        (b'{"choices": null}', MalformedReplyError, "an answer without choices"),
        (b'{"choices": ["text"]}', MalformedReplyError, "an answer without choices"),
        (b'{"n": ' + b"9" * 5000 + b"}", MalformedReplyError, "JSON that is cut or broken"),
        (b'{"error": {"message": "Boom", "code": 500}}', ServerError, "Boom"),
        (b'{"error": "Boom"}', APIStatusError, "Boom"),
        (b'{"error": {"message": "Boom"}, "choices": [{"message": {"content": "a"}}]}', APIStatusError, "Boom"),
    ],
)
def test_an_answer_that_is_none_says_what_it_is(body: bytes, kind: type[APIError], says: str) -> None:
    with pytest.raises(APIError) as caught:
        _parse(body, headers={"x-request-id": "req-1"})
    assert type(caught.value) is kind
    assert says in caught.value.message
    assert caught.value.request_id == "req-1"


@pytest.mark.parametrize("none", [None, {}, "", [], 0, False])
def test_an_error_that_is_none_is_no_error(none: Any) -> None:
    assert _parse({"error": none, "choices": [{"message": {"content": "a"}}]}).text == "a"


def test_a_page_is_known_by_its_header_too() -> None:
    with pytest.raises(MalformedReplyError, match="an HTML page"):
        _parse(b"Sign in to continue", headers={"content-type": "text/html; charset=utf-8"})


def test_a_malformed_reply_shows_where_it_begins() -> None:
    with pytest.raises(MalformedReplyError) as caught:
        _parse(b"<html>" + b"x " * 5000)
    assert caught.value.status_code == 200
    assert caught.value.body.startswith("<html>x x")
    assert len(caught.value.message) < 700


# --- Models ----------------------------------------------------------------------------------------------------------


def test_models_of_every_server() -> None:
    vllm = {"id": "a", "owned_by": "vllm", "max_model_len": 2048}
    llama = {"id": "b", "owned_by": "llamacpp", "meta": {"n_ctx": 2048, "n_ctx_train": 8192}}
    older = {"id": "c", "meta": {"n_ctx_train": 8192}}
    plain = {"id": "d", "owned_by": None, "meta": None}
    rows = parse_models(json.dumps({"object": "list", "data": [vllm, llama, older, plain, "noise"]}).encode())
    assert rows == [
        ModelInfo("a", "vllm", 2048, vllm),
        ModelInfo("b", "llamacpp", 2048, llama),
        ModelInfo("c", None, 8192, older),
        ModelInfo("d", None, None, plain),
    ]


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"data": null}', b'{"data": {}}', b'{"detail": "Not Found"}', b"null"]
)
def test_an_answer_without_models_has_none(body: bytes) -> None:
    assert parse_models(body) == []


def test_a_list_of_models_that_is_no_json_is_none() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        parse_models(b"<html>")
