"""What the emulator's tests share: pictures, and a plain HTTP client that knows nothing of this library."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from minicpm_core.emulator.values import as_list, as_object, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from minicpm_core.emulator import EmulatorServer

INSTRUCT = "MiniCPM-V-4.6-1B"
THINKING = "MiniCPM-V-4.6-Thinking"
DIALECT_NAMES = ("modelbest", "vllm", "llamacpp", "transformers", "ollama")


def data_url(image: Image.Image, file_format: str = "PNG", **options: Any) -> str:
    """A picture as a data URL."""
    held = io.BytesIO()
    image.save(held, file_format, **options)
    return f"data:{Image.MIME[file_format]};base64,{base64.b64encode(held.getvalue()).decode()}"


def plain(colour: str, size: tuple[int, int] = (64, 64)) -> str:
    """A picture of one colour as a data URL."""
    return data_url(Image.new("RGB", size, colour))


def shown(text: str, *urls: str) -> dict[str, Any]:
    """A user's message with pictures before the text."""
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*pictures, {"type": "text", "text": text}]}


def tool(name: str, description: str = "", **properties: Any) -> dict[str, Any]:
    """A tool whose properties are all required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


@dataclass(frozen=True)
class Stream:
    """A stream as it was received.

    Attributes:
        chunks: The parsed chunks.
        done: Whether it ended with `[DONE]`.
        raw: The bytes.
    """

    chunks: list[dict[str, Any]]
    done: bool
    raw: bytes

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """The deltas of the first choice."""
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"] if choice["index"] == 0]

    def joined(self, name: str) -> str:
        """A field of the deltas, joined."""
        return "".join(delta.get(name) or "" for delta in self.deltas)

    @property
    def finish_reasons(self) -> list[str]:
        """The finish reasons that were given."""
        choices = [choice for chunk in self.chunks for choice in chunk["choices"]]
        return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


class Asker:
    """Asks a server, as any HTTP client would."""

    def __init__(self, server: EmulatorServer, **headers: str) -> None:
        self.server = server
        # No TLS is spoken here, and loading the system's certificates costs more than a request.
        self.http = httpx.Client(base_url=server.base_url, headers=headers, timeout=30, verify=False)

    def post(self, messages: Any, **fields: Any) -> httpx.Response:
        """The whole response. A string is the user's message."""
        given = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        body = {"model": INSTRUCT, "messages": given, **fields}
        return self.http.post("/chat/completions", json=body)

    def ask(self, messages: Any, **fields: Any) -> dict[str, Any]:
        """The parsed answer, which must be one."""
        response = self.post(messages, **fields)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def message(self, messages: Any, **fields: Any) -> dict[str, Any]:
        """The message of the first choice."""
        message: dict[str, Any] = self.ask(messages, **fields)["choices"][0]["message"]
        return message

    def text(self, messages: Any, **fields: Any) -> str:
        """The text of the first choice."""
        content: str = self.message(messages, **fields)["content"]
        return content

    def stream(self, messages: Any, **fields: Any) -> Stream:
        """The stream, whole."""
        response = self.post(messages, stream=True, **fields)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return parsed(response.content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()


def shape(value: Any) -> Any:
    """The keys and types of a JSON value; of a list, those of its first item.

    Left out is what tells the emulator from the server that it imitates, and llama-server's times, which it does not
    make up.
    """
    members, items = as_object(value), as_list(value)
    if members is not None:
        return {key: shape(item) for key, item in members.items() if key not in {"system_fingerprint", "timings"}}
    return [shape(item) for item in items[:1]] if items is not None else type_name(value)


def parsed(raw: bytes) -> Stream:
    """The events of a stream."""
    data = list(_data(raw))
    done = bool(data) and data[-1] == "[DONE]"
    return Stream([json.loads(text) for text in (data[:-1] if done else data)], done, raw)


def _data(raw: bytes) -> Iterator[str]:
    for event in raw.decode().replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in event.split("\n") if line and not line.startswith(":")]
        if lines:
            assert len(lines) == 1
            yield lines[0].removeprefix("data: ")
