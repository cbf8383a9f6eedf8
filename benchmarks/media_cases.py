"""Pictures and videos: what is sent of them, how long it takes, and how many tokens a server makes of it.

Each case begins with a path and ends with an answer, which the server gives at once; the bytes and the tokens are those
of the body that the server received, whoever sent it.
"""

from __future__ import annotations

import base64
import io
import json
import mimetypes
import statistics
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import av
import httpx
import media_inputs
import media_uploads
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, VideoBlock
from llama_index.llms.openai_like import OpenAILike
from measure import Took, timed
from PIL import Image
from server import MODEL, Server

from langchain_minicpm import ChatMiniCPM, image_block, video_block
from llama_index_minicpm import MiniCPM
from minicpm_core.media.cache import clear_image_cache
from minicpm_core.media.tokens import count_image_tokens, video_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Case = Callable[[], object]

QUESTION = "What is to be seen?"
SERVERS_FRAMES = 32
"""Frames that vLLM takes of a video file unless it is told otherwise."""
ROUNDS = 5
_NOTES = f"""\
- Medians of {ROUNDS}, from the path to an answer that is given at once; *again* with the prepared picture in the cache.
- Tokens by MiniCPM-V 4.6's formulas, of what the server received; of a longer file, vLLM takes {SERVERS_FRAMES} frames.
- The photograph: examples/photos/coffee.jpg enlarged to 4032 x 3024, with texture that the small original lacks and a
  sensor's noise added, JPEG quality 95, 4:2:2, EXIF orientation 1. The page: rendered text with slight noise, 300 dpi.
- Aims: 5x fewer bytes for the photograph, 6x fewer tokens for the clip.
"""


class Found(NamedTuple):
    """What was measured of a case.

    Attributes:
        sent: Bytes of the request's body.
        tokens: Prompt tokens of its media.
        cold: Medians, with nothing cached.
        warm: Medians, of the same input again.
    """

    sent: int
    tokens: int
    cold: Took
    warm: Took


def _langchain(base_url: str, backend: str) -> Any:
    return ChatMiniCPM(model=MODEL, base_url=base_url, api_key="key", backend=cast("Any", backend))


def _llama_index(base_url: str, backend: str) -> Any:
    return MiniCPM(model=MODEL, base_url=base_url, api_key="key", backend=cast("Any", backend))


def _openai_like(base_url: str) -> Any:
    return OpenAILike(model=MODEL, api_base=base_url, api_key="key", is_chat_model=True, max_retries=0)


def _asked(model: Any, block: Callable[[], dict[str, Any]]) -> object:
    return model.invoke([HumanMessage([{"type": "text", "text": QUESTION}, block()])])


def _chatted(model: Any, block: Callable[[], Any]) -> object:
    return model.chat([ChatMessage(role="user", blocks=[TextBlock(text=QUESTION), block()])])


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _picture(path: Path) -> dict[str, Any]:
    """A standard block, as LangChain's guides write it."""
    return {"type": "image", "base64": _base64(path), "mime_type": mimetypes.guess_type(path)[0]}


def _clip_url(path: Path) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{_base64(path)}"}}


def picture_cases(base_url: str, path: Path) -> dict[str, Case]:
    """A picture, by all."""
    cases: dict[str, Case] = {}
    for backend in ("vllm", "modelbest"):
        ours, other = _langchain(base_url, backend), _llama_index(base_url, backend)
        cases[f"ChatMiniCPM, {backend}"] = partial(_asked, ours, partial(image_block, path))
        cases[f"MiniCPM, {backend}"] = partial(_chatted, other, partial(ImageBlock, path=path))
    openai = ChatOpenAI(model=MODEL, base_url=base_url, api_key=cast("Any", "key"), max_retries=0)
    cases["ChatOpenAI"] = partial(_asked, openai, partial(_picture, path))
    cases["OpenAILike"] = partial(_chatted, _openai_like(base_url), partial(ImageBlock, path=path))
    return cases


def clip_cases(base_url: str, path: Path) -> dict[str, Case]:
    """A clip, by all: the peers send the file itself."""
    cases: dict[str, Case] = {}
    as_many = SERVERS_FRAMES / media_inputs.CLIP_SECONDS
    for backend in ("vllm", "modelbest"):
        ours, other = _langchain(base_url, backend), _llama_index(base_url, backend)
        cases[f"ChatMiniCPM, {backend}"] = partial(_asked, ours, partial(video_block, path))
        cases[f"ChatMiniCPM, {backend}, fps={as_many:g}"] = partial(
            _asked, ours, partial(video_block, path, fps=as_many)
        )
        cases[f"MiniCPM, {backend}"] = partial(_chatted, other, partial(VideoBlock, path=path))
    openai = ChatOpenAI(model=MODEL, base_url=base_url, api_key=cast("Any", "key"), max_retries=0)
    cases["ChatOpenAI, `video_url`"] = partial(_asked, openai, partial(_clip_url, path))
    cases["ChatOpenAI, `video` block"] = partial(
        _asked, openai, lambda: {"type": "video", "base64": _base64(path), "mime_type": "video/mp4"}
    )
    cases["OpenAILike, `VideoBlock`"] = partial(_chatted, _openai_like(base_url), partial(VideoBlock, path=path))
    return cases


