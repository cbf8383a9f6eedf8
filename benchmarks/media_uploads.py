"""Uploads that are sent as they are: 5 MB beside a bare socket, and the memory that 200 MB take."""

from __future__ import annotations

import asyncio
import base64
import http.client
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import media_inputs
from measure import timed
from server import MODEL

from minicpm_core import AsyncMiniCPMClient, Message, MiniCPMClient
from minicpm_core.media.cache import clear_image_cache
from minicpm_core.media.limits import MediaLimits
from minicpm_core.parts import ImageSource, TextPart, VideoSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from measure import Took
    from server import Server

QUESTION = "What is to be seen?"
ROUNDS = 25
_HEAD = (
    f'{{"model":"{MODEL}","messages":[{{"role":"user","content":[{{"type":"text","text":"{QUESTION}"}},'
    '{"type":"image_url","image_url":{"url":"'
).encode()
_TAIL = b'"}}]}]}'
_PREFIX = "data:image/jpeg;base64,"
_SETTINGS: dict[str, Any] = {"model": MODEL, "api_key": "key", "backend": "vllm"}


def _bare(base_url: str) -> Callable[[bytes], None]:
    """A body that is already spliced, on an open connection."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(str(url.hostname), url.port)
    headers = {"content-type": "application/json", "authorization": "Bearer key"}

    def send(body: bytes) -> None:
        connection.request("POST", f"{url.path}/chat/completions", body, headers)
        connection.getresponse().read()

    return send


def _messages(kind: Any, value: bytes | str) -> list[Message]:
    return [Message("user", (TextPart(QUESTION), ImageSource(kind, value, detail="original")))]


def _langchain(model: Any, block: Callable[[], dict[str, Any]]) -> None:
    from langchain_core.messages import HumanMessage

    model.invoke([HumanMessage([{"type": "text", "text": QUESTION}, block()])])


def _llama_index(model: Any, block: Callable[[], Any]) -> None:
    from llama_index.core.base.llms.types import ChatMessage, TextBlock

    model.chat([ChatMessage(role="user", blocks=[TextBlock(text=QUESTION), block()])])


def _floor(block: Callable[[], Any]) -> None:
    """What LlamaIndex itself takes to make a block, before any of ours or the peers' code."""
    from llama_index.core.base.llms.types import ChatMessage

    ChatMessage(role="user", blocks=[block()])


def _peers(base_url: str) -> tuple[Any, Any]:
    from langchain_openai import ChatOpenAI
    from llama_index.llms.openai_like import OpenAILike

    return (
        ChatOpenAI(model=MODEL, base_url=base_url, api_key=cast("Any", "key"), max_retries=0),
        OpenAILike(model=MODEL, api_base=base_url, api_key="key", is_chat_model=True, max_retries=0),
    )


def _ours(base_url: str, **more: Any) -> tuple[Any, Any]:
    from langchain_minicpm import ChatMiniCPM
    from llama_index_minicpm import MiniCPM

    settings = {**_SETTINGS, "base_url": base_url, "image_detail": "original", **more}
    return ChatMiniCPM(**settings), MiniCPM(**settings)


