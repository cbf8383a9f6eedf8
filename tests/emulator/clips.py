"""Videos and recordings of the emulator's tests, and messages that hold them."""

from __future__ import annotations

import base64
import io
import wave
from functools import cache
from typing import Any

from PIL import Image

from tests.core.media import clips

CARD = {"video": "openbmb/MiniCPM-V-4.6", "audio": "openbmb/MiniCPM-o-4_5"}
SIZE = clips.SIZE
SEES = "begins red and dark, is green and dark in the middle and ends blue and very dark; mainly green."


@cache
def traffic_light(kind: str = "mp4", codec: str = "libx264", count: int = 40) -> bytes:
    """Ten frames a second: a quarter of them red, half of them green, a quarter blue."""
    colours = ["red"] * (count // 4) + ["green"] * (count // 2) + ["blue"] * (count // 4)
    return clips.video(kind, codec, [Image.new("RGB", SIZE, colour) for colour in colours])


@cache
def tone(kind: str = "wav", codec: str = "pcm_s16le", rate: int = 16_000, seconds: float = 2.0) -> bytes:
    """A tone of 440 Hz."""
    return clips.recording(kind, codec, rate, seconds=seconds)


def wav(samples: bytes) -> bytes:
    """A WAV of 16 kHz from mono samples of 16 bits."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples)
    return held.getvalue()


def jpeg(colour: str, size: tuple[int, int] = SIZE) -> bytes:
    """A picture of one colour."""
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "JPEG")
    return held.getvalue()


def base64_of(data: bytes) -> str:
    """Bytes as Base64 text."""
    return base64.b64encode(data).decode()


def url_of(media_type: str, *data: bytes) -> str:
    """A data URL; of several files, vLLM's list."""
    return f"data:{media_type};base64,{','.join(map(base64_of, data))}"


def video_url(data: bytes, media_type: str = "video/mp4", **more: Any) -> dict[str, Any]:
    """A video file as a part."""
    return {"type": "video_url", "video_url": {"url": url_of(media_type, data), **more}}


def frames_url(*frames: bytes) -> dict[str, Any]:
    """A list of frames as a part."""
    return {"type": "video_url", "video_url": {"url": url_of("video/jpeg", *frames)}}


def input_video(data: bytes) -> dict[str, Any]:
    """A video file as llama-server's part."""
    return {"type": "input_video", "input_video": {"data": base64_of(data)}}


def audio_url(data: bytes, media_type: str = "audio/wav") -> dict[str, Any]:
    """A recording as a part."""
    return {"type": "audio_url", "audio_url": {"url": url_of(media_type, data)}}


def input_audio(data: bytes, form: str = "wav") -> dict[str, Any]:
    """A recording as OpenAI's part."""
    return {"type": "input_audio", "input_audio": {"data": base64_of(data), "format": form}}


def user(text: str, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation of one message, with media before the text."""
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
