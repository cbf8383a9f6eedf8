"""Counting tokens: offline, by the models' rule for pictures, by an estimate for text."""

from __future__ import annotations

import base64
import socket
from typing import Any

import pytest
from langchain_core import messages as langchain_messages
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from langchain_minicpm import ChatMiniCPM
from minicpm_core import errors
from minicpm_core.media import count_image_tokens
from tests.langchain.conftest import png


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ChatMiniCPM:
    """A model that cannot reach anything."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("counting must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return ChatMiniCPM()


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return city


def picture(size: tuple[int, int]) -> dict[str, Any]:
    return {"type": "image", "base64": base64.b64encode(png(size)).decode(), "mime_type": "image/png"}


@pytest.mark.parametrize(
    ("text", "fewest", "most"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("The quick brown fox jumps over the lazy dog.", 10, 15),  # 10 in the tokenizers of the Qwen family
        ("今天天气很好，我们去公园散步吧。", 9, 12),  # 9 to 10
    ],
)
def test_text_is_estimated(model: ChatMiniCPM, text: str, fewest: int, most: int) -> None:
    assert fewest <= model.get_num_tokens(text) <= most


@pytest.mark.parametrize("size", [(64, 64), (640, 480), (1600, 1200)])
def test_pictures_are_counted_by_the_models_rule(model: ChatMiniCPM, size: tuple[int, int]) -> None:
    alone = model.get_num_tokens_from_messages([HumanMessage("Hi")])
    shown = model.get_num_tokens_from_messages([HumanMessage([{"type": "text", "text": "Hi"}, picture(size)])])
    assert shown - alone == count_image_tokens(size, model.model)
    url = f"data:image/png;base64,{picture(size)['base64']}"
    other = [HumanMessage(["Hi", {"type": "image_url", "image_url": {"url": url}}])]
    assert model.get_num_tokens_from_messages(other) == shown


def test_a_picture_at_a_url_is_taken_to_be_a_large_one_and_not_fetched(model: ChatMiniCPM) -> None:
    remote = HumanMessage([{"type": "image_url", "image_url": {"url": "http://169.254.169.254/x.png"}}])
    assert model.get_num_tokens_from_messages([remote]) > model.get_num_tokens_from_messages(
        [HumanMessage([picture((640, 480))])]
    )


def test_turns_calls_and_tools_count(model: ChatMiniCPM) -> None:
    turns: list[Any] = [SystemMessage("Be kind."), HumanMessage("Hello")]
    counts = [model.get_num_tokens_from_messages(turns)]
    turns.append(AIMessage("", tool_calls=[{"name": "get_weather", "args": {"city": "Paris"}, "id": "1"}]))
    counts.append(model.get_num_tokens_from_messages(turns))
    turns.append(ToolMessage("Sunny.", tool_call_id="1"))
    counts.append(model.get_num_tokens_from_messages(turns))
    counts.append(model.get_num_tokens_from_messages(turns, tools=[get_weather]))
    assert counts == sorted(set(counts))


def test_a_tokenizer_can_be_given() -> None:
    model = ChatMiniCPM(custom_get_token_ids=lambda text: [ord(letter) for letter in text])
    assert model.get_token_ids("ab") == [97, 98]
    assert model.get_num_tokens("ab") == 2
    with pytest.raises(errors.UnsupportedFeatureError, match="custom_get_token_ids"):
        ChatMiniCPM().get_token_ids("ab")


def test_what_cannot_be_sent_cannot_be_counted(model: ChatMiniCPM) -> None:
    with pytest.raises(errors.UnsupportedContentError):
        model.get_num_tokens_from_messages([HumanMessage([{"type": "hologram"}])])


def test_messages_can_be_trimmed_by_it(model: ChatMiniCPM) -> None:
    turns = [HumanMessage("Hello " * 100), AIMessage("Hi."), HumanMessage("And now?")]
    trim: Any = vars(langchain_messages.utils)["trim_messages"]  # its overloads are not typed
    kept = trim(turns, max_tokens=40, token_counter=model, strategy="last", start_on="human")
    assert kept == turns[2:]
