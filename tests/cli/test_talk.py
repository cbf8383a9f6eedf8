"""`minicpm talk`, against the emulator, and with sound devices that are none."""

from __future__ import annotations

import asyncio
import math
import sys
import wave
from array import array
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.cli.sound import read_pictures, sound_from
from minicpm_core.errors import ConfigurationError, InvalidMediaError
from minicpm_core.realtime.devices import Microphone, Speaker, check_devices
from minicpm_core.realtime.jitter import JitterBuffer
from tests.emulator import clips

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer
    from tests.cli.support import Ran, Terminal

SAYS = "I am the emulator, not a model. I heard 1 second of sound, loud, around 440 hertz."


def write_tone(path: Path, *, rate: int = 44_100, channels: int = 2, width: int = 2, seconds: float = 1.0) -> Path:
    """A tone of 440 Hz as a WAV file."""
    data = bytearray()
    for at in range(int(rate * seconds)):
        value = round(0.4 * math.sin(at * math.tau * 440 / rate) * 2 ** (8 * width - 1))
        data += (value + 128 if width == 1 else value).to_bytes(width, "little", signed=width > 1) * channels
    with wave.open(str(path), "wb") as wav:
        wav.setparams((channels, width, rate, 0, "NONE", ""))
        wav.writeframes(data)
    return path


@pytest.fixture
def question(tmp_path: Path) -> Path:
    return write_tone(tmp_path / "question.wav")


def test_a_question_from_a_file_is_answered_into_another(
    minicpm: Callable[..., Ran], question: Path, tmp_path: Path
) -> None:
    answer = tmp_path / "answer.wav"
    ran = minicpm("talk", "--in", str(question), "--out", str(answer), "--speed", "10", "--wait", "200")
    assert (ran.code, ran.out) == (0, f"{SAYS}\n")
    assert "The emulator answers, since neither --url nor MINICPM_REALTIME_URL is set. It is not a model" in ran.err
    assert "[turn 1: from " in ran.err
    assert f"The answer is in {answer}." in ran.err
    with wave.open(str(answer), "rb") as wav:
        assert (wav.getframerate(), wav.getnchannels()) == (24_000, 1)
        samples = array("h", wav.readframes(wav.getnframes()))
    assert len(samples) > 3 * 24_000
    assert max(samples) > 5000


