"""Counting tokens without a tokenizer and without a network.

Pictures are counted by the models' own published rule, text by an estimate: the tokenizers of the Qwen family, which
MiniCPM uses, put 3 to 4 characters of English and 1.5 to 1.8 of Chinese into a token (Qwen documentation, "Key
Concepts").  The estimate takes the lower numbers, so that it rather counts too many than too few.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from langchain_minicpm._messages import to_core
from langchain_minicpm._tools import openai_tools
from minicpm_core.backends import BACKENDS
from minicpm_core.media import count_image_tokens, load_image
from minicpm_core.parts import ImageSource, TextPart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

    from minicpm_core.types import Message

_PER_ASCII: Final = 1 / 3
_PER_OTHER: Final = 1 / 1.5
_PER_TURN: Final = 5
"""`<|im_start|>`, the role, a newline, `<|im_end|>` and a newline."""
_PROMPT: Final = 7
"""`<|im_start|>assistant`, a newline, and the thinking tags of the template."""
_TOOL_GUIDE: Final = 200
"""The template's own words on how to call tools, where there are any."""
_UNREAD: Final = (1344, 1344)
"""The size that a picture is taken to have which cannot be read here: large enough for the most tiles."""
_ANY_TYPE: Final = frozenset[str]().union(*(backend.image_types for backend in BACKENDS.values()))


def estimate(text: str) -> int:
    """About how many tokens a text has; 0 for an empty one."""
    plain = len(text.encode("ascii", "ignore"))
    return math.ceil(plain * _PER_ASCII + (len(text) - plain) * _PER_OTHER)


def count_messages(
    messages: Sequence[BaseMessage], tools: Sequence[Any] | None, *, model: str, count_text: Callable[[str], int]
) -> int:
    """The prompt tokens of a conversation, with the marks of the chat template.

    Nothing is fetched: a picture at a URL is taken to be a large one.

    Args:
        messages: The conversation.
        tools: Tools that are bound to the model.
        model: The model's id, which decides how pictures are counted.
        count_text: Counts a text.

    Raises:
        UnsupportedContentError: A content block of a kind that cannot be sent.
        InvalidInputError: A message that cannot be sent.
    """
    count = _PROMPT
    pictures = 0
    for message in to_core(messages):
        count += _PER_TURN + count_text(_texts(message))
        for part in message.parts:
            if isinstance(part, ImageSource):  # a LangChain message holds no other kind of picture
                count += count_image_tokens(_size(part), model, index=pictures)
                pictures += 1
    if tools:
        count += _TOOL_GUIDE + sum(count_text(json.dumps(tool, ensure_ascii=False)) for tool in openai_tools(tools))
    return count


def _texts(message: Message) -> str:
    calls = (f"{call.name} {call.arguments}" for call in message.tool_calls)
    parts = (part.text for part in message.parts if isinstance(part, TextPart))
    return "\n".join(text for text in (message.name or "", *parts, *calls) if text)


def _size(part: ImageSource) -> tuple[int, int]:
    if part.kind == "url":
        return _UNREAD
    (read,) = load_image(part, accept=_ANY_TYPE)
    return read.width, read.height
