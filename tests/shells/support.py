"""What the tests of the two shells share: answers, and one way to call either."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any, ClassVar

from minicpm_core import AsyncMiniCPMClient, Message, MiniCPMClient
from tests.support.server import Action, Answer, chunk, events, sse, whole

if TYPE_CHECKING:
    from minicpm_core import ChatOptions, Completion, Delta

KEY = "sk-test-0123456789abcdef"
HELLO = [Message("user", "Hello")]
DONE = sse("[DONE]")


def streamed(*texts: str, done: bool = True) -> Answer:
    """A streamed answer: each text in an event and an HTTP chunk of its own."""
    return events(pieces(*texts, done=done))


def pieces(*texts: str, done: bool = True) -> list[bytes | Action]:
    """The chunks of a streamed answer."""
    return [*(sse(chunk(text)) for text in texts), sse(chunk(finish="stop")), *([DONE] if done else [])]


def failing(status: int, *, headers: dict[str, str] | None = None, message: str = "No.") -> Answer:
    """An error answer."""
    return whole({"error": {"message": message, "type": "t"}}, status=status, headers=headers)


class SyncShell:
    """The synchronous client behind coroutines, so that a test is written once."""

    kind: ClassVar = MiniCPMClient

    def __init__(self, **settings: Any) -> None:
        own: dict[str, Any] = {"backend": "vllm", "api_key": KEY}
        self.client = MiniCPMClient(**own | settings)

    async def complete(self, options: ChatOptions | None = None) -> Completion:
        return self.client.complete(HELLO, options)

    async def stream(self, options: ChatOptions | None = None) -> Any:
        return self.client.stream(HELLO, options)

    async def deltas(self, options: ChatOptions | None = None) -> list[Delta]:
        return list(self.client.stream(HELLO, options))

    async def next(self, stream: Any) -> Delta:
        delta: Delta = next(stream)
        return delta

    async def rest(self, stream: Any) -> list[Delta]:
        return list(stream)

    async def end(self, stream: Any) -> None:
        stream.close()

    async def models(self) -> list[str]:
        return [model.id for model in self.client.list_models()]

    async def close(self) -> None:
        self.client.close()


class AsyncShell:
    """The asynchronous client under the same names."""

    kind: ClassVar = AsyncMiniCPMClient

    def __init__(self, **settings: Any) -> None:
        own: dict[str, Any] = {"backend": "vllm", "api_key": KEY}
        self.client = AsyncMiniCPMClient(**own | settings)

    async def complete(self, options: ChatOptions | None = None) -> Completion:
        return await self.client.complete(HELLO, options)

    async def stream(self, options: ChatOptions | None = None) -> Any:
        return await self.client.stream(HELLO, options)

    async def deltas(self, options: ChatOptions | None = None) -> list[Delta]:
        return [delta async for delta in await self.client.stream(HELLO, options)]

    async def next(self, stream: Any) -> Delta:
        return await anext(stream)

    async def rest(self, stream: Any) -> list[Delta]:
        return [delta async for delta in stream]

    async def end(self, stream: Any) -> None:
        await stream.aclose()

    async def models(self) -> list[str]:
        return [model.id for model in await self.client.list_models()]

    async def close(self) -> None:
        await self.client.aclose()


Shell = SyncShell | AsyncShell


async def ask(shell: Shell, how: str, options: ChatOptions | None = None) -> str:
    """The text of an answer, `how` being `whole` or `stream`."""
    if how == "whole":
        return (await shell.complete(options)).choices[0].text
    return "".join(delta.text for delta in await shell.deltas(options))


def answer(how: str, text: str = "Hello.") -> Answer:
    """An answer with that text, `how` being `whole` or `stream`."""
    return whole_answer(text) if how == "whole" else streamed(text)


def whole_answer(text: str) -> Answer:
    """A whole answer with that text."""
    from tests.support.server import completion

    return whole(completion(text))


def run_script(script: str, *arguments: str) -> str:
    """What a script prints, run with every warning as an error, having checked that it complains about nothing."""
    done = subprocess.run(
        [sys.executable, "-u", "-W", "error", "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
