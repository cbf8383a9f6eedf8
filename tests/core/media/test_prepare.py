"""What becomes of a medium for a server and a model, or why it is refused."""

from __future__ import annotations

import base64
import io
import threading
from concurrent.futures import CancelledError
from functools import cache
from pathlib import Path

import pytest

from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import MediaLimits
from minicpm_core.parts import (
    AudioPart,
    AudioSource,
    DocumentSource,
    ImagePart,
    ImageSource,
    Source,
    TextPart,
    UrlPart,
    VideoSampling,
    VideoSource,
)
from tests.core.media.clips import tone
from tests.core.media.pictures import data_url, encoded, photo, png, shown
from tests.core.media.preparing import (
    NAMES,
    SIZE,
    SOURCES,
    URL,
    VISION,
    paper,
    prepared,
    refusal,
    sound,
)


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