def tokens_of(body: bytes) -> int:
    """The prompt tokens of the media of a request, by the models' formulas.

    A video is counted as vLLM takes it by default: 32 frames spread over the file, or all where it has fewer, each cut
    into up to 9 tiles; unless the request asks for another number.
    """
    request = json.loads(body)
    asked = request.get("media_io_kwargs", {}).get("video", {}).get("num_frames", SERVERS_FRAMES)
    count = 0
    for message in request["messages"]:
        for part in message["content"]:
            if part["type"] == "image_url":
                with Image.open(io.BytesIO(_payload(part["image_url"]["url"]))) as image:
                    count += count_image_tokens(image.size, MODEL)
            elif part["type"] == "video_url":
                frames, size = _video(part["video_url"]["url"])
                count += video_tokens(min(frames, asked), size, MODEL)
            elif part["type"] != "text":
                raise AssertionError(f"A part of type {part['type']!r} was sent, which no server counts.")
    return count


def _payload(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2], validate=True)


def _video(url: str) -> tuple[int, tuple[int, int]]:
    """Frames, and the size of each."""
    if url.startswith("data:video/jpeg;"):
        frames = url.split(",")[1:]
        with Image.open(io.BytesIO(base64.b64decode(frames[0], validate=True))) as image:
            return len(frames), image.size
    with av.open(io.BytesIO(_payload(url))) as container:
        stream = container.streams.video[0]
        return stream.frames, (stream.width, stream.height)


def _median(took: list[Took]) -> Took:
    return Took(statistics.median(one.cpu for one in took), statistics.median(one.wall for one in took))


def _measured(cases: Mapping[str, Case], received: Callable[[], bytes]) -> dict[str, Found | str]:
    """Each case in turn, five times cold and five times warm; what it raises, where it refuses its input."""
    found: dict[str, Found | str] = {}
    bodies: dict[str, bytes] = {}
    for name, case in cases.items():  # connections, first imports
        try:
            case()
        except (TypeError, ValueError, NotImplementedError) as error:
            found[name] = f"{type(error).__name__}: {error}"
        else:
            bodies[name] = received()
    took: dict[str, tuple[list[Took], list[Took]]] = {name: ([], []) for name in bodies}
    for _ in range(ROUNDS):
        for name, (cold, warm) in took.items():
            clear_image_cache()
            cold.append(timed(cases[name]))
            warm.append(timed(cases[name]))
    for name, (cold, warm) in took.items():
        found[name] = Found(len(bodies[name]), tokens_of(bodies[name]), _median(cold), _median(warm))
    return {name: found[name] for name in cases}


def _table(title: str, found: Mapping[str, Found | str], peer: str) -> str:
    lines = [
        f"### {title}",
        "",
        "| | bytes sent | fewer | prompt tokens | fewer | cold, CPU ms (wall) | again, CPU ms (wall) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    base = found[peer]
    if isinstance(base, str):
        raise TypeError(f"{peer} refuses its input: {base}")
    for name, one in found.items():
        if isinstance(one, str):
            lines.append(f"| {name} | refused: `{one}` | | | | | |")
            continue
        lines.append(
            f"| {name} | {one.sent:,} | {base.sent / one.sent:.1f}x | {one.tokens:,} | "
            f"{base.tokens / one.tokens:.1f}x | {one.cold.cpu:,.0f} ({one.cold.wall:,.0f}) | "
            f"{one.warm.cpu:,.0f} ({one.warm.wall:,.0f}) |"
        )
    return "\n".join([*lines, ""])


def main(server: Server) -> list[str]:
    """All tables."""
    base_url = server.base_url()
    client = httpx.Client()

    def received() -> bytes:
        return client.get(f"{base_url}/received").content

    tables: list[str] = []
    for what, path, cases, peer in (
        ("a photograph of 12 megapixels, JPEG", media_inputs.photo(), picture_cases, "ChatOpenAI"),
        ("a scanned A4 page, JPEG", media_inputs.scan_jpeg(), picture_cases, "ChatOpenAI"),
        ("a scanned A4 page, PNG", media_inputs.scan_png(), picture_cases, "ChatOpenAI"),
        ("a clip of 20 s in 720p", media_inputs.clip(), clip_cases, "ChatOpenAI, `video_url`"),
    ):
        title = f"Media: {what}, {path.stat().st_size / 1e6:.1f} MB"
        tables.append(_table(title, _measured(cases(base_url, path), received), peer))
    tables += [_NOTES]
    return [*tables, *media_uploads.main(server)]
