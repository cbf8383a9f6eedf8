"""Whatever is sent is answered or refused: nothing makes the emulator itself fail."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.emulator import EmulatorSettings
from minicpm_core.emulator.answers import answer
from minicpm_core.emulator.reading import parse_json, read_request
from minicpm_core.emulator.refusals import Refusal, worded
from minicpm_core.emulator.replies import envelope, whole
from minicpm_core.emulator.streams import chunks
from tests.emulator.clips import (
    CARD,
    audio_url,
    frames_url,
    input_audio,
    input_video,
    jpeg,
    tone,
    traffic_light,
    user,
    video_url,
    wav,
)
from tests.emulator.support import DIALECT_NAMES, INSTRUCT, plain, shown, tool

SETTINGS = {
    (name, parsers): EmulatorSettings.create(dialect=name, parsers=parsers)
    for name in DIALECT_NAMES
    for parsers in (True, False)
}
FULL: dict[str, Any] = {
    "model": INSTRUCT,
    "messages": [
        {"role": "system", "content": "You are a lighthouse."},
        shown("What is this?", plain("red", (3, 2))),
        {
            "role": "assistant",
            "content": None,
            "reasoning": "Hm.",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "red"},
        {"role": "user", "content": [{"type": "text", "text": "Count to 5, use look."}]},
    ],
    "temperature": 0.5,
    "max_tokens": 50,
    "stop": ["x"],
    "n": 2,
    "tools": [tool("look", "Look.", a={"type": "integer", "minimum": 1}, b={"enum": ["x", 2]})],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "stream": True,
    "stream_options": {"include_usage": True},
    "chat_template_kwargs": {"enable_thinking": True},
    "logprobs": True,
    "top_logprobs": 2,
}
MEDIA: dict[str, dict[str, Any]] = {
    "vllm": {
        "model": CARD["audio"],
        "messages": user(
            "What is this?",
            video_url(traffic_light(count=4)),
            frames_url(jpeg("red", (4, 4))),
            audio_url(wav(bytes(20))),
            input_audio(tone(seconds=0.1)),
        ),
        "media_io_kwargs": {"video": {"num_frames": 3, "fps": 1}},
    },
    "llamacpp": {"messages": user("What is this?", input_video(traffic_light(count=4)))},
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["user", "image_url", "#", "{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every value inside a JSON value."""
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = list(value.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    elif isinstance(value, list):
        inside = list(enumerate(value))  # pyright: ignore[reportUnknownArgumentType]
    return [(*path, key) for key, _ in inside] + [at for key, item in inside for at in places(item, (*path, key))]


def changed(path: tuple[Any, ...], value: Any, full: dict[str, Any] = FULL) -> dict[str, Any]:
    """The full request with something else in one place."""
    request = copy.deepcopy(full)
    owner: Any = request
    for step in path[:-1]:
        owner = owner[step]
    owner[path[-1]] = value
    return request


def taken(document: Any, dialect: str, *, parsers: bool = True) -> bool:
    """Answer or refuse a request in every shape; whether it was answered."""
    settings = SETTINGS[dialect, parsers]
    try:
        request = read_request(document, settings)
        sent = envelope(request, answer(request, settings.dialect, settings.context), settings.dialect)
    except Refusal as refusal:
        worded(refusal, settings.dialect.errors, settings.dialect.error_shape)
        return False
    json.dumps(whole(sent))
    json.dumps(list(chunks(sent)))
    return True


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_the_full_request_is_answered(dialect: str) -> None:
    assert taken({**FULL, **({"n": 1} if dialect == "llamacpp" else {})}, dialect)


@given(st.sampled_from(places(FULL)), JSON, st.sampled_from(DIALECT_NAMES))
def test_a_request_with_anything_anywhere_is_answered_or_refused(
    path: tuple[Any, ...], value: Any, dialect: str
) -> None:
    taken(changed(path, value), dialect)


@given(st.sampled_from(places(FULL)), JSON, st.sampled_from(DIALECT_NAMES))
def test_without_parsers_too(path: tuple[Any, ...], value: Any, dialect: str) -> None:
    request = changed(path, value)
    if path[0] not in {"tools", "tool_choice"}:
        del request["tools"], request["tool_choice"]
    taken(request, dialect, parsers=False)


DECLARED = [
    "<tools>\n{}\n</tools>",
    "> Tool Name: look\nTool Description: Look.\nTool Args: {}\nAction Input:",
    "JSON schema {}",
]
RESULTS = ["<tool_response>{}</tool_response>", "Observation: {}", "Output of tool look: {}", "JSON schema {}", "{}"]


@given(st.sampled_from(DECLARED), JSON, st.sampled_from(RESULTS), st.text(), st.sampled_from(DIALECT_NAMES))
def test_whatever_is_declared_in_text_and_comes_back_is_answered(
    declared: str, value: Any, result: str, text: str, dialect: str
) -> None:
    described = {"name": "look", "description": "Look.", "parameters": value, "properties": value}
    turns = [
        {"role": "system", "content": declared.format(json.dumps(described))},
        {"role": "user", "content": f"look {text}"},
        {"role": "assistant", "content": f"<function={text}>"},
        {"role": "user", "content": result.format(text)},
    ]
    for end in (2, 4):
        taken({"messages": turns[:end]}, dialect)


@pytest.mark.parametrize("dialect", MEDIA)
def test_the_request_with_other_media_is_answered(dialect: str) -> None:
    assert taken(MEDIA[dialect], dialect)


@given(st.data(), JSON, st.sampled_from(sorted(MEDIA)))
def test_a_request_with_other_media_with_anything_anywhere_is_answered_or_refused(
    data: st.DataObject, value: Any, dialect: str
) -> None:
    taken(changed(data.draw(st.sampled_from(places(MEDIA[dialect]))), value, MEDIA[dialect]), dialect)


@pytest.mark.parametrize("number", [10**12, 10**400], ids=["many", "too many for a float"])
def test_more_frames_than_any_video_has_are_all_of_them(number: int) -> None:
    assert taken(changed(("media_io_kwargs", "video"), {"num_frames": number}, MEDIA["vllm"]), "vllm")


@pytest.mark.parametrize("fps", [10**400, 1e300, 1e-320], ids=["too high for a float", "high", "low"])
def test_any_rate_above_nothing_is_one(fps: float) -> None:
    assert taken(changed(("media_io_kwargs", "video"), {"fps": fps}, MEDIA["vllm"]), "vllm")


@given(JSON, st.sampled_from(DIALECT_NAMES))
def test_any_schema_is_followed_or_refused(schema: Any, dialect: str) -> None:
    taken(changed(("tools", 0, "function", "parameters"), schema), dialect)
    taken(changed(("response_format", "json_schema", "schema"), schema), dialect)


@given(st.text(), st.sampled_from(DIALECT_NAMES))
def test_any_text_is_answered(text: str, dialect: str) -> None:
    assert taken({"messages": [{"role": "user", "content": text}]}, dialect)


@given(st.binary())
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    with contextlib.suppress(Refusal):
        json.dumps(parse_json(raw), ensure_ascii=False).encode()
