"""Pictures and sound in questions: whatever a program has is what the model is shown."""

from __future__ import annotations

import base64
import io
import os
import threading
import wave
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from minicpm_core.errors import ConfigurationError, InvalidInputError, InvalidMediaError
from minicpm_core.realtime import ChatMessage, ChatPart, RealtimeClient, SessionInit, Voice
from minicpm_core.realtime.client_events import ChatAppend
from minicpm_core.realtime.codec import Codec
from tests.realtime.frames import check_sent

if TYPE_CHECKING:
    from minicpm_core.emulator import EmulatorServer


def sent(part: ChatPart) -> bytes:
    """The content of a part, as a server gets it."""
    frame = check_sent(Codec().encode(ChatAppend(messages=[ChatMessage("user", ["Look:", part])])), 2)
    text, given = frame["input"]["messages"][0]["content"]
    assert text == {"type": "text", "text": "Look:"}
    return base64.b64decode(given["data"])


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def wav_of(samples: bytes, *, rate: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((channels, 2, rate, 0, "NONE", ""))
        wav.writeframes(samples)
    return file.getvalue()


RED = Image.new("RGB", (320, 240), "red")
TONE = (0.5 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 16_000)).astype("f4")
"""A second and a half."""


# --- Pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        RED,
        np.asarray(RED),
        encoded(RED, "PNG"),
        bytearray(encoded(RED, "JPEG")),
        memoryview(encoded(RED, "WEBP")),
        RED.convert("RGBA"),
    ],
    ids=["pillow", "numpy", "png", "bytearray", "webp", "transparent"],
)
def test_a_picture_is_taken_in_any_shape(image: Any) -> None:
    shown = Image.open(io.BytesIO(sent(ChatPart.of_image(image))))
    assert shown.format in {"JPEG", "PNG"}
    assert shown.size == (320, 240)
    pixel: Any = shown.convert("RGB").getpixel((9, 9))
    assert pixel[0] > 240
    assert pixel[1] < 20


def test_a_file_of_the_program_s_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(encoded(RED, "PNG"))
    assert sent(ChatPart.of_image(path)) == path.read_bytes()


def test_an_array_that_is_filled_anew_does_not_change_what_was_shown() -> None:
    frame = np.zeros((8, 8, 3), "u1")
    part = ChatPart.of_image(frame)
    frame[:] = 255
    assert Image.open(io.BytesIO(sent(part))).convert("L").getextrema() == (0, 0)


def test_a_large_picture_is_sent_as_large_as_the_model_can_see_it() -> None:
    large = Image.effect_noise((4000, 3000), 50).convert("RGB")
    auto = Image.open(io.BytesIO(sent(ChatPart.of_image(large)))).size
    low = Image.open(io.BytesIO(sent(ChatPart.of_image(large, detail="low")))).size
    assert 448 * 448 < auto[0] * auto[1] <= 9 * 448 * 448
    assert low[0] * low[1] <= 448 * 448
    assert Image.open(io.BytesIO(sent(ChatPart.of_image(large, detail="original")))).size == (4000, 3000)


@pytest.mark.parametrize(
    "image", ["cat.jpg", "https://example.com/cat.jpg", 3, None, np.zeros((8, 8), "u1"), np.zeros((8, 8, 3), "f4")]
)
def test_what_is_no_picture_is_refused_at_once(image: Any) -> None:
    with pytest.raises(InvalidMediaError):
        ChatPart.of_image(image)


@pytest.mark.parametrize("image", [b"no picture", b"", Path("nowhere.png"), encoded(RED, "PNG")[:60]])
def test_what_is_broken_is_refused_before_it_is_sent(image: Any) -> None:
    with pytest.raises(InvalidMediaError):
        sent(ChatPart.of_image(image))


def test_a_detail_that_is_none_is_refused() -> None:
    unknown: Any = "high"
    with pytest.raises(InvalidInputError, match="detail"):
        ChatPart.of_image(RED, detail=unknown)


# --- Sound ------------------------------------------------------------------------------------------------------------


PCM = (TONE * 32768).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("audio", "options"),
    [
        (TONE, {}),
        (TONE.astype("f8"), {}),
        (array("f", TONE), {}),
        (PCM, {}),
        (np.frombuffer(PCM, "i2"), {}),
        (TONE.tobytes(), {"format": "f32"}),
        (wav_of(PCM), {}),
    ],
    ids=["float32", "float64", "array", "pcm16", "int16", "f32", "wav"],
)
def test_a_recording_is_taken_in_any_shape_and_is_as_long_as_it_is(audio: Any, options: dict[str, Any]) -> None:
    heard = np.frombuffer(sent(ChatPart.of_audio(audio, **options)), "f4")
    assert len(heard) == 24_000
    assert np.abs(heard - TONE).max() < 1e-3


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_other_rates_become_16000_a_second(rate: int) -> None:
    tone = (0.5 * np.sin(np.arange(rate) * 2 * np.pi * 440 / rate)).astype("f4")
    heard = np.frombuffer(sent(ChatPart.of_audio(tone, sample_rate=rate)), "f4")
    assert len(heard) == 16_000
    assert np.abs(heard[500:-500] - TONE[500:15_500]).max() < 0.01


