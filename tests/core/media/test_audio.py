"""Whatever is heard becomes the 16 kHz mono WAV that the model takes."""

from __future__ import annotations

import io
import struct
import sys
import threading
import wave
from array import array
from concurrent.futures import CancelledError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicpm_core.errors import ConfigurationError, InvalidInputError, InvalidMediaError
from minicpm_core.media import audio
from minicpm_core.media.audio import Recording, inspect, to_wav
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits
from minicpm_core.media.tokens import audio_tokens
from tests.core.media.clips import recording, tone, video
from tests.core.media.pictures import png

RIGHT = recording()


def converted(data: bytes, limits: MediaLimits = DEFAULT_LIMITS) -> Recording:
    return to_wav(io.BytesIO(data), limits=limits, label="The recording")


def header(data: bytes) -> tuple[int, int, int, int]:
    with wave.open(io.BytesIO(data)) as file:
        return file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()


@pytest.mark.parametrize(
    ("kind", "codec", "rate", "layout"),
    [
        ("wav", "pcm_s24le", 8000, "stereo"),
        ("wav", "pcm_f32le", 96_000, "mono"),
        ("wav", "pcm_mulaw", 8000, "mono"),
        ("wav", "pcm_s16le", 16_000, "stereo"),
        ("wav", "pcm_s16le", 48_000, "5.1"),
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("flac", "flac", 48_000, "mono"),
        ("ogg", "libopus", 48_000, "stereo"),
        ("ipod", "aac", 44_100, "mono"),
        ("adts", "aac", 44_100, "mono"),
        ("aiff", "pcm_s16be", 22_050, "mono"),
        ("webm", "libopus", 48_000, "mono"),
        ("matroska", "flac", 48_000, "mono"),
    ],
)
def test_every_kind_keeps_its_sound(kind: str, codec: str, rate: int, layout: str) -> None:
    made = converted(recording(kind, codec, rate, layout))
    channels, width, samples_a_second, samples = header(made.data)
    assert (channels, width, samples_a_second, made.format) == (1, 2, 16_000, "wav")
    assert made.seconds == samples / 16_000 == pytest.approx(1.0, abs=0.06)
    pitch, peak = tone(made.data)
    assert pitch == pytest.approx(440, abs=8)
    assert peak == pytest.approx(0.49, abs=0.06)
    assert inspect(io.BytesIO(made.data)) == made.seconds


def test_channels_are_mixed_and_none_is_dropped() -> None:
    """A call often has one speaker on each side."""
    for silent in (0, 1):
        pitch, peak = tone(converted(recording("wav", "pcm_s16le", 48_000, "stereo", silent=[silent])).data)
        assert pitch == pytest.approx(440, abs=8)
        assert peak == pytest.approx(0.24, abs=0.03)


def test_the_sound_track_of_a_video_is_taken() -> None:
    for kind in ("mp4", "webm"):
        made = converted(video(kind, "libx264" if kind == "mp4" else "libvpx", sound=True))
        assert made.seconds == pytest.approx(1.0, abs=0.06)
        assert tone(made.data)[0] == pytest.approx(440, abs=8)


def test_what_is_right_already_passes_untouched_without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert converted(RIGHT) == Recording(RIGHT, "wav", 1.0)
    with pytest.raises(ConfigurationError, match="needs PyAV"):
        converted(recording_like(rate=8000))


def recording_like(
    tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, sound: bytes = bytes(3200), claim: int = -1
) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    if tag == 0xFFFE:
        form += struct.pack("<HHIH14s", 22, bits, 4, 1, b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71")
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"note\x03\0\0\0abc\0"
    chunks += b"data" + struct.pack("<I", len(sound) if claim < 0 else claim) + sound
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (recording_like(), 0.1),
        (recording_like(tag=0xFFFE), 0.1),
        (recording_like() + b"LIST\x04\0\0\0abcd", 0.1),
        (recording_like(tag=3), None),
        (recording_like(channels=2), None),
        (recording_like(rate=44_100), None),
        (recording_like(bits=24), None),
        (recording_like(sound=b""), None),
        (recording_like(claim=3202), None),
        (recording_like(claim=0xFFFFFFFF), None),
        (recording_like(claim=0), None),
        (recording_like()[:40], None),
        (recording_like()[:20], None),
        (b"RIFF\x04\0\0\0WAVE" + b"junk\0\0\0\0" * 100, None),
        (b"RIFX" + recording_like()[4:], None),
        (b"", None),
    ],
)
def test_the_header_alone_tells_what_can_pass(data: bytes, seconds: float | None) -> None:
    file = io.BytesIO(data)
    file.seek(3)
    assert inspect(file) == seconds
    assert file.tell() == 3


