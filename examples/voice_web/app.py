"""Talk with MiniCPM-o in a browser: a page with a microphone, and the server between it and a gateway.

    python examples/voice_web/app.py [--gateway ws://localhost:8006] [--port 8000]

The browser talks with this server alone: sound goes up as float32 at 16 kHz, a second a message; and comes down as
float32 at 24 kHz, behind the number of its turn in four bytes. All else are small JSON messages. Needs the extras
`[realtime]` and `[emulator]` (Starlette and uvicorn). `minicpm emulate` starts a gateway that needs no model.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import itertools
import json
import os
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from minicpm_core.errors import APIError, InvalidInputError
from minicpm_core.realtime import (
    DEFAULT_REALTIME_URL,
    AudioDelta,
    Listen,
    QueueUpdate,
    RealtimeClient,
    RealtimeSession,
    ResponseInterrupted,
    ServerEvent,
    SessionReplaced,
    TextDelta,
)

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE = Path(__file__).with_name("index.html")
PROMPT = "You are a friendly partner in a conversation. Be brief."
MOST_BYTES = 64_000
"""A second of sound: more in one message is not taken."""

KINDS: dict[type[ServerEvent], str] = {
    Listen: "listen",
    ResponseInterrupted: "interrupted",
    SessionReplaced: "forgotten",  # the session reached its limit, and another one took its place
}
"""What the page calls the events that have neither words nor sound."""


class Voices:
    """The application's state.

    Args:
        client: Where sessions are had.
        most: Conversations at once; each holds a worker of the gateway's.
        origins: Of pages that may connect beside this server's own, such as `https://example.org`.
    """

    def __init__(self, client: RealtimeClient, *, most: int = 4, origins: frozenset[str] = frozenset()) -> None:
        self.client = client
        self.origins = origins
        self.free = most

    def allows(self, socket: WebSocket) -> bool:
        """Whether a page may connect: any page in the world can try, with the visitor's microphone allowed or not."""
        origin = socket.headers.get("origin", "")
        return origin in self.origins or (bool(origin) and urlsplit(origin).netloc == socket.headers.get("host"))

    async def talk(self, socket: WebSocket) -> None:
        """Serve one page."""
        if not self.allows(socket):
            await socket.close(1008)  # before it was accepted: HTTP 403
            return
        await socket.accept()
        if self.free == 0:
            await socket.send_json({"type": "error", "message": "Too many people are talking. Try again later."})
            await socket.close(1013)
            return
        self.free -= 1
        try:
            await Conversation(socket, self.client).run()
        finally:
            self.free += 1


