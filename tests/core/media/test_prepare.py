"""What becomes of a medium for a server and a model, or why it is refused."""

from __future__ import annotations

import base64
import io
import threading
from concurrent.futures import CancelledError
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media import MediaLimits, resolve_messages
from minicpm_core.media.prepare import Preparer
from minicpm_core.media.settings import MediaSettings
from minicpm_core.models import card_for
from minicpm_core.parts import (
    AudioPart,
    AudioSource,
    DocumentSource,
    FileBody,
    FramesPart,
    ImagePart,
    ImageSource,
    Source,
    TextPart,
    UrlPart,
    VideoPart,
    VideoSampling,
    VideoSource,
)
from minicpm_core.types import Message
from tests.core.media.clips import numbered, recording, shown_in, tone, video
from tests.core.media.pdfs import document, text
from tests.core.media.pictures import data_url, encoded, photo, png, shown

if TYPE_CHECKING:
    from minicpm_core.parts import Prepared

OMNI, VISION = "MiniCPM-O-4.5-9B", "MiniCPM-V-4.6-1B"
URL = "https://example.com/medium"
SIZE = (64, 48)
SOURCES: tuple[type[Source], ...] = (ImageSource, VideoSource, AudioSource, DocumentSource)
NAMES = tuple(BACKENDS)


@cache
def clip(frames: int = 3) -> bytes:
    """A frame a second."""
    return video(images=numbered(frames, SIZE), rate=1)


@cache
def sound(kind: str = "wav", codec: str = "pcm_s16le") -> bytes:
    return recording(kind, codec, rate=44_100)


@cache
def paper(pages: int = 2) -> bytes:
    return document(*(text(b"Page of paper") for _ in range(pages)), box=b"0 0 200 300")


def prepared(
    source: Source,
    backend: BackendName = "vllm",
    model: str = OMNI,
    stop: threading.Event | None = None,
    **settings: Any,
) -> tuple[Prepared, ...]:
    return Preparer(BACKENDS[backend], card_for(model), MediaSettings.create(**settings), stop).prepare(source)


def video_part(source: VideoSource, backend: BackendName = "vllm", **settings: Any) -> VideoPart:
    (part,) = prepared(source, backend, **settings)
    assert isinstance(part, VideoPart)
    return part


def refusal(source: Source, backend: BackendName = "vllm", **how: Any) -> str:
    with pytest.raises(UnsupportedContentError) as caught:
        prepared(source, backend, **how)
    return str(caught.value)


class TestUrls:
    def test_what_is_passed_on_keeps_what_the_block_asked_for(self) -> None:
        sampling = VideoSampling(fps=2)
        assert prepared(ImageSource("url", URL, detail="low"), media_urls="pass") == (
            UrlPart("image", URL, detail="low"),
        )
        assert prepared(VideoSource("url", URL, sampling=sampling), media_urls="pass") == (
            UrlPart("video", URL, sampling=sampling),
        )
        assert prepared(AudioSource("url", URL), media_urls="pass") == (UrlPart("audio", URL),)

    def test_a_server_that_does_not_fetch_is_named_with_what_to_do(self) -> None:
        said = refusal(ImageSource("url", URL), "modelbest", media_urls="pass")
        assert said.startswith("The ModelBest API fetches no image from URLs")
        assert 'media_urls="fetch"' in said

    @pytest.mark.parametrize("source", SOURCES, ids=lambda cls: cls.noun)
    @pytest.mark.parametrize("backend", ["modelbest", "vllm"])
    def test_refuse_refuses_every_medium_without_asking_anyone(
        self, source: type[Source], backend: BackendName
    ) -> None:
        said = refusal(source("url", URL), backend, media_urls="refuse")
        assert f"The {source.noun} is at a URL" in said
        assert 'media_urls="refuse"' in said

    @pytest.mark.parametrize("policy", ["refuse", "pass"])
    def test_data_urls_are_no_urls_in_that_sense(self, policy: str) -> None:
        (part,) = prepared(ImageSource("data_url", data_url(png(SIZE))), media_urls=policy)
        assert isinstance(part, ImagePart)

    @pytest.mark.parametrize(
        ("source", "policy"),
        [*((source, "fetch") for source in SOURCES), (DocumentSource, "pass")],
        ids=str,
    )
    def test_private_addresses_are_not_fetched(self, source: type[Source], policy: str) -> None:
        """Nor with `pass`, where that means to fetch: no server fetches documents."""
        assert "127.0.0.1" in refusal(source("url", "http://127.0.0.1:8080/x"), media_urls=policy)


