"""The provider's name in LangChain, and its entry in the registry of block translators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_core.messages.block_translators import register_translator

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.messages import content as types

PROVIDER: Final = "minicpm"
"""`model_provider` of every answer and `ls_provider` of every trace; LangChain's middleware compares the two."""


def _content_blocks(message: AIMessage) -> list[types.ContentBlock]:
    from langchain_minicpm._blocks import content_blocks

    return content_blocks(message)


def _chunk_content_blocks(message: AIMessageChunk) -> list[types.ContentBlock]:
    from langchain_minicpm._blocks import chunk_content_blocks

    return chunk_content_blocks(message)


register_translator(PROVIDER, _content_blocks, _chunk_content_blocks)
