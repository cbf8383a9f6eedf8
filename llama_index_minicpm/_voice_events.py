"""What a voice agent remembers of a session, as LlamaIndex's events and messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import AudioBlock, ChatMessage, MessageRole, TextBlock
from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.voice_agents import BaseVoiceAgentEvent

from minicpm_core.realtime.events import OUTPUT_RATE, AudioDelta, ErrorEvent, UnknownEvent
from minicpm_core.realtime.samples import F32_BYTES
from minicpm_core.realtime.wav import to_wav

if TYPE_CHECKING:
    from minicpm_core.realtime.events import ServerEvent
    from minicpm_core.realtime.turns import Turn

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class MiniCPMVoiceEvent(BaseVoiceAgentEvent):
    """Something that happened in a session. It has no session id, which would open a recording.

    `type_t` is the name of the event of `minicpm_core.realtime` in small letters: `text_delta`, `audio_delta`,
    `listen`, `response_interrupted` …

    Attributes:
        response_id: Of the turn.
        text: What was said, or what the server says about an error.
        name: What the server calls an event that is not known here, or the code of an error.
        audio_seconds: How long it sounds.
        audio: How it sounds, where the agent keeps sound: float32, 24 kHz, one channel.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    response_id: str | None = None
    text: str | None = None
    name: str | None = None
    audio_seconds: float | None = None
    audio: bytes | None = Field(default=None, repr=False)


def to_event(event: ServerEvent, *, keep_audio: bool) -> MiniCPMVoiceEvent:
    """An event of the core as one of LlamaIndex's."""
    found: dict[str, Any] = {"response_id": getattr(event, "response_id", None), "text": getattr(event, "text", None)}
    if isinstance(event, UnknownEvent):
        found["name"] = event.type
    elif isinstance(event, ErrorEvent):
        found |= {"name": event.code, "text": event.message}
    elif isinstance(event, AudioDelta):
        found["audio_seconds"] = round(len(event.audio) / (F32_BYTES * OUTPUT_RATE), 3)
        found["audio"] = event.audio if keep_audio else None
    return MiniCPMVoiceEvent(type_t=_CAPITAL.sub("_", type(event).__name__).lower(), **found)


def to_message(turn: Turn, *, keep_audio: bool) -> ChatMessage:
    """A turn of the model's as a message of the assistant's."""
    blocks: list[Any] = [TextBlock(text=turn.text)]
    if keep_audio and turn.audio:
        blocks.append(AudioBlock(audio=to_wav(turn.audio), format="wav"))
    about = {"response_id": turn.response_id, "interrupted": turn.interrupted}
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=about)
