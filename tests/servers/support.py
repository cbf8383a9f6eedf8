"""Which servers to ask, and what the tiny model is known to answer."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from PIL import Image

if TYPE_CHECKING:
    from minicpm_core import ChatOptions

KEY: Final = os.environ.get("MINICPM_TEST_KEY", "sk-test")
MODEL: Final = os.environ.get("MINICPM_TEST_MODEL", "MiniCPM-V-4.6-Instruct")
CONTEXT: Final = int(os.environ.get("MINICPM_TEST_CONTEXT", "2048"))
"""Tokens that the servers are started with."""
NO_PARSERS: Final = os.environ.get("MINICPM_TEST_NO_PARSERS", "") not in {"", "0"}
"""Whether the servers tell neither thoughts nor calls apart, and may refuse tools."""

OPTIONS: Final[ChatOptions] = {"temperature": 0, "max_tokens": 400}

Source: TypeAlias = "bytes | Path | BytesIO | Image.Image | str"
"""A picture as the file's bytes, a path, an open file, a Pillow image, or the text of a data URL."""

_HOW: Final = (
    "Needs a real server with the tiny test model: set MINICPM_TEST_SERVERS to its base URL, such as "
    "http://127.0.0.1:8000/v1 (several with commas between). See tests/servers/README.md."
)


@dataclass(frozen=True)
class Server:
    """A server to ask.

    Attributes:
        base_url: Of its API.
        backend: What it is; `None` where the environment does not say.
        key: To show.
        model: To ask for.
    """

    base_url: str
    backend: str | None = None
    key: str = KEY
    model: str = MODEL

    def __str__(self) -> str:
        """For the name of the test."""
        return self.backend or self.base_url

    @property
    def settings(self) -> dict[str, Any]:
        """What every model object is made with. Nothing says which backend it is: that is found out."""
        return {
            "base_url": self.base_url,
            "api_key": self.key,
            "model": self.model,
            "timeout": 180,
            "max_retries": int(NO_PARSERS),  # the refusal of tools is learned from, once
            "media_hosts": ["127.0.0.1"],
        }


def _listed(variable: str) -> list[str]:
    return [item.strip() for item in os.environ.get(variable, "").split(",") if item.strip()]


def servers() -> list[Server]:
    """The servers that the environment names; without any, the module that asks is skipped.

    Raises:
        ValueError: `MINICPM_TEST_BACKENDS` is given, but not for each server.
    """
    urls = _listed("MINICPM_TEST_SERVERS")
    if not urls:
        pytest.skip(_HOW, allow_module_level=True)
    backends: list[str | None] = [*_listed("MINICPM_TEST_BACKENDS")] or [None] * len(urls)
    if len(backends) != len(urls):
        raise ValueError("MINICPM_TEST_BACKENDS must name as many backends as MINICPM_TEST_SERVERS has servers.")
    return [Server(url, backend) for url, backend in zip(urls, backends, strict=True)]


@dataclass(frozen=True)
class Call:
    """A call of a tool.

    Attributes:
        id: For the result to name.
        name: The tool's.
        arguments: Parsed.
    """

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A picture in a turn."""

    source: Source


@dataclass(frozen=True)
class Turn:
    """A turn of a conversation, in no framework's terms.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        parts: Texts and pictures.
        calls: That the assistant made.
        answers: The call whose result this is.
    """

    role: str
    parts: tuple[str | Picture, ...]
    calls: tuple[Call, ...] = ()
    answers: str | None = None

    @property
    def text(self) -> str:
        """The texts alone."""
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        turns: The conversation.
        thinking: Whether to think first; `None` does not say.
        tools: OpenAI's JSON, one for each tool.
    """

    turns: tuple[Turn, ...]
    thinking: bool | None = None
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Answer:
    """What is answered. Calls are names and arguments: ids are made up by servers.

    Attributes:
        reasoning: The thoughts.
        text: The answer without them.
        calls: Of tools, in order.
        tokens: Of the prompt and of the answer, as counted by the server; known answers have none.
    """

    reasoning: str
    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    tokens: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def settled(self) -> Answer:
        """Without the line breaks between text and calls: the model writes them, and servers treat them differently."""
        return replace(self, text=self.text.rstrip("\n")) if self.calls else self


@dataclass(frozen=True)
class Case:
    """A known question and its answer."""

    question: Question
    answer: Answer

    def __str__(self) -> str:
        """For the name of the test."""
        last = self.question.turns[-1]
        thinking = "thinking" if self.question.thinking else "at-once"
        pictures = sum(isinstance(part, Picture) for part in last.parts)
        tools = "-tools" if self.question.tools else ""
        return f"{last.role}-{last.text}-{pictures}{tools}-{thinking}".replace(" ", "_")


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64), kind: str = "PNG", **options: Any) -> bytes:
    """A file with a picture of one colour."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


def cases() -> list[Case]:
    """Every known question."""
    text = Path(__file__).with_name("known_answers.json").read_text(encoding="utf-8")
    return [_case(entry) for entry in json.loads(text)]


def _case(entry: dict[str, Any]) -> Case:
    colours = iter(entry["colors"])
    turns: list[Turn] = []
    for message in entry["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        turns.append(
            Turn(
                message["role"],
                tuple(
                    Picture(picture(tuple(next(colours)))) if part["type"] == "image" else part["text"]
                    for part in parts
                ),
                tuple(
                    Call(call["id"], call["function"]["name"], call["function"]["arguments"])
                    for call in message.get("tool_calls") or ()
                ),
                message.get("tool_call_id"),
            )
        )
    return Case(
        Question(tuple(turns), entry["thinking"], tuple(entry["tools"] or ())),
        Answer(
            entry["reasoning"] or "",
            entry["content"],
            tuple((call["function"]["name"], call["function"]["arguments"]) for call in entry["tool_calls"] or ()),
        ),
    )
