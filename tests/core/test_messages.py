"""Messages in the form that the chat templates take, or refused by name before anything is sent."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.backends import BACKENDS
from minicpm_core.errors import InvalidInputError, MiniCPMError, UnsupportedContentError
from minicpm_core.parts import FileBody, ImagePart, ImageSource, TextPart
from minicpm_core.protocol.messages import normalise, render
from minicpm_core.types import Message, ToolCall

if TYPE_CHECKING:
    from minicpm_core.backends import ReasoningField

_PICTURE = ImagePart(b"QUJD", "image/png", 1, 1)
_UNREAD = ImageSource("path", "x.png")
_CALL = ToolCall("a", "look", '{"x": 1}')
_USER = Message("user", "Hello.")


def _shown(data: bytes | FileBody) -> str:
    return f"<{data.path}>" if isinstance(data, FileBody) else f"<{data.decode()}>"


def _rendered(*messages: Message, field: ReasoningField | None = "reasoning") -> list[dict[str, Any]]:
    backend = replace(BACKENDS["vllm"], history_reasoning=field)
    return render(normalise(messages), backend=backend, splice=_shown)


# --- Order and roles -------------------------------------------------------------------------------------------------


def test_system_messages_become_one_at_the_head() -> None:
    messages = [
        Message("developer", "Be brief."),
        _USER,
        Message("system", (TextPart("Be kind."), TextPart("Be true."))),
        Message("assistant", "Hi."),
        Message("system", ""),
        _USER,
    ]
    assert _rendered(*messages) == [
        {"role": "system", "content": "Be brief.\n\nBe kind.\nBe true."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Hello."},
    ]


def test_an_empty_system_message_is_none() -> None:
    assert _rendered(Message("system", ""), Message("developer", (TextPart(""),)), _USER) == [
        {"role": "user", "content": "Hello."}
    ]


@pytest.mark.parametrize("role", ["human", "ai", "function", "User", "", "critic"])
def test_an_unknown_role_is_refused_and_told_the_known_ones(role: str) -> None:
    with pytest.raises(InvalidInputError, match="the chat templates take system, developer, user, assistant, tool"):
        normalise([_USER, Message(role, "x")])


@pytest.mark.parametrize(
    "messages",
    [
        [Message("system", "Be brief.")],
        [Message("assistant", "Hi.")],
        [Message("tool", "18", tool_call_id="a")],
        [Message("tool", (_PICTURE,), tool_call_id="a")],
    ],
)
def test_a_conversation_without_a_user_is_refused(messages: list[Message]) -> None:
    with pytest.raises(InvalidInputError, match="There is no user message"):
        normalise(messages)


def test_no_messages_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="There are no messages"):
        normalise([])


@pytest.mark.parametrize("content", ["", (), (TextPart(""),), (TextPart(""), TextPart(""))])
def test_an_empty_user_message_is_refused(content: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"Message 1 \(user\) is empty"):
        _rendered(_USER, Message("user", content))


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
@pytest.mark.parametrize("picture", [_PICTURE, _UNREAD])
def test_pictures_outside_user_messages_are_refused(role: str, picture: Any) -> None:
    with pytest.raises(UnsupportedContentError, match="media in user messages only"):
        normalise([_USER, Message(role, (TextPart("See:"), picture))])


# --- Content ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["Hel\nlo.", (TextPart("Hel"), TextPart(""), TextPart("lo."))])
def test_text_alone_is_a_string(content: Any) -> None:
    """Some templates take no parts; text parts are joined as the template joins them."""
    assert _rendered(Message("user", content)) == [{"role": "user", "content": "Hel\nlo."}]


def test_text_and_pictures_are_parts_in_their_order() -> None:
    detailed = ImagePart(b"REVG", "image/jpeg", 1, 1, detail="high")
    parts = (TextPart("First:"), _PICTURE, TextPart(""), TextPart("then:"), detailed)
    assert _rendered(Message("user", parts))[0]["content"] == [
        {"type": "text", "text": "First:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,<QUJD>"}},
        {"type": "text", "text": "then:"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,<REVG>", "detail": "high"}},
    ]


def test_a_picture_alone_is_enough() -> None:
    assert len(_rendered(Message("user", (_PICTURE,)))[0]["content"]) == 1


def test_a_picture_that_was_not_read_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="was not read"):
        _rendered(Message("user", (_UNREAD,)))


def test_what_is_no_part_is_refused_by_its_type() -> None:
    odd: Any = (TextPart("x"), {"type": "text"})
    with pytest.raises(UnsupportedContentError, match="dict is no content part") as caught:
        _rendered(Message("user", odd))
    assert caught.value.__notes__ == ["It is in message 0."]


# --- Tools -----------------------------------------------------------------------------------------------------------


def test_a_round_of_tools() -> None:
    assert _rendered(
        _USER,
        Message("assistant", "", tool_calls=(_CALL,)),
        Message("tool", (TextPart("18"), TextPart("degrees")), tool_call_id="a", name="look"),
    ) == [
        {"role": "user", "content": "Hello."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}],
        },
        {"role": "tool", "content": "18\ndegrees", "tool_call_id": "a"},
    ]


def test_a_tool_message_must_say_what_it_answers() -> None:
    with pytest.raises(InvalidInputError, match="set tool_call_id"):
        normalise([_USER, Message("tool", "18")])


@pytest.mark.parametrize("arguments", ["[1]", '"x"', "5", "null", '{"a": ', "x", "{}{}", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    with pytest.raises(InvalidInputError, match="arguments of the call of 'look' are not a JSON object"):
        _rendered(_USER, Message("assistant", tool_calls=(ToolCall("a", "look", arguments),)))


@pytest.mark.parametrize(("arguments", "sent"), [("", "{}"), (" \n", "{}"), (' {"a": 1} ', '{"a": 1}')])
def test_arguments_are_sent_as_they_are_and_none_as_an_empty_object(arguments: str, sent: str) -> None:
    (_, turn) = _rendered(_USER, Message("assistant", tool_calls=(ToolCall("a", "look", arguments),)))
    assert turn["tool_calls"][0]["function"]["arguments"] == sent


def test_pictures_of_tools_follow_in_a_user_message_after_all_results() -> None:
    """No template takes them in a tool message, and results must stand together behind the calls."""
    other = ImagePart(b"REVG", "image/png", 1, 1)
    calls = (_CALL, ToolCall("b", "zoom", "{}"))
    rendered = _rendered(
        _USER,
        Message("assistant", tool_calls=calls),
        Message("tool", (TextPart("Here."), _PICTURE), tool_call_id="a"),
        Message("tool", (other,), tool_call_id="b"),
        Message("assistant", "Fine."),
    )
    assert [turn["role"] for turn in rendered] == ["user", "assistant", "tool", "tool", "user", "user", "assistant"]
    assert [turn["content"] for turn in rendered[2:4]] == ["Here.", ""]
    shown = [(turn["content"][0]["text"], turn["content"][-1]["text"]) for turn in rendered[4:6]]
    assert shown == [(f"<tool_response>\nOutput of tool {name}:", "</tool_response>") for name in ("look", "zoom")]
    assert "<QUJD>" in rendered[4]["content"][1]["image_url"]["url"]
    assert "<REVG>" in rendered[5]["content"][1]["image_url"]["url"]


def test_the_picture_of_an_unknown_call_is_named_by_its_id() -> None:
    rendered = _rendered(_USER, Message("tool", (_PICTURE,), tool_call_id="z"))
    assert rendered[-1]["content"][0]["text"] == "<tool_response>\nOutput of tool z:"
    rendered = _rendered(_USER, Message("tool", (_PICTURE,), tool_call_id="z", name="lens"))
    assert rendered[-1]["content"][0]["text"] == "<tool_response>\nOutput of tool lens:"


# --- Thoughts and names ----------------------------------------------------------------------------------------------


def test_thoughts_are_sent_back_within_the_current_round_only() -> None:
    """Templates read them behind the last user message, and nowhere else."""
    old = Message("assistant", "Hi.", reasoning="Old.")
    current = Message("assistant", "", tool_calls=(_CALL,), reasoning="Current.")
    rendered = _rendered(_USER, old, _USER, current, Message("tool", "18", tool_call_id="a"))
    assert [turn.get("reasoning") for turn in rendered] == [None, None, None, "Current.", None]


def test_a_picture_of_a_tool_does_not_end_the_round() -> None:
    """It follows in a user message, which the templates take for a tool's result by its tags."""
    current = Message("assistant", "", tool_calls=(_CALL,), reasoning="Current.")
    rendered = _rendered(_USER, current, Message("tool", (_PICTURE,), tool_call_id="a"))
    assert [turn["role"] for turn in rendered] == ["user", "assistant", "tool", "user"]
    assert rendered[1]["reasoning"] == "Current."