def test_a_gateway_is_named_by_option_or_environment(
    minicpm: Callable[..., Ran],
    minicpm_emulator: EmulatorServer,
    question: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    minicpm_emulator.inject_realtime("worker-killed; at=1", times=2)
    first = minicpm("talk", "--in", str(question), "--url", minicpm_emulator.realtime_url)
    monkeypatch.setenv("MINICPM_REALTIME_URL", minicpm_emulator.realtime_url)
    second = minicpm("talk", "--in", str(question), "--system", "Be brief.")
    for ran in (first, second):
        assert (ran.code, ran.out) == (1, "")
        assert "The gateway lost or could not reach the worker." in ran.err
        assert "Traceback" not in ran.err
        assert "The emulator answers" not in ran.err
    assert [session.ended for session in minicpm_emulator.sessions] == ["worker-killed"] * 2
    assert minicpm_emulator.sessions[1].init["system_prompt"] == "Be brief."


def test_it_sees_what_it_is_shown(minicpm: Callable[..., Ran], question: Path, rocket: Path) -> None:
    words = ("--in", str(question), "--mode", "video", "--frames", str(rocket), "--speed", "10", "--wait", "200")
    ran = minicpm("talk", *words)
    assert ran.code == 0
    assert "I see 547 by 365 pixels" in ran.out


def test_the_first_generation_is_spoken_too(minicpm: Callable[..., Ran], question: Path) -> None:
    ran = minicpm("talk", "--in", str(question), "--generation", "1", "--speed", "10", "--wait", "200")
    assert (ran.code, ran.out) == (0, f"{SAYS}\n")


def test_silence_is_not_answered_and_that_is_said(minicpm: Callable[..., Ran], tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.wav"
    quiet.write_bytes(clips.wav(bytes(32_000)))
    ran = minicpm("talk", "--in", str(quiet), "--speed", "20", "--wait", "3")
    assert (ran.code, ran.out) == (0, "")
    assert "No answer came. --wait gives it more time." in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--frames", "FILE"), "--frames is for --mode video."),
        (("--speed", "2", "--url", "ws://127.0.0.1:9"), "--speed is for the emulator"),
        (("--url", "nonsense"), "base_url must be an address"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    minicpm: Callable[..., Ran], question: Path, words: tuple[str, ...], said: str
) -> None:
    ran = minicpm("talk", "--in", str(question), *(str(question) if word == "FILE" else word for word in words))
    assert ran.code == 2
    assert said in ran.err


def test_where_nothing_answers_it_says_what_to_look_at(minicpm: Callable[..., Ran], question: Path) -> None:
    ran = minicpm("talk", "--in", str(question), "--url", "ws://127.0.0.1:9")
    assert ran.code == 1
    assert "MINICPM_REALTIME_URL" in ran.err


def test_ctrl_c_says_goodbye_and_keeps_what_came(
    terminal: Callable[..., Terminal], minicpm_emulator: EmulatorServer, question: Path, tmp_path: Path
) -> None:
    minicpm_emulator.inject_realtime("slow=0.2")
    answer = tmp_path / "answer.wav"
    words = ("talk", "--in", str(question), "--out", str(answer), "--url", minicpm_emulator.realtime_url)
    shown = terminal(*words)
    shown.read_until("heard")  # a later second, so that the sound of the first has come
    shown.process.send_signal(_interrupt())
    assert shown.end() == 0
    assert any("stopped]" in line for line in shown.lines)
    assert not any("Traceback" in line for line in shown.lines)
    assert minicpm_emulator.sessions[-1].ended == "user_stop"
    with wave.open(str(answer), "rb") as wav:
        assert wav.getnframes() > 0


def _interrupt() -> signal.Signals:
    from signal import SIGINT

    return SIGINT


# --- Sound from files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_wav_files_of_every_width_sound_alike(tmp_path: Path, width: int, channels: int) -> None:
    sound = sound_from(write_tone(tmp_path / "a.wav", rate=8000, channels=channels, width=width, seconds=0.5))
    assert (sound.rate, sound.seconds) == (8000, 0.5)
    plain = array("h", sound_from(write_tone(tmp_path / "b.wav", rate=8000, channels=1, seconds=0.5)).pcm)
    assert max(abs(a - b) for a, b in zip(array("h", sound.pcm), plain, strict=True)) <= 257


def test_other_files_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(clips.tone("mp3", "libmp3lame", 44_100))
    sound = sound_from(path)
    assert sound.rate == 16_000
    assert 1.9 < sound.seconds < 2.2


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not a sound", clips.wav(b"")])
def test_what_is_no_sound_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(InvalidMediaError):
        sound_from(path)


def test_a_film_gives_a_picture_a_second(tmp_path: Path, rocket: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(clips.traffic_light())
    pictures = read_pictures([rocket, film])
    assert len(pictures) == 5
    assert all(picture.startswith(b"\xff\xd8") for picture in pictures)


# --- Sound devices --------------------------------------------------------------------------------------------------


class PortAudioError(Exception):
    pass


class Stream:
    """A stream of a sound card that plays when the test says so."""

    opened: list[Stream] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.running = False
        Stream.opened.append(self)

    def start(self) -> None:
        if self.settings["device"] == "broken":
            raise PortAudioError("Device unavailable")
        self.running = True

    def abort(self) -> None:
        self.running = False

    def close(self) -> None:
        assert not self.running


def device_of_kind(kind: str) -> dict[str, str]:
    return {"name": kind}


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """In place of sounddevice, which cannot be had without a sound card."""
    module: Any = ModuleType("sounddevice")
    module.PortAudioError = PortAudioError
    module.RawInputStream = module.RawOutputStream = Stream
    module.query_devices = device_of_kind
    Stream.opened = []
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    found: ModuleType = module
    return found


def test_without_sounddevice_it_names_the_extra(minicpm: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    ran = minicpm("talk")
    assert ran.code == 2
    assert 'pip install "minicpm-integrations[audio]"' in ran.err
    assert "--in question.wav" in ran.err


def test_without_a_microphone_it_says_so(sound_card: Any, minicpm: Callable[..., Ran]) -> None:
    def query(kind: str) -> Any:
        raise ValueError(f"no {kind} device")

    sound_card.query_devices = query
    ran = minicpm("talk")
    assert ran.code == 2
    assert "There is no microphone" in ran.err


def test_devices_that_are_there_are_enough(sound_card: Any) -> None:
    check_devices()


async def test_a_microphone_gives_what_it_hears_and_forgets_the_oldest(sound_card: Any) -> None:
    async with Microphone(max_pending=2) as microphone:
        (stream,) = Stream.opened
        assert (stream.settings["samplerate"], stream.settings["channels"]) == (16_000, 1)
        for piece in (b"a", b"b", b"c"):
            await asyncio.to_thread(stream.settings["callback"], piece, 1, None, None)
        await asyncio.sleep(0)
        assert [await anext(microphone), await anext(microphone)] == [b"b", b"c"]
        assert microphone.dropped == 1
        waiting = asyncio.create_task(anext(microphone))
        await asyncio.to_thread(stream.settings["callback"], b"d", 1, None, None)
        assert await waiting == b"d"
    assert not stream.running


async def test_a_loudspeaker_plays_what_the_buffer_holds(sound_card: Any) -> None:
    buffer = JitterBuffer(initial=0.0)
    async with Speaker(buffer):
        (stream,) = Stream.opened
        assert (stream.settings["samplerate"], stream.settings["dtype"]) == (24_000, "float32")
        buffer.push(b"\x01" * 16)
        played = bytearray(24)
        stream.settings["callback"](memoryview(played), 6, None, None)
    assert bytes(played) == b"\x01" * 16 + bytes(8)
    assert not stream.running


@pytest.mark.parametrize("kind", [Microphone, partial(Speaker, JitterBuffer())])
async def test_a_device_that_cannot_be_opened_is_a_clear_error(sound_card: Any, kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="Device unavailable"):
        async with kind(device="broken"):
            pass


def test_a_conversation_by_microphone_lasts_until_the_session_ends(
    sound_card: Any, minicpm: Callable[..., Ran], minicpm_emulator: EmulatorServer
) -> None:
    minicpm_emulator.inject_realtime("backend-error; at=2")
    second = array("h", (round(12_000 * math.sin(at * math.tau * 440 / 16_000)) for at in range(16_000))).tobytes()

    class Spoken(Stream):
        def start(self) -> None:
            super().start()
            for _ in range(3):
                self.settings["callback"](second, 16_000, None, None)

    sound_card.RawInputStream = Spoken
    ran = minicpm("talk", "--url", minicpm_emulator.realtime_url)
    assert ran.code == 1
    assert "Speak; Ctrl-C ends it." in ran.err
    assert "The model's side failed" in ran.err
    assert minicpm_emulator.sessions[-1].units[-1].level > -15
    assert [stream.running for stream in Stream.opened] == [False, False]


def test_a_turn_that_a_takeover_breaks_off_ends_its_line(
    sound_card: Any, minicpm: Callable[..., Ran], minicpm_emulator: EmulatorServer
) -> None:
    minicpm_emulator.inject_realtime("closed=timeout; at=6")
    minicpm_emulator.inject_realtime("backend-error; at=3")
    loud = array("h", (round(12_000 * math.sin(at * math.tau * 440 / 16_000)) for at in range(16_000))).tobytes()

    class Spoken(Stream):
        def start(self) -> None:
            super().start()
            for piece in (loud, loud, loud, *[bytes(32_000)] * 6):
                self.settings["callback"](piece, 16_000, None, None)

    sound_card.RawInputStream = Spoken
    ran = minicpm("talk", "--url", minicpm_emulator.realtime_url)
    assert ran.code == 1
    assert ran.out.startswith("I am the emulator")
    assert ran.out.endswith("\n")
    told = ran.err.index("broken off]")
    assert told < ran.err.index("Another session took over: what was said before is forgotten.")
    assert len(minicpm_emulator.sessions) == 2
