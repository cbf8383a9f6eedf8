"""Recordings are decoded and measured: what is said of them is true, and what a server does not take is refused."""

from __future__ import annotations

import json
import math
import random
import sys
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.emulator.dialects import DIALECTS
from minicpm_core.emulator.recordings import listen
from tests.core.media import clips
from tests.emulator.clips import (
    CARD,
    audio_url,
    base64_of,
    frames_url,
    input_audio,
    jpeg,
    tone,
    traffic_light,
    user,
    wav,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.conftest import AskerFactory

O45 = CARD["audio"]
MODELS = {"modelbest": "MiniCPM-O-4.5-9B", "ollama": "openbmb/minicpm-o4.5"}
SHAPES: dict[str, Callable[[bytes], dict[str, Any]]] = {"audio_url": audio_url, "input_audio": input_audio}
TAKES = {
    "modelbest": {"audio_url", "input_audio"},
    "vllm": {"audio_url", "input_audio"},
    "llamacpp": {"input_audio"},
    "transformers": set[str](),
    "ollama": set[str](),
}
HEARD = "A recording of 2.0 seconds at 16000 Hz, loud (-9 dBFS), main pitch about 440 Hz. (emulator, not a model)"


@pytest.mark.parametrize(("dialect", "shape"), [(dialect, shape) for dialect in TAKES for shape in TAKES[dialect]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_recording_is_described(asker_of: AskerFactory, dialect: str, shape: str, stream: bool) -> None:
    asker, model = asker_of(dialect=dialect), MODELS.get(dialect, O45)
    message = user("What do you hear?", SHAPES[shape](tone()))
    said = asker.stream(message, model=model).joined("content") if stream else asker.text(message, model=model)
    assert said.strip() == HEARD


@pytest.mark.parametrize(
    ("dialect", "shape"), [(dialect, shape) for dialect in TAKES for shape in SHAPES if shape not in TAKES[dialect]]
)
def test_a_shape_that_the_server_does_not_take_is_refused(asker_of: AskerFactory, dialect: str, shape: str) -> None:
    response = asker_of(dialect=dialect).post(user("?", SHAPES[shape](tone())), model=MODELS.get(dialect, O45))
    words = {
        "llamacpp": (500, "audio input is not supported"),
        "transformers": (500, "Internal Server Error"),
        "ollama": (400, "invalid message format"),
    }
    status, said = words[dialect]
    assert response.status_code == status
    assert said in response.text


def test_every_dialect_has_its_row_here() -> None:
    assert TAKES.keys() == DIALECTS.keys()


@pytest.mark.parametrize(("dialect", "model"), [("modelbest", "MiniCPM-V-4.6-1B"), ("vllm", CARD["video"])])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_that_cannot_hear_is_given_none(asker_of: AskerFactory, dialect: str, model: str, shape: str) -> None:
    response = asker_of(dialect=dialect).post(user("?", SHAPES[shape](tone())), model=model)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("At most 0 audio(s) may be provided in one prompt.")


@pytest.mark.parametrize(
    ("kind", "codec", "rate"), [("wav", "pcm_s24le", 48_000), ("mp3", "libmp3lame", 44_100), ("flac", "flac", 8_000)]
)
@pytest.mark.parametrize("dialect", ["modelbest", "vllm", "llamacpp"])
def test_other_formats_are_decoded_and_their_own_rate_is_told(
    asker_of: AskerFactory, dialect: str, kind: str, codec: str, rate: int
) -> None:
    message = user("?", input_audio(tone(kind, codec, rate), kind))
    said = asker_of(dialect=dialect).text(message, model=MODELS.get(dialect, O45))
    assert f"at {rate} Hz, loud" in said
    assert "main pitch about 440 Hz" in said


def sine(pitch: float, amplitude: float, seconds: float = 1.0) -> array[int]:
    step = math.tau * pitch / 16_000
    return array("h", (round(amplitude * math.sin(step * at)) for at in range(int(seconds * 16_000))))


def noise(seconds: float = 1.0) -> array[int]:
    chance = random.Random(1)
    return array("h", (chance.randrange(-8000, 8000) for _ in range(int(seconds * 16_000))))


@pytest.mark.parametrize("pitch", [60, 123.5, 440, 1000, 3000])
def test_the_pitch_of_a_tone_is_found(pitch: float) -> None:
    found = listen(wav(sine(pitch, 10_000).tobytes()), DIALECTS["vllm"], O45).pitch
    assert found == pytest.approx(pitch, rel=0.02)


@pytest.mark.parametrize(
    "samples",
    [noise(), sine(440, 10_000, 0.3) + noise(0.7), array("h", bytes(32_000)), array("h", [5000] * 16_000)],
    ids=["noise", "mostly noise", "silence", "no wave"],
)
def test_what_is_no_clear_tone_has_no_pitch(samples: array[int]) -> None:
    assert listen(wav(samples.tobytes()), DIALECTS["vllm"], O45).pitch is None


@pytest.mark.parametrize(
    ("amplitude", "words", "level"),
    [(20_000, "loud", -7.3), (5000, "of medium loudness", -19.3), (300, "quiet", -43.8), (10, "silent", -73.0)],
)
def test_loudness_is_measured_and_named(amplitude: int, words: str, level: float) -> None:
    recording = listen(wav(sine(440, amplitude).tobytes()), DIALECTS["vllm"], O45)
    assert recording.loudness == words
    assert recording.level == pytest.approx(level, abs=0.5)


def test_the_loudness_of_a_long_recording_is_that_of_all_of_it() -> None:
    samples = sine(440, 20_000, 15) + array("h", bytes(15 * 32_000))
    assert listen(wav(samples.tobytes()), DIALECTS["vllm"], O45).level == pytest.approx(-10.3, abs=0.2)


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_a_recording_of_a_few_samples_is_one(asker_of: AskerFactory, samples: int) -> None:
    message = user("?", audio_url(wav(bytes(2 * samples))))
    assert "A recording of 0.0 seconds at 16000 Hz, silent, without a clear tone." in asker_of(dialect="vllm").text(
        message, model=O45
    )


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How long is it?", "It lasts 2.0 seconds."),
        ("How loud is it, and what is its pitch?", "It is loud (-9 dBFS). It is a tone of about 440 Hz."),
    ],
)
def test_questions_about_a_recording_are_answered(asker_of: AskerFactory, question: str, answer: str) -> None:
    said = asker_of(dialect="vllm").text(user(question, audio_url(tone())), model=O45)
    assert said == f"{answer} (emulator, not a model)"


def test_media_of_several_kinds_are_told_apart(asker_of: AskerFactory) -> None:
    message = user("How long is each?", audio_url(tone()), frames_url(jpeg("red")), audio_url(tone(seconds=1.0)))
    assert asker_of(dialect="vllm").text(message, model=O45) == (
        "I received 2 recordings and 1 video. Recording 1: It lasts 2.0 seconds. Video 1: A list of frames does not "
        "say how long it lasts. Recording 2: It lasts 1.0 seconds. (emulator, not a model)"
    )


def test_a_form_about_a_recording_is_filled_with_what_was_measured(asker_of: AskerFactory) -> None:
    names = {"duration": "number", "sample_rate": "integer", "loudness": "string", "pitch": "integer"}
    schema = {"type": "object", "properties": {name: {"type": kind} for name, kind in names.items()}}
    answer = asker_of(dialect="vllm").text(
        user("Fill in the form.", audio_url(tone())),
        model=O45,
        response_format={"type": "json_schema", "json_schema": {"name": "sound", "schema": schema}},
    )
    assert json.loads(answer) == {"duration": 2.0, "sample_rate": 16_000, "loudness": "loud", "pitch": 440}


BROKEN: dict[str, dict[str, Any]] = {
    "Failed to load audio: The recording is not a recording of a known kind": audio_url(b"this is no sound" * 50),
    "Failed to load audio: vLLM does not take an MP4 video": audio_url(traffic_light()),
    "Failed to load audio: vLLM does not take an Ogg recording": audio_url(clips.recording("ogg", "libopus", 48_000)),
    "Failed to load audio: The recording": audio_url(tone("flac", "flac")[:60]),
    "Non-base64 digit found": {"type": "input_audio", "input_audio": {"data": "@@@@", "format": "wav"}},
    "The emulator fetches nothing: send the recording as a base64 data URL.": {
        "type": "audio_url",
        "audio_url": {"url": "https://example.org/sound.wav"},
    },
    "Input should be a valid string": {"type": "input_audio", "input_audio": {"data": "", "format": 5}},
    "'loc': 'body.messages.0.content.0.input_audio.data'": {"type": "input_audio", "input_audio": {"format": "wav"}},
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_recording_that_cannot_be_loaded_is_refused(asker_of: AskerFactory, words: str) -> None:
    response = asker_of(dialect="vllm").post(user("?", BROKEN[words]), model=O45)
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


def test_llama_server_says_that_of_a_broken_recording_in_its_own_words(asker_of: AskerFactory) -> None:
    response = asker_of(dialect="llamacpp").post(user("?", input_audio(b"no sound")), model=O45)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "Failed to load image or audio file"


def test_without_pyav_the_wav_of_the_client_is_heard(asker_of: AskerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    mp3, own = tone("mp3", "libmp3lame", 44_100), tone()
    monkeypatch.setitem(sys.modules, "av", None)
    asker = asker_of(dialect="vllm")
    assert asker.text(user("?", audio_url(own)), model=O45) == HEARD
    response = asker.post(user("?", input_audio(mp3, "mp3")), model=O45)
    assert response.status_code == 400
    assert "pip install 'minicpm-integrations[media]'" in response.json()["error"]["message"]


def test_sound_is_heard_whatever_its_format_field_says(asker_of: AskerFactory) -> None:
    part = {"type": "input_audio", "input_audio": {"data": base64_of(tone()), "format": "mp3"}}
    assert asker_of(dialect="vllm").text(user("?", part), model=O45) == HEARD
