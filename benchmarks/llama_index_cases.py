"""LlamaIndex: chat and stream_chat, beside the floor and OpenAILike."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.llms.openai_like import OpenAILike
from measure import Row, in_turn, table
from server import ANSWER, BATCH, CHUNKS, MODEL

from llama_index_minicpm import MiniCPM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from server import Server

QUESTION = [ChatMessage(role="user", content="What is in the picture?")]
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "What is in the picture?"}]}
HEADERS = {"authorization": "Bearer key"}


class Bare(CustomLLM):
    """The framework's floor: callbacks and validated messages, with words that are there already."""

    @property
    def metadata(self) -> LLMMetadata:
        """Nothing special."""
        return LLMMetadata()

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        """An answer."""
        return ChatResponse(message=ChatMessage(role="assistant", content=ANSWER), raw={})

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> Iterator[ChatResponse]:
        """2,000 pieces of an answer, each with the text so far, as the contract wants."""

        def pieces() -> Iterator[ChatResponse]:
            text = ""
            for number in range(CHUNKS):
                delta = f" word{number}"
                text += delta
                yield ChatResponse(message=ChatMessage(role="assistant", content=text), delta=delta, raw={})

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:  # noqa: FBT001, FBT002
        """Not measured."""
        return CompletionResponse(text=ANSWER)

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002
        """Not measured."""
        yield CompletionResponse(text=ANSWER)


def _models(base_url: str) -> dict[str, Any]:
    return {
        "MiniCPM": MiniCPM(model=MODEL, base_url=base_url, api_key="key", backend="vllm"),
        "OpenAILike": OpenAILike(model=MODEL, api_base=base_url, api_key="key", is_chat_model=True),
    }


def _drain(stream: Any) -> None:
    for _ in stream:
        pass


def _drain_of(stream: Callable[..., Any], *given: Any) -> None:
    _drain(stream(*given))


def chat(base_url: str) -> str:
    """One call, its answer at once."""
    client = httpx.Client()
    bare = Bare()
    cases: dict[str, Callable[[], Any]] = {
        "framework floor (an answer that is there)": lambda: bare.chat(QUESTION),
        "raw httpx post + json": lambda: client.post(f"{base_url}/chat/completions", json=BODY, headers=HEADERS).json(),
    }
    for name, model in _models(base_url).items():
        cases[name] = partial(model.chat, QUESTION)
    found = in_turn(cases, rounds=15, calls=60)
    floor, post = list(found.values())[:2]
    ours = found["MiniCPM"].median
    rows = [Row(name, figure, f"{figure.median / ours:.2f}x ours") for name, figure in found.items()]
    ratio = ours / (floor.median + post.median)
    return table(
        "LlamaIndex: `chat`", "CPU us a call", rows, [f"Ours / (floor + post) = {ratio:.2f} (aim: at most 1.4)."]
    )


def stream_chat(base_url: str, how: str) -> str:
    """2,000 chunks."""
    client = httpx.Client()
    bare = Bare()
    body = BODY | {"stream": True}

    def raw() -> None:
        with client.stream("POST", f"{base_url}/chat/completions", json=body, headers=HEADERS) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    json.loads(line[6:])

    cases: dict[str, Callable[[], Any]] = {
        "framework floor (words that are there)": lambda: _drain(bare.stream_chat(QUESTION)),
        "raw httpx, lines + json": raw,
    }
    for name, model in _models(base_url).items():
        cases[name] = partial(_drain_of, model.stream_chat, QUESTION)
    found = in_turn(cases, rounds=11, calls=1, units=CHUNKS)
    floor = next(iter(found.values())).median
    rows = [Row(name, figure, f"{floor / figure.median:.0%} of the floor's rate") for name, figure in found.items()]
    aim = "Aim: at least 70 % of the floor's rate."
    return table(f"LlamaIndex: `stream_chat`, {how}", "CPU us a chunk", rows, [aim])


def main(server: Server) -> list[str]:
    """All tables."""
    return [
        chat(server.base_url()),
        stream_chat(server.base_url(), "an event in each HTTP chunk"),
        stream_chat(server.base_url(batched=True), f"{BATCH} events in each HTTP chunk"),
    ]
