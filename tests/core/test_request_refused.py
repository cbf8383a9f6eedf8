"""What JSON cannot hold is refused before it is sent, and what it can is sent as it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import InvalidInputError, MiniCPMError
from minicpm_core.types import Message
from tests.core.support import USER, body_of, prepare


@pytest.mark.parametrize(
    ("messages", "options", "says"),
    [
        ([Message("user", "a\ud83d")], {}, r"lone surrogate \(U\+D83D\)"),
        ([USER], {"user": "\udc00"}, r"lone surrogate \(U\+DC00\)"),
        ([USER], {"extra_body": {"x": float("nan")}}, "NaN or infinity"),
        ([USER], {"extra_body": {"x": [float("-inf")]}}, "NaN or infinity"),
        ([USER], {"extra_body": {"x": {1, 2}}}, "cannot be sent as JSON: .*set"),
        ([USER], {"extra_body": {"x": b"bytes"}}, "cannot be sent as JSON: .*bytes"),
        ([USER], {"extra_body": {"x": {(1, 2): 3}}}, "cannot be sent as JSON"),
        ([USER], {"tools": [{"x": object()}]}, "cannot be sent as JSON: .*object"),
    ],
)
def test_what_json_cannot_hold_is_refused_before_it_is_sent(
    messages: list[Message], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        prepare(*messages, **options)


def test_what_refers_to_itself_or_has_no_end_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(InvalidInputError, match=r"refers to itself|nested too deeply"):
            prepare(extra_body={"x": value})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    extra=st.dictionaries(st.text(max_size=4), _JSON, max_size=4),
    text=st.text(st.characters(), max_size=6),
    on=st.booleans(),
)
def test_any_body_is_sent_without_nulls_of_ours_or_refused(extra: dict[str, Any], text: str, *, on: bool) -> None:
    before = copy.deepcopy(extra)
    try:
        body = body_of(Message("user", text), extra_body=extra, thinking=on, stream=on)
    except MiniCPMError:
        return
    finally:
        assert repr(extra) == repr(before)
    assert None not in body.values()
    assert {name: body[name] for name, value in extra.items() if value is not None and name != "messages"} == {
        name: value for name, value in extra.items() if value is not None and name != "messages"
    }
