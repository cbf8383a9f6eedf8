"""Pictures of one colour, and what the emulator was sent."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient
from minicpm_core.captions import AsyncCaptioner, Captioned, Captioner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minicpm_core.captions.plan import Captionable
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


class Run:
    """The same captions, by either captioner."""

    def __init__(self, *, asynchronous: bool) -> None:
        """Which of the two."""
        self.asynchronous = asynchronous

    def __call__(
        self, base_url: str, sources: Iterable[Captionable], *, progress: Any = None, **settings: Any
    ) -> list[Captioned]:
        """All captions, by a client that does not retry."""
        connection: dict[str, Any] = {"base_url": base_url, "backend": "vllm", "max_retries": 0}
        if not self.asynchronous:
            with MiniCPMClient(**connection) as client:
                return list(Captioner(client, **settings).captions(sources, progress=progress))

        async def run() -> list[Captioned]:
            async with AsyncMiniCPMClient(**connection) as client:
                captioner = AsyncCaptioner(client, **settings)
                return [found async for found in captioner.captions(sources, progress=progress)]

        return asyncio.run(run())
