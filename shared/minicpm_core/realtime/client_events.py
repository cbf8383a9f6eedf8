"""What a client says in a realtime session, as frozen values that know no wire format and no I/O.

They can be made freely; whether they can be sent is checked by the codec, before anything is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.chat_media import PictureDetail, Prepared


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A voice to speak with; `of_audio` makes one of a recording.

    Attributes:
        ref_audio: What the language model hears of it: float32, 16 kHz, not a WAV file.
        tts_ref_audio: What the vocoder hears of it; `None` for the same.
    """

    ref_audio: bytes | None = field(default=None, repr=False)
    tts_ref_audio: bytes | None = field(default=None, repr=False)

    @classmethod
    def of_audio(
        cls,
        audio: Any,
        *,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int | None = None,
    ) -> Self:
        """The voice in a recording, which is read and resampled at once: some seconds of speech, and little else.

        Args:
            audio: As for `ChatPart.of_audio`.
            format: As there.
            sample_rate: As there.

        Raises:
            InvalidInputError: It is no sound, or is broken.
            ConfigurationError: It has to be decoded, and PyAV is not installed.
        """
        from minicpm_core.realtime.chat_media import recording
        from minicpm_core.realtime.samples import from_base64

        return cls(ref_audio=from_base64(recording(audio, format=format, sample_rate=sample_rate).base64))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInit:
    """Begins a session; sent once, after the queue.

    Attributes:
        system_prompt: What the model is told first. Chat sessions ignore it: give them a `system` message.
        config: Settings of the duplex decoder, such as `temperature` or `length_penalty`; unknown ones are passed on.
        voice: The voice to speak with.
        max_slice_nums: Cut-outs per camera frame, 1 to 9.
        extra: Further fields of the payload, passed on as they are.
    """

    system_prompt: str | None = None
    config: Mapping[str, Any] | None = field(default=None, hash=False)
    voice: Voice | None = None
    max_slice_nums: int | None = None
    extra: Mapping[str, Any] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputAppend:
    """One unit of sound, with what was seen meanwhile.

    Attributes:
        audio: `UNIT_SAMPLES` samples of float32 between -1 and 1.
        video_frames: JPEG files.
        force_listen: Whether the model must listen in this unit: the only way to interrupt it.
        max_slice_nums: Cut-outs per frame, or of each frame.
        input_id: Comes back in what this unit caused. The first generation has none, and does not get it.
        extra: Further fields of the input, passed on as they are.
    """

    audio: bytes = field(repr=False)
    video_frames: tuple[bytes, ...] = field(default=(), repr=False)
    force_listen: bool | None = None
    max_slice_nums: int | Sequence[int] | None = None
    input_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPart:
    """A part of a message of a chat session; `of_image` and `of_audio` make one of what a program has.

    Attributes:
        type: `text`, `image`, `audio` or `video`.
        text: Of a text.
        data: Of anything else: a picture's or video's file, or float32 samples at 16 kHz.
        stack_frames: Of a video: how many frames are laid over each other.
        source: What there is instead of `data`: it is prepared when the part is first sent, and then kept.
    """

    type: Literal["text", "image", "audio", "video"]
    text: str = ""
    data: bytes = field(default=b"", repr=False)
    stack_frames: int | None = None
    source: Prepared | None = field(default=None, repr=False)

    @classmethod
    def of_image(cls, image: Any, *, detail: PictureDetail = "auto") -> Self:
        """A picture. It is read and encoded when it is first sent, in a thread; an array is copied at once.

        Args:
            image: A `pathlib.Path`, bytes of a file, a Pillow image, or a numpy array of height, width and 3 colours
                in uint8. Never a URL: nothing is fetched.
            detail: How many of its pixels are sent: `auto` as many as the model can see, `low` at most 448², or the
                `original`.

        Raises:
            InvalidMediaError: It is none of these. What is wrong within it is told when it is sent.
            ConfigurationError: Pillow is not installed, and is needed for it.
        """
        from minicpm_core.realtime.chat_media import picture

        return cls(type="image", source=picture(image, detail=detail))

    @classmethod
    def of_audio(
        cls,
        audio: Any,
        *,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int | None = None,
    ) -> Self:
        """A recording, as long as it is. It is read and resampled when it is first sent, in a thread.

        Args:
            audio: Samples of one channel, as bytes or as a numpy array; bytes of a WAV file; or a `pathlib.Path` to
                one, or with the extra `[media]` to any sound file.
            format: What bytes of samples are: `pcm16`, if nothing is said, or `f32`. Arrays say so themselves.
            sample_rate: Samples a second; `None` for 16,000. Files say so themselves.

        Raises:
            InvalidInputError: It is none of these, or holds samples that are NaN, infinite or beyond ±1. What is wrong
                within a file is told when it is sent.
        """
        from minicpm_core.realtime.chat_media import recording

        return cls(type="audio", source=recording(audio, format=format, sample_rate=sample_rate))


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message of a chat session.

    Attributes:
        role: Who says it.
        content: A text, or texts and parts in their order.
    """

    role: Literal["system", "user", "assistant"]
    content: str | Sequence[ChatPart | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAppend:
    """A question of a chat session, with the whole history before it.

    Attributes:
        messages: The history, the question last.
        streaming: Whether the answer comes in pieces.
        max_new_tokens: The longest answer; `None` for the server's 256.
        length_penalty: Above 1 for longer answers; `None` for the server's 1.1.
        max_slice_nums: Cut-outs per picture.
        omni_mode: Whether sound and pictures belong together, as in a film.
        speak: Whether the answer is spoken as well.
        voice: Float32 at 16 kHz to speak like.
        use_tts_template: Whether the prompt is that of a spoken answer.
        enable_thinking: Whether to think first.
        input_id: Comes back in what this question caused.
        response_id: How the answer is to be called.
        extra: Further fields of the input, passed on as they are.
    """

    messages: Sequence[ChatMessage]
    streaming: bool = True
    max_new_tokens: int | None = None
    length_penalty: float | None = None
    max_slice_nums: int | None = None
    omni_mode: bool | None = None
    speak: bool = False
    voice: bytes | None = field(default=None, repr=False)
    use_tts_template: bool | None = None
    enable_thinking: bool | None = None
    input_id: str | None = None
    response_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=_nothing, hash=False)


class QuestionOptions(TypedDict, total=False):
    """The fields of `ChatAppend` that a question may have beside its messages; they are described there."""

    streaming: bool
    max_new_tokens: int | None
    length_penalty: float | None
    max_slice_nums: int | None
    omni_mode: bool | None
    speak: bool
    voice: bytes | None
    use_tts_template: bool | None
    enable_thinking: bool | None
    response_id: str | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClose:
    """Ends a session; nothing is sent after it.

    Attributes:
        reason: Comes back in `SessionClosed`.
    """

    reason: str | None = None


ClientEvent: TypeAlias = SessionInit | InputAppend | ChatAppend | SessionClose