def test_a_sound_file_says_itself_what_it_holds(tmp_path: Path) -> None:
    stereo = np.repeat((0.5 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000) * 32767).astype("<i2"), 2)
    path = tmp_path / "question.wav"
    path.write_bytes(wav_of(stereo.tobytes(), rate=48_000, channels=2))
    heard = np.frombuffer(sent(ChatPart.of_audio(path)), "f4")
    assert len(heard) == 16_000
    assert np.abs(heard[500:-500] - TONE[500:15_500]).max() < 0.01
    told: list[dict[str, Any]] = [{"sample_rate": 16_000}, {"format": "f32"}]
    for options in told:
        with pytest.raises(InvalidInputError, match="says itself"):
            ChatPart.of_audio(path, **options)


def test_samples_that_begin_like_a_file_are_samples_where_that_is_said() -> None:
    assert len(sent(ChatPart.of_audio(wav_of(PCM), format="pcm16"))) == 2 * len(wav_of(PCM))


@pytest.mark.parametrize(
    ("audio", "options"),
    [
        ("question.wav", {}),
        (b"", {}),
        (b"odd", {}),
        (np.zeros((5, 2), "f4"), {}),
        (np.array([np.nan], "f4"), {}),
        (np.array([2.0], "f4"), {}),
        (TONE, {"sample_rate": 0}),
        (TONE, {"sample_rate": 44_100.5}),
        (TONE, {"format": "mp3"}),
        (3, {}),
    ],
)
def test_what_is_no_sound_is_refused_at_once(audio: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        ChatPart.of_audio(audio, **options)


@pytest.mark.parametrize("audio", [Path("nowhere.wav"), wav_of(b"")])
def test_a_file_without_sound_is_refused_before_it_is_sent(audio: Any) -> None:
    with pytest.raises(InvalidMediaError):
        sent(ChatPart.of_audio(audio))


def test_a_voice_is_made_of_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    path.write_bytes(wav_of(PCM))
    for voice in (Voice.of_audio(path), Voice.of_audio(TONE)):
        frame = check_sent(Codec().encode(SessionInit(voice=voice)), 2)
        heard = np.frombuffer(base64.b64decode(frame["payload"]["voice"]["ref_audio_base64"]), "f4")
        assert np.abs(heard - TONE).max() < 1e-3
    with pytest.raises(InvalidMediaError):
        Voice.of_audio(Path("nowhere.wav"))


def test_without_pillow_an_array_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ConfigurationError, match=r"\[media\]"):
        ChatPart.of_image(np.zeros((8, 8, 3), "u1"))


def test_a_part_shows_nothing_of_what_it_holds() -> None:
    assert repr(ChatPart.of_image(RED)) == "ChatPart(type='image', text='', stack_frames=None)"


# --- In a session -----------------------------------------------------------------------------------------------------


async def test_the_emulator_sees_and_hears_them(minicpm_emulator: EmulatorServer, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(encoded(RED, "PNG"))
    async with RealtimeClient(base_url=minicpm_emulator.realtime_url).session(mode="chat") as session:
        for image in (path, RED, np.asarray(RED)):
            seen = await session.ask([ChatMessage("user", [ChatPart.of_image(image), "Describe this."])])
            assert "320 x 240 pixels" in seen.text
            assert "red" in seen.text
        tone = (0.5 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000)).astype("f4")
        question = ChatMessage("user", [ChatPart.of_audio(tone, sample_rate=48_000), "Describe this."])
        heard = await session.ask([question])
    assert "440" in heard.text


async def test_files_are_read_once_and_beside_the_event_loop(minicpm_emulator: EmulatorServer, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(encoded(RED, "PNG"))
    readers: list[threading.Thread] = []

    class Watched(os.PathLike[str]):
        def __fspath__(self) -> str:
            readers.append(threading.current_thread())
            return str(tmp_path / "red.png")

    history = [ChatMessage("user", [ChatPart.of_image(Watched()), "Describe this."])]
    async with RealtimeClient(base_url=minicpm_emulator.realtime_url).session(mode="chat") as session:
        answer = await session.ask(history)
        reads = len(readers)
        history += [ChatMessage("assistant", answer.text), ChatMessage("user", "Count to 3.")]
        assert (await session.ask(history)).text == "1 2 3"
    assert reads > 0
    assert len(readers) == reads
    assert threading.main_thread() not in readers


def test_a_recording_that_would_grow_beyond_measure_is_refused() -> None:
    """Two megabytes at 1,000 a second are 16 times as many samples of twice the width."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 1, 1000, 0, "NONE", ""))
        wav.writeframes(bytes(36 * 60 * 1000))
    part = ChatPart.of_audio(file.getvalue())
    assert part.source is not None
    with pytest.raises(InvalidMediaError, match="too long"):
        _ = part.source.base64