def _url_block(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _from_bytes(base_url: str, data: bytes, in_loop: Callable[[Awaitable[object]], object]) -> dict[str, Any]:
    from llama_index.core.base.llms.types import ImageBlock

    from langchain_minicpm import image_block

    send = _bare(base_url)
    client = MiniCPMClient(base_url=base_url, **_SETTINGS)
    parallel = AsyncMiniCPMClient(base_url=base_url, **_SETTINGS)
    (chat_minicpm, minicpm), (openai, openai_like) = _ours(base_url), _peers(base_url)
    image = partial(ImageBlock, image=data)
    return {
        "bare: encode, splice, send": lambda: send(b"".join([_HEAD, _PREFIX.encode(), base64.b64encode(data), _TAIL])),
        "core client": lambda: client.complete(_messages("bytes", data)),
        "core client, asynchronous": lambda: in_loop(parallel.complete(_messages("bytes", data))),
        "ChatMiniCPM": partial(_langchain, chat_minicpm, partial(image_block, data)),
        "MiniCPM": partial(_llama_index, minicpm, image),
        "ChatOpenAI": partial(_langchain, openai, lambda: _url_block(_PREFIX + base64.b64encode(data).decode())),
        "OpenAILike": partial(_llama_index, openai_like, image),
        "LlamaIndex's own part: making the block": partial(_floor, image),
    }


def _from_url(base_url: str, data: bytes, in_loop: Callable[[Awaitable[object]], object]) -> dict[str, Any]:
    from llama_index.core.base.llms.types import ImageBlock

    url = _PREFIX + base64.b64encode(data).decode()
    send = _bare(base_url)
    client = MiniCPMClient(base_url=base_url, **_SETTINGS)
    parallel = AsyncMiniCPMClient(base_url=base_url, **_SETTINGS)
    (chat_minicpm, minicpm), (openai, openai_like) = _ours(base_url), _peers(base_url)
    image = partial(ImageBlock, url=url)
    return {
        "bare: splice, send": lambda: send(b"".join([_HEAD, url.encode(), _TAIL])),
        "core client": lambda: client.complete(_messages("data_url", url)),
        "core client, asynchronous": lambda: in_loop(parallel.complete(_messages("data_url", url))),
        "ChatMiniCPM": partial(_langchain, chat_minicpm, partial(_url_block, url)),
        "MiniCPM": partial(_llama_index, minicpm, image),
        "ChatOpenAI": partial(_langchain, openai, partial(_url_block, url)),
        "OpenAILike": partial(_llama_index, openai_like, image),
        "LlamaIndex's own part: making the block": partial(_floor, image),
    }


def _samples(cases: Mapping[str, Callable[[], object]]) -> dict[str, list[Took]]:
    for case in cases.values():
        case()  # connections, first imports
    samples: dict[str, list[Took]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            clear_image_cache()
            samples[name].append(timed(case))
    return samples


def uploads(base_url: str) -> str:
    """5 MB to the socket."""
    data = media_inputs.upload().read_bytes()
    lines = [
        f"### Media: a JPEG of {len(data) / 1e6:.1f} MB as it is, to the socket",
        "",
        "| | CPU ms, median (least) | to bare | wall ms, median (least) | to bare |",
        "|---|---:|---:|---:|---:|",
    ]
    with asyncio.Runner() as runner:

        def in_loop(answer: Awaitable[object]) -> object:
            return runner.run(_await(answer))

        for given, make in (("bytes", _from_bytes), ("a data URL", _from_url)):
            samples = _samples(make(base_url, data, in_loop))
            lines.append(f"| *given {given}* | | | | |")
            bare = _figures(next(iter(samples.values())))
            for name, took in samples.items():
                cpu, wall = _figures(took)
                lines.append(
                    f"| {name} | {cpu[0]:.1f} ({cpu[1]:.1f}) | {cpu[0] / bare[0][0]:.2f}x | "
                    f"{wall[0]:.1f} ({wall[1]:.1f}) | {wall[0] / bare[1][0]:.2f}x |"
                )
    return "\n".join([*lines, "", "- Aim: ours within 1.5x of bare.", ""])


async def _await(answer: Awaitable[object]) -> object:
    return await answer


def _figures(took: list[Took]) -> tuple[tuple[float, float], tuple[float, float]]:
    cpu, wall = [one.cpu for one in took], [one.wall for one in took]
    return (statistics.median(cpu), min(cpu)), (statistics.median(wall), min(wall))


def _core_sync(base_url: str, path: Path) -> None:
    MiniCPMClient(base_url=base_url, **_SETTINGS).complete(_video(path))


def _core_async(base_url: str, path: Path) -> None:
    asyncio.run(_await(AsyncMiniCPMClient(base_url=base_url, **_SETTINGS).complete(_video(path))))


def _video(path: Path) -> list[Message]:
    return [Message("user", (TextPart(QUESTION), VideoSource("path", path, as_is=True)))]


def _chat_minicpm(base_url: str, path: Path) -> None:
    from langchain_minicpm import video_block

    _langchain(_ours(base_url)[0], lambda: video_block(path, as_is=True))


def _chat_minicpm_base64(base_url: str, path: Path) -> None:
    text = base64.b64encode(path.read_bytes()).decode()
    block = {"type": "video", "base64": text, "mime_type": "video/mp4", "extras": {"as_is": True}}
    _langchain(_ours(base_url, media_limits=MediaLimits(max_bytes=256 * 1024 * 1024))[0], lambda: block)


def _minicpm(base_url: str, path: Path) -> None:
    from llama_index.core.base.llms.types import VideoBlock

    _llama_index(_ours(base_url)[1], lambda: VideoBlock(path=path, detail="original"))


def _chat_openai(base_url: str, path: Path) -> None:
    text = base64.b64encode(path.read_bytes()).decode()
    part = {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{text}"}}
    _langchain(_peers(base_url)[0], lambda: part)


def _openai_like(base_url: str, path: Path) -> None:
    from llama_index.core.base.llms.types import VideoBlock

    _llama_index(_peers(base_url)[1], lambda: VideoBlock(path=path))


def _openai_like_image(base_url: str, path: Path) -> None:
    from llama_index.core.base.llms.types import ImageBlock

    _llama_index(_peers(base_url)[1], lambda: ImageBlock(image=path.read_bytes()))


LARGE: dict[str, Callable[[str, Path], None]] = {
    "core client, a path": _core_sync,
    "core client, asynchronous, a path": _core_async,
    "MiniCPM, `VideoBlock(path=…)`": _minicpm,
    "ChatMiniCPM, `video_block(Path(…))`": _chat_minicpm,
    "ChatMiniCPM, `video` block of Base64, its limit raised": _chat_minicpm_base64,
    "ChatOpenAI, `video_url` of Base64": _chat_openai,
    "OpenAILike, `VideoBlock(path=…)`": _openai_like,
    "OpenAILike, the bytes as `ImageBlock`, which no server takes": _openai_like_image,
}


def memory(base_url: str) -> str:
    """200 MB, each in a process of its own."""
    path = media_inputs.large()
    small = media_inputs.clip()
    lines = [
        f"### Media: a video of {path.stat().st_size / 1e6:.0f} MB as it is",
        "",
        "| | growth of peak memory, MB | wall s |",
        "|---|---:|---:|",
    ]
    processes = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)
    for name in LARGE:
        grown = processes.submit(_growth, name, base_url, small, path).result()
        if isinstance(grown, str):
            lines.append(f"| {name} | refused: `{grown.replace(str(path), path.name)}` | |")
        else:
            lines.append(f"| {name} | {grown[0]:,.0f} | {grown[1]:.1f} |")
    return "\n".join([*lines, "", "- Aim: ours below 32 MB from a path.", ""])


def _growth(name: str, base_url: str, small: Path, path: Path) -> tuple[float, float] | str:
    """Megabytes and seconds of the large file, after a small one has loaded and opened what is needed; or the error."""
    try:
        LARGE[name](base_url, small)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before, begin = _status("VmHWM"), time.perf_counter()
        LARGE[name](base_url, path)
    except (TypeError, ValueError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    return _status("VmHWM") - before, time.perf_counter() - begin


def _status(field: str) -> float:
    """A line of Linux's account of this process, in MB; `ru_maxrss` would begin with what the parent had."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{field}:", 1)[1].split(None, 1)[0]) * 1024 / 1e6


def main(server: Server) -> list[str]:
    """All tables."""
    base_url = server.base_url(drained=True)
    return [uploads(base_url), memory(base_url)]
