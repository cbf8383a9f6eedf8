"""One question, asked in three ways: through the core, a LangChain chain, and a LlamaIndex LLM.

Each function streams deltas; the last one carries the whole answer.  `minicpm demo` shows the code of the two that use
a framework, so they are written to be read.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from minicpm_core.cli.inputs import Picture, Question, source
from minicpm_core.client import MiniCPMClient
from minicpm_core.config import ChatOptions
from minicpm_core.parts import Part, TextPart
from minicpm_core.types import Choice, Completion, Delta, Message, Usage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from langchain_core.messages import AIMessageChunk
    from llama_index.core.llms import ChatResponse, ImageBlock

OPTIONS = frozenset(ChatOptions.__annotations__) - {"model", "timeout"}
"""Settings that are a request's, not a client's."""


class Asker(Protocol):
    """A way to ask."""

    def __call__(self, question: Question, **settings: Any) -> Generator[Delta, None, None]:
        """Ask, and give the answer as it comes.

        Args:
            question: What to ask.
            **settings: Those that all three ways have: model, base_url, backend, timeout, temperature, max_tokens …
        """
        ...


def ask_core(question: Question, **settings: Any) -> Generator[Delta, None, None]:
    """Through `MiniCPMClient`."""
    options: dict[str, Any] = {name: settings.pop(name) for name in list(settings) if name in OPTIONS}
    parts: tuple[Part, ...] = (TextPart(question.text), *map(source, question.pictures))
    content = parts if question.pictures else question.text
    with MiniCPMClient(**settings, options=options) as client, client.stream([Message("user", content)]) as deltas:
        yield from deltas


def ask_langchain(question: Question, **settings: Any) -> Generator[Delta, None, None]:
    """Through an LCEL chain."""
    from langchain_core.prompts import ChatPromptTemplate

    from langchain_minicpm import ChatMiniCPM, image_block

    pictures = [image_block(picture) for picture in question.pictures]
    prompt = ChatPromptTemplate([("human", ["{question}", *pictures])])
    chain = prompt | ChatMiniCPM(**settings) | thoughts_apart
    yield from chain.stream({"question": question.text})


def thoughts_apart(chunks: Iterator[Any]) -> Iterator[Delta]:
    """The last step of the chain: what was thought, and what was said."""
    whole: AIMessageChunk | None = None
    for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
        for block in chunk.content_blocks:
            if block["type"] == "reasoning":
                yield Delta(reasoning=block.get("reasoning", ""))
            elif block["type"] == "text":
                yield Delta(text=block["text"])
    if whole is not None:
        yield Delta(final=_from_langchain(whole))


def ask_llama_index(question: Question, **settings: Any) -> Generator[Delta, None, None]:
    """Through a LlamaIndex LLM."""
    from llama_index.core.llms import ChatMessage, TextBlock

    from llama_index_minicpm import MiniCPM

    text = TextBlock(text=question.text)
    pictures = [picture_block(picture) for picture in question.pictures]
    message = ChatMessage(role="user", blocks=[text, *pictures])
    for response in MiniCPM(**settings).stream_chat([message]):
        yield apart(response)


def picture_block(picture: Picture) -> ImageBlock:
    """A picture as LlamaIndex holds it, not read yet."""
    from llama_index.core.llms import ImageBlock

    if isinstance(picture, Path):
        return ImageBlock(path=picture)
    return ImageBlock(image=picture) if isinstance(picture, bytes) else ImageBlock(url=picture)


def apart(response: Any) -> Delta:
    """A response of the stream: what was thought, and what was said; the last one has it all."""
    final = _from_llama_index(response) if response.raw else None
    return Delta(response.delta or "", response.additional_kwargs.get("thinking_delta", ""), final=final)


def _from_langchain(message: AIMessageChunk) -> Completion:
    metadata = message.response_metadata
    counts: Mapping[str, Any] | None = message.usage_metadata
    return _completion(
        text=message.text,
        thoughts=[block.get("reasoning", "") for block in message.content_blocks if block["type"] == "reasoning"],
        finish_reason=metadata.get("finish_reason"),
        model=metadata.get("model_name"),
        request_id=metadata.get("request_id"),
        usage=counts
        and Usage(
            counts["input_tokens"],
            counts["output_tokens"],
            counts["total_tokens"],
            counts.get("input_token_details", {}).get("cache_read"),
            counts.get("output_token_details", {}).get("reasoning"),
        ),
    )


def _from_llama_index(response: ChatResponse) -> Completion:
    raw: Mapping[str, Any] = response.raw or {}
    counts: Mapping[str, Any] | None = raw.get("usage")
    return _completion(
        text=response.message.content or "",
        thoughts=[block.content or "" for block in response.message.blocks if block.block_type == "thinking"],
        finish_reason=raw["choices"][0]["finish_reason"],
        model=raw.get("model"),
        request_id=raw.get("request_id"),
        usage=counts
        and Usage(
            counts["prompt_tokens"],
            counts["completion_tokens"],
            counts["total_tokens"],
            counts.get("prompt_tokens_details", {}).get("cached_tokens"),
            counts.get("completion_tokens_details", {}).get("reasoning_tokens"),
        ),
    )


def _completion(*, text: str, thoughts: list[str], finish_reason: str | None, **more: Any) -> Completion:
    return Completion((Choice(text=text, reasoning="".join(thoughts), finish_reason=finish_reason),), **more)


FRAMEWORKS: dict[str, Asker] = {"core": ask_core, "langchain": ask_langchain, "llama-index": ask_llama_index}
"""The ways to ask, by the names that `--framework` takes."""

_MODULES = {
    "core": ("httpx",),
    "langchain": ("langchain_minicpm", "langchain_core.prompts", "httpx"),
    "llama-index": ("llama_index_minicpm", "llama_index.core.llms", "httpx"),
}


def import_framework(name: str) -> None:
    """Import what a way needs, so that nobody takes that for the time of an answer.

    Raises:
        ImportError: It is not installed. The message says which extra brings it.
    """
    for module in _MODULES[name]:
        import_module(module)
