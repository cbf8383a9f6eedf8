"""Media in LlamaIndex's messages: its blocks, the settings, and when a file is read."""

from __future__ import annotations

import base64
import copy
import io
import json
import pickle
from functools import cache
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
    VideoBlock,
)
from PIL import Image

from llama_index_minicpm import MiniCPM
from llama_index_minicpm._messages import to_core
from minicpm_core import MediaLimits, errors
from minicpm_core.media import clear_image_cache
from minicpm_core.parts import (
    AudioSource,
    DocumentSource,
    FileBody,
    ImageSource,
    Part,
    TextPart,
    VideoPart,
    VideoSampling,
    VideoSource,
)
from tests.core.media.clips import numbered, video
from tests.core.media.pictures import encoded, photo
from tests.llama_index.support import KEY, METHODS, PICTURE, ask, png, sent, user

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import ScriptedServer

WEB = "https://example.com/medium"
DATA_URL = "data:video/mp4;base64,AAAA"


@cache
def clip(frames: int = 3) -> bytes:
    return video(images=numbered(frames, (64, 48)), rate=1)


@cache
def large() -> bytes:
    return encoded(photo((2000, 1500)), "JPEG", quality=95)


def part_of(block: Any) -> Part:
    """What a block becomes."""
    (message,) = to_core([user([block])])
    (part,) = message.parts
    return part


def content(server: ScriptedServer) -> list[dict[str, Any]]:
    """The content of the last request's last message."""
    found: list[dict[str, Any]] = sent(server)["messages"][-1]["content"]
    return found


def sizes(server: ScriptedServer) -> list[tuple[int, int]]:
    """The sizes of the pictures in it."""
    found: list[tuple[int, int]] = []
    for part in content(server):
        if part["type"] == "image_url":
            data = part["image_url"]["url"].partition(",")[2]
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                found.append(image.size)
    return found


class TestBlocks:
    def test_each_becomes_a_source_of_its_kind_with_what_it_asks_for(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"anything")
        assert part_of(ImageBlock(path=path, detail="low")) == ImageSource("path", path, detail="low")
        assert part_of(VideoBlock(path=path)) == VideoSource("path", path)
        assert part_of(VideoBlock(path=path, fps=2)) == VideoSource("path", path, sampling=VideoSampling(fps=2))
        assert part_of(VideoBlock(path=path, detail="original")) == VideoSource("path", path, as_is=True)
        assert part_of(AudioBlock(path=path)) == AudioSource("path", path)
        assert part_of(DocumentBlock(path=path)) == DocumentSource("path", path, name="a.bin")
        assert part_of(DocumentBlock(path=str(path), title="A")) == DocumentSource("path", path, name="A")

    @pytest.mark.parametrize("block", [ImageBlock, VideoBlock, AudioBlock])
    def test_urls_of_both_kinds(self, block: Any) -> None:
        for url, kind in ((WEB, "url"), (DATA_URL, "data_url")):
            part = part_of(block(url=url))
            assert isinstance(part, ImageSource | VideoSource | AudioSource)
            assert (part.kind, part.value) == (kind, url)

    @pytest.mark.parametrize("block", [ImageBlock, VideoBlock, AudioBlock, DocumentBlock])
    def test_a_file_url_is_no_path(self, block: Any) -> None:
        with pytest.raises(errors.UnsupportedContentError, match="never read from a URL"):
            part_of(block(url="file:///etc/passwd"))

    @pytest.mark.parametrize("block", [VideoBlock, AudioBlock, DocumentBlock])
    def test_an_empty_one_is_refused(self, block: Any) -> None:
        with pytest.raises(errors.UnsupportedContentError, match="holds no"):
            part_of(block())

    def test_a_rate_that_cannot_be_is_refused(self) -> None:
        with pytest.raises(errors.InvalidInputError, match="fps must be above 0"):
            part_of(VideoBlock(url=WEB, fps=0))

    def test_documents_inside_of_other_blocks_are_sent(self) -> None:
        cited = CitableBlock(title="A", source="b", content=[DocumentBlock(data=b"Words and words.", title="C")])
        (message,) = to_core([user([TextBlock(text="?"), cited])])
        text, part = message.parts
        assert text == TextPart("?")
        assert isinstance(part, DocumentSource)
        assert part.name == "C"


