"""What LangChain messages become on the wire."""

from __future__ import annotations

import base64
import copy
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from minicpm_core import errors
from tests.langchain.conftest import png

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_minicpm import ChatMiniCPM
    from tests.support.server import ScriptedServer

PICTURE = base64.b64encode(png()).decode()
DATA_URL = f"data:image/png;base64,{PICTURE}"
ON_THE_WIRE = {"type": "image_url", "image_url": {"url": DATA_URL}}
HELLO = HumanMessage("Hello")
CALL: Any = {"name": "look", "args": {"where": "北京"}, "id": "call-1", "type": "tool_call"}


def nested(depth: int) -> dict[str, Any]:
    """Objects in each other, deeper than JSON's writer goes."""
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


def sent(model: ChatMiniCPM, server: ScriptedServer, messages: Sequence[BaseMessage]) -> Any:
    """The messages of the request that an invocation makes."""
    before = copy.deepcopy(messages)
    model.invoke(list(messages))
    assert messages == before, "the caller's messages were changed"
    return server.requests[-1].json["messages"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hello", "Hello"),
        (["Hello"], "Hello"),
        ([{"type": "text", "text": "Hello"}], "Hello"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"text": "Hello"}], "Hello"),
        ([{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}], "Hello"),
        ([{"type": "text-plain", "text": "Hello", "mime_type": "text/plain"}], "Hello"),
        ([{"type": "text-plain", "base64": "R3LDvMOfZQ==", "mime_type": "text/plain"}], "Grüße"),
        ([{"type": "image", "base64": PICTURE, "mime_type": "image/png"}], [ON_THE_WIRE]),
        ([{"type": "image", "base64": PICTURE, "mime_type": "image/jpeg"}], [ON_THE_WIRE]),  # the bytes decide
        ([{"type": "image", "base64": DATA_URL, "mime_type": "image/png"}], [ON_THE_WIRE]),
        ([{"type": "image", "url": DATA_URL}], [ON_THE_WIRE]),
        ([{"type": "image", "source_type": "base64", "data": PICTURE, "mime_type": "image/png"}], [ON_THE_WIRE]),
        ([{"type": "image_url", "image_url": {"url": DATA_URL}}], [ON_THE_WIRE]),
        ([{"type": "image_url", "image_url": DATA_URL}], [ON_THE_WIRE]),
        (
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}],
            [ON_THE_WIRE],
        ),
        ([{"type": "image", "source": {"type": "url", "url": DATA_URL}}], [ON_THE_WIRE]),
        (
            ["What?", {"type": "image", "base64": PICTURE, "mime_type": "image/png"}, "And why?"],
            [{"type": "text", "text": "What?"}, ON_THE_WIRE, {"type": "text", "text": "And why?"}],
        ),
        (
            [{"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}}],
            [{"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}}],
        ),
        (
            [{"type": "image", "base64": PICTURE, "mime_type": "image/png", "extras": {"detail": "low"}}],
            [{"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}}],
        ),
    ],
)
def test_user_content(model: ChatMiniCPM, server: ScriptedServer, content: Any, expected: Any) -> None:
    assert sent(model, server, [HumanMessage(content)]) == [{"role": "user", "content": expected}]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"type": "video", "base64": "AAAA", "mime_type": "video/mp4"}, "unknown binary data"),
        ({"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}, "takes no audio"),
        ({"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}, "binary data"),
        ({"type": "file", "base64": "AAAA", "extras": {"pages": 3}}, "the first and the last page"),
        ({"type": "video_url", "video_url": {"url": "file:///etc/passwd"}}, "file:"),
        ({"type": "video", "url": "clip.mp4"}, "not a URL"),
        ({"type": "video", "base64": "AAAA", "extras": {"fps": "1"}}, "fps of a video block must be a number"),
        ({"type": "video", "base64": "AAAA", "extras": {"fps": -1}}, "fps must be above 0"),
        ({"type": "input_audio", "input_audio": {}}, "'base64' or a URL"),
        ({"type": "document", "source": {}}, "'base64' or a URL"),
        ({"type": "image", "url": "http://127.0.0.1:9/a.png"}, "127.0.0.1"),
        ({"type": "image_url", "image_url": {"url": "http://[::1]:9/a.png"}}, "::1"),
        ({"type": "video_url", "video_url": {"url": "http://169.254.169.254/clip.mp4"}}, "169.254.169.254"),
        ({"type": "image", "url": "file:///etc/passwd"}, "file:"),
        ({"type": "image_url", "image_url": {"url": "/etc/passwd"}}, "not a URL"),
        ({"type": "image_url", "image_url": "photo.png"}, "not a URL"),
        ({"type": "image", "path": "/etc/passwd"}, "'base64' or a URL"),
        ({"type": "image", "file_id": "file-1"}, "file id"),
        ({"type": "text-plain", "url": "https://example.com/a.txt"}, "URLs and file ids are not read"),
        ({"type": "text-plain", "base64": "w/8=", "mime_type": "text/plain"}, "Base64 of UTF-8 text"),
        ({"type": "image", "base64": "AAAA", "mime_type": "image/png"}, "not a picture"),
        ({"type": "image_url"}, "must have a URL"),
        ({"type": "text"}, "a string under 'text'"),
        ({"type": "hologram"}, "'hologram' is not known"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name_and_nothing_is_sent(
    model: ChatMiniCPM, server: ScriptedServer, block: dict[str, Any], said: str
) -> None:
    with pytest.raises(errors.InvalidInputError) as caught:
        model.invoke([HumanMessage([block])])
    assert said in str(caught.value)
    assert not server.requests


def test_system_developer_and_named_speakers(model: ChatMiniCPM, server: ScriptedServer) -> None:
    messages = [
        SystemMessage("Be kind."),
        ChatMessage(content="Be brief.", role="developer"),
        SystemMessage("Be clear.", additional_kwargs={"__openai_role__": "developer"}),
        HumanMessage("Hello", name="ada"),
        AIMessage("Hello Ada.", name="helper"),
        ChatMessage(content="And?", role="user"),
    ]
    assert sent(model, server, messages) == [
        {"role": "system", "content": "Be kind.\n\nBe brief.\n\nBe clear."},
        {"role": "user", "content": "Hello", "name": "ada"},
        {"role": "assistant", "content": "Hello Ada.", "name": "helper"},
        {"role": "user", "content": "And?"},
    ]


ARGUMENTS = '{"where": "北京"}'
CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call-1", "type": "function", "function": {"name": "look", "arguments": ARGUMENTS}}],
}


@pytest.mark.parametrize(
    "turn",
    [
        AIMessage("", tool_calls=[CALL]),
        AIMessage([], tool_calls=[CALL]),
        AIMessage(content_blocks=[CALL]),
        AIMessage([{"type": "tool_use", "id": "call-1", "name": "look", "input": {"where": "北京"}}]),
        AIMessage([{"type": "tool_use", "id": "call-1", "name": "look", "input": {}}], tool_calls=[CALL]),
    ],
)
def test_tool_calls_of_every_form(model: ChatMiniCPM, server: ScriptedServer, turn: AIMessage) -> None:
    messages = [HELLO, turn, ToolMessage("Sunny.", tool_call_id="call-1")]
    assert sent(model, server, messages)[1:] == [
        CALLED,
        {"role": "tool", "content": "Sunny.", "tool_call_id": "call-1"},
    ]


def test_a_tool_result_in_anthropics_form_becomes_a_tool_turn(model: ChatMiniCPM, server: ScriptedServer) -> None:
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": [{"type": "text", "text": "Sunny."}]}
    messages = [HELLO, AIMessage("", tool_calls=[CALL]), HumanMessage([result, {"type": "text", "text": "So?"}])]
    assert sent(model, server, messages)[2:] == [
        {"role": "tool", "content": "Sunny.", "tool_call_id": "call-1"},
        {"role": "user", "content": "So?"},
    ]
    assert len(sent(model, server, [*messages[:2], HumanMessage([result])])) == 3


def test_pictures_of_tools_follow_all_results_of_the_turn(model: ChatMiniCPM, server: ScriptedServer) -> None:
    """Chat templates take no picture in a tool's turn, and no user turn between the results of one turn."""
    picture = {"type": "image", "base64": PICTURE, "mime_type": "image/png"}
    second = {**CALL, "id": "call-2", "name": "listen"}
    messages = [
        HELLO,
        AIMessage("", tool_calls=[CALL, second]),
        ToolMessage([{"type": "text", "text": "See:"}, picture], tool_call_id="call-1"),
        ToolMessage("Quiet.", tool_call_id="call-2"),
        HumanMessage("And now?"),
    ]
    assert sent(model, server, messages)[2:] == [
        {"role": "tool", "content": "See:", "tool_call_id": "call-1"},
        {"role": "tool", "content": "Quiet.", "tool_call_id": "call-2"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<tool_response>\nOutput of tool look:"},
                ON_THE_WIRE,
                {"type": "text", "text": "</tool_response>"},
            ],
        },
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize(
    "turn",
    [
        AIMessage("Hi.", additional_kwargs={"reasoning_content": "Hm."}),
        AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Hi."}]),
        AIMessage([{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "text", "text": "Hi."}]),
        AIMessage([{"type": "non_standard", "value": {}}, {"type": "text", "text": "Hi."}]),
        AIMessage([{"type": "server_tool_call", "id": "1", "name": "f", "args": {}}, "Hi."]),
    ],
)
def test_output_only_blocks_of_an_earlier_answer_are_not_sent_back(
    model: ChatMiniCPM, server: ScriptedServer, turn: AIMessage
) -> None:
    assert sent(model, server, [HELLO, turn, HELLO])[1] == {"role": "assistant", "content": "Hi."}


@pytest.mark.parametrize(
    "content",
    ["", [{"type": "reasoning", "reasoning": "Hm."}]],
)
def test_reasoning_goes_back_within_a_tool_loop(model: ChatMiniCPM, server: ScriptedServer, content: Any) -> None:
    """The template renders thoughts of the current loop, whichever integration wrote them."""
    kwargs = {} if content else {"reasoning_content": "Hm."}
    turn = AIMessage(content, additional_kwargs=kwargs, tool_calls=[CALL])
    wire = sent(model, server, [HELLO, turn, ToolMessage("Sunny.", tool_call_id="call-1")])
    assert wire[1]["reasoning"] == "Hm."


def test_a_call_that_was_cut_off_is_left_out_unless_a_tool_answered_it(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    broken = AIMessage("", invalid_tool_calls=[{"name": "look", "args": '{"whe', "id": "call-1", "error": None}])
    assert sent(model, server, [HELLO, broken, HELLO])[1] == {"role": "assistant", "content": ""}
    answered = sent(model, server, [HELLO, broken, ToolMessage("Try again.", tool_call_id="call-1")])
    assert answered[1]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (FunctionMessage(content="x", name="f"), "FunctionMessage"),
        (RemoveMessage(id="1"), "RemoveMessage"),
        (ChatMessage(content="x", role="narrator"), "narrator"),
        (AIMessage("", tool_calls=[{**CALL, "args": {"x": {1, 2}}}]), "not JSON"),
        (AIMessage("", tool_calls=[{**CALL, "args": {"x": float("nan")}}]), "not JSON"),
        (AIMessage("", tool_calls=[{**CALL, "args": nested(5_000)}]), "not JSON"),
        (HumanMessage(""), "empty"),
        (HumanMessage([]), "empty"),
    ],
)
def test_a_message_that_cannot_be_sent_is_an_error(
    model: ChatMiniCPM, server: ScriptedServer, message: BaseMessage, said: str
) -> None:
    with pytest.raises(errors.InvalidInputError) as caught:
        model.invoke([HELLO, message])
    assert said in str(caught.value)
    assert not server.requests
