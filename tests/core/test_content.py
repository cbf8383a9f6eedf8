"""Prepared parts in a request: the shape for each server, and what the server is told of its videos."""

from __future__ import annotations

import base64
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.config import ClientConfig
from minicpm_core.errors import InvalidInputError, UnsupportedContentError
from minicpm_core.parts import (
    AudioPart,
    AudioSource,
    FileBody,
    FramesPart,
    ImagePart,
    ImageSource,
    Part,
    TextPart,
    UrlPart,
    VideoPart,
    VideoSampling,
    VideoSource,
)
from minicpm_core.protocol.content import render_part, sampling_fields
from minicpm_core.protocol.request import MiniCPMWarning
from minicpm_core.types import Message, ToolCall
from tests.core.support import body_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

URL = "https://example.com/medium"
PICTURE = ImagePart(b"aW1n", "image/png", 8, 8)
VIDEO = VideoPart(b"dmlk", "video/webm")
FRAMES = FramesPart((b"b25l", b"dHdv"), 8, 8)
SOUND = AudioPart(b"c25k", "wav", 1.0)
NAMES = tuple(BACKENDS)
TAKE_AUDIO_URLS: tuple[BackendName, ...] = ("modelbest", "vllm", "sglang")
TAKE_INPUT_AUDIO: tuple[BackendName, ...] = ("llamacpp", "generic")
TOLD: list[tuple[BackendName, dict[str, Any], dict[str, Any]]] = [
    ("vllm", {"media_io_kwargs": {"video": {"num_frames": 9, "fps": 2}}}, {}),
    ("sglang", {}, {"max_frames": 9, "fps": 2}),
    ("modelbest", {}, {}),
    ("transformers", {}, {}),
]
"""What is said of a video: in fields of the request, and beside its URL."""
OMNI = "MiniCPM-O-4.5-9B"


def rendered(part: Part, backend: BackendName = "vllm") -> Any:
    def splice(data: bytes | FileBody) -> str:
        return data.decode() if isinstance(data, bytes) else f"<{data.path}>"

    return render_part(part, BACKENDS[backend], splice)


def url_part(kind: str, url: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, kind: {"url": url, **more}}


def frames(count: int) -> FramesPart:
    return FramesPart((b"b25l",) * count, 8, 8)


def sampled(*parts: Part, backend: BackendName = "vllm") -> dict[str, Any]:
    return sampling_fields([Message("user", (part,)) for part in parts], BACKENDS[backend])


class TestShapes:
    @pytest.mark.parametrize("backend", NAMES)
    def test_pictures_and_text_are_the_same_everywhere(self, backend: BackendName) -> None:
        assert rendered(PICTURE, backend) == url_part("image_url", "data:image/png;base64,aW1n")
        assert rendered(TextPart("Hi"), backend) == {"type": "text", "text": "Hi"}
        assert rendered(TextPart(""), backend) is None

    def test_a_detail_is_passed_on_only_when_there_is_one(self) -> None:
        part = ImagePart(b"aW1n", "image/png", 8, 8, detail="low")
        assert rendered(part) == url_part("image_url", "data:image/png;base64,aW1n", detail="low")

    @pytest.mark.parametrize(
        ("backend", "shape"),
        [
            ("modelbest", url_part("video_url", "data:video/webm;base64,dmlk")),
            ("vllm", url_part("video_url", "data:video/webm;base64,dmlk")),
            ("sglang", url_part("video_url", "data:video/webm;base64,dmlk")),
            ("transformers", url_part("video_url", "data:video/webm;base64,dmlk")),
            ("llamacpp", {"type": "input_video", "input_video": {"data": "dmlk"}}),
        ],
    )
    def test_a_video_file(self, backend: BackendName, shape: dict[str, Any]) -> None:
        assert rendered(VIDEO, backend) == shape

    @pytest.mark.parametrize("backend", ["ollama", "generic"])
    def test_a_video_file_for_a_server_that_takes_none_is_refused(self, backend: BackendName) -> None:
        with pytest.raises(UnsupportedContentError, match=f"^{BACKENDS[backend].title} takes no video files"):
            rendered(VIDEO, backend)

    def test_frames_are_one_list_after_one_head(self) -> None:
        assert rendered(FRAMES) == url_part("video_url", "data:video/jpeg;base64,b25l,dHdv")

    @pytest.mark.parametrize("backend", sorted(set(NAMES) - {"vllm"}))
    def test_frames_for_any_other_server_are_refused(self, backend: BackendName) -> None:
        with pytest.raises(UnsupportedContentError, match="lists of frames"):
            rendered(FRAMES, backend)

    @pytest.mark.parametrize(
        ("form", "media_type"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("flac", "audio/flac")]
    )
    def test_a_recording(self, form: str, media_type: str) -> None:
        part = AudioPart(b"c25k", form)
        for backend in TAKE_AUDIO_URLS:
            assert rendered(part, backend) == url_part("audio_url", f"data:{media_type};base64,c25k")
        for backend in TAKE_INPUT_AUDIO:
            wanted = {"type": "input_audio", "input_audio": {"data": "c25k", "format": form}}
            assert rendered(part, backend) == wanted

    @pytest.mark.parametrize("backend", ["ollama", "transformers"])
    def test_a_recording_for_a_server_that_takes_none_is_refused(self, backend: BackendName) -> None:
        with pytest.raises(UnsupportedContentError, match="takes no audio"):
            rendered(SOUND, backend)

    def test_what_the_server_fetches_is_a_url_as_it_was_given(self) -> None:
        assert rendered(UrlPart("image", URL, detail="high")) == url_part("image_url", URL, detail="high")
        assert rendered(UrlPart("video", URL)) == url_part("video_url", URL)
        assert rendered(UrlPart("audio", URL)) == url_part("audio_url", URL)

    @pytest.mark.parametrize("source", [ImageSource, VideoSource, AudioSource])
    def test_what_was_not_read_is_an_error_and_not_left_out(self, source: type[ImageSource]) -> None:
        with pytest.raises(InvalidInputError, match=f"The {source.noun} was not read"):
            rendered(source("bytes", b""))

    def test_what_is_no_part_is_refused_with_its_place(self) -> None:
        wrong: Any = b"bytes"
        with pytest.raises(UnsupportedContentError, match="bytes is no content part") as caught:
            body_of(Message("user", "Hello."), Message("user", (TextPart("?"), wrong)))
        assert caught.value.__notes__ == ["It is in message 1."]


