"""The recorded exchanges, each with what it must give.

`load_cases()` is what tests of every layer replay: the decoder, the clients, both adapters.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from minicpm_core.protocol.declarations import parameters_of
from minicpm_core.protocol.reply import ReplyContext
from tests.wire.expected import Answer, Refusal, expected_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.backends import BackendName

DATA = Path(__file__).parent / "data"
_BACKENDS: dict[str, BackendName] = {
    "vllm": "vllm",
    "vllm-thinking-noparser": "vllm",
    "vllm-noparser": "vllm",
    "llamacpp": "llamacpp",
    "transformers": "transformers",
    "transformers-raw": "transformers",
}
_DECLARED = re.compile(r"<tools>\n(.*)\n</tools>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Case:
    """One exchange.

    Attributes:
        server: The folder.
        name: The case; the same name is the same question at every server.
        method: `POST`, or `GET` in the one case that asks in the wrong way.
        path: Of the request.
        request: The body sent, parsed; `None` where it was no JSON object.
        status: Of the answer.
        headers: Of the answer, names in lower case.
        body: Of the answer.
        is_stream: The answer is an event stream.
        thinking: The model was made to think.
        expected: The choices in order, or the error that the answer is.
        usage: Prompt, completion and total tokens, read from the body without the code under test.
    """

    server: str
    name: str
    method: str
    path: str
    request: dict[str, Any] | None
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_stream: bool
    thinking: bool
    expected: tuple[Answer, ...] | Refusal
    usage: tuple[int, int, int] | None

    def __str__(self) -> str:
        return f"{self.server}/{self.name}"

    @property
    def backend(self) -> BackendName:
        """The row of `BACKENDS`."""
        return _BACKENDS[self.server]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The choices of a case that is no refusal."""
        assert not isinstance(self.expected, Refusal), self
        return self.expected

    @property
    def asked_to_stream(self) -> bool:
        """The request asked for a stream, whatever came."""
        return bool(self.request and self.request.get("stream"))

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools of the request, declared in it or, a description a line, in its system turn."""
        request = self.request or {}
        messages: list[dict[str, Any]] = request.get("messages") or [{}]
        prompted = _DECLARED.search(str(messages[0].get("content", "")))
        return request.get("tools") or [json.loads(line) for line in (prompted[1].splitlines() if prompted else ())]

    @property
    def context(self) -> ReplyContext:
        """What this library knows of such a request when it reads the answer."""
        return ReplyContext(
            title="The server",
            thinking=self.thinking,
            hold=self.thinking,
            secrets=("sk-test",),
            model="asked-for",
            tools=parameters_of(self.tools),
        )


@cache
def load_cases() -> tuple[Case, ...]:
    """All cases, in the order of their names."""
    metas = sorted(DATA.glob("*/*.meta.json"))
    return tuple(_load(meta.parent, meta.name.removesuffix(".meta.json")) for meta in metas)


def answered() -> list[Case]:
    """The cases that are an answer."""
    return [case for case in load_cases() if not isinstance(case.expected, Refusal)]


def refused() -> list[Case]:
    """The cases that are an error."""
    return [case for case in load_cases() if isinstance(case.expected, Refusal)]


def streamed() -> list[Case]:
    """The cases whose body is an event stream, answers and errors."""
    return [case for case in load_cases() if case.is_stream]


def case_of(server: str, name: str) -> Case:
    """One case by its names."""
    (found,) = (case for case in load_cases() if (case.server, case.name) == (server, name))
    return found


def _load(folder: Path, name: str) -> Case:
    meta = json.loads((folder / f"{name}.meta.json").read_bytes())
    (answer,) = (path for ending in ("json", "sse", "txt") if (path := folder / f"{name}.{ending}").exists())
    body = answer.read_bytes()
    request = _parsed((folder / f"{name}.request.json").read_bytes())
    is_stream = answer.suffix == ".sse"
    thinking = _thinks(folder.name, request or {})
    return Case(
        server=folder.name,
        name=name,
        method=meta["method"],
        path=meta["path"],
        request=request,
        status=meta["status"],
        headers={key.lower(): value for key, value in meta["headers"]},
        body=body,
        is_stream=is_stream,
        thinking=thinking,
        expected=expected_of(folder.name, name, request or {}, thinking=thinking),
        usage=_usage(body, is_stream=is_stream),
    )


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _thinks(server: str, request: dict[str, Any]) -> bool:
    """Whether the template thought: where the request said nothing it did."""
    if request.get("reasoning_effort") == "none" and server != "transformers":  # which ignores it
        return False
    return bool(request.get("chat_template_kwargs", {}).get("enable_thinking", True))


def _usage(body: bytes, *, is_stream: bool) -> tuple[int, int, int] | None:
    """The last token counts of a body, found without any decoder of ours."""
    lines = [line.removeprefix(b"data: ") for line in body.splitlines()] if is_stream else [body]
    found = [_parsed(line) for line in lines]
    counts = [value["usage"] for value in found if value and value.get("usage")]
    if not counts:
        return None
    last = counts[-1]
    return last["prompt_tokens"], last["completion_tokens"], last["total_tokens"]