class Conversation:
    """One page and one session. When either ends, so does the other."""

    def __init__(self, socket: WebSocket, client: RealtimeClient) -> None:
        self.socket = socket
        self.session = client.session(system_prompt=PROMPT, on_limit="rollover", on_queue=self.queued)
        self.ready = asyncio.Event()
        self.telling: set[asyncio.Task[None]] = set()
        self.turns: dict[str | None, int] = {}
        self.numbers = itertools.count(1)

    async def run(self) -> None:
        """To the end."""
        speaking = asyncio.create_task(self.speak())
        hearing = asyncio.create_task(self.hear())
        try:
            await asyncio.wait({speaking, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if not speaking.done() and self.ready.is_set():
                await self.session.close()  # the page is gone: say goodbye, which ends what comes, too
                await asyncio.wait({speaking})
            await self.tell_end(speaking, hearing)
        except (WebSocketDisconnect, APIError):
            return  # the page has left, so that nobody is there to be told
        finally:
            for task in (speaking, hearing, *self.telling):
                task.cancel()
            await asyncio.gather(speaking, hearing, *self.telling, return_exceptions=True)

    async def tell_end(self, *tasks: asyncio.Task[None]) -> None:
        """Tell the page how it ended, if it is still there."""
        errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        error = next((error for error in errors if error is not None), None)
        if isinstance(error, WebSocketDisconnect):
            return
        if isinstance(error, InvalidInputError | APIError):
            await self.socket.send_json({"type": "error", "message": error.message})
            await self.socket.close(1007 if isinstance(error, InvalidInputError) else 1011)
        elif error is not None:
            raise error
        else:
            await self.socket.close(1000)

    # --- Down ---------------------------------------------------------------------------------------------------------

    def queued(self, update: QueueUpdate) -> None:
        """Tell the place in the queue."""
        told = asyncio.create_task(self.socket.send_json({"type": "queued", "position": update.position}))
        self.telling.add(told)
        told.add_done_callback(self.telling.discard)

    async def speak(self) -> None:
        """Hand on what the model says. While the page takes nothing, nothing more is read from the gateway."""
        async with self.session as session:
            self.ready.set()
            await self.socket.send_json({"type": "ready"})
            async for event in session:
                if isinstance(event, AudioDelta):
                    await self.socket.send_bytes(struct.pack("<I", self.turn(event.response_id)) + event.audio)
                elif isinstance(event, TextDelta):
                    turn = self.turn(event.response_id)
                    await self.socket.send_json({"type": "text", "turn": turn, "text": event.text})
                elif type(event) in KINDS:
                    turn = self.turns.get(getattr(event, "response_id", None))
                    await self.socket.send_json({"type": KINDS[type(event)], "turn": turn})
                if isinstance(event, SessionReplaced):
                    self.turns.clear()  # the next session may give its turns the same names

    def turn(self, response_id: str | None) -> int:
        """The number of a turn."""
        if response_id not in self.turns:
            self.turns[response_id] = next(self.numbers)
        return self.turns[response_id]

    # --- Up -----------------------------------------------------------------------------------------------------------

    async def hear(self) -> None:
        """Hand on what the page sends. While the gateway takes nothing, nothing more is read from the page."""
        while (message := await self.socket.receive())["type"] != "websocket.disconnect":
            if (sound := message.get("bytes")) is not None:
                if len(sound) > MOST_BYTES:
                    raise InvalidInputError("A message holds a second of sound at most.")
                if self.ready.is_set():
                    await self.session.send_audio(sound, format="f32")
            elif not await self.heed(message.get("text") or "", self.session):
                return
        raise WebSocketDisconnect

    async def heed(self, text: str, session: RealtimeSession) -> bool:
        """Do what the page asks for; whether it goes on."""
        try:
            asked: Any = json.loads(text)
            kind = asked["type"]
        except (ValueError, TypeError, LookupError, RecursionError):
            kind = None
        if kind not in {"interrupt", "stop"}:
            raise InvalidInputError("A page sends sound, 'interrupt' and 'stop'.")
        if kind == "interrupt" and self.ready.is_set():
            await session.interrupt()
        return bool(kind != "stop")


async def page(_: Request) -> Response:
    """The page, which may load nothing from elsewhere."""
    text = PAGE.read_text(encoding="utf-8")
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()}'" for found in all_
        )
        for tag, all_ in {
            "script": re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
            "style": re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
        }.items()
    }
    policy = (
        f"default-src 'none'; script-src {hashes['script']} blob:; style-src {hashes['style']}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Permissions-Policy": "microphone=(self)"}
    return HTMLResponse(text, headers={**headers, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"})


def make_app(client: RealtimeClient, *, most: int = 4, origins: frozenset[str] = frozenset()) -> Starlette:
    """The application, for any ASGI server; see `Voices` for the arguments."""
    voices = Voices(client, most=most, origins=origins)
    return Starlette(routes=[Route("/", page), WebSocketRoute("/talk", voices.talk)])


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Talk with MiniCPM-o in a browser.")
    parser.add_argument("--gateway", default=os.environ.get("MINICPM_REALTIME_URL", DEFAULT_REALTIME_URL))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--most", type=int, default=4, help="conversations at once")
    chosen = parser.parse_args()
    app = make_app(RealtimeClient(base_url=chosen.gateway), most=chosen.most)
    config = uvicorn.Config(
        app,
        host="127.0.0.1",  # a browser gives its microphone to https and to this very machine alone
        port=chosen.port,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=2 * MOST_BYTES,
    )
    listening = config.bind_socket()
    listening.listen()  # so that a page that is opened at once is kept waiting, not refused
    print(f"Open http://127.0.0.1:{listening.getsockname()[1]}/ in a browser.", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
