"""From an event to the JSON object that a server takes, in the words of each generation.

Everything is checked here: the servers end the session at the first mistake, or take it for silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from minicpm_core.errors import InvalidInputError, UnsupportedFeatureError
from minicpm_core.realtime import samples
from minicpm_core.realtime.client_events import (
    ChatAppend,
    ChatMessage,
    ChatPart,
    InputAppend,
    SessionClose,
    SessionInit,
)
from minicpm_core.realtime.duplex import check_config
from minicpm_core.realtime.events import UNIT_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minicpm_core.realtime.events import Generation

Frame: TypeAlias = "dict[str, Any]"

DEFAULT_PROMPT = "You are a helpful assistant."
"""What the second generation assumes, and what the first one has to be told."""

_JPEG = b"\xff\xd8\xff"
_MOST_SLICES = 9
_MOST_FRAMES_GEN1 = 4
_LEAST_SAMPLES_GEN1 = 4000
_ROLES = ("system", "user", "assistant")
_KINDS = ("text", "image", "audio", "video")


def init_gen2(event: SessionInit) -> Frame:
    """`session.init`."""
    payload = {
        "system_prompt": _optional(event.system_prompt, str, "system_prompt"),
        "max_slice_nums": _slices(event.max_slice_nums),
    }
    if event.config is not None:
        check_config(event.config)
        payload["config"] = dict(event.config)
    if event.voice is not None:
        payload["voice"] = _present(
            ref_audio_base64=_voice(event.voice.ref_audio), tts_ref_audio_base64=_voice(event.voice.tts_ref_audio)
        )
    return {"type": "session.init", "payload": _with_extra(_present(**payload), event.extra)}


def init_gen1(event: SessionInit) -> Frame:
    """`session.update`."""
    if event.config or event.extra:
        raise UnsupportedFeatureError("The first generation of the protocol takes no config and no further fields.")
    voice = event.voice
    session = _present(
        instructions=_optional(event.system_prompt, str, "system_prompt") or DEFAULT_PROMPT,
        max_slice_nums=_slices(event.max_slice_nums),
        ref_audio=_voice(voice.ref_audio) if voice else None,
        tts_ref_audio=_voice(voice.tts_ref_audio) if voice else None,
    )
    return {"type": "session.update", "session": session}


def append_gen2(event: InputAppend) -> Frame:
    """`input.append` of a unit."""
    if len(event.audio) != UNIT_SAMPLES * samples.F32_BYTES:
        raise InvalidInputError(
            f"A unit has {UNIT_SAMPLES} float32 samples, {UNIT_SAMPLES * samples.F32_BYTES} bytes; "
            f"this one has {len(event.audio)} bytes."
        )
    slices = event.max_slice_nums
    given = _present(
        audio=_audio(event.audio),
        video_frames=_frames(event.video_frames) or None,
        force_listen=_optional(event.force_listen, bool, "force_listen"),
        max_slice_nums=_slices(slices) if isinstance(slices, int) else _slices_each(slices, len(event.video_frames)),
        input_id=_optional(event.input_id, str, "input_id"),
    )
    if "messages" in event.extra:
        raise InvalidInputError("A unit of sound holds no messages; those are for chat sessions.")
    return {"type": "input.append", "input": _with_extra(given, event.extra)}


def append_gen1(event: InputAppend) -> Frame:
    """`input_audio_buffer.append`. `input_id` is left out: the first generation has none."""
    if event.extra:
        raise UnsupportedFeatureError("The first generation of the protocol takes no further fields.")
    if len(event.audio) < _LEAST_SAMPLES_GEN1 * samples.F32_BYTES:
        raise InvalidInputError(f"A unit has at least {_LEAST_SAMPLES_GEN1} samples.")
    if len(event.video_frames) > _MOST_FRAMES_GEN1:
        raise InvalidInputError(f"A unit has at most {_MOST_FRAMES_GEN1} frames, not {len(event.video_frames)}.")
    return {
        "type": "input_audio_buffer.append",
        **_present(
            audio=_audio(event.audio),
            video_frames=_frames(event.video_frames) or None,
            force_listen=_optional(event.force_listen, bool, "force_listen"),
            max_slice_nums=_slices(event.max_slice_nums),
        ),
    }


def chat_gen2(event: ChatAppend) -> Frame:
    """`input.append` of a question."""
    if not event.messages:
        raise InvalidInputError("A question needs messages.")
    generation = _present(
        max_new_tokens=_positive(event.max_new_tokens, "max_new_tokens"),
        length_penalty=_number(event.length_penalty, "length_penalty"),
    )
    image = _present(max_slice_nums=_slices(event.max_slice_nums))
    speech = _present(
        enabled=_optional(event.speak, bool, "speak"),
        ref_audio_data=_voice(event.voice),
    )
    given = _present(
        messages=[_message(message) for message in event.messages],
        streaming=_optional(event.streaming, bool, "streaming"),
        generation=generation or None,
        image=image or None,
        omni_mode=_optional(event.omni_mode, bool, "omni_mode"),
        tts=speech,
        use_tts_template=_optional(event.use_tts_template, bool, "use_tts_template"),
        enable_thinking=_optional(event.enable_thinking, bool, "enable_thinking"),
        input_id=_optional(event.input_id, str, "input_id"),
        response_id=_optional(event.response_id, str, "response_id"),
    )
    return {"type": "input.append", "input": _with_extra(given, event.extra)}


def chat_gen1(_event: ChatAppend) -> Frame:
    """Nothing: the first generation has no chat."""
    raise UnsupportedFeatureError("The first generation of the protocol has no chat sessions.")


def close(event: SessionClose) -> Frame:
    """`session.close`, the same in both."""
    return {"type": "session.close", **_present(reason=_optional(event.reason, str, "reason"))}


WRITERS: Mapping[Generation, Mapping[type[Any], Callable[[Any], Frame]]] = {
    2: {SessionInit: init_gen2, InputAppend: append_gen2, ChatAppend: chat_gen2, SessionClose: close},
    1: {SessionInit: init_gen1, InputAppend: append_gen1, ChatAppend: chat_gen1, SessionClose: close},
}
"""How each generation says each event."""


# --- Parts of them ----------------------------------------------------------------------------------------------------


def _present(**fields: Any) -> Frame:
    return {name: value for name, value in fields.items() if value is not None}


def _with_extra(known: Frame, extra: Mapping[str, Any]) -> Frame:
    twice = known.keys() & extra.keys()
    if twice:
        raise InvalidInputError(f"Given twice, by name and in extra: {', '.join(sorted(twice))}.")
    return {**extra, **known}


def _optional(value: Any, kind: type[Any], name: str) -> Any:
    if value is not None and not isinstance(value, kind):
        raise InvalidInputError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}.")
    return value


def _positive(value: Any, name: str) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidInputError(f"{name} must be a whole number of 1 or more.")
    return value


def _number(value: Any, name: str) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidInputError(f"{name} must be a number.")
    return value


def _slices(value: Any) -> Any:
    _positive(value, "max_slice_nums")
    if value is not None and value > _MOST_SLICES:
        raise InvalidInputError(f"max_slice_nums is at most {_MOST_SLICES}, not {value}.")
    return value


def _slices_each(values: Sequence[int] | None, frames: int) -> list[int] | None:
    if values is None:
        return None
    if len(values) != frames:
        raise InvalidInputError(f"max_slice_nums has {len(values)} numbers for {frames} frames.")
    return [_slices(value) for value in values]


def _audio(data: bytes, label: str = "audio") -> str:
    samples.check_f32(data, label=label)
    return samples.base64_text(data)


def _voice(data: bytes | None) -> str | None:
    if data is None:
        return None
    if not data:
        raise InvalidInputError("The reference voice is empty.")
    if data[:4] == b"RIFF":
        raise InvalidInputError("The reference voice is a WAV file; give its samples, as float32 at 16 kHz.")
    return _audio(data, "reference voice")


def _frames(frames: Sequence[bytes]) -> list[str]:
    if not all(frame.startswith(_JPEG) for frame in frames):
        raise InvalidInputError("Video frames are JPEG files; one of these is not.")
    return list(map(samples.base64_text, frames))


def _message(message: ChatMessage) -> Frame:
    if not isinstance(message, ChatMessage):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may
        raise InvalidInputError(f"Messages are of the class ChatMessage, not {type(message).__name__}.")
    if message.role not in _ROLES:
        raise InvalidInputError(f"A role is one of {', '.join(_ROLES)}, not {message.role!r:.40}.")
    content = message.content
    if not isinstance(content, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may
        raise InvalidInputError(f"A content is a text, or a list of texts and parts, not {type(content).__name__}.")
    return {"role": message.role, "content": content if isinstance(content, str) else list(map(_part, content))}


def _part(part: ChatPart | str) -> Frame:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, ChatPart):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may
        raise InvalidInputError(f"A part is a text or a ChatPart, not {type(part).__name__}: see ChatPart.of_image.")
    if part.type not in _KINDS:
        raise InvalidInputError(f"A part is one of {', '.join(_KINDS)}, not {cast('Any', part.type)!r:.40}.")
    if part.type == "text":
        return {"type": "text", "text": _optional(part.text, str, "text")}
    if part.source is not None:
        return {"type": part.type, "data": part.source.base64}
    if not part.data:
        raise InvalidInputError(f"A part of type {part.type} has no data.")
    data = _audio(part.data) if part.type == "audio" else samples.base64_text(part.data)
    frames = _positive(part.stack_frames, "stack_frames") if part.type == "video" else None
    return {"type": part.type, **_present(data=data, stack_frames=frames)}
