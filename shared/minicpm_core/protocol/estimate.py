"""How many tokens a prompt will have, before it is sent: without a tokenizer, and without a network.

Media are counted by the models' own published rules; text by an estimate: the tokenizers of the Qwen family, which
MiniCPM uses, put 3 to 4 characters of English and 1.5 to 1.8 of Chinese into a token (Qwen documentation, "Key
Concepts").  The estimate takes the lower numbers, so that it rather counts too many than too few.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from minicpm_core.errors import PromptTooLongError
from minicpm_core.media.tokens import audio_tokens, count_image_tokens, video_tokens
from minicpm_core.parts import AudioPart, FramesPart, ImagePart, TextPart, VideoPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minicpm_core.parts import Part
    from minicpm_core.types import Message

_PER_ASCII = 1 / 3
_PER_OTHER = 1 / 1.5
_LONGEST_TOKEN = 16
"""Characters. No text has fewer tokens than its characters divided by this, but for blanks and rulers."""

PER_TURN = 5
"""`<|im_start|>`, the role, a newline, `<|im_end|>` and a newline."""
PER_PROMPT = 7
"""`<|im_start|>assistant`, a newline, and the thinking tags of the template."""


class Estimate(NamedTuple):
    """Tokens of a prompt.

    Attributes:
        media: Of its media, by the published rules, as far as they were decoded here.
        text: Of its text and the chat template's marks: rather too many than too few.
        at_least: What all of it has at the very least.
    """

    media: int
    text: int
    at_least: int

    @property
    def total(self) -> int:
        """Of the whole prompt."""
        return self.media + self.text


def text_tokens(text: str) -> int:
    """About how many tokens a text has; 0 for an empty one."""
    plain = len(text.encode("ascii", "ignore"))
    return math.ceil(plain * _PER_ASCII + (len(text) - plain) * _PER_OTHER)


def estimate_prompt(messages: Iterable[Message], model: str) -> Estimate:
    """The tokens of a conversation whose media are prepared.

    Args:
        messages: As they will be sent.
        model: The model's id, which decides how pictures are counted.
    """
    media, text, least, number = 0, PER_PROMPT, 0, 0
    for message in messages:
        words = text_of_turn(message)
        text += PER_TURN + text_tokens(words)
        least += len(words) // _LONGEST_TOKEN
        for part in message.parts:
            if not isinstance(part, TextPart):
                media += part_tokens(part, model, index=number)
                number += 1
    return Estimate(media, text, media + least)


def text_of_turn(message: Message) -> str:
    """All text that a turn puts into the prompt, its tool calls included."""
    calls = (f"{call.name} {call.arguments}" for call in message.tool_calls)
    parts = (part.text for part in message.parts if isinstance(part, TextPart))
    return "\n".join(text for text in (message.name or "", *parts, *calls) if text)


def part_tokens(part: Part, model: str, *, index: int = 0) -> int:
    """The tokens of a prepared medium; 0 where it was not decoded here, so that its size is not known.

    Args:
        part: Prepared.
        model: The model's id.
        index: Its number among the media of the conversation, which is written into the prompt.
    """
    if isinstance(part, ImagePart):
        return count_image_tokens((part.width, part.height), model, index=index)
    if isinstance(part, FramesPart):
        return video_tokens(len(part.frames), (part.width, part.height), model)
    if isinstance(part, VideoPart) and part.frames:
        return video_tokens(part.frames, (part.width, part.height), model)
    if isinstance(part, AudioPart) and part.seconds is not None:
        return audio_tokens(part.seconds)
    return 0


def check_fit(messages: Sequence[Message], model: str, *, window: int | None, wanted: int | None) -> str | None:
    """Compare a prompt with the context window.

    Args:
        messages: As they will be sent.
        model: The model's id.
        window: Tokens that fit; `None` if that is not known.
        wanted: Tokens of the answer that are asked for.

    Returns:
        A warning where it will hardly fit, else `None`.

    Raises:
        PromptTooLongError: It cannot fit. Nothing was sent.
    """
    if window is None or _is_short(messages, window):
        return None
    found = estimate_prompt(messages, model)
    if found.at_least >= window:
        error = PromptTooLongError(
            f"The prompt has at least {found.at_least} tokens, {found.media} of them for media, and {model} takes "
            f"{window}. Send fewer or smaller media (image_detail='low', video_sampling), or less text."
        )
        error.n_ctx, error.n_prompt = window, found.at_least
        raise error
    if found.total + (wanted or 0) > window:
        asked = f" and {wanted} for the answer" if wanted else ""
        return f"The prompt has about {found.total} tokens{asked}; {model} takes {window}, so it may not fit."
    return None


def _is_short(messages: Sequence[Message], window: int) -> bool:
    """Whether there is nothing to count: text alone, far below the window."""
    size = 0
    for message in messages:
        if message.tool_calls or not isinstance(message.content, str):
            return False
        size += len(message.content) + PER_TURN
    return size < window // 2