class TestModels:
    def test_a_model_without_ears_is_named_and_one_with_ears_too(self) -> None:
        said = refusal(AudioSource("bytes", sound()), model=VISION)
        assert said == "MiniCPM-V 4.6 Instruct takes no audio: MiniCPM-o does, such as MiniCPM-O-4.5-9B."

    def test_a_model_is_asked_before_anything_is_read(self) -> None:
        assert "takes no audio" in refusal(AudioSource("path", Path("/nowhere/a.wav")), model=VISION)

    def test_an_unknown_model_gets_what_it_is_given(self) -> None:
        (part,) = prepared(AudioSource("bytes", sound()), model="my-own-model")
        assert isinstance(part, AudioPart)

    @pytest.mark.parametrize("backend", ["ollama", "transformers"])
    def test_a_server_without_audio_is_named(self, backend: BackendName) -> None:
        assert refusal(AudioSource("bytes", sound()), backend) == f"{BACKENDS[backend].title} takes no audio."

    def test_a_source_of_no_kind_is_refused(self) -> None:
        assert "Source is no medium" in refusal(Source("bytes", b""))


class TestPictures:
    @pytest.mark.parametrize(
        ("detail", "count", "largest"),
        [("auto", 1, 9), ("low", 1, 1), ("high", 5, 9), ("original", 1, 36)],
    )
    def test_the_setting_holds_unless_the_picture_has_its_own(self, detail: str, count: int, largest: int) -> None:
        data = _large()
        for found in (
            prepared(ImageSource("bytes", data), image_detail=detail),
            prepared(ImageSource("bytes", data, detail=detail), image_detail="auto" if detail == "low" else "low"),
        ):
            parts = [part for part in found if isinstance(part, ImagePart)]
            assert len(parts) == len(found) == count
            assert max(part.width * part.height for part in parts) <= largest * 448 * 448
            assert max(part.width * part.height for part in parts) > (largest - 1) * 448 * 448 * 0.9

    def test_the_quality_is_that_of_the_setting(self) -> None:
        sizes = [
            len(part.base64)
            for quality in (30, 95)
            for part in prepared(ImageSource("pil", photo((900, 700))), image_quality=quality)
            if isinstance(part, ImagePart)
        ]
        assert len(sizes) == 2
        assert sizes[0] * 2 < sizes[1]

    def test_limits_are_those_of_the_client(self) -> None:
        with pytest.raises(InvalidMediaError, match="limit is 100 "):
            prepared(ImageSource("bytes", png(SIZE)), media_limits=MediaLimits(max_pixels=100))
        with pytest.raises(InvalidMediaError, match=r"limit is 10\."):
            prepared(ImageSource("bytes", png(SIZE)), media_limits=MediaLimits(max_bytes=10))


@cache
def _large() -> bytes:
    return encoded(photo((3000, 2400)), "JPEG", quality=90)


class TestVideos:
    def test_frames_are_sized_and_counted(self) -> None:
        (part,) = prepared(VideoSource("bytes", clip()))
        assert isinstance(part, FramesPart)
        assert (len(part.frames), part.width, part.height) == (3, *SIZE)
        mp4 = video_part(VideoSource("bytes", clip()), "sglang")
        assert (mp4.frames, mp4.width, mp4.height, mp4.media_type, mp4.sampling) == (3, *SIZE, "video/mp4", None)

    def test_the_block_s_sampling_wins_over_the_client_s(self) -> None:
        (one,) = prepared(VideoSource("bytes", clip()), video_sampling=VideoSampling(num_frames=1))
        own = VideoSource("bytes", clip(), sampling=VideoSampling(num_frames=2))
        (two,) = prepared(own, video_sampling=VideoSampling(num_frames=1))
        assert isinstance(one, FramesPart)
        assert isinstance(two, FramesPart)
        assert (len(one.frames), len(two.frames)) == (1, 2)

    @pytest.mark.parametrize("backend", ["ollama", "generic"])
    def test_where_no_video_is_taken_each_picture_follows_its_time(self, backend: BackendName) -> None:
        source = VideoSource("bytes", clip(), sampling=VideoSampling(fps=0.5, start=0.0))
        parts = prepared(source, backend)
        assert [part.text for part in parts if isinstance(part, TextPart)] == [
            "[video at 00:00.0]",
            "[video at 00:02.0]",
        ]
        assert [type(part) for part in parts] == [TextPart, ImagePart, TextPart, ImagePart]

    def test_progress_grows_to_the_end_and_is_told_what_of(self) -> None:
        told: list[tuple[str, float]] = []
        prepared(VideoSource("bytes", clip(8)), media_progress=lambda what, done: told.append((what, done)))
        fractions = [done for what, done in told if what == "video"]
        assert len(fractions) == len(told) > 2
        assert fractions == sorted(set(fractions))
        assert fractions[-1] == 1.0
        assert fractions[0] > 0

    def test_a_stop_from_elsewhere_ends_the_work_between_two_frames(self) -> None:
        stop = threading.Event()
        told: list[float] = []

        def tell(_what: str, done: float) -> None:
            told.append(done)
            stop.set()

        with pytest.raises(CancelledError):
            prepared(VideoSource("bytes", clip(30)), stop=stop, media_progress=tell)
        assert told
        assert max(told) < 1.0


