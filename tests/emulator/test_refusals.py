"""What a server would refuse is refused, in that server's words."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from PIL import Image

from minicpm_core.emulator import DIALECTS
from minicpm_core.emulator.refusals import Kind, Refusal, worded
from tests.emulator.support import INSTRUCT, data_url, plain, shape, shown, tool

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.emulator.conftest import AskerFactory
    from tests.emulator.support import Asker

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded/errors.json").read_text(encoding="utf-8"))
USER = {"role": "user", "content": "Say hello."}
PNG = plain("red")
TRUNCATED = f"data:image/png;base64,{base64.b64encode(base64.b64decode(PNG.split(',')[1])[:60]).decode()}"


def raw(body: bytes) -> Callable[[Asker], httpx.Response]:
    return lambda asker: asker.http.post(
        "/chat/completions", content=body, headers={"content-type": "application/json"}
    )


def asked(messages: Any, **fields: Any) -> Callable[[Asker], httpx.Response]:
    return lambda asker: asker.post(messages, **fields)


def pictured(url: Any) -> Callable[[Asker], httpx.Response]:
    return asked([{"role": "user", "content": [{"type": "image_url", "image_url": url}]}])


CASES: dict[str, Callable[[Asker], httpx.Response]] = {
    "json": raw(b'{"model": "x", "messages": ['),
    "json_notobject": raw(b"[1,2]"),
    "messages_missing": lambda asker: asker.http.post("/chat/completions", json={"model": INSTRUCT}),
    "type_model": asked("x", model=5),
    "unknown_field": asked("x", banana=1),
    "image_base64": pictured({"url": "data:image/png;base64,@@@not-base64@@@"}),
    "image_bytes": pictured({"url": "data:image/png;base64,dGhpcyBpcyBub3QgYSBwbmc="}),
    "image_truncated": pictured({"url": TRUNCATED}),
    "image_noscheme": pictured({"url": "cat.png"}),
    "audio": asked(
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]
    ),
    "context": asked("word " * 3000),
    "max_tokens_neg": asked("x", max_tokens=-1),
    "path": lambda asker: asker.http.post("/nowhere", json={}),
    "method": lambda asker: asker.http.get("/chat/completions"),
}
SAME_BODY = {
    ("vllm", "json"), ("vllm", "image_base64"), ("vllm", "image_bytes"), ("vllm", "image_noscheme"), ("vllm", "audio"),
    ("vllm", "max_tokens_neg"), ("vllm", "path"), ("vllm", "method"), ("vllm", "type_model"),
    ("llamacpp", "json_notobject"), ("llamacpp", "messages_missing"), ("llamacpp", "image_base64"),
    ("llamacpp", "image_bytes"), ("llamacpp", "image_truncated"), ("llamacpp", "path"), ("llamacpp", "method"),
    ("llamacpp", "audio"), ("transformers", "json"), ("transformers", "unknown_field"), ("transformers", "path"),
    ("transformers", "method"), ("transformers", "image_bytes"), ("transformers", "messages_missing"),
}  # fmt: skip
"""Where not even the words may differ."""


@pytest.mark.parametrize(
    ("dialect", "case"),
    [
        (dialect, case)
        for dialect in RECORDED
        for case in CASES
        if case in RECORDED[dialect] and (dialect, case) != ("transformers", "type_model")  # it takes 5 for a name
    ],
)
def test_a_refusal_is_the_one_that_was_recorded(asker_of: AskerFactory, dialect: str, case: str) -> None:
    expected = RECORDED[dialect][case]
    response = CASES[case](asker_of(dialect=dialect, context=2048))
    is_json = response.headers["content-type"].startswith("application/json")
    body: Any = response.json() if is_json else response.text
    assert response.status_code == expected["status"]
    if (dialect, case) in SAME_BODY:
        assert body == expected["body"]
    elif not isinstance(expected["body"], str) and case != "json_notobject":
        assert shape(body) == shape(expected["body"])


TEMPLATE = {
    "Unexpected message role.": [{"role": "wizard", "content": "x"}, USER],
    "System message must be at the beginning.": [USER, {"role": "system", "content": "x"}],
    "No user query found in messages.": [{"role": "system", "content": "x"}],
    "Cannot apply chat template to an empty conversation.": [],
    "System message cannot contain images.": [{**shown("x", PNG), "role": "system"}, USER],
    "Unexpected item type in content.": [{"role": "user", "content": [{"type": "hologram"}]}],
    "Can only get item pairs from a mapping.": [
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "[1]"}}],
        },
    ],
}


@pytest.mark.parametrize("words", TEMPLATE)
@pytest.mark.parametrize(("dialect", "status"), [("vllm", 400), ("modelbest", 400), ("llamacpp", 500), ("ollama", 400)])
def test_what_the_template_refuses_is_refused_in_its_words(
    asker_of: AskerFactory, dialect: str, status: int, words: str
) -> None:
    response = asker_of(dialect=dialect).post(TEMPLATE[words])
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


@pytest.mark.parametrize("words", TEMPLATE)
def test_transformers_says_nothing_of_what_the_template_refuses(asker_of: AskerFactory, words: str) -> None:
    response = asker_of(dialect="transformers").post(TEMPLATE[words])
    assert (response.status_code, response.text) == (500, "Internal Server Error")


def call(**changes: Any) -> dict[str, Any]:
    """An assistant's turn with a call in which something is changed."""
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}, **changes}],
    }


