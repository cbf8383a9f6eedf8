"""Media through `ChatMiniCPM`: what is sent, and how it is set."""

from __future__ import annotations

import base64
import io
import json
import pickle
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import ConfigurableField

from langchain_minicpm import ChatMiniCPM, file_block, image_block, video_block
from minicpm_core import MediaLimits, errors
from minicpm_core.media import clear_image_cache
from minicpm_core.parts import (
    VideoSampling,
)
from tests.core.media.clips import numbered, video
from tests.core.media.pictures import encoded, photo
from tests.langchain.conftest import KEY, png

if TYPE_CHECKING:
    from tests.support.server import ScriptedServer


@cache
def clip(frames: int = 3) -> bytes:
    return video(images=numbered(frames, (64, 48)), rate=1)


@cache
def large() -> str:
    return base64.b64encode(encoded(photo((2000, 1500)), "JPEG", quality=95)).decode()


def sizes(server: ScriptedServer) -> list[tuple[int, int]]:
    """The sizes of the pictures in the last request's last message."""
    from PIL import Image

    found: list[tuple[int, int]] = []
    for part in server.requests[-1].json["messages"][-1]["content"]:
        if part["type"] == "image_url":
            data = part["image_url"]["url"].partition(",")[2]
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                found.append(image.size)
    return found


