"""Blocks with media: every form that is read, the helpers that make them, and what never becomes a path."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import HumanMessage

from langchain_minicpm import audio_block, file_block, video_block
from langchain_minicpm._messages import to_core
from minicpm_core import errors
from minicpm_core.parts import (
    AudioSource,
    DocumentSource,
    ImageSource,
    Part,
    Source,
    TextPart,
    VideoSampling,
    VideoSource,
)
from tests.core.media.clips import numbered, recording, video
from tests.core.media.pdfs import document, text

if TYPE_CHECKING:
    from pathlib import Path


BASE64 = base64.b64encode(b"anything").decode()
DATA_URL = f"data:;base64,{BASE64}"
WEB = "https://example.com/medium"


@cache
def clip(frames: int = 3) -> bytes:
    return video(images=numbered(frames, (64, 48)), rate=1)


@cache
def sound() -> bytes:
    return recording()


def source_of(block: Any) -> Part:
    """What a block becomes."""
    (message,) = to_core([HumanMessage([block])])
    (part,) = message.parts
    return part


FORMS: list[tuple[dict[str, Any], Source]] = [
    ({"type": "image", "base64": BASE64, "mime_type": "image/png"}, ImageSource("base64", BASE64, "image/png")),
    ({"type": "image", "url": WEB, "extras": {"detail": "low"}}, ImageSource("url", WEB, detail="low")),
    ({"type": "image", "source_type": "base64", "data": BASE64}, ImageSource("base64", BASE64)),
    ({"type": "image", "source_type": "url", "url": DATA_URL}, ImageSource("data_url", DATA_URL)),
    (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}},
        ImageSource("base64", BASE64, "image/png"),
    ),
    ({"type": "image", "source": {"type": "url", "url": WEB}}, ImageSource("url", WEB)),
    ({"type": "image", "base64": DATA_URL}, ImageSource("data_url", DATA_URL)),
    ({"type": "image_url", "image_url": WEB}, ImageSource("url", WEB)),
    ({"type": "image_url", "image_url": {"url": WEB, "detail": "high"}}, ImageSource("url", WEB, detail="high")),
    ({"type": "video", "base64": BASE64}, VideoSource("base64", BASE64)),
    (
        {"type": "video", "url": WEB, "extras": {"fps": 2, "end": 9}},
        VideoSource("url", WEB, sampling=VideoSampling(fps=2, end=9)),
    ),
    ({"type": "video", "url": WEB, "as_is": True}, VideoSource("url", WEB, as_is=True)),
    (
        {"type": "video_url", "video_url": {"url": WEB, "max_frames": 8, "fps": 1}},
        VideoSource("url", WEB, sampling=VideoSampling(num_frames=8, fps=1)),
    ),
    ({"type": "input_video", "input_video": {"data": BASE64}}, VideoSource("base64", BASE64)),
    ({"type": "audio", "base64": BASE64, "mime_type": "audio/mpeg"}, AudioSource("base64", BASE64, "audio/mpeg")),
    ({"type": "audio_url", "audio_url": {"url": DATA_URL}}, AudioSource("data_url", DATA_URL)),
    ({"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}, AudioSource("base64", BASE64)),
    (
        {"type": "file", "base64": BASE64, "extras": {"filename": "a.pdf", "pages": [2, 3], "with_text": True}},
        DocumentSource("base64", BASE64, name="a.pdf", pages=(2, 3), with_text=True),
    ),
    (
        {"type": "file", "file": {"file_data": DATA_URL, "filename": "a.pdf"}},
        DocumentSource("data_url", DATA_URL, name="a.pdf"),
    ),
    (
        {"type": "document", "source": {"type": "base64", "data": BASE64}, "title": "A"},
        DocumentSource("base64", BASE64, name="A"),
    ),
    ({"type": "file", "base64": BASE64, "mime_type": "image/png"}, ImageSource("base64", BASE64, "image/png")),
    ({"type": "file", "base64": BASE64, "mime_type": "Video/mp4"}, VideoSource("base64", BASE64, "Video/mp4")),
    ({"type": "file", "base64": BASE64, "mime_type": "audio/wav"}, AudioSource("base64", BASE64, "audio/wav")),
]
KINDS = ("image", "video", "audio", "file")


class TestForms:
    @pytest.mark.parametrize(("block", "source"), FORMS, ids=lambda value: str(value)[:70])
    def test_every_form_becomes_a_source_of_its_kind_with_what_it_asks_for(
        self, block: dict[str, Any], source: Source
    ) -> None:
        before = deepcopy(block)
        assert source_of(block) == source
        assert block == before

    def test_a_document_of_text_is_text(self) -> None:
        source = {"type": "text", "media_type": "text/plain", "data": "Words."}
        assert source_of({"type": "document", "source": source, "title": "A"}) == TextPart("A:\nWords.")
        assert source_of({"type": "document", "source": source}) == TextPart("Words.")

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("given", ["/etc/passwd", "file:///etc/passwd", "C:\\a.png", "~/a.png", "ftp://a/b"])
    def test_no_text_in_a_message_becomes_a_path(self, kind: str, given: str) -> None:
        blocks: list[dict[str, Any]] = [{"type": kind, "url": given}, {"type": kind, "source": {"url": given}}]
        if kind != "file":
            blocks.append({"type": f"{kind}_url", f"{kind}_url": {"url": given}})
        for block in blocks:
            with pytest.raises(errors.UnsupportedContentError, match="never read from a URL"):
                source_of(block)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_path_under_any_other_name_is_not_looked_at(self, kind: str) -> None:
        with pytest.raises(errors.InvalidInputError, match="must have 'base64' or a URL"):
            source_of({"type": kind, "path": "/etc/passwd", "file_path": "/etc/passwd"})

    @pytest.mark.parametrize("kind", KINDS)
    def test_ids_of_stored_files_are_refused(self, kind: str) -> None:
        with pytest.raises(errors.UnsupportedContentError, match="store no files"):
            source_of({"type": kind, "file_id": "file-1"})

    @pytest.mark.parametrize(
        ("block", "said"),
        [
            ({"type": "video", "url": WEB, "fps": "2"}, "fps of a video block must be a number, not str"),
            ({"type": "video", "url": WEB, "extras": {"num_frames": True}}, "num_frames of a video block"),
            ({"type": "video", "url": WEB, "fps": -1}, "fps must be above 0"),
            ({"type": "video", "url": WEB, "extras": {"start": 3, "end": 2}}, "end .* must be after start"),
            ({"type": "file", "url": WEB, "extras": {"pages": 3}}, "first and the last page"),
            ({"type": "file", "url": WEB, "extras": {"pages": [1, 2, 3]}}, "first and the last page"),
            ({"type": "image_url", "image_url": {}}, "must have a URL"),
            ({"type": "video_url"}, "must have a URL"),
            ({"type": "input_audio", "input_audio": 3}, "must have 'base64'"),
        ],
        ids=str,
    )
    def test_what_is_wrong_with_a_block_is_said(self, block: dict[str, Any], said: str) -> None:
        with pytest.raises(errors.InvalidInputError, match=said):
            source_of(block)


class TestHelpers:
    def test_they_read_when_they_are_called_and_give_plain_json(self, tmp_path: Path) -> None:
        made = {"a.mp4": clip(), "a.wav": sound(), "a.pdf": document(text(b"Hi")), "a.md": b"# Hi"}
        for name, data in made.items():
            (tmp_path / name).write_bytes(data)
        blocks = [
            video_block(tmp_path / "a.mp4", num_frames=2, as_is=True),
            audio_block(tmp_path / "a.wav"),
            file_block(tmp_path / "a.pdf", pages=(1, 1), with_text=True),
            file_block(tmp_path / "a.md"),
        ]
        for name in made:
            (tmp_path / name).unlink()
        assert json.loads(json.dumps(blocks)) == blocks
        held = [base64.b64decode(block["base64"]) for block in blocks]
        assert held == list(made.values())
        assert [(block["type"], block["mime_type"], block.get("extras")) for block in blocks] == [
            ("video", "video/mp4", {"num_frames": 2, "as_is": True}),
            ("audio", "audio/wav", None),
            ("file", "application/pdf", {"filename": "a.pdf", "pages": [1, 1], "with_text": True}),
            ("file", "text/plain", {"filename": "a.md"}),
        ]

    @pytest.mark.parametrize("helper", [video_block, audio_block, file_block])
    def test_a_text_is_a_url_and_never_a_path(self, helper: Any) -> None:
        for given in ("a.mp4", "/etc/passwd", "file:///etc/passwd"):
            with pytest.raises(errors.UnsupportedContentError, match="Path"):
                helper(given)
        with pytest.raises(errors.UnsupportedContentError, match="is not fetched here"):
            helper(WEB)

    @pytest.mark.parametrize("helper", [video_block, audio_block])
    @pytest.mark.parametrize("given", [b"", b"no medium", 7])
    def test_what_is_no_medium_is_an_error_of_both_kinds(self, helper: Any, given: Any) -> None:
        with pytest.raises(errors.InvalidMediaError) as caught:
            helper(given)
        assert isinstance(caught.value, ModelInvalidRequestError)

    @pytest.mark.parametrize("sampling", [{"fps": 0}, {"num_frames": 0}, {"start": 3, "end": 2}], ids=str)
    def test_impossible_sampling_is_refused_at_once(self, sampling: dict[str, Any]) -> None:
        with pytest.raises(errors.InvalidInputError):
            video_block(clip(), **sampling)
