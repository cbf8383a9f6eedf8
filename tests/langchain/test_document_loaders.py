"""Documents from pictures, PDFs and videos: what they hold, what is asked and when, and what becomes of errors."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents.base import Blob
from langchain_core.exceptions import ModelAPIError

from langchain_minicpm import ChatMiniCPM, MiniCPMBlobParser, MiniCPMLoader
from langchain_minicpm.document_loaders import OCR_PROMPT, SkippedWarning
from minicpm_core.captions import CaptionCache
from minicpm_core.errors import AuthenticationError, ConfigurationError, InvalidMediaError, ServerError
from minicpm_core.parts import VideoSampling
from tests.core.media.pdfs import document, text
from tests.emulator.clips import tone, traffic_light
from tests.langchain.conftest import png

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langchain_core.documents import Document

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory


@pytest.fixture
def llm(minicpm_emulator: EmulatorServer) -> Iterator[ChatMiniCPM]:
    with ChatMiniCPM(base_url=minicpm_emulator.base_url, api_key="k", backend="modelbest", max_retries=0) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one under a misleading name, a PDF of three pages, and a text."""
    (tmp_path / "a.png").write_bytes(png(colour="red"))
    (tmp_path / "b.txt").write_bytes(png(colour="blue"))
    (tmp_path / "c.pdf").write_bytes(document(text(b"one"), text(b"two"), text(b"three")))
    (tmp_path / "notes.md").write_text("# no picture", "utf-8")
    return tmp_path


def asked(server: EmulatorServer) -> int:
    return sum(request.method == "POST" for request in server.requests)


def meta(found: Document) -> dict[str, Any]:
    return dict(found.metadata)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType]


