"""What the emulator's realtime tests share: sounds, and a plain WebSocket client that checks all it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import math
from array import array
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jsonschema import Draft7Validator
from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.realtime.frames import _schema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from websockets.asyncio.client import ClientConnection

    from minicpm_core.emulator import EmulatorServer

SILENCE = bytes(64_000)
"""A unit of it."""

_PATIENCE = 60
"""Seconds after which a test fails that waits for what does not come."""

_VALIDATORS: dict[tuple[int, str], Any] = {
    (generation, name): Draft7Validator({**_schema(generation), "oneOf": [{"$ref": f"#/definitions/server/{name}"}]})
    for generation in (1, 2)
    for name in _schema(generation)["definitions"]["server"]
}


def tone(hertz: float, seconds: float = 1.0, peak: float = 0.5) -> bytes:
    """A tone as float32 at 16 kHz."""
    step = 2 * math.pi * hertz / 16_000
    return array("f", (peak * math.sin(step * at) for at in range(int(16_000 * seconds)))).tobytes()


def jpeg(colour: str = "red", size: tuple[int, int] = (448, 300)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


def text_of(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode()


def check_heard(message: str | bytes, generation: int) -> dict[str, Any]:
    """The frame, which must be one of those that the schema lets a server say."""
    frame: dict[str, Any] = json.loads(message)
    assert [error.message[:200] for error in _VALIDATORS[generation, frame["type"]].iter_errors(frame)] == []
    return frame


class Caller:
    """The client's end of a connection."""

    def __init__(self, socket: ClientConnection, generation: int) -> None:
        self.socket = socket
        self.generation = generation

    async def say(self, name: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": name, **fields}))

    async def hear(self, name: str | None = None) -> dict[str, Any]:
        frame = check_heard(await self.socket.recv(), self.generation)
        assert name in {None, frame["type"]}, frame
        return frame

    async def begin(self, **payload: Any) -> dict[str, Any]:
        """As far as an active session."""
        await self.hear("session.queue_done")
        if self.generation == 1:
            await self.say("session.update", session={"instructions": "Be brief.", **payload})
        else:
            await self.say("session.init", payload=payload)
        return await self.hear("session.created")

    async def unit(self, audio: bytes = SILENCE, **fields: Any) -> None:
        """Send one."""
        given = {"audio": text_of(audio), **fields}
        if self.generation == 1:
            await self.say("input_audio_buffer.append", **given)
        else:
            await self.say("input.append", input=given)

    async def answer(self, audio: bytes = SILENCE, **fields: Any) -> list[dict[str, Any]]:
        """What a unit comes to, in the second generation: as far as the first event of the next one."""
        await self.unit(audio, **fields, input_id="mine")
        await self.unit(input_id="next", force_listen=True)
        found: list[dict[str, Any]] = []
        while (frame := await self.hear("response.output.delta"))["input_id"] == "mine":
            found.append(frame)
        return found

    async def end(self) -> tuple[list[dict[str, Any]], int]:
        """All that is said until the connection ends, and its close code."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                found.append(await self.hear())
        return found, self.socket.close_code or 0


@asynccontextmanager
async def calling(
    server: EmulatorServer,
    *,
    mode: str = "audio",
    generation: int = 2,
    query: str = "",
    headers: dict[str, str] | None = None,
) -> AsyncGenerator[Caller, None]:
    """A connection to an emulator."""
    url = f"{server.realtime_url}?mode={mode}{query}"
    async with (
        asyncio.timeout(_PATIENCE),
        connect(url, compression=None, max_size=None, additional_headers=headers) as socket,
    ):
        yield Caller(socket, generation)
