"""Videos and recordings are told by their first bytes, and nothing that a file holds opens anything else."""

from __future__ import annotations

import io
import sys
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.errors import ConfigurationError, InvalidMediaError, MiniCPMError, UnsupportedContentError
from minicpm_core.media.containers import HEAD, MP3, identify, opened
from minicpm_core.media.limits import DEFAULT_LIMITS
from minicpm_core.media.video import sample_frames
from minicpm_core.parts import VideoSampling
from tests.core.media.clips import numbered, recording, video
from tests.core.media.pictures import animated, jpeg, png

if TYPE_CHECKING:
    from pathlib import Path

VIDEOS = [
    ("mp4", "libx264", "video/mp4"),
    ("mov", "libx264", "video/quicktime"),
    ("webm", "libvpx", "video/webm"),
    ("matroska", "libx264", "video/x-matroska"),
    ("avi", "mpeg4", "video/x-msvideo"),
    ("mpegts", "libx264", "video/mp2t"),
    ("3gp", "mpeg4", "video/3gpp"),
]
RECORDINGS = [
    ("wav", "pcm_s16le", 8000, "audio/wav"),
    ("mp3", "libmp3lame", 44_100, "audio/mpeg"),
    ("flac", "flac", 44_100, "audio/flac"),
    ("ogg", "libopus", 48_000, "audio/ogg"),
    ("ipod", "aac", 44_100, "audio/mp4"),
    ("adts", "aac", 44_100, "audio/aac"),
    ("aiff", "pcm_s16be", 44_100, "audio/aiff"),
]
PLAYLISTS = {
    "HLS": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "DASH": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
    "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nHello\n",
    "ASS": b"[Script Info]\nScriptType: v4.00+\n",
    "metadata": b";FFMETADATA1\ntitle=x\n",
}


def head_of(data: bytes) -> str | None:
    found = identify(data[:HEAD])
    return found.media_type if found else None


def open_it(data: bytes, wanted: Any = "video", stop: threading.Event | None = None) -> str:
    with opened(io.BytesIO(data), wanted=wanted, label="The file", stop=stop) as container:
        return container.format.name


@pytest.mark.parametrize(("kind", "codec", "media_type"), VIDEOS)
def test_videos_are_told_by_their_first_bytes_and_opened_as_such(kind: str, codec: str, media_type: str) -> None:
    size = (176, 144) if kind == "3gp" else (320, 180)
    data = video(kind, codec, numbered(5, size), container={"brand": "3gp4"} if kind == "3gp" else None)
    assert head_of(data) == media_type
    assert open_it(data)


@pytest.mark.parametrize(("kind", "codec", "rate", "media_type"), RECORDINGS)
def test_recordings_too(kind: str, codec: str, rate: int, media_type: str) -> None:
    data = recording(kind, codec, rate)
    assert head_of(data) == media_type
    assert open_it(data, "audio")
    if kind not in {"ipod", "ogg"}:
        with pytest.raises(UnsupportedContentError, match=r"not a video, but .*send it as audio"):
            open_it(data)


@pytest.mark.parametrize("head", [b"", b"\xff\xfb", b"\xff\xfe" + "hello, this is text".encode("utf-16-le")])
def test_what_is_too_short_or_only_begins_like_sound_is_nothing(head: bytes) -> None:
    assert head_of(head) is None


def test_other_heads_that_are_met() -> None:
    assert head_of(b"\0\0\0\x14ftypM4B \0\0\0\0isom") == "audio/mp4"
    assert head_of(b"\0\0\0\x08wide\0\0\0\0mdat") == "video/quicktime"
    assert head_of(b"RF64\xff\xff\xff\xffWAVEds64") == "audio/wav"
    assert head_of(b"FORM\0\0\0\0AIFCFVER") == "audio/aiff"
    assert head_of(b"OggS\0\2" + bytes(22) + b"\x80theora") == "video/ogg"
    assert head_of(b"".join(b"\0\0\0\0G" + bytes(187) for _ in range(4))) == "video/mp2t"
    assert head_of(b"G" + bytes(800)) is None
    assert head_of(b"\0\0\0\x14ftypheic\0\0\0\0mif1") is None


def test_a_tag_before_aac_does_not_make_it_an_mp3() -> None:
    """ID3 says nothing of what comes behind it."""
    tag = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)
    aac = recording("adts", "aac", 44_100)
    assert identify(tag + aac) is MP3
    assert open_it(tag + aac, "audio") == "aac"
    assert open_it(tag + recording("mp3", "libmp3lame", 44_100), "audio") == "mp3"


