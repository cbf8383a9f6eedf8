"""The servers of the realtime benchmarks, in a process of their own so that their work is not counted.

emulator    `minicpm emulate`
bare        gen 2 by hand: begins at once, says a second of speech or `listen` for each unit, closes when asked;
a unit's first sample must be that of its number
echo        no protocol: what comes in goes out
"""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import sys
from array import array
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from websockets.asyncio.server import ServerConnection

SPEECH = base64.b64encode(array("f", [0.25, -0.25] * 12_000).tobytes()).decode()
"""A second of it."""

_HEAD = 16
"""Base64 characters that hold the first sample, and whole bytes."""


async def _echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


async def _bare(socket: ServerConnection) -> None:
    async def say(name: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": name, **fields}))

    speaks = "mode=video" in (socket.request.path if socket.request else "")
    await say("session.queue_done")
    async for message in socket:
        frame = json.loads(message)
        if frame["type"] == "session.init":
            await say("session.created", session_id="sess_1", mode="full_duplex")
        elif frame["type"] == "session.close":
            await say("session.closed", reason=frame.get("reason"))
            return
        else:
            await _answer(say, frame["input"], speaks=speaks)


async def _answer(say: Any, given: dict[str, Any], *, speaks: bool) -> None:
    name = given["input_id"]
    if speaks:
        await say("response.output.delta", kind="audio", audio=SPEECH, response_id="r1", input_id=name)
        return
    first = array("f", base64.b64decode(given["audio"][:_HEAD])[:4])[0]
    right = round(first * (1 << 20)) in {0, int(name.removeprefix("in_"))}
    await say("response.output.delta", kind="listen", input_id=name if right else "in_0")


async def _serve(kind: str, ready: Connection) -> None:
    from websockets.asyncio.server import serve

    play = {"bare": _bare, "echo": _echo}[kind]
    async with serve(play, "127.0.0.1", 0, max_size=None, compression=None) as server:
        ready.send(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
        await server.serve_forever()


def _main(kind: str, speed: float, ready: Connection) -> None:
    try:
        if kind != "emulator":
            asyncio.run(_serve(kind, ready))
            return
        from minicpm_core.emulator import EmulatorServer, RealtimeEmulation

        server = EmulatorServer(realtime=RealtimeEmulation(speed=speed, workers=1000))
        server.run(on_ready=lambda _: ready.send(server.realtime_url))
    except KeyboardInterrupt:
        sys.exit(0)


class RealtimeServer:
    """One of them, for the length of a `with` block.

    Args:
        kind: `emulator`, `bare` or `echo`.
        speed: Of the emulator's clock.
    """

    def __init__(self, kind: str, *, speed: float = 1.0) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_main, args=(kind, speed, there), daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        self._process.start()
        self.url = self._here.recv()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.join()
