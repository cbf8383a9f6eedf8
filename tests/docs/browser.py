"""A headless Chromium with a microphone that plays a file, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

CHROMIUM = os.environ.get("MINICPM_TEST_CHROMIUM")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)


class Tab:
    """A page in the browser.

    Attributes:
        complaints: What the page's console and its policy said, and exceptions that nothing caught.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._count = 0
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something."""
        self._count += 1
        await self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(await asyncio.wait_for(self._socket.recv(), 30))
            if message.get("id") == self._count:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            if message.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                self.complaints.append(json.dumps(message["params"])[:500])

    async def run(self, script: str) -> Any:
        """What a script comes to, once its promise is kept. Its click counts as a person's."""
        found = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until something holds on the page: the page itself looks, at each of its frames."""
        body = f"const look = () => ({condition}) ? done() : setTimeout(look, 50); look();"
        await self.run(f"new Promise(done => {{ {body} }})")


@asynccontextmanager
async def tab(url: str, *, profile: Path, microphone: Path) -> AsyncGenerator[Tab, None]:
    """A page, in a browser of its own. What the microphone hears begins again at its end."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *_FLAGS,
        f"--use-file-for-fake-audio-capture={microphone}",
        f"--user-data-dir={profile}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = b""
        while b"DevTools listening on ws://" not in line:
            line = await asyncio.wait_for(process.stderr.readline(), 60)
            assert line, "Chromium did not start"
        draining = asyncio.create_task(process.stderr.read())
        at = line.decode().split("ws://")[1].split("/")[0]
        async with httpx.AsyncClient() as client:
            pages = (await client.get(f"http://{at}/json")).json()
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        async with connect(address, max_size=None, compression=None) as socket:
            found = Tab(socket)
            for domain in ("Page", "Runtime", "Log"):
                await found.call(f"{domain}.enable")
            await found.call("Page.navigate", url=url)
            await found.until("document.readyState === 'complete' && location.href !== 'about:blank'")
            yield found
        draining.cancel()
    finally:
        process.terminate()
        await process.wait()