@pytest.mark.parametrize("wanted", ["video", "audio"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_what_would_open_other_files_is_not_even_tried(kind: str, wanted: str) -> None:
    with pytest.raises(InvalidMediaError, match=r"not a (video|recording) of a known kind: it looks like"):
        open_it(PLAYLISTS[kind], wanted)


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_behind_the_head_of_a_video_opens_nothing(kind: str) -> None:
    for head in (b"\x1aE\xdf\xa3", b"\0\0\0\x18ftypisom\0\0\0\0isommp41", b"RIFF\x40\0\0\0AVI ", b"OggS\0\2theora"):
        with pytest.raises(InvalidMediaError, match=r"cannot be opened|no pictures"):
            sample_frames(io.BytesIO(head + PLAYLISTS[kind]), VideoSampling(), limits=DEFAULT_LIMITS, label="The file")


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (b"", InvalidMediaError, "an empty file"),
        (b"%PDF-1.7\n", InvalidMediaError, "a PDF document"),
        (b"hello", InvalidMediaError, "plain text"),
        (png(), UnsupportedContentError, "a PNG picture"),
        (jpeg(), UnsupportedContentError, "a JPEG picture"),
        (animated("GIF"), UnsupportedContentError, "a GIF picture"),
    ],
)
def test_what_is_no_video_is_called_by_its_name(data: bytes, error: type[MiniCPMError], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        open_it(data)
    assert type(caught.value) is error


def test_a_head_without_a_file_behind_it_is_an_error_and_says_nothing_on_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for data in (video()[:600], video("avi", "mpeg4")[:40], recording("flac", "flac")[:60]):
        with pytest.raises(InvalidMediaError, match="cannot be opened: it is cut off or broken"):
            open_it(data, "audio")
    assert capfd.readouterr() == ("", "")


def test_the_file_stays_open_and_where_it_was() -> None:
    file = io.BytesIO(video())
    file.seek(17)
    with opened(file, wanted="video", label="The file"):
        pass
    with pytest.raises(InvalidMediaError):
        open_and_fail(file)
    assert file.tell() == 17


def open_and_fail(file: io.BytesIO) -> None:
    with opened(file, wanted="video", label="The file"):
        raise InvalidMediaError("Something else.")


def test_a_name_of_the_file_object_reaches_neither_ffmpeg_nor_an_error(tmp_path: Path) -> None:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(video()[:600])
    with (
        path.open("rb") as file,
        pytest.raises(InvalidMediaError) as caught,
        opened(file, wanted="video", label="The file"),
    ):
        pass
    assert "holiday" not in f"{caught.value!r} {caught.value.__cause__!r}"


class Odd(io.BytesIO):
    """A file object that does not do what it is asked."""

    answer: Any = b""
    after = HEAD

    def read(self, size: int | None = -1, /) -> Any:
        return super().read(size) if self.tell() < self.after else self._odd(size or 0)

    def _odd(self, size: int) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer * (size + 1) if self.answer == b"x" else self.answer


@pytest.mark.parametrize("answer", [b"x", "text", None, OSError("the disk is gone"), ValueError("closed")])
def test_a_file_object_that_misbehaves_gives_a_clear_error(answer: object) -> None:
    """More bytes than were asked for would be written behind a buffer of FFmpeg's."""
    file = Odd(video("avi", "mpeg4") + bytes(100_000))
    file.answer = answer
    with (
        pytest.raises(InvalidMediaError, match="The file cannot be read"),
        opened(file, wanted="video", label="The file") as container,
    ):
        list(container.decode(video=0))


def test_a_closed_file_gives_a_clear_error() -> None:
    file = io.BytesIO(video())
    file.close()
    with (
        pytest.raises(InvalidMediaError, match="must be open, in binary mode"),
        opened(file, wanted="video", label="The file"),
    ):
        pass


def test_stopping_ends_the_reading() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        open_it(video(), stop=stop)


def test_stopping_from_another_thread_ends_it_in_the_middle() -> None:
    stop = threading.Event()

    class Watched(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            stop.set()  # FFmpeg seeks once it has begun
            return super().seek(offset, whence)

    with (
        pytest.raises(CancelledError),
        opened(Watched(video()), wanted="video", label="The file", stop=stop) as container,
    ):
        list(container.decode(video=0))


def test_a_text_that_is_not_utf8_inside_the_file_does_no_harm() -> None:
    data = video(container={"brand": "isom"}).replace(b"Lavf", b"L\xffvf")
    assert b"L\xffvf" in data
    assert open_it(data)


def test_without_pyav_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigurationError, match=r"needs PyAV: pip install"):
        open_it(b"\0\0\0\x18ftypisom\0\0\0\0isommp41")