class TestVideosAsTheyAre:
    def test_a_file_at_a_path_is_not_read(self, tmp_path: Path) -> None:
        """However large it is: the bounds are those of what is kept in memory."""
        path = tmp_path / "film.mp4"
        path.write_bytes(clip())
        sampling = VideoSampling(fps=2)
        source = VideoSource("path", path, sampling=sampling, as_is=True)
        part = video_part(source, media_limits=MediaLimits(max_bytes=10))
        assert part == VideoPart(FileBody(str(path), len(clip())), "video/mp4", sampling=sampling)

    @pytest.mark.parametrize("kind", ["bytes", "file", "base64", "data_url"])
    def test_from_memory_the_very_same_bytes_are_sent(self, kind: Any) -> None:
        encoded = base64.b64encode(clip())
        values = {
            "bytes": clip(),
            "file": io.BytesIO(clip()),
            "base64": encoded,
            "data_url": data_url(clip(), "video/mp4"),
        }
        part = video_part(VideoSource(kind, values[kind], as_is=True), "llamacpp")
        assert (part.data, part.media_type, part.frames) == (encoded, "video/mp4", None)

    def test_its_type_is_what_the_bytes_say(self, tmp_path: Path) -> None:
        path = tmp_path / "film.mp4"
        path.write_bytes(video("webm", "libvpx", numbered(2, SIZE), rate=1))
        assert video_part(VideoSource("path", path, as_is=True)).media_type == "video/webm"

    @pytest.mark.parametrize("backend", ["ollama", "generic"])
    def test_a_server_that_takes_no_video_files_is_named_with_what_to_do(self, backend: BackendName) -> None:
        said = refusal(VideoSource("bytes", clip(), as_is=True), backend)
        assert said.startswith(f"{BACKENDS[backend].title} takes no video files")
        assert "leave as_is out" in said

    @pytest.mark.parametrize(("data", "looks"), [(png(SIZE), "PNG"), (b"", "empty"), (b"some words", "text")])
    def test_what_is_no_video_is_refused(self, tmp_path: Path, data: bytes, looks: str) -> None:
        path = tmp_path / "film.mp4"
        path.write_bytes(data)
        for source in (VideoSource("path", path, as_is=True), VideoSource("bytes", data, as_is=True)):
            with pytest.raises(InvalidMediaError, match=f"is no video.*{looks}"):
                prepared(source)

    def test_a_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidMediaError, match=r"film\.mp4' does not exist"):
            prepared(VideoSource("path", tmp_path / "film.mp4", as_is=True))


class TestRecordings:
    def test_what_the_server_decodes_passes_through(self) -> None:
        data = sound("mp3", "libmp3lame")
        for backend in ("vllm", "llamacpp"):
            (part,) = prepared(AudioSource("bytes", data), backend)
            assert part == AudioPart(base64.b64encode(data), "mp3")

    @pytest.mark.parametrize("backend", ["modelbest", "sglang", "generic"])
    def test_for_the_others_it_becomes_wav(self, backend: BackendName) -> None:
        (part,) = prepared(AudioSource("bytes", sound("mp3", "libmp3lame")), backend)
        assert isinstance(part, AudioPart)
        assert part.format == "wav"
        assert part.seconds == pytest.approx(1.0, abs=0.1)
        pitch, _ = tone(base64.b64decode(part.base64))
        assert pitch == pytest.approx(440, abs=10)

    def test_what_passes_through_is_bounded_all_the_same(self) -> None:
        with pytest.raises(InvalidMediaError, match="too large"):
            prepared(AudioSource("file", io.BytesIO(sound("mp3", "libmp3lame"))), media_limits={"max_bytes": 100})

    def test_a_stop_ends_the_work(self) -> None:
        stop = threading.Event()
        stop.set()
        with pytest.raises(CancelledError):
            prepared(AudioSource("bytes", sound()), stop=stop)