class TestSending:
    def test_a_path_is_read_when_it_is_sent_and_each_time(
        self, llm: MiniCPM, server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png())
        message = user([TextBlock(text="?"), ImageBlock(path=path)])
        path.write_bytes(png(size=(9, 8)))
        llm.chat([message])
        assert sizes(server) == [(9, 8)]
        path.unlink()
        with pytest.raises(errors.InvalidMediaError, match=r"a\.png' does not exist"):
            llm.chat([message])
        assert len(server.requests) == 1

    @pytest.mark.parametrize("method", METHODS)
    async def test_every_method_sends_pictures(self, llm: MiniCPM, server: ScriptedServer, method: str) -> None:
        from tests.llama_index.support import streamed
        from tests.support.server import chunk

        if "stream" in method:
            server.answers = [streamed(chunk("Hello."))]
        picture = ImageBlock(image=PICTURE)
        if "chat" in method:
            await ask(llm, method, [user([TextBlock(text="?"), picture])])
        else:
            await ask(llm, method, "?", image_documents=[picture])
        assert sizes(server) == [(4, 3)]

    async def test_videos_and_documents_are_the_same_from_all_methods(
        self, llm: MiniCPM, server: ScriptedServer
    ) -> None:
        question = [user([VideoBlock(video=clip()), DocumentBlock(data=b"Words and words.", title="A")])]
        llm.chat(question)
        await llm.achat(question)
        first, second = sent(server, 0), sent(server, 1)
        assert first == second
        frames, words = first["messages"][0]["content"]
        assert frames["video_url"]["url"].count(",") == 3
        assert words == {"type": "text", "text": "A:\nWords and words."}

    @pytest.mark.parametrize(
        ("detail", "expected"), [("low", (516, 387)), ("auto", (1551, 1163)), ("original", (2000, 1500))]
    )
    @pytest.mark.parametrize("where", ["setting", "block"])
    def test_detail_of_all_pictures_or_of_one(
        self, llm: MiniCPM, server: ScriptedServer, where: str, detail: str, expected: tuple[int, int]
    ) -> None:
        other = "auto" if detail == "low" else "low"
        llm.image_detail = detail if where == "setting" else other
        llm.chat([user([ImageBlock(image=large(), detail=detail if where == "block" else None)])])
        assert sizes(server) == [expected]

    def test_high_is_an_overview_and_its_cut_outs(self, llm: MiniCPM, server: ScriptedServer) -> None:
        llm.chat([user([ImageBlock(image=large(), detail="high")])])
        overview, *cut_outs = sizes(server)
        assert overview == (1551, 1163)
        assert sum(width * height for width, height in cut_outs) == 2000 * 1500

    async def test_a_video_as_it_is_is_read_while_it_is_sent(
        self, llm: MiniCPM, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Larger than the bound on what is held in memory, so it was not."""
        path = tmp_path / "a.mp4"
        path.write_bytes(clip())
        llm.media_limits = MediaLimits(max_bytes=100)
        question = [user([VideoBlock(path=path, detail="original", fps=2)])]
        llm.chat(question)
        await llm.achat(question)
        for number in (0, 1):
            body = sent(server, number)
            url = body["messages"][0]["content"][0]["video_url"]["url"]
            assert base64.b64decode(url.removeprefix("data:video/mp4;base64,")) == clip()
            assert body["media_io_kwargs"] == {"video": {"num_frames": 32, "fps": 2}}

    def test_a_picture_in_a_tool_s_result_follows_it(self, llm: MiniCPM, server: ScriptedServer) -> None:
        call = ToolCallBlock(tool_call_id="call-1", tool_name="camera", tool_kwargs={})
        result = ChatMessage(
            role=MessageRole.TOOL,
            blocks=[TextBlock(text="Taken."), ImageBlock(image=PICTURE)],
            additional_kwargs={"tool_call_id": "call-1"},
        )
        llm.chat([user("Look."), ChatMessage(role=MessageRole.ASSISTANT, blocks=[call]), result])
        *_, answered, shown = sent(server)["messages"]
        assert answered == {"role": "tool", "content": "Taken.", "tool_call_id": "call-1"}
        assert shown["role"] == "user"
        assert shown["content"][0] == {"type": "text", "text": "<tool_response>\nOutput of tool camera:"}
        assert sizes(server) == [(4, 3)]

    def test_a_file_object_is_put_back(self, llm: MiniCPM, server: ScriptedServer) -> None:
        file = io.BytesIO(PICTURE)
        file.seek(5)
        llm.chat([user([ImageBlock(image=file)])])
        assert sizes(server) == [(4, 3)]
        assert file.tell() == 5

    def test_progress_is_told(self, llm: MiniCPM, server: ScriptedServer) -> None:
        clear_image_cache()
        told: list[tuple[str, float]] = []

        def tell(what: str, done: float) -> None:
            told.append((what, done))

        llm.media_progress = tell
        llm.chat([user([VideoBlock(video=clip())])])
        assert told[-1] == ("video", 1.0)
        assert [done for _, done in told] == sorted(done for _, done in told)

    def test_what_cannot_fit_is_not_sent(self, server: ScriptedServer) -> None:
        llm = MiniCPM(model="MiniCPM-V-4.5-9B", base_url=server.base_url, backend="vllm", api_key=KEY)
        with pytest.raises(errors.PromptTooLongError) as caught:
            llm.chat([user([ImageBlock(image=large())] * 60)])
        assert caught.value.n_ctx == 32_768
        assert server.requests == []


def told_nothing(what: str, done: float) -> None:
    """A callback for settings."""


SETTINGS: dict[str, Any] = {
    "image_detail": "low",
    "image_quality": 70,
    "image_frames": "all",
    "media_urls": "refuse",
    "media_hosts": ["a.example"],
    "media_limits": MediaLimits(max_bytes=5000),
    "video_sampling": VideoSampling(fps=2, start=1),
    "document_pages": 3,
}


class TestSettings:
    @pytest.fixture
    def made(self) -> MiniCPM:
        return MiniCPM(base_url="http://127.0.0.1:1/v1", backend="vllm", **SETTINGS, media_progress=told_nothing)

    def test_they_reach_both_clients(self, made: MiniCPM) -> None:
        media = made._sync().config.media
        assert made._async().config.media == media
        given = {**SETTINGS, "media_hosts": frozenset({"a.example"})}
        assert {name: getattr(media, name) for name in SETTINGS} == given
        assert media.media_progress is told_nothing

    def test_what_is_stored_is_plain_json_and_goes_round(self, made: MiniCPM) -> None:
        stored = made.to_dict()
        assert "media_progress" not in stored
        assert "told_nothing" not in repr(made) + repr(stored)
        again = MiniCPM.from_dict(json.loads(json.dumps(stored)))
        assert isinstance(again, MiniCPM)
        for name, value in SETTINGS.items():
            assert getattr(again, name) == value

    def test_pickles_and_copies_keep_all_but_a_pickle_the_callback(self, made: MiniCPM) -> None:
        loaded = pickle.loads(pickle.dumps(made))
        assert loaded.media_progress is None
        for copied in (loaded, copy.copy(made), copy.deepcopy(made)):
            for name, value in SETTINGS.items():
                assert getattr(copied, name) == value
        assert copy.copy(made).media_progress is copy.deepcopy(made).media_progress is told_nothing

    def test_a_change_holds_from_the_next_call_on(self, made: MiniCPM) -> None:
        before = made._sync().config.media
        made.image_detail, made.video_sampling = "high", VideoSampling(fps=4)
        media = made._sync().config.media
        assert (before.image_detail, media.image_detail, media.video_sampling.fps) == ("low", "high", 4)

    def test_one_host_is_as_good_as_a_list(self) -> None:
        assert MiniCPM(media_hosts="a.example").media_hosts == ["a.example"]

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ({"image_detail": "fine"}, "image_detail must be one of auto, low, high, original"),
            ({"media_hosts": "https://a.example"}, "no URLs"),
            ({"media_limits": {"max_bytes": 0}}, "max_bytes of media_limits"),
            ({"media_progress": 3}, "media_progress must be callable"),
            ({"image_details": "low"}, "Did you mean 'image_detail'"),
        ],
        ids=str,
    )
    def test_what_cannot_be_is_refused_when_the_model_is_made(self, setting: dict[str, Any], said: str) -> None:
        with pytest.raises(errors.ConfigurationError, match=said):
            MiniCPM(**setting)

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ({"video_sampling": {"frames": 3}}, "video_sampling takes numbers for fps"),
            ({"video_sampling": {"fps": -1}}, "fps must be above 0"),
            ({"media_hosts": 7}, "media_hosts"),
        ],
        ids=str,
    )
    def test_or_by_pydantic_where_it_is_of_a_wrong_type(self, setting: dict[str, Any], said: str) -> None:
        with pytest.raises(pydantic.ValidationError, match=said):
            MiniCPM(**setting)


def test_a_source_is_a_file_body_only_where_it_is_a_path(tmp_path: Path) -> None:
    """What the core makes of the two blocks that ask for a video as it is."""
    from minicpm_core.backends import BACKENDS
    from minicpm_core.media import resolve_messages

    path = tmp_path / "a.mp4"
    path.write_bytes(clip())
    blocks = [VideoBlock(path=path, detail="original"), VideoBlock(video=clip(), detail="original")]
    (message,) = resolve_messages(to_core([user(blocks)]), BACKENDS["vllm"], model="MiniCPM-V-4.6-1B")
    first, second = message.parts
    assert isinstance(first, VideoPart)
    assert isinstance(second, VideoPart)
    assert first.data == FileBody(str(path), len(clip()))
    assert second.data == base64.b64encode(clip())
