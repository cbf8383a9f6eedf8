"""The values that travel through the core."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from minicpm_core import types
from minicpm_core.parts import ImagePart, ImageSource, TextPart
from minicpm_core.types import Choice, Completion, Delta, Message, ModelInfo, ToolCall

_VALUES: list[Any] = [
    TextPart("a"),
    ImageSource("path", "x.png"),
    ImagePart(b"QUJD", "image/png", 1, 1),
    ToolCall("a", "f", "{}"),
    types.ToolCallDelta(0, "a", "f", "{}"),
    Message("user", "Hello.", tool_calls=(ToolCall("a", "f", "{}"),)),
    types.Usage(1, 2, 3),
    Choice(text="a", logprobs={"content": []}, extras={"stop_reason": "5"}),
    Completion((Choice(extras={"a": [1]}),), extras={"timings": {}}),
    ModelInfo("m", raw={"id": "m"}),
]


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: type(value).__name__)
def test_a_value_can_be_shared_hashed_compared_and_pickled(value: Any) -> None:
    copied = pickle.loads(pickle.dumps(value))
    assert copied == value
    assert hash(copied) == hash(value)
    assert len({value, copied}) == 1
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize(
    ("content", "parts"),
    [("", ()), ("a", (TextPart("a"),)), ((), ()), ((TextPart("a"), TextPart("")), (TextPart("a"), TextPart("")))],
)
def test_the_content_of_a_message_is_parts_whichever_way_it_was_given(content: Any, parts: tuple[Any, ...]) -> None:
    assert Message("user", content).parts == parts


def test_pictures_are_not_shown() -> None:
    assert "QUJD" not in repr(Message("user", (ImagePart(b"QUJD", "image/png", 1, 1), ImageSource("base64", "QUJD"))))
    assert "QUJD" not in repr(ModelInfo("m", raw={"x": "QUJD"}))


def test_a_delta_says_nothing_unless_told() -> None:
    assert Delta() == Delta("", "", 0, (), None, None)