class TestLoader:
    def test_a_folder_becomes_a_document_for_each_picture_and_page(self, llm: ChatMiniCPM, folder: Path) -> None:
        documents = MiniCPMLoader(folder, parser=MiniCPMBlobParser(llm)).load()
        places = [(meta(found)["source"], meta(found).get("page")) for found in documents]
        c = str(folder / "c.pdf")
        assert places == [(str(folder / "a.png"), None), (str(folder / "b.txt"), None), (c, 1), (c, 2), (c, 3)]
        assert "red" in documents[0].page_content
        assert "blue" in documents[1].page_content
        assert meta(documents[2])["total_pages"] == 3

    async def test_the_same_on_an_event_loop(self, llm: ChatMiniCPM, folder: Path) -> None:
        loader = MiniCPMLoader(folder, parser=MiniCPMBlobParser(llm))
        assert [found async for found in loader.alazy_load()] == await asyncio.to_thread(loader.load)

    def test_ids_name_the_place_so_that_a_changed_file_replaces_its_entry(self, llm: ChatMiniCPM, folder: Path) -> None:
        loader = MiniCPMLoader(folder, parser=MiniCPMBlobParser(llm))
        before = loader.load()
        (folder / "a.png").write_bytes(png(colour="green"))
        after = loader.load()
        assert [found.id for found in before] == [found.id for found in after]
        assert len({found.id for found in before}) == 5
        assert "green" in after[0].page_content
        assert meta(before[0])["sha256"] != meta(after[0])["sha256"]

    def test_values_of_the_metadata_are_of_types_that_every_store_takes(self, llm: ChatMiniCPM, folder: Path) -> None:
        for found in MiniCPMLoader(folder, parser=MiniCPMBlobParser(llm)).load():
            assert {type(value) for value in meta(found).values()} <= {str, int, float, bool}

    @pytest.mark.parametrize("policy", ["skip", "keep"])
    @pytest.mark.filterwarnings("ignore::langchain_minicpm.document_loaders.SkippedWarning")
    def test_a_broken_pdf_does_not_stop_the_others(self, llm: ChatMiniCPM, folder: Path, policy: Any) -> None:
        (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
        documents = MiniCPMLoader(folder, parser=MiniCPMBlobParser(llm, on_error=policy)).load()
        assert len([found for found in documents if found.page_content]) == 5
        assert len(documents) == (6 if policy == "keep" else 5)


class TestCache:
    def test_nothing_is_asked_twice(self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path) -> None:
        parser = MiniCPMBlobParser(llm, cache=folder / ".captions")
        first = MiniCPMLoader(folder, parser=parser).load()
        assert asked(minicpm_emulator) == 5
        assert MiniCPMLoader(folder, parser=MiniCPMBlobParser(llm, cache=folder / ".captions")).load() == first
        assert asked(minicpm_emulator) == 5

    def test_another_temperature_is_another_caption(
        self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path
    ) -> None:
        blob = Blob.from_path(folder / "a.png")
        for temperature in (0.0, 0.0, 0.5):
            parser = MiniCPMBlobParser(llm.model_copy(update={"temperature": temperature}), cache=folder / ".captions")
            parser.parse(blob)
        assert [request.body["temperature"] for request in minicpm_emulator.requests] == [0.0, 0.5]


class TestParser:
    def test_nothing_happens_before_the_first_document_is_wanted(
        self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path
    ) -> None:
        parser = MiniCPMBlobParser(llm, concurrency=1)
        documents = parser.lazy_parse(Blob.from_path(folder / "c.pdf"))
        assert asked(minicpm_emulator) == 0
        next(documents)
        assert asked(minicpm_emulator) == 1
        next(documents)
        assert asked(minicpm_emulator) == 2

    def test_pages_in_memory_are_as_pages_in_a_file(self, llm: ChatMiniCPM, folder: Path) -> None:
        parser = MiniCPMBlobParser(llm)
        path = folder / "c.pdf"
        in_file = parser.parse(Blob.from_path(path))
        in_memory = parser.parse(Blob.from_data(path.read_bytes(), path=str(path)))
        assert in_memory == in_file
        nameless = parser.parse(Blob.from_data(path.read_bytes()))
        assert [meta(found)["page"] for found in nameless] == [1, 2, 3]
        assert [found.id for found in nameless] == [None] * 3

    def test_frames_of_a_video_tell_their_time(self, llm: ChatMiniCPM) -> None:
        parser = MiniCPMBlobParser(llm, video_sampling=VideoSampling(num_frames=3))
        frames = parser.parse(Blob.from_data(traffic_light(), metadata={"source": "lights.mp4"}))
        assert [meta(found)["time"] for found in frames] == [
            0.0,
            pytest.approx(4 / 3, abs=0.1),
            pytest.approx(8 / 3, abs=0.1),
        ]
        assert ["red" in found.page_content for found in frames] == [True, False, False]
        assert {meta(found)["kind"] for found in frames} == {"frame"}

    async def test_on_an_event_loop(self, llm: ChatMiniCPM, folder: Path) -> None:
        parser = MiniCPMBlobParser(llm)
        blob = Blob.from_path(folder / "c.pdf")
        assert await parser.aparse(blob) == parser.parse(blob)

    def test_ocr_asks_for_the_text(self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path) -> None:
        MiniCPMBlobParser(llm, mode="ocr").parse(Blob.from_path(folder / "a.png"))
        (request,) = minicpm_emulator.requests
        assert OCR_PROMPT in str(request.body["messages"])

    def test_structured_captions_go_through_the_schema(
        self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path
    ) -> None:
        (found,) = MiniCPMBlobParser(llm, mode="structured").parse(Blob.from_path(folder / "a.png"))
        assert "visible_text" in str(minicpm_emulator.requests[0].body)
        assert found.page_content

    def test_callbacks_see_each_call(self, minicpm_emulator: EmulatorServer, folder: Path) -> None:
        class Counter(BaseCallbackHandler):
            seen = 0

            def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
                self.seen += 1

        counter = Counter()
        llm = ChatMiniCPM(base_url=minicpm_emulator.base_url, api_key="k", backend="modelbest", callbacks=[counter])
        MiniCPMBlobParser(llm).parse(Blob.from_path(folder / "c.pdf"))
        assert counter.seen == 3

    def test_it_can_be_sent_to_another_process_without_the_key(self, llm: ChatMiniCPM) -> None:
        stored = pickle.dumps(MiniCPMBlobParser(llm.model_copy(update={"api_key": "sk-secret"}), cache="captions"))
        assert b"sk-secret" not in stored
        assert pickle.loads(stored).mode == "caption"


class TestErrors:
    def test_raised_in_the_class_that_langchain_knows(
        self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path
    ) -> None:
        minicpm_emulator.inject("status=503")
        with pytest.raises(ServerError, match="503"):
            MiniCPMBlobParser(llm).parse(Blob.from_path(folder / "a.png"))

    def test_skipped_with_a_warning_that_names_the_file(
        self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path
    ) -> None:
        minicpm_emulator.inject("status=503")
        parser = MiniCPMBlobParser(llm, on_error="skip", concurrency=1)
        with pytest.warns(SkippedWarning, match=r"c\.pdf was left out"):
            found = parser.parse(Blob.from_path(folder / "c.pdf"))
        assert [meta(each)["page"] for each in found] == [2, 3]

    async def test_kept_without_text(self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path) -> None:
        minicpm_emulator.inject("status=503")
        parser = MiniCPMBlobParser(llm, on_error="keep", concurrency=1)
        found = await parser.aparse(Blob.from_path(folder / "c.pdf"))
        assert sum(not each.page_content for each in found) == 1
        assert sum("error" in meta(each) for each in found) == 1

    async def test_a_text_that_is_cut_is_an_error_and_not_kept(
        self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path
    ) -> None:
        blob, cache = Blob.from_path(folder / "a.png"), folder / ".captions"
        short = llm.model_copy(update={"max_tokens": 3})
        with pytest.raises(ModelAPIError, match="raise max_tokens"):
            MiniCPMBlobParser(short, cache=cache).parse(blob)
        (kept,) = await MiniCPMBlobParser(short, cache=cache, on_error="keep").aparse(blob)
        assert meta(kept)["error"].startswith("TruncatedReplyError")
        (found,) = MiniCPMBlobParser(llm, cache=cache).parse(blob)
        assert "plain red" in found.page_content
        assert asked(minicpm_emulator) == 3

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_one_that_is_raised_loses_none_of_those_under_way(
        self, minicpm_emulator_factory: EmulatorFactory, folder: Path, asynchronous: bool
    ) -> None:
        server = minicpm_emulator_factory(fault="slow=0.3")
        server.inject("status=503")  # at once, while the others are being answered
        cache = CaptionCache(folder / ".captions")
        with ChatMiniCPM(base_url=server.base_url, api_key="k", backend="modelbest", max_retries=0) as llm:
            loader = MiniCPMLoader(folder, parser=MiniCPMBlobParser(llm, cache=cache, concurrency=3))
            with pytest.raises(ServerError):
                asyncio.run(loader.aload()) if asynchronous else loader.load()
        assert 1 <= len(cache) == asked(server) - 1

    @pytest.mark.parametrize("policy", ["skip", "keep"])
    def test_a_wrong_key_is_raised_in_any_case(
        self, minicpm_emulator_factory: EmulatorFactory, folder: Path, policy: Any
    ) -> None:
        server = minicpm_emulator_factory(api_key="right")
        with (
            ChatMiniCPM(base_url=server.base_url, api_key="wrong", backend="modelbest") as llm,
            pytest.raises(AuthenticationError),
        ):
            MiniCPMBlobParser(llm, on_error=policy).parse(Blob.from_path(folder / "a.png"))

    def test_a_recording_shows_nothing(self, llm: ChatMiniCPM) -> None:
        with pytest.raises(InvalidMediaError, match="recording"):
            MiniCPMBlobParser(llm).parse(Blob.from_data(tone()))

    def test_a_text_is_no_picture(self, llm: ChatMiniCPM, minicpm_emulator: EmulatorServer, folder: Path) -> None:
        with pytest.raises(InvalidMediaError):
            MiniCPMBlobParser(llm).parse(Blob.from_path(folder / "notes.md"))
        assert asked(minicpm_emulator) == 0

    @pytest.mark.parametrize("setting", [{"mode": "song"}, {"on_error": "ignore"}, {"concurrency": 0}])
    def test_impossible_settings(self, llm: ChatMiniCPM, setting: Any) -> None:
        with pytest.raises(ConfigurationError):
            MiniCPMBlobParser(llm, **setting)
