"""Pictures of one colour, and what the emulator was sent."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from minicpm_core.emulator import EmulatorServer

COLOURS = ("red", "green", "blue", "white", "black", "yellow")


def png(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    """A small picture."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def bodies(server: EmulatorServer) -> list[dict[str, Any]]:
    """The chat requests that came in."""
    return [request.body for request in server.requests if request.body]


def pictures(server: EmulatorServer) -> list[bytes]:
    """The picture of each request."""
    return [
        base64.b64decode(part["image_url"]["url"].partition(",")[2])
        for body in bodies(server)
        for part in body["messages"][0]["content"]
        if part["type"] == "image_url"
    ]