class TestDocuments:
    @pytest.mark.parametrize(("name", "title"), [(None, "Page"), ("paper.pdf", "paper.pdf, page")])
    def test_each_page_follows_its_title(self, name: str | None, title: str) -> None:
        parts = prepared(DocumentSource("bytes", paper(), name=name))
        assert [type(part) for part in parts] == [TextPart, ImagePart, TextPart, ImagePart]
        assert [part.text for part in parts if isinstance(part, TextPart)] == [f"{title} 1:", f"{title} 2:"]

    def test_the_text_of_a_page_stands_with_its_title(self) -> None:
        title, _ = prepared(DocumentSource("bytes", paper(3), pages=(2, 2), with_text=True))
        assert title == TextPart("Page 2:\nPage of paper")

    def test_too_many_pages_are_an_error_that_says_how_to_choose(self) -> None:
        with pytest.raises(InvalidMediaError, match=r"3 pages; at most 2 .*pages=\(1, 2\)"):
            prepared(DocumentSource("bytes", paper(3)), document_pages=2)
        assert len(prepared(DocumentSource("bytes", paper(3), pages=(1, 2)), document_pages=2)) == 4

    @pytest.mark.parametrize("backend", NAMES)
    def test_pages_are_of_a_type_that_the_server_takes_and_as_large_as_it_looks_at(self, backend: BackendName) -> None:
        for part in prepared(DocumentSource("bytes", paper(1)), backend):
            if isinstance(part, ImagePart):
                assert part.media_type in BACKENDS[backend].image_types
                assert shown(part).size == (part.width, part.height)
                assert 1_000_000 < part.width * part.height <= 9 * 448 * 448

    @pytest.mark.parametrize(("name", "sent"), [(None, "Words.\nMore."), ("a.md", "a.md:\nWords.\nMore.")])
    def test_text_is_sent_as_text(self, name: str | None, sent: str) -> None:
        assert prepared(DocumentSource("bytes", b"Words.\r\nMore.", name=name)) == (TextPart(sent),)

    def test_what_is_neither_is_refused(self) -> None:
        with pytest.raises(InvalidMediaError, match="is not UTF-8 text"):
            prepared(DocumentSource("bytes", png(SIZE)))


class Counting(io.BytesIO):
    """A file that counts how often it is read from its start."""

    starts = 0
    _was_read = False

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset == whence == 0 and self._was_read:
            self._was_read = False
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() == 0 and not self._was_read:
            self._was_read = True
            self.starts += 1
        return super().read(size)


MADE: dict[type[Source], Any] = {
    ImageSource: lambda: png(SIZE),
    VideoSource: clip,
    AudioSource: sound,
    DocumentSource: paper,
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda cls: cls.noun)
class TestFiles:
    def test_a_file_object_is_read_from_its_start_and_put_back(self, source: type[Source]) -> None:
        file = io.BytesIO(MADE[source]())
        file.seek(7)
        assert prepared(source("file", file)) == prepared(source("bytes", MADE[source]()))
        assert file.tell() == 7
        assert not file.closed

    def test_it_is_put_back_when_it_cannot_be_used(self, source: type[Source]) -> None:
        file = io.BytesIO(b"\x00nothing" * 40)
        file.seek(7)
        with pytest.raises(InvalidMediaError):
            prepared(source("file", file))
        assert file.tell() == 7

    def test_a_source_that_stands_twice_is_read_once(self, source: type[Source]) -> None:
        once, twice = Counting(MADE[source]()), Counting(MADE[source]())
        prepared(source("file", once))
        same = source("file", twice)
        messages = [Message("user", (same, TextPart("and"), same)), Message("user", (same,))]
        first, second = resolve_messages(messages, BACKENDS["vllm"], model=OMNI)
        assert twice.starts == once.starts > 0
        place = first.parts.index(TextPart("and"))
        assert first.parts[:place] == first.parts[place + 1 :] == second.parts

    def test_an_error_says_which_part_of_which_message_it_is(self, source: type[Source]) -> None:
        messages = [Message("user", "Hello."), Message("user", (TextPart("?"), source("bytes", b"\x00nothing")))]
        with pytest.raises(InvalidMediaError) as caught:
            resolve_messages(messages, BACKENDS["vllm"], model=OMNI)
        assert caught.value.__notes__ == ["It is part 2 of message 2."]


def test_an_mp4_for_a_server_shows_the_frames_that_were_chosen() -> None:
    part = video_part(VideoSource("bytes", clip(8), sampling=VideoSampling(start=4, end=7)), "sglang")
    assert isinstance(part.data, bytes)
    assert len(shown_in(base64.b64decode(part.data))) == part.frames == 3
