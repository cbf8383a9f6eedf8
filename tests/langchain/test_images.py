"""`image_block`: a picture into a message, read when it is called."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import HumanMessage
from PIL import Image

from langchain_minicpm import image_block
from minicpm_core import errors
from tests.langchain.conftest import png

if TYPE_CHECKING:
    from langchain_minicpm import ChatMiniCPM
    from tests.support.server import ScriptedServer

DATA = png()
ENCODED = base64.b64encode(DATA).decode()


@pytest.mark.parametrize("how", ["path", "bytes", "bytearray", "file", "data url"])
def test_every_way_gives_the_same_block(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(DATA)
    given: dict[str, Any] = {
        "path": path,
        "bytes": DATA,
        "bytearray": bytearray(DATA),
        "file": io.BytesIO(DATA),
        "data url": f"data:image/png;base64,{ENCODED}",
    }
    block = image_block(given[how])
    path.unlink()
    assert block == {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
    assert json.loads(json.dumps(block)) == block


def test_a_pillow_image() -> None:
    block = image_block(Image.new("RGB", (30, 20), "blue"))
    with Image.open(io.BytesIO(base64.b64decode(block.get("base64", "")))) as seen:
        assert seen.size == (30, 20)


def test_the_type_is_what_the_bytes_say(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(DATA)
    assert image_block(path).get("mime_type") == "image/png"


def test_a_detail_reaches_the_server(model: ChatMiniCPM, server: ScriptedServer) -> None:
    question = HumanMessage([{"type": "text", "text": "What?"}, image_block(DATA, detail="low")])
    model.invoke([question])
    (message,) = server.requests[-1].json["messages"]
    assert message["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}", "detail": "low"}},
    ]


@pytest.mark.parametrize("given", ["photo.png", "/etc/passwd", "file:///etc/passwd"])
def test_a_text_is_never_a_path(given: str) -> None:
    with pytest.raises(errors.UnsupportedContentError, match="Path"):
        image_block(given)


@pytest.mark.parametrize("given", [b"", b"no picture", Path("/nowhere/a.png"), 7])
def test_what_is_no_picture_is_an_error_of_both_kinds(given: Any) -> None:
    with pytest.raises(errors.InvalidMediaError) as caught:
        image_block(given)
    assert isinstance(caught.value, ModelInvalidRequestError)