class TestFiles:
    def test_a_file_is_sent_as_base64_of_what_it_holds_while_it_is_sent(self, tmp_path: Path) -> None:
        content = bytes(range(256)) * 41
        path = tmp_path / "film.mp4"
        path.write_bytes(content)
        part = VideoPart(FileBody(str(path), len(content)), "video/mp4")
        (message,) = body_of(Message("user", (TextPart("?"), part, PICTURE)))["messages"]
        encoded = base64.b64encode(content).decode()
        assert message["content"] == [
            {"type": "text", "text": "?"},
            url_part("video_url", f"data:video/mp4;base64,{encoded}"),
            url_part("image_url", "data:image/png;base64,aW1n"),
        ]

    @pytest.mark.parametrize(("backend", "fields", "inner"), TOLD)
    def test_the_server_is_told_how_to_sample_it_where_it_can_be(
        self, tmp_path: Path, backend: BackendName, fields: dict[str, Any], inner: dict[str, Any]
    ) -> None:
        path = tmp_path / "film.mp4"
        path.write_bytes(b"film")
        part = VideoPart(FileBody(str(path), 4), "video/mp4", sampling=VideoSampling(fps=2, num_frames=9))
        config = ClientConfig.create(api_key="sk-made-up-key", model="MiniCPM-V-4.6-1B")
        body = body_of(Message("user", (part,)), backend=backend, config=config)
        assert {name: value for name, value in body.items() if name == "media_io_kwargs"} == fields
        assert body["messages"][0]["content"] == [url_part("video_url", "data:video/mp4;base64,ZmlsbQ==", **inner)]


