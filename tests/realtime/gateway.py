"""A gateway that follows a script, on loopback: each connection is played by a function of the test's."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from tests.realtime.frames import check_sent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from websockets.asyncio.server import ServerConnection


class Peer:
    """The server's end of a connection. Whatever the client says must keep to the schema."""

    def __init__(self, socket: ServerConnection, generation: int) -> None:
        self.socket = socket
        self.generation = generation
        self.heard: list[dict[str, Any]] = []

    async def say(self, name: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": name, **fields}))

    async def hear(self, *names: str) -> dict[str, Any]:
        text = await self.socket.recv()
        assert isinstance(text, str)
        frame = check_sent(text, self.generation)
        assert frame["type"] in names or not names, frame["type"]
        self.heard.append(frame)
        return frame

    async def begin(self) -> None:
        """As far as an active session."""
        await self.say("session.queue_done")
        await self.hear("session.init", "session.update")
        await self.say("session.created", session_id="sess_1", mode="full_duplex")

    async def delta(self, kind: str, **fields: Any) -> None:
        await self.say("response.output.delta", kind=kind, **fields)

    async def answer(self, unit: dict[str, Any]) -> None:
        """A unit was listened to."""
        await self.delta("listen", input_id=unit["input"]["input_id"])

    async def until_closed(self) -> None:
        """Listen to units until the goodbye, and answer it."""
        while (frame := await self.hear())["type"] != "session.close":
            await self.answer(frame)
        await self.say("session.closed", session_id="sess_1", reason=frame.get("reason"))


class Gateway:
    """Where it is, who came, and what went wrong in the script."""

    def __init__(self) -> None:
        self.url = ""
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []


@asynccontextmanager
async def gateway(*scripts: Callable[[Peer], Awaitable[None]], generation: int = 2) -> AsyncGenerator[Gateway, None]:
    """A server that plays the scripts, one for each connection, the last one for all further ones."""
    found = Gateway()

    async def play(socket: ServerConnection) -> None:
        peer = Peer(socket, generation)
        found.peers.append(peer)
        try:
            await scripts[min(len(found.peers), len(scripts)) - 1](peer)
        except ConnectionClosed:
            return  # the client is gone; whether it should be is for the test to say
        except AssertionError as error:
            found.failures.append(error)

    async with serve(play, "127.0.0.1", 0, max_size=None, compression=None, close_timeout=1) as server:
        found.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield found
    assert found.failures == []


async def stall(peer: Peer) -> None:
    """Say nothing, for as long as the connection lasts."""
    await peer.socket.wait_closed()
