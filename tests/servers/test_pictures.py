"""A picture reaches a real server, whichever way it is handed over: the model says its colour."""

from __future__ import annotations

import asyncio
import base64
import inspect
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import pytest
from PIL import Image

from llama_index_minicpm import MiniCPM
from minicpm_core.media import count_image_tokens
from tests.servers.core import Core
from tests.servers.frontends import FRONTENDS, MODES, ask
from tests.servers.llama_index import image_of
from tests.servers.support import Answer, Picture, Question, Server, Turn, picture, servers
from tests.support.server import ScriptedServer, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.support import Source

pytestmark = pytest.mark.server
SERVERS = servers()

RED, GREEN, BLUE = (220, 30, 30), (20, 170, 60), (30, 60, 220)
WHITE, BLACK = (250, 250, 250), (5, 5, 5)


def a_path(folder: Path) -> Path:
    path = folder / "green.jpg"
    path.write_bytes(picture(GREEN, kind="JPEG"))
    return path


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def frames(*colours: tuple[int, int, int]) -> bytes:
    """An animation."""
    first, *others = (Image.new("RGB", (64, 64), colour) for colour in colours)
    return saved(first, "GIF", save_all=True, append_images=others, duration=100)


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def turned(_: Path) -> bytes:
    """As phones store them: lying down, with a note on how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(GREEN, (120, 80), "JPEG", exif=exif)


SOURCES: Final[dict[str, tuple[str, Callable[[Path], Source]]]] = {
    "bytes of a PNG": ("red", lambda _: picture(RED)),
    "path of a JPEG": ("green", a_path),
    "open file": ("blue", lambda _: BytesIO(picture(BLUE))),
    "data URL": ("white", lambda _: data_url(picture(WHITE), "image/png")),
    "Pillow": ("black", lambda _: Image.new("RGB", (70, 50), BLACK)),
    "Pillow with alpha": ("red", lambda _: Image.new("RGBA", (64, 64), (*RED, 255))),
    "turned JPEG": ("green", turned),
    "WebP": ("blue", lambda _: picture(BLUE, kind="WEBP", quality=95)),
    "GIF": ("white", lambda _: picture(WHITE, kind="GIF")),
    "TIFF": ("green", lambda _: picture(GREEN, kind="TIFF")),
    "large JPEG": ("red", lambda _: picture(RED, (4032, 3024), "JPEG")),
    "Base64 of a JPEG in a data URL": ("green", lambda _: data_url(picture(GREEN, kind="JPEG"), "image/jpeg")),
    "CMYK JPEG": ("red", lambda _: saved(Image.new("RGB", (64, 64), RED).convert("CMYK"), "JPEG")),
    "palette PNG": ("blue", lambda _: saved(Image.new("RGB", (64, 64), BLUE).convert("P"), "PNG")),
    "16-bit PNG": ("black", lambda _: saved(Image.new("I;16", (64, 64), 1285), "PNG")),
    "PNG that nothing is seen of": ("white", lambda _: saved(Image.new("RGBA", (64, 64), (*BLACK, 0)), "PNG")),
    "animated GIF": ("red", lambda _: frames(RED, BLUE)),
}


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", SOURCES)
def test_the_colour_is_seen(server: Server, frontend: str, mode: str, source: str, tmp_path: Path) -> None:
    """What the server decodes is the picture that was handed over."""
    colour, make = SOURCES[source]
    question = Question((Turn("user", (Picture(make(tmp_path)), "Describe this image.")),))
    answer = Answer("", f"A plain {colour} square.")
    assert ask(FRONTENDS[frontend](server), mode, question) == answer


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_picture_on_the_web_is_fetched_and_seen(server: Server, mode: str) -> None:
    """From an address that is opted in; and the server is not asked to fetch it."""
    web = whole(picture(BLUE), content_type="application/octet-stream")
    with ScriptedServer(answers=[web], models=None) as site:
        url = f"http://127.0.0.1:{site.port}/picture"
        question = Question((Turn("user", (Picture(url), "Describe this image.")),))
        answer = ask(Core(server), mode, question)
        assert len(site.requests) == 1
    assert answer == Answer("", "A plain blue square.")


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (640, 300), (1000, 1000), (3000, 2000)], ids=str)
def test_tokens_of_a_picture(server: Server, size: tuple[int, int]) -> None:
    """What a picture adds to the prompt is what `count_image_tokens` says, without asking."""
    frontend = Core(server)
    if not frontend.backends() & {"vllm", "transformers"}:
        pytest.skip("This server cuts pictures into tiles in a way of its own.")
    text = "Describe this image."
    bare = frontend.invoke(Question((Turn("user", (text,)),))).tokens
    seen = frontend.invoke(Question((Turn("user", (Picture(picture(RED, size)), text)),))).tokens
    assert bare is not None
    assert seen is not None
    assert seen[0] - bare[0] == count_image_tokens(size, server.model)


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("method", ["complete", "stream_complete", "acomplete", "astream_complete"])
def test_image_documents_are_seen(server: Server, method: str) -> None:
    """LlamaIndex's `complete` takes pictures beside its prompt, in their order."""

    async def last_text() -> str:
        async with MiniCPM(**server.settings, temperature=0, max_tokens=400, thinking=False) as llm:
            pictures = [image_of(picture(colour)) for colour in (BLUE, RED)]
            result = getattr(llm, method)("Compare the images.", image_documents=pictures)
            result = await result if inspect.isawaitable(result) else result
            if "stream" in method:
                responses = [each async for each in result] if method.startswith("a") else list(result)
                assert "".join(response.delta for response in responses) == responses[-1].text
                result = responses[-1]
            text: str = result.text
            return text

    assert asyncio.run(last_text()) == "The first is blue and the second is red."
