"""The body, the headers and the reading of a request."""

from __future__ import annotations

import base64
import json
import os
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.config import ClientConfig, Timeouts
from minicpm_core.errors import ConfigurationError, InvalidInputError
from minicpm_core.parts import ImagePart, TextPart
from minicpm_core.protocol.request import MiniCPMWarning, ServerTraits
from minicpm_core.types import Message, ToolCall
from tests.core.support import USER, body_of, bytes_of, prepare

_SWITCHES: set[BackendName] = {"modelbest", "vllm", "sglang", "llamacpp", "transformers"}


# --- The body --------------------------------------------------------------------------------------------------------


def test_the_plain_case() -> None:
    prepared = prepare(temperature=0.5, timeout=5)
    request = prepared.request
    assert (request.method, request.path, request.stream) == ("POST", "/chat/completions", False)
    assert request.timeout == Timeouts(5.0, 5.0, 5.0, 5.0)
    assert json.loads(bytes_of(request)) == {
        "model": "MiniCPM-V-4.6-Instruct",
        "messages": [{"role": "user", "content": "Hello."}],
        "temperature": 0.5,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_a_stream_asks_for_usage_unless_told_otherwise() -> None:
    asked = body_of(stream=True)
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})
    assert "stream_options" not in body_of(stream=True, stream_usage=False)
    assert "stream_options" not in body_of(stream=True, traits=ServerTraits(stream_usage=False))
    assert "stream_options" in body_of(stream=True, traits=ServerTraits(stream_usage=False), stream_usage=True)
    assert not {"stream", "stream_options"} & set(body_of(stream_usage=True))


def test_text_is_sent_as_utf_8_and_not_escaped() -> None:
    text = '你好 🙂 \u2028 \x00 " \\ </think>'
    prepared = prepare(Message("user", text))
    assert "你好 🙂 \u2028".encode() in bytes_of(prepared.request)
    assert json.loads(bytes_of(prepared.request))["messages"][0]["content"] == text


def test_another_model_may_be_asked_for() -> None:
    assert body_of(model="m")["model"] == "m"


# --- Pictures --------------------------------------------------------------------------------------------------------


@given(
    pictures=st.lists(st.binary(min_size=0, max_size=60), min_size=1, max_size=12),
    texts=st.lists(st.text(max_size=10), min_size=12, max_size=12),
)
def test_pictures_stand_where_they_were_put_byte_for_byte(pictures: list[bytes], texts: list[str]) -> None:
    encoded = [base64.b64encode(data) for data in pictures]
    parts = tuple(
        part
        for data, text in zip(encoded, texts, strict=False)
        for part in (TextPart(text), ImagePart(data, "image/png", 1, 1))
    )
    content = body_of(Message("user", parts), Message("user", parts[::-1]))["messages"]
    for turn, order in zip(content, (encoded, encoded[::-1]), strict=True):
        urls = [part["image_url"]["url"] for part in turn["content"] if part["type"] == "image_url"]
        assert urls == [f"data:image/png;base64,{data.decode()}" for data in order]


def test_a_large_picture_is_spliced_not_encoded() -> None:
    data = base64.b64encode(os.urandom(3_000_000))
    body = bytes_of(prepare(Message("user", (TextPart("x"), ImagePart(data, "image/jpeg", 9, 9)))).request)
    assert body.count(data) == 1
    assert len(body) < len(data) + 300


