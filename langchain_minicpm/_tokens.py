"""Counting tokens without a tokenizer and without a network: see `minicpm_core.media.count`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_minicpm._messages import to_core
from langchain_minicpm._tools import openai_tools
from minicpm_core.media.count import count_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

    from minicpm_core.media.settings import MediaSettings


def count_messages(
    messages: Sequence[BaseMessage],
    tools: Sequence[Any] | None,
    *,
    model: str,
    settings: MediaSettings,
    count_text: Callable[[str], int],
) -> int:
    """The prompt tokens of a conversation, with the marks of the chat template.

    Args:
        messages: The conversation.
        tools: Tools that are bound to the model.
        model: The model's id, which decides how pictures are counted.
        settings: How media will be prepared.
        count_text: Counts a text.

    Raises:
        UnsupportedContentError: A content block of a kind that cannot be sent.
        InvalidInputError: A message that cannot be sent.
    """
    declared = openai_tools(tools) if tools else ()
    return count_prompt(to_core(messages), model, settings=settings, tools=declared, count_text=count_text)
