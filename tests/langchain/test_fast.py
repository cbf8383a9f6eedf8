"""Chunks made past pydantic's validation are those that it makes, or it makes them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_minicpm import _fast

SAMPLES: list[tuple[Any, str, dict[str, Any], dict[str, Any]]] = [
    ("Hello", "Hello", {}, {}),
    ("", "", {"reasoning_content": "Hm."}, {}),
    ("Hello", "Hello", {"reasoning_content": "Hm."}, {}),
    ([{"type": "text", "text": "Hello", "index": "lc_text_0"}], "Hello", {}, {"output_version": "v1"}),
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_fast_chunk_is_equal_in_every_way(sample: tuple[Any, str, dict[str, Any], dict[str, Any]]) -> None:
    fast, slow = _fast._make_fast()(*copy.deepcopy(sample)), _fast.constructed(*copy.deepcopy(sample))
    assert _fast.same(fast, slow)
    assert fast == slow
    assert fast.model_dump() == slow.model_dump()
    assert repr(fast) == repr(slow)
    assert dumpd(fast) == dumpd(slow)
    assert fast.message.text == slow.message.text
    assert pickle.loads(pickle.dumps(fast)) == slow
    assert copy.deepcopy(fast) == slow
    assert fast + fast == slow + slow
    fast.message.id = "x"
    assert fast.message.model_fields_set - {"id"} == slow.message.model_fields_set


def test_chunks_share_nothing() -> None:
    make = _fast._make_fast()
    first, second = make("a", "a", {}, {}), make("b", "b", {}, {})
    shared = [
        name
        for name, value in vars(first.message).items()
        if isinstance(value, dict | list) and value is vars(second.message)[name]
    ]
    assert not shared


def test_this_environment_gets_the_fast_ones() -> None:
    assert _fast.chunk_maker() is not _fast.constructed


def forgets_a_field(*args: Any) -> ChatGenerationChunk:
    made = _fast._make_fast()(*args)
    del vars(made.message)["chunk_position"]
    return made


def another_content(*args: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content="other"))


def other_fields_set(*args: Any) -> ChatGenerationChunk:
    made = _fast._make_fast()(*args)
    made.message.model_fields_set.add("name")
    return made


def fails(*args: Any) -> ChatGenerationChunk:
    raise AttributeError("__pydantic_private__")


@pytest.mark.parametrize("maker", [forgets_a_field, another_content, other_fields_set, fails])
def test_a_library_that_differs_gets_constructed_ones(maker: Any) -> None:
    assert _fast.chosen_maker(lambda: maker) is _fast.constructed


def test_slots_that_are_gone_are_no_error() -> None:
    def none_there() -> Any:
        raise KeyError("__pydantic_extra__")

    assert _fast.chosen_maker(none_there) is _fast.constructed