class TestSending:
    def test_what_a_video_block_asks_for_is_done(self, model: ChatMiniCPM, server: ScriptedServer) -> None:
        model.invoke([HumanMessage([{"type": "text", "text": "?"}, video_block(clip(), num_frames=2)])])
        _, part = server.requests[-1].json["messages"][0]["content"]
        assert part["video_url"]["url"].count(",") == 2
        assert "media_io_kwargs" not in server.requests[-1].json

    def test_as_it_is_the_file_and_the_sampling_are_the_server_s(
        self, model: ChatMiniCPM, server: ScriptedServer
    ) -> None:
        model.invoke([HumanMessage([video_block(clip(), fps=2, as_is=True)])])
        body = server.requests[-1].json
        sent = body["messages"][0]["content"][0]["video_url"]["url"]
        assert base64.b64decode(sent.removeprefix("data:video/mp4;base64,")) == clip()
        assert body["media_io_kwargs"] == {"video": {"num_frames": 32, "fps": 2}}

    async def test_every_way_to_ask_sends_the_same(self, model: ChatMiniCPM, server: ScriptedServer) -> None:
        question = [HumanMessage([{"type": "text", "text": "?"}, video_block(clip()), file_block(b"Words.")])]
        model.invoke(question)
        await model.ainvoke(question)
        first, second = (request.json for request in server.requests)
        assert first == second

    @pytest.mark.parametrize(
        ("detail", "expected"),
        [
            ("low", [(516, 387)]),
            ("auto", [(1551, 1163)]),
            ("original", [(2000, 1500)]),
        ],
    )
    @pytest.mark.parametrize("where", ["setting", "extras", "block", "image_url"])
    def test_detail_of_all_pictures_or_of_one(
        self, server: ScriptedServer, where: str, detail: str, expected: list[tuple[int, int]]
    ) -> None:
        block: dict[str, Any] = {"type": "image", "base64": large(), "mime_type": "image/jpeg"}
        if where == "extras":
            block["extras"] = {"detail": detail}
        elif where == "block":
            block["detail"] = detail
        elif where == "image_url":
            url = f"data:image/jpeg;base64,{large()}"
            block = {"type": "image_url", "image_url": {"url": url, "detail": detail}}
        other = "auto" if detail == "low" else "low"
        settings: Any = {"image_detail": detail if where == "setting" else other}
        with ChatMiniCPM(base_url=server.base_url, backend="vllm", api_key=KEY, **settings) as model:
            model.invoke([HumanMessage([block])])
        assert sizes(server) == expected

    def test_high_is_an_overview_and_its_cut_outs(self, server: ScriptedServer) -> None:
        with ChatMiniCPM(base_url=server.base_url, backend="vllm", api_key=KEY, image_detail="high") as model:
            model.invoke([HumanMessage([{"type": "image", "base64": large(), "mime_type": "image/jpeg"}])])
        overview, *cut_outs = sizes(server)
        assert overview == (1551, 1163)
        assert sum(width * height for width, height in cut_outs) == 2000 * 1500

    def test_a_picture_in_a_tool_s_result_follows_it(self, model: ChatMiniCPM, server: ScriptedServer) -> None:
        call = tool_call(name="camera", args={}, id="call-1")
        result: list[str | dict[Any, Any]] = [{"type": "text", "text": "Taken."}, image_block(png())]
        model.invoke([
            HumanMessage("Look."),
            AIMessage("", tool_calls=[call]),
            ToolMessage(result, tool_call_id="call-1"),
        ])  # fmt: skip
        *_, answered, shown = server.requests[-1].json["messages"]
        assert answered == {"role": "tool", "content": "Taken.", "tool_call_id": "call-1"}
        assert shown["role"] == "user"
        assert shown["content"][0] == {"type": "text", "text": "<tool_response>\nOutput of tool camera:"}
        assert sizes(server) == [(32, 24)]

    def test_progress_is_told(self, server: ScriptedServer) -> None:
        clear_image_cache()
        told: list[tuple[str, float]] = []

        def tell(what: str, done: float) -> None:
            told.append((what, done))

        with ChatMiniCPM(base_url=server.base_url, backend="vllm", api_key=KEY, media_progress=tell) as model:
            model.invoke([HumanMessage([video_block(clip())])])
        assert told[-1] == ("video", 1.0)
        assert [done for _, done in told] == sorted(done for _, done in told)

    def test_what_cannot_fit_is_langchain_s_error_too_and_is_not_sent(self, server: ScriptedServer) -> None:
        model = ChatMiniCPM(model="MiniCPM-V-4.5-9B", base_url=server.base_url, backend="vllm", api_key=KEY)
        pictures = [{"type": "image", "base64": large(), "mime_type": "image/jpeg"}] * 60
        with pytest.raises(errors.PromptTooLongError) as caught:
            model.invoke([HumanMessage([*pictures])])
        assert isinstance(caught.value, ContextOverflowError)
        assert caught.value.n_ctx == 32_768
        assert server.requests == []
        model.close()


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
    def made(self) -> ChatMiniCPM:
        return ChatMiniCPM(base_url="http://127.0.0.1:1/v1", backend="vllm", **SETTINGS, media_progress=told_nothing)

    def test_they_reach_the_client(self, made: ChatMiniCPM) -> None:
        media = made._clients().sync.config.media
        assert made._clients().aio.config.media == media
        given = {**SETTINGS, "media_hosts": frozenset({"a.example"})}
        assert {name: getattr(media, name) for name in SETTINGS} == given
        assert media.media_progress is told_nothing

    @pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
    def test_what_is_stored_is_plain_json_and_goes_round(self, made: ChatMiniCPM) -> None:
        stored = dumpd(made)
        text_of_it = json.dumps(stored)
        assert "not_implemented" not in text_of_it
        assert "media_progress" not in text_of_it
        assert "told_nothing" not in text_of_it + repr(made) + repr(made.model_dump())
        again = load(stored, allowed_objects=[ChatMiniCPM], valid_namespaces=["langchain_minicpm"])
        made.media_progress = None
        assert again == made

    def test_so_it_is_inside_of_a_configured_model_and_after_a_change(self, made: ChatMiniCPM) -> None:
        made.video_sampling = VideoSampling(fps=3)  # type: ignore[assignment]  # as the constructor takes it
        made.media_limits = MediaLimits(max_pixels=9)  # type: ignore[assignment]
        stored = json.dumps(dumpd(made.with_config(tags=["a"])))
        assert '"fps": 3' in stored
        assert '"max_pixels": 9' in stored
        assert "not_implemented" not in stored
        assert made._clients().sync.config.media.video_sampling == VideoSampling(fps=3)

    def test_pickles_and_copies_keep_all_but_a_pickle_the_callback(self, made: ChatMiniCPM) -> None:
        loaded = pickle.loads(pickle.dumps(made))
        assert loaded.media_progress is None
        for copied in (loaded, deepcopy(made), made.model_copy()):
            for name in SETTINGS:
                assert getattr(copied, name) == getattr(made, name)
        assert deepcopy(made).media_progress is made.model_copy().media_progress is told_nothing

    def test_a_callback_that_cannot_be_pickled_is_no_hindrance(self, made: ChatMiniCPM) -> None:
        made.media_progress = lambda what, done: None  # pyright: ignore[reportUnknownLambdaType]
        assert pickle.loads(pickle.dumps(made)).media_progress is None

    def test_what_is_changed_in_place_holds_from_the_next_call_on(self, made: ChatMiniCPM) -> None:
        before = made._clients().sync.config.media
        assert made.media_hosts is not None
        assert made.video_sampling is not None
        made.media_hosts.append("b.example")
        made.video_sampling["fps"] = 4
        media = made._clients().sync.config.media
        assert media.media_hosts == before.media_hosts | {"b.example"}
        assert media.video_sampling.fps == 4

    def test_they_can_be_configured_at_run_time(self, server: ScriptedServer) -> None:
        model = ChatMiniCPM(base_url=server.base_url, backend="vllm", api_key=KEY).configurable_fields(
            image_detail=ConfigurableField(id="detail")
        )
        question = [HumanMessage([{"type": "image", "base64": large(), "mime_type": "image/jpeg"}])]
        model.invoke(question, config={"configurable": {"detail": "low"}})
        assert sizes(server) == [(516, 387)]

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ({"image_detail": "fine"}, "image_detail must be one of auto, low, high, original"),
            ({"media_hosts": 7}, "media_hosts must be host names"),
            ({"media_hosts": "https://a.example"}, "no URLs"),
            ({"video_sampling": {"frames": 3}}, "video_sampling takes numbers for fps"),
            ({"media_limits": {"max_bytes": 0}}, "max_bytes of media_limits"),
            ({"image_details": "low"}, "Did you mean 'image_detail'"),
        ],
        ids=str,
    )
    def test_what_cannot_be_is_refused_when_the_model_is_made(self, setting: dict[str, Any], said: str) -> None:
        with pytest.raises(errors.ConfigurationError, match=said):
            ChatMiniCPM(**setting)


def test_tokens_of_media_are_counted_without_a_server() -> None:
    model = ChatMiniCPM(base_url="http://127.0.0.1:1/v1", backend="vllm")
    words = model.get_num_tokens_from_messages([HumanMessage("?")])

    def count(*blocks: dict[str, Any]) -> int:
        return model.get_num_tokens_from_messages([HumanMessage([{"type": "text", "text": "?"}, *blocks])]) - words

    picture = {"type": "image", "base64": large(), "mime_type": "image/jpeg"}
    assert count(picture) == 655
    assert count(picture, picture) == 2 * 655
    assert count({**picture, "detail": "low"}) == 68
    assert count(video_block(clip(), num_frames=2)) < count(video_block(clip(), num_frames=8))
    assert count(file_block(b"word " * 300)) == 500
