"""One small medium of each kind, and how each framework is given it."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    VideoBlock,
)

from langchain_minicpm import ChatMiniCPM, audio_block, file_block, image_block, video_block
from llama_index_minicpm import MiniCPM
from tests.core.media.clips import recording, shade, video
from tests.core.media.pdfs import document
from tests.core.media.pictures import png, quarters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from tests.media.matrix import Framework, Medium, Source

SIZE = (64, 48)
FRAMES = 3
MODEL = "MiniCPM-O-4.5-9B"
QUESTION = "What is this?"
TEXT = "# Notes\nThe cat sat on the mat — ça va?"
_PAGE = b"""0.863 0.118 0.118 rg 0 24 32 24 re f 0.118 0.627 0.235 rg 32 24 32 24 re f
0.157 0.235 0.863 rg 0 0 32 24 re f 0.98 0.98 0.98 rg 32 0 32 24 re f"""


class Sample(NamedTuple):
    """A file.

    Attributes:
        data: What it holds.
        media_type: What it is.
        name: What it is called, with the ending that such a file has.
    """

    data: bytes
    media_type: str
    name: str


@cache
def sample(medium: Medium) -> Sample:
    """The medium of a kind; made once for all tests."""
    return _MADE[medium]()


def _clip() -> Sample:
    return Sample(
        video(images=[numbered_quarters(number) for number in range(FRAMES)], rate=1), "video/mp4", "clip.mp4"
    )


def numbered_quarters(number: int) -> Image.Image:
    """Four colours in the corners, and the frame's number in the middle."""
    image = quarters(SIZE)
    image.paste(shade(number), (16, 12, 48, 36))
    return image


_MADE: dict[Medium, Callable[[], Sample]] = {
    "image": lambda: Sample(png(SIZE), "image/png", "picture.png"),
    "video": _clip,
    "audio": lambda: Sample(recording(rate=44_100, layout="stereo"), "audio/wav", "tone.wav"),
    "PDF": lambda: Sample(document(_PAGE, box=b"0 0 64 48"), "application/pdf", "page.pdf"),
    "text file": lambda: Sample(TEXT.encode(), "text/plain", "notes.md"),
}


class Place(NamedTuple):
    """Where the samples are.

    Attributes:
        folder: Holds them as files.
        web: The URL below which they are served.
    """

    folder: Path
    web: str

    def url(self, medium: Medium) -> str:
        """Where a medium is served."""
        return f"{self.web}/{sample(medium).name}"


def ask(framework: Framework, medium: Medium, source: Source, place: Place, **settings: Any) -> None:
    """Ask about a medium through a framework."""
    if framework == "LangChain":
        with ChatMiniCPM(**settings) as model:
            question = {"type": "text", "text": QUESTION}
            model.invoke([HumanMessage([question, langchain_block(medium, source, place)])])
        return
    with MiniCPM(**settings) as llm:
        blocks = [TextBlock(text=QUESTION), llama_index_block(medium, source, place)]
        llm.chat([ChatMessage(role=MessageRole.USER, blocks=blocks)])


def _values(medium: Medium, place: Place) -> dict[Source, Any]:
    """The medium as Python objects."""
    made = sample(medium)
    return {
        "path": place.folder / made.name,
        "bytes": made.data,
        "file object": io.BytesIO(made.data),
        "Pillow image": quarters(SIZE),
    }


def _base64(medium: Medium) -> str:
    return base64.b64encode(sample(medium).data).decode()


def _data_url(medium: Medium) -> str:
    return f"data:{sample(medium).media_type};base64,{_base64(medium)}"


_HELPERS: dict[Medium, Callable[[Any], dict[str, Any]]] = {
    "image": image_block,
    "video": video_block,
    "audio": audio_block,
    "PDF": file_block,
    "text file": file_block,
}


def langchain_block(medium: Medium, source: Source, place: Place) -> dict[str, Any]:
    """A block of a LangChain message: from a helper, LangChain's own, or OpenAI's."""
    values = _values(medium, place)
    if source in values:
        return _HELPERS[medium](values[source])
    kind = medium if medium in {"image", "video", "audio"} else "file"
    if source == "Base64":
        return {"type": kind, "base64": _base64(medium), "mime_type": sample(medium).media_type}
    if source != "data URL":
        return {"type": kind, "url": place.url(medium), "mime_type": sample(medium).media_type}
    if kind == "file":
        return {"type": "file", "file": {"file_data": _data_url(medium), "filename": sample(medium).name}}
    return {"type": f"{kind}_url", f"{kind}_url": {"url": _data_url(medium)}}


_BLOCKS: dict[Medium, tuple[Callable[..., Any], str]] = {
    "image": (ImageBlock, "image"),
    "video": (VideoBlock, "video"),
    "audio": (AudioBlock, "audio"),
    "PDF": (DocumentBlock, "data"),
    "text file": (DocumentBlock, "data"),
}


def llama_index_block(medium: Medium, source: Source, place: Place) -> Any:
    """A block of a LlamaIndex message."""
    block, data = _BLOCKS[medium]
    values = _values(medium, place)
    if source == "path":
        return block(path=values["path"])
    if source in values:
        return block(**{data: values[source]})
    if source == "Base64":
        return block(**{data: _base64(medium).encode()})
    return block(url=_data_url(medium) if source == "data URL" else place.url(medium))
