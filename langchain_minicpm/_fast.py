"""Chunks of a stream without pydantic's validation, which costs four times as much as the rest of a chunk.

A chunk made here is equal to one that its constructor makes: the fields are known to be of the right types, so there
is nothing to validate.  What pydantic keeps beside the fields is private to it, so the first use compares a few chunks
with constructed ones, slot by slot, and falls back to the constructors for good if a version of pydantic or
langchain-core differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable

    Content = str | list[str | dict[str, Any]]
    Maker = Callable[[Content, str, dict[str, Any], dict[str, Any]], ChatGenerationChunk]

_new: Final = object.__new__


def constructed(
    content: Content,
    text: str,  # noqa: ARG001  # the constructors derive it from `content`
    additional_kwargs: dict[str, Any],
    response_metadata: dict[str, Any],
) -> ChatGenerationChunk:
    """A chunk by the constructors."""
    given: dict[str, Any] = {"content": content}
    if additional_kwargs:
        given["additional_kwargs"] = additional_kwargs
    if response_metadata:
        given["response_metadata"] = response_metadata
    return ChatGenerationChunk(message=AIMessageChunk(**given))


def _slot(name: str) -> Callable[[Any, Any], None]:
    setter: Callable[[Any, Any], None] = vars(BaseModel)[name].__set__
    return setter


def _make_fast() -> Maker:
    set_dict, set_fields = _slot("__dict__"), _slot("__pydantic_fields_set__")
    set_extra, set_private = _slot("__pydantic_extra__"), _slot("__pydantic_private__")

    def fast(
        content: Content, text: str, additional_kwargs: dict[str, Any], response_metadata: dict[str, Any]
    ) -> ChatGenerationChunk:
        message = _new(AIMessageChunk)
        set_dict(message, {
            "content": content, "additional_kwargs": additional_kwargs, "response_metadata": response_metadata,
            "type": "AIMessageChunk", "name": None, "id": None, "tool_calls": [], "invalid_tool_calls": [],
            "usage_metadata": None, "tool_call_chunks": [], "chunk_position": None,
        })  # fmt: skip
        fields = {"content"}
        if additional_kwargs:
            fields.add("additional_kwargs")
        if response_metadata:
            fields.add("response_metadata")
        set_fields(message, fields)
        set_extra(message, {})
        set_private(message, None)
        chunk = _new(ChatGenerationChunk)
        set_dict(chunk, {"text": text, "generation_info": None, "type": "ChatGenerationChunk", "message": message})
        set_fields(chunk, {"message", "text"})
        set_extra(chunk, None)
        set_private(chunk, None)
        return chunk

    return fast


_SAMPLES: Final[tuple[tuple[Content, str, dict[str, Any], dict[str, Any]], ...]] = (
    ("word", "word", {}, {}),
    ("", "", {"reasoning_content": "thought"}, {}),
    ([{"type": "text", "text": "word", "index": "lc_text_0"}], "word", {}, {"output_version": "v1"}),
)


def same(left: BaseModel, right: BaseModel) -> bool:
    """Whether two models agree in every slot, those of the models inside them too."""
    slots = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    if type(left) is not type(right) or left != right or vars(left).keys() != vars(right).keys():
        return False
    if any(getattr(left, slot) != getattr(right, slot) for slot in slots):
        return False
    return all(same(value, vars(right)[name]) for name, value in vars(left).items() if isinstance(value, BaseModel))


def chosen_maker(candidate: Callable[[], Maker] = _make_fast) -> Maker:
    """The fast maker where it makes what the constructors make, else the constructors."""
    try:
        fast = candidate()
        agree = all(
            same(
                fast(content, text, dict(kwargs), dict(metadata)),
                constructed(content, text, dict(kwargs), dict(metadata)),
            )
            for content, text, kwargs, metadata in _SAMPLES
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return constructed
    return fast if agree else constructed


_maker: Maker | None = None


def chunk_maker() -> Maker:
    """The maker that this process uses, chosen at the first call."""
    global _maker  # noqa: PLW0603  # chosen once, when the first stream begins, so that importing stays cheap
    if _maker is None:
        _maker = chosen_maker()
    return _maker