def test_thoughts_go_where_the_server_reads_them_or_nowhere() -> None:
    turn = Message("assistant", "Hi.", reasoning="Hm.")
    assert _rendered(_USER, turn, field="reasoning_content")[1]["reasoning_content"] == "Hm."
    assert set(_rendered(_USER, turn, field=None)[1]) == {"role", "content"}


def test_names_are_sent_where_they_are_given() -> None:
    assert _rendered(Message("user", "Hello.", name="Ada"))[0]["name"] == "Ada"
    assert "name" not in _rendered(_USER)[0]


# --- Properties ------------------------------------------------------------------------------------------------------

_PARTS = st.lists(st.sampled_from([TextPart("a"), TextPart(""), _PICTURE]), max_size=3).map(tuple)
_MESSAGES = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["system", "developer", "user", "assistant", "tool", "odd"]),
        content=st.sampled_from(["a", ""]) | _PARTS,
        tool_calls=st.sampled_from([(), (_CALL,)]),
        tool_call_id=st.sampled_from([None, "a"]),
        reasoning=st.sampled_from([None, "Hm."]),
    ),
    max_size=6,
)


@given(messages=_MESSAGES)
def test_any_conversation_is_refused_by_name_or_has_the_form_that_templates_take(messages: list[Message]) -> None:
    before = copy.deepcopy(messages)
    try:
        rendered = _rendered(*messages)
    except MiniCPMError:
        return
    finally:
        assert messages == before, "the caller's messages are not changed"
    roles = [turn["role"] for turn in rendered]
    assert set(roles) <= {"system", "user", "assistant", "tool"}
    assert "system" not in roles[1:]
    assert "user" in roles
    for turn in rendered:
        assert None not in turn.values()
        assert isinstance(turn["content"], str) or turn["role"] == "user"
        assert turn["content"] or turn["role"] in {"assistant", "tool"}