# --- Thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "asked", "thinks"),
    [
        ("MiniCPM-V-4.6-1B", None, False),
        ("MiniCPM-V-4.6-1B", True, True),
        ("MiniCPM-V-4.6-Thinking", None, True),
        ("MiniCPM-V-4.6-Thinking", False, False),
        ("MiniCPM-o-4.5", None, False),
        ("my-model", None, False),
        ("my-thinking-model", None, True),
    ],
)
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_thinking_is_said_explicitly_where_the_server_has_a_switch(
    backend: BackendName, model: str, *, asked: bool | None, thinks: bool
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepared = prepare(backend=backend, model=model, thinking=asked)
    body = json.loads(bytes_of(prepared.request))
    if backend in _SWITCHES:
        assert body["chat_template_kwargs"] == {"enable_thinking": thinks}
    else:
        assert "chat_template_kwargs" not in body
    assert body.get("reasoning_effort") == (("medium" if thinks else "none") if backend == "ollama" else None)
    unsaid = [str(each.message) for each in caught if "how this server switches thinking" in str(each.message)]
    assert len(unsaid) == (backend == "generic" and asked is not None)
    if backend != "generic":
        assert prepared.context.thinking is thinks


def test_a_model_that_thinks_by_itself_is_read_so_where_it_cannot_be_told() -> None:
    """No switch is known, and MiniCPM-o 4.5 thinks unless it is told not to."""
    assert prepare(backend="generic", model="MiniCPM-o-4.5").context.hold
    assert not prepare(backend="generic", model="MiniCPM-V-4.6-1B").context.hold


def test_what_was_learned_of_the_server_decides_how_thoughts_are_read() -> None:
    unknown = prepare(thinking=True).context
    assert (unknown.hold, unknown.inline) == (True, False)
    learned = prepare(thinking=True, traits=ServerTraits(inline_reasoning=True)).context
    assert (learned.hold, learned.inline) == (False, True)
    off = prepare(traits=ServerTraits(inline_reasoning=True)).context
    assert (off.hold, off.inline) == (False, False)


def test_thoughts_go_back_in_the_field_that_the_server_reads() -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("a", "f", "{}"),), reasoning="Hm.")
    turns = (USER, call, Message("tool", "18", tool_call_id="a"))
    fields: dict[str, set[str]] = {}
    for name in BACKENDS:
        turn = body_of(*turns, backend=name, model="MiniCPM-V-4.6-1B")["messages"][1]
        fields[name] = {"reasoning", "reasoning_content"} & set(turn)
    assert fields == {
        "modelbest": {"reasoning"},
        "vllm": {"reasoning"},
        "ollama": {"reasoning"},
        "sglang": {"reasoning_content"},
        "llamacpp": {"reasoning_content"},
        "transformers": {"reasoning_content"},
        "generic": set(),
    }


# --- The caller's own fields -----------------------------------------------------------------------------------------


def test_own_fields_are_added_and_win() -> None:
    body = body_of(temperature=0.5, extra_body={"top_k": 5, "temperature": 0.1, "stop": ["x"]})
    assert (body["top_k"], body["temperature"], body["stop"]) == (5, 0.1, ["x"])


def test_own_template_and_stream_settings_are_added_to_ours() -> None:
    own = {"chat_template_kwargs": {"a": 1}, "stream_options": {"continuous_usage_stats": True}}
    body = body_of(stream=True, extra_body=own)
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "a": 1}
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_an_own_switch_of_thinking_wins_and_the_answer_is_read_accordingly() -> None:
    on = prepare(extra_body={"chat_template_kwargs": {"enable_thinking": True}})
    assert json.loads(bytes_of(on.request))["chat_template_kwargs"] == {"enable_thinking": True}
    assert on.context.thinking
    off = prepare(thinking=True, extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    assert not off.context.thinking
    assert prepare(backend="ollama", extra_body={"reasoning_effort": "high"}).context.thinking


def test_an_own_field_that_is_none_takes_ours_away() -> None:
    body = body_of(temperature=1, extra_body={"chat_template_kwargs": None, "temperature": None, "top_k": None})
    assert set(body) == {"model", "messages"}


def test_nulls_inside_a_schema_are_the_callers_business() -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x", None], "default": None}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert body_of(tools=[tool])["tools"] == [tool]


@pytest.mark.parametrize("field", ["top_k", "min_p", "repetition_penalty", "banana", "mm_processor_kwargs"])
def test_a_field_that_a_strict_server_would_refuse_is_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidInputError, match=f"transformers serve does not take '{field}' and would answer 422"):
        prepare(backend="transformers", extra_body={field: 1})
    assert body_of(backend="vllm", extra_body={field: 1})[field] == 1