class TestSampling:
    ASKS = VideoPart(b"dmlk", "video/mp4", sampling=VideoSampling(fps=2, num_frames=9))

    def test_without_a_rate_only_the_number_is_told(self) -> None:
        part = UrlPart("video", URL, sampling=VideoSampling(num_frames=9))
        assert sampled(part) == {"media_io_kwargs": {"video": {"num_frames": 9}}}
        assert rendered(part, "sglang") == url_part("video_url", URL, max_frames=9)

    def test_nothing_is_told_where_nothing_was_asked(self) -> None:
        assert sampled(VIDEO, UrlPart("video", URL), frames(32), PICTURE) == {}

    @pytest.mark.parametrize("backend", sorted(set(NAMES) - {"vllm"}))
    def test_only_vllm_has_a_field_for_it(self, backend: BackendName) -> None:
        assert sampled(self.ASKS, backend=backend) == {}

    def test_more_frames_than_the_server_takes_unasked_are_all_asked_for(self) -> None:
        assert sampled(frames(33)) == {"media_io_kwargs": {"video": {"num_frames": 33}}}

    def test_lists_of_different_lengths_go_together(self) -> None:
        """The number is a bound: the longest list decides, and none is cut."""
        assert sampled(frames(40), frames(64), frames(3)) == {"media_io_kwargs": {"video": {"num_frames": 64}}}

    def test_two_videos_that_ask_alike_go_together(self) -> None:
        assert sampled(self.ASKS, self.ASKS, frames(9)) == {"media_io_kwargs": {"video": {"num_frames": 9, "fps": 2}}}

    @pytest.mark.parametrize(
        "other",
        [
            VideoPart(b"dmlk", "video/mp4", sampling=VideoSampling(fps=3, num_frames=9)),
            UrlPart("video", URL, sampling=VideoSampling(num_frames=9)),
            frames(10),  # of which the server would drop one
        ],
        ids=["rate", "url", "frames"],
    )
    def test_two_that_do_not_are_refused(self, other: Part) -> None:
        for parts in ((self.ASKS, other), (other, self.ASKS)):
            with pytest.raises(InvalidInputError, match=r"vLLM samples all videos of a request alike.*as_is=False"):
                sampled(*parts)

    def test_a_field_of_the_caller_s_own_wins_and_is_merged(self) -> None:
        own = {"media_io_kwargs": {"video": {"num_frames": 4}, "image": {"x": 1}}}
        body = body_of(Message("user", (self.ASKS,)), extra_body=own)
        assert body["media_io_kwargs"] == own["media_io_kwargs"]


class TestTurns:
    CALLS = Message("assistant", "", tool_calls=(ToolCall("1", "camera", "{}"), ToolCall("2", "clock", "{}")))

    def turns(self, *messages: Message) -> Sequence[Any]:
        turns: list[Any] = body_of(Message("user", "Look."), self.CALLS, *messages)["messages"]
        return turns[2:]

    def test_media_of_a_tool_follow_all_results_in_a_message_of_the_user_s(self) -> None:
        picture = Message("tool", (TextPart("Here."), PICTURE, SOUND), tool_call_id="1")
        first, second, shown = self.turns(picture, Message("tool", "Noon.", tool_call_id="2"))
        assert (first["content"], second["content"]) == ("Here.", "Noon.")
        assert shown == {
            "role": "user",
            "content": [
                {"type": "text", "text": "<tool_response>\nOutput of tool camera:"},
                url_part("image_url", "data:image/png;base64,aW1n"),
                url_part("audio_url", "data:audio/wav;base64,c25k"),
                {"type": "text", "text": "</tool_response>"},
            ],
        }

    def test_they_come_before_the_next_turn(self) -> None:
        picture = Message("tool", (PICTURE,), tool_call_id="1")
        turns = self.turns(picture, Message("tool", "Noon.", tool_call_id="2"), Message("user", "And?"))
        assert [turn["role"] for turn in turns] == ["tool", "tool", "user", "user"]
        assert turns[-1]["content"] == "And?"

    @pytest.mark.parametrize("role", ["system", "assistant"])
    def test_nowhere_else_media_are_taken(self, role: str) -> None:
        with pytest.raises(UnsupportedContentError, match=f"not in {role} messages"):
            body_of(Message("user", "Hello."), Message(role, (PICTURE,)))


class TestThinkingAboutAudio:
    def ask(self, part: Part, model: str = OMNI, **options: Any) -> None:
        config = ClientConfig.create(api_key="sk-made-up-key", model=model)
        body_of(Message("user", (TextPart("?"), part)), config=config, **options)

    @pytest.mark.parametrize("part", [SOUND, UrlPart("audio", URL)], ids=["sent", "url"])
    def test_is_warned_of(self, part: Part) -> None:
        with pytest.warns(MiniCPMWarning, match=r"MiniCPM-o 4\.5 does not think about audio"):
            self.ask(part, thinking=True)

    def test_is_warned_of_also_where_the_caller_s_own_field_asks_for_it(self) -> None:
        with pytest.warns(MiniCPMWarning, match="does not think about audio"):
            self.ask(SOUND, extra_body={"chat_template_kwargs": {"enable_thinking": True}})

    def test_otherwise_nothing_is_said(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.ask(SOUND)
            self.ask(SOUND, thinking=False)
            self.ask(PICTURE, thinking=True)
            self.ask(UrlPart("image", URL), thinking=True)
            self.ask(SOUND, model="my-own-model", thinking=True)
