"""What becomes of a video: frames for some servers, the file itself where that is asked for."""

from __future__ import annotations

import base64
import io
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import MediaLimits, image_cache_info
from minicpm_core.parts import (
    FileBody,
    FramesPart,
    ImagePart,
    SourceKind,
    TextPart,
    VideoPart,
    VideoSampling,
    VideoSource,
)
from tests.core.media.clips import numbered, shown_in, video
from tests.core.media.pictures import data_url, png
from tests.core.media.preparing import (
    SIZE,
    clip,
    prepared,
    refusal,
    video_part,
)

if TYPE_CHECKING:
    from pathlib import Path


class TestVideos:
    def test_frames_are_sized_and_counted(self) -> None:
        (part,) = prepared(VideoSource("bytes", clip()))
        assert isinstance(part, FramesPart)
        assert (len(part.frames), part.width, part.height) == (3, *SIZE)
        mp4 = video_part(VideoSource("bytes", clip()), "sglang")
        assert (mp4.frames, mp4.width, mp4.height, mp4.media_type, mp4.sampling) == (3, *SIZE, "video/mp4", None)

    @pytest.mark.parametrize("kind", ["path", "bytes"])
    def test_frames_are_kept_for_the_next_time(self, kind: SourceKind, tmp_path: Path) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(clip())
        source = VideoSource(kind, path if kind == "path" else clip())
        first = prepared(source)
        before = image_cache_info().hits
        assert prepared(source) is first
        assert image_cache_info().hits == before + 1
        assert prepared(source, video_sampling=VideoSampling(num_frames=1)) != first
        assert prepared(source, "sglang") != first

    def test_a_file_that_has_changed_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(clip())
        first = prepared(VideoSource("path", path))
        path.write_bytes(video(images=numbered(50)))
        assert prepared(VideoSource("path", path)) != first

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

        def tell(what: str, done: float) -> None:
            told.append((what, done))

        prepared(VideoSource("bytes", clip(8)), media_progress=tell)
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


def test_an_mp4_for_a_server_shows_the_frames_that_were_chosen() -> None:
    part = video_part(VideoSource("bytes", clip(8), sampling=VideoSampling(start=4, end=7)), "sglang")
    assert isinstance(part.data, bytes)
    assert len(shown_in(base64.b64decode(part.data))) == part.frames == 3