def test_a_field_that_is_taken_away_is_not_refused() -> None:
    assert "top_k" not in body_of(backend="transformers", extra_body={"top_k": None})


def test_a_field_that_a_server_ignores_is_warned_of() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    with pytest.warns(MiniCPMWarning, match="transformers serve ignores 'n', 'tool_choice'"):
        prepare(backend="transformers", n=2, tools=[tool], tool_choice="auto")


# --- Aliases ---------------------------------------------------------------------------------------------------------


def test_an_older_name_is_replaced_on_the_hosted_api_and_visibly() -> None:
    with pytest.warns(MiniCPMWarning, match="'MiniCPM-V-4.6-Instruct' as 'MiniCPM-V-4.6-1B'"):
        assert body_of(backend="modelbest")["model"] == "MiniCPM-V-4.6-1B"


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "modelbest"])
def test_a_name_is_left_alone_everywhere_else(backend: BackendName) -> None:
    assert body_of(backend=backend)["model"] == "MiniCPM-V-4.6-Instruct"
    assert prepare(backend=backend).context.model == "MiniCPM-V-4.6-Instruct"


# --- Headers ---------------------------------------------------------------------------------------------------------


def test_headers() -> None:
    headers = prepare().request.headers
    assert headers["authorization"] == "Bearer sk-made-up-key"
    assert (headers["accept"], headers["content-type"]) == ("application/json", "application/json")
    assert headers["user-agent"].startswith("minicpm-integrations/")
    assert prepare(stream=True).request.headers["accept"] == "text/event-stream"


def test_the_callers_headers_win_whatever_their_case() -> None:
    config = ClientConfig.create(
        api_key="sk-made-up-key", default_headers={"User-Agent": "mine", "X-A": "1", "X-B": "1"}
    )
    headers = prepare(config=config, extra_headers={"AUTHORIZATION": "Basic x", "x-a": "2"}).request.headers
    assert headers["user-agent"] == "mine"
    assert headers["authorization"] == "Basic x"
    assert (headers["x-a"], headers["x-b"]) == ("2", "1")
    assert len({name.lower() for name in headers}) == len(headers)


def test_a_missing_key_is_an_error_where_the_backend_needs_one_only() -> None:
    config = ClientConfig.create(model="MiniCPM-V-4.6-1B")
    with pytest.raises(ConfigurationError, match=r"needs an API key.*https://platform\.modelbest\.cn") as caught:
        prepare(config=config, backend="modelbest")
    assert "minicpm emulate" in str(caught.value)
    assert "authorization" not in prepare(config=config, backend="vllm").request.headers
    own = {"Authorization": "Bearer x"}
    assert prepare(config=config, backend="modelbest", extra_headers=own).request.headers["authorization"] == "Bearer x"


def test_a_request_shows_neither_key_nor_payload() -> None:
    prepared = prepare(Message("user", "my secret question"), extra_headers={"x-token": "another-secret"})
    assert repr(prepared.request) == f"Request(POST /chat/completions, {len(prepared.request.body)} bytes)"
    assert set(prepared.context.secrets) == {"sk-made-up-key", "another-secret"}
    for secret in ("sk-made-up-key", "another-secret", "my secret question"):
        assert secret not in repr(prepared)


def test_what_reading_the_reply_needs_is_told() -> None:
    config = ClientConfig.create(api_key="sk-made-up-key", model="m", max_response_bytes=5)
    context = prepare(config=config, backend="modelbest").context
    assert (context.title, context.model, context.max_bytes) == ("The ModelBest API", "m", 5)
    assert "platform.modelbest.cn" in context.key_help
