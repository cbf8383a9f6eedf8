"""What arrived, looked at: is it that picture, that clip, that sound?"""

from __future__ import annotations

import base64
import io
import wave
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.core.media.clips import number_of, shown_in, tone
from tests.core.media.pictures import BLUE, GREEN, RED, WHITE, colour
from tests.media.samples import FRAMES, QUESTION, SIZE, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.media.matrix import Outcome

Parts = list[dict[str, Any]]
_NEAR = 45
"""Steps of 255 that lossy coding of small pictures may be off."""


def answered(content: Any) -> Parts:
    """The parts that stand for the medium: all behind the question."""
    if isinstance(content, str):
        question, _, text = content.partition("\n")
        assert question == QUESTION
        return [{"type": "text", "text": text}]
    first, *parts = content
    assert first == {"type": "text", "text": QUESTION}
    return list(parts)


def decoded(url: str, media_type: str) -> bytes:
    """What a data URL of that type holds."""
    head, _, encoded = url.partition(",")
    assert head == f"data:{media_type};base64"
    return base64.b64decode(encoded, validate=True)


def picture(part: dict[str, Any]) -> Image.Image:
    """The picture of an `image_url` part, which is of the type that it says."""
    assert set(part) == {"type", "image_url"}
    assert part["type"] == "image_url"
    assert set(part["image_url"]) == {"url"}
    url = part["image_url"]["url"]
    media_type = "image/png" if url.startswith("data:image/png") else "image/jpeg"
    return opened(decoded(url, media_type), media_type)


def opened(data: bytes, media_type: str) -> Image.Image:
    """A picture of that type."""
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.get_format_mimetype() == media_type
    return image


def _check_quarters(image: Image.Image) -> None:
    """It shows four quarters in the right colours and places."""
    right, low = image.width - 4, image.height - 4
    for at, wanted in {(3, 3): RED, (right, 3): GREEN, (3, low): BLUE, (right, low): WHITE}.items():
        found = colour(image, at)
        assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= _NEAR, (at, found, wanted)


def _check_frames(frames: list[Image.Image]) -> None:
    """They are all frames of the clip, in order and at its size."""
    assert [(frame.size, number_of(frame)) for frame in frames] == [(SIZE, number) for number in range(FRAMES)]
    for frame in frames:
        _check_quarters(frame)


def _image(parts: Parts) -> None:
    (part,) = parts
    image = picture(part)
    assert image.size == SIZE
    _check_quarters(image)


def _mp4(parts: Parts) -> None:
    (part,) = parts
    assert part["type"] == "video_url"
    _check_frames(shown_in(decoded(part["video_url"]["url"], "video/mp4")))


def _jpeg_frames(parts: Parts) -> None:
    (part,) = parts
    assert part["type"] == "video_url"
    head, *encoded = part["video_url"]["url"].split(",")
    assert head == "data:video/jpeg;base64"
    _check_frames([opened(base64.b64decode(each, validate=True), "image/jpeg") for each in encoded])


def _input_video(parts: Parts) -> None:
    (part,) = parts
    assert set(part) == {"type", "input_video"}
    assert set(part["input_video"]) == {"data"}
    _check_frames(shown_in(base64.b64decode(part["input_video"]["data"], validate=True)))


def _times_and_images(parts: Parts) -> None:
    times = [f"[video at 00:{number:02d}.0]" for number in range(FRAMES)]
    assert [part["text"] for part in parts[::2]] == times
    _check_frames([picture(part) for part in parts[1::2]])


def _check_sound(data: bytes) -> None:
    """It is the tone of one second, in mono at 16 kHz."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 16_000, 2)
        assert abs(file.getnframes() - 16_000) <= 160
    pitch, peak = tone(data)
    assert abs(pitch - 440) < 5
    assert 0.4 < peak < 0.6


def _audio_url(parts: Parts) -> None:
    (part,) = parts
    assert part["type"] == "audio_url"
    _check_sound(decoded(part["audio_url"]["url"], "audio/wav"))


def _input_audio(parts: Parts) -> None:
    (part,) = parts
    assert part["type"] == "input_audio"
    assert part["input_audio"]["format"] == "wav"
    _check_sound(base64.b64decode(part["input_audio"]["data"], validate=True))


def _text_and_image(parts: Parts) -> None:
    title, page = parts
    assert title["type"] == "text"
    assert title["text"].lower().endswith("page 1:")
    image = picture(page)
    assert image.size == (267, 200)  # 64 x 48 points at 300 dpi, the most for a small page
    _check_quarters(image)


def _text(parts: Parts) -> None:
    (part,) = parts
    assert part["type"] == "text"
    assert part["text"] in {TEXT, f"notes.md:\n{TEXT}"}


LOOKED_AT: dict[Outcome, Callable[[Parts], None]] = {
    "image_url": _image,
    "video_url (MP4)": _mp4,
    "video_url (JPEG frames)": _jpeg_frames,
    "input_video": _input_video,
    "times and image_url": _times_and_images,
    "audio_url": _audio_url,
    "input_audio": _input_audio,
    "text and image_url": _text_and_image,
    "text": _text,
}
"""How to check what was sent."""

PASSED_ON: dict[Outcome, str] = {
    "image_url (the URL)": "image_url",
    "video_url (the URL)": "video_url",
    "audio_url (the URL)": "audio_url",
}
"""The parts that hold a URL as it was given."""