def test_a_header_that_promises_more_than_there_is_gives_what_there_is() -> None:
    """Recorders that were cut off, and pipes, leave the length open."""
    for claim in (0xFFFFFFFF, 6400):
        made = converted(recording_like(claim=claim))
        assert made.seconds == 0.1
        assert inspect(io.BytesIO(made.data)) == 0.1


def test_what_is_much_larger_than_its_sound_is_written_anew() -> None:
    stuffed = recording_like() + b"LIST" + struct.pack("<I", 100_000) + bytes(100_000)
    assert len(converted(stuffed).data) == 44 + 3200


@pytest.mark.parametrize("kind", [("wav", "pcm_s24le", 8000), ("mp3", "libmp3lame", 44_100), ("adts", "aac", 44_100)])
def test_a_recording_that_is_cut_off_gives_what_is_there(kind: tuple[str, str, int]) -> None:
    data = recording(*kind)
    assert 0.4 < converted(data[: len(data) // 2]).seconds < 0.6


def test_damage_in_the_middle_leaves_the_rest() -> None:
    data = bytearray(recording("adts", "aac", 44_100, seconds=2.0))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    assert 1.7 < converted(bytes(data)).seconds <= 2.1


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "an empty file"),
        (b"Once upon a time", "plain text"),
        (png(), "a PNG picture"),
        (video(), "no sound track"),
        (recording("mp3", "libmp3lame", 44_100)[:300], "cut off or broken"),
        (recording("adts", "aac", 44_100)[:20] + bytes(200), "cut off or broken"),
        (recording_like(rate=10, sound=bytes(3200)), "10 samples a second, which is no sound"),
    ],
)
def test_what_has_no_sound_is_refused_by_a_typed_error(data: bytes, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        converted(data)


def test_recordings_that_are_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SECONDS", 0.9)
    for data in (RIGHT, recording("mp3", "libmp3lame", 44_100), recording(rate=8000, seconds=5)):
        with pytest.raises(InvalidMediaError, match=r"too long: it has more than 0\.9 s"):
            converted(data)


def test_an_hour_of_silence_in_a_few_bytes_is_refused_by_its_header() -> None:
    with pytest.raises(InvalidMediaError, match="too long"):
        converted(recording_like(rate=1000, bits=8, sound=bytes(8_000_000)))


def test_the_limit_on_bytes_is_one_on_the_wav() -> None:
    for data in (RIGHT, recording(rate=8000)):
        assert converted(data, MediaLimits(max_bytes=32_000)).seconds == 1.0
        with pytest.raises(InvalidMediaError, match=r"more than 0\.96875 s"):
            converted(data, MediaLimits(max_bytes=31_000))


def test_stopping_ends_the_decoding() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        to_wav(io.BytesIO(recording(rate=8000)), limits=DEFAULT_LIMITS, label="The recording", stop=stop)


def test_the_file_stays_open_and_where_it_was() -> None:
    for data in (RIGHT, recording(rate=8000)):
        file = io.BytesIO(data)
        file.seek(7)
        to_wav(file, limits=DEFAULT_LIMITS, label="The recording")
        assert file.tell() == 7


def test_silence_and_loudness_are_kept() -> None:
    quiet = converted(recording_like(rate=8000, sound=bytes(1600)))
    assert set(quiet.data[44:]) == {0}
    loud = array("h", [32_767, -32_768] * 8000).tobytes()
    assert tone(converted(recording_like(rate=32_000, sound=loud)).data)[1] <= 1.0


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), min_size=1, max_size=8))
def test_no_header_does_more_than_raise_a_typed_error(changes: list[tuple[int, int]]) -> None:
    for source in (recording_like(rate=8000), SHORT_FLAC):
        data = bytearray(source)
        for at, value in changes:
            data[at] = value
        try:
            assert header(converted(bytes(data)).data)[:3] == (1, 2, 16_000)
        except InvalidInputError:
            continue


SHORT_FLAC = recording("flac", "flac", 16_000, seconds=0.1)


@pytest.mark.parametrize(
    ("seconds", "tokens"), [(0, 0), (0.01, 0), (0.1, 1), (1, 10), (30, 300), (60, 600), (3.25, 32)]
)
def test_ten_tokens_a_second(seconds: float, tokens: int) -> None:
    assert audio_tokens(seconds) == tokens


@given(st.floats(0, 3600), st.floats(0, 3600))
def test_longer_recordings_never_take_fewer_tokens(one: float, other: float) -> None:
    assert audio_tokens(min(one, other)) <= audio_tokens(max(one, other))
    assert abs(audio_tokens(one) - 10 * one) <= 1


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_impossible_lengths_are_refused(seconds: float) -> None:
    with pytest.raises(InvalidInputError, match="seconds must be 0 or more"):
        audio_tokens(seconds)