@pytest.mark.parametrize(
    "messages",
    [
        ["a", "text"],
        [5],
        [{"content": "no role"}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": ["text"]}],
        [{"role": "user", "content": [{"type": "text", "text": None}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": PNG}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": None}}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": None}}]}],
        [{**USER, "name": None}],
        [{**USER, "name": 5}],
        [USER, {"role": "assistant", "content": "x", "tool_calls": None}],
        [USER, {"role": "assistant", "content": "x", "tool_calls": "x"}],
        [USER, {"role": "assistant", "content": "x", "reasoning": None}],
        [USER, {"role": "tool", "content": "x", "tool_call_id": 5}],
        [USER, call(function=None)],
        [USER, call(id=None)],
        [USER, call(function={"name": "f", "arguments": {}})],
        [USER, call(function={"name": "f", "arguments": ""})],
    ],
)
def test_messages_have_their_types_and_no_nulls(asker: Asker, messages: Any) -> None:
    response = asker.post(messages)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == 400


BAD_FIELDS: list[dict[str, Any]] = [
    {"temperature": "hot"},
    {"temperature": True},
    {"temperature": 2.5},
    {"top_p": 0},
    {"max_tokens": 0},
    {"max_tokens": 1.5},
    {"max_tokens": 10**9},
    {"n": 0},
    {"n": 2, "temperature": 0},
    {"n": 1000},
    {"seed": 2**63},
    {"presence_penalty": 3},
    {"stop": 5},
    {"stop": ["a", 5]},
    {"stream": "yes"},
    {"stream_options": {"include_usage": True}},
    {"logprobs": 1},
    {"top_logprobs": 21},
    {"tools": "x"},
    {"tools": []},
    {"tools": [{"type": "function"}]},
    {"tools": [{"type": "function", "function": {"name": 5}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
    {"tool_choice": "auto"},
    {"tools": [tool("f")], "tool_choice": "g"},
    {"tools": [tool("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}},
    {"response_format": {"type": "yaml"}},
    {"response_format": {"type": "json_schema"}},
    {"response_format": "json"},
    {"chat_template_kwargs": "x"},
    {"messages": "hello"},
]


@pytest.mark.parametrize("fields", BAD_FIELDS)
def test_fields_have_their_types_and_ranges(asker: Asker, fields: dict[str, Any]) -> None:
    response = asker.http.post("/chat/completions", json={"model": INSTRUCT, "messages": [USER], **fields})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["message"]
    assert error["type"] in {"BadRequestError", "Bad Request"}


def test_a_field_that_is_null_is_not_set(asker: Asker) -> None:
    nulls = dict.fromkeys(["stop", "top_p", "tools", "tool_choice", "response_format", "stream_options", "n", "seed"])
    assert asker.post("x", **nulls).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(asker: Asker, body: bytes) -> None:
    response = raw(body)(asker)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "Bad Request"


def test_an_emoji_written_as_two_surrogates_is_text(asker: Asker) -> None:
    body = json.dumps({"model": INSTRUCT, "messages": [{"role": "user", "content": "Say 🙂"}]}).encode()
    assert b"\\ud83d" in body
    assert raw(body)(asker).json()["choices"][0]["message"]["content"] == "🙂"


def test_a_body_must_say_that_it_is_json(asker: Asker) -> None:
    response = asker.http.post("/chat/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert response.status_code == 400
    assert "Unsupported Media Type" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("https://example.org/cat.png", 400, "The emulator fetches nothing"),
        ("file:///etc/hostname", 400, "Cannot load local files"),
        ("data:image/png,plain", 400, "Only base64 data URLs"),
        ("data:image/png;base64,", 400, "cannot identify image file"),
        ("", 400, "must be either"),
    ],
)
def test_pictures_come_as_data_urls_alone(asker: Asker, url: str, status: int, words: str) -> None:
    response = pictured({"url": url})(asker)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_a_picture_that_would_fill_the_memory_is_refused(asker: Asker) -> None:
    huge = data_url(Image.new("1", (9_000, 9_000)))
    response = pictured({"url": huge})(asker)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "Failed to load image: 9000 x 9000 pixels are too many"


def test_the_hosted_words_for_keys_and_models_are_the_vendor_s(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="modelbest", api_key="sk-secret")
    wrong = asker.post("x")
    assert wrong.status_code == 401
    assert wrong.json()["error"]["code"] == "invalid_api_key"
    asker.http.headers["authorization"] = "Bearer sk-secret"
    unknown = asker.post("x", model="MiniCPM-V-4.6-Instruct")
    assert unknown.status_code == 404
    assert unknown.json() == {
        "error": {"message": "无法根据 model 定位推理服务", "type": "lis_route_denied", "code": 404},
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_key_is_asked_for_where_one_was_set(asker_of: AskerFactory, dialect: str) -> None:
    asker = asker_of(dialect=dialect, api_key="sk-secret")
    for headers in ({}, {"authorization": "Bearer sk-other"}, {"authorization": "sk-secret"}):
        assert asker.http.get("/models", headers=headers).status_code == 401
        response = asker.http.post("/chat/completions", json={"messages": [USER]}, headers=headers)
        assert response.status_code == 401
        assert "sk-" not in response.text
    assert asker.http.get("/models", headers={"authorization": "Bearer sk-secret"}).status_code == 200


def test_any_key_and_none_will_do_where_none_was_set(asker: Asker) -> None:
    assert asker.post("x").status_code == 200
    asker.http.headers["authorization"] = "Bearer whatever"
    assert asker.post("x").status_code == 200


@pytest.mark.parametrize(
    ("dialect", "status"),
    [("vllm", 404), ("modelbest", 404), ("transformers", 400), ("ollama", 404), ("llamacpp", 200)],
)
def test_an_unknown_model_is_refused_where_the_server_does(asker_of: AskerFactory, dialect: str, status: int) -> None:
    response = asker_of(dialect=dialect).post("x", model="no-such-model")
    assert response.status_code == status
    if dialect == "vllm":
        assert "openbmb/MiniCPM-V-4.6" in response.json()["error"]["message"]


def test_llama_server_takes_what_vllm_refuses(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="llamacpp")
    assert asker.post("x", temperature=5, max_tokens=-1, stream_options={"include_usage": True}).status_code == 200
    assert asker.post("x", n=2).json()["error"]["message"].startswith("Field 'n'")


def test_the_context_overflow_tells_both_numbers(asker_of: AskerFactory) -> None:
    error = asker_of(dialect="llamacpp", context=10).post("one two three four").json()["error"]
    assert (error["n_ctx"], error["n_prompt_tokens"]) == (10, 11)


def test_a_body_over_the_cap_is_not_read(asker_of: AskerFactory) -> None:
    asker = asker_of(max_body_bytes=1000)
    response = asker.post("x" * 2000)
    assert response.status_code == 413
    assert asker.server.requests == []


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_dialect_has_words_for_every_refusal(dialect: Any, kind: Kind) -> None:
    words = ["code", "given", "given_type", "wanted", "model", "offered", "first", "names", "media"]
    numbers = ["position", "line", "column", "n_ctx", "n_prompt_tokens"]
    facts: dict[str, Any] = dict.fromkeys(words, "x") | dict.fromkeys(numbers, 1)
    reply = worded(Refusal(kind, "said", **facts), dialect.errors, dialect.error_shape)
    assert 400 <= reply.status < 600
    assert b"{said}" not in reply.body
    if reply.media_type == "application/json":
        json.loads(reply.body)
