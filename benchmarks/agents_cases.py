"""Agents: a turn of 2,000 streamed chunks through LlamaIndex's FunctionAgent and LangChain's `create_agent`.

One tool is bound and not called, so that what is measured is what an agent adds to each chunk of its answer: the model
class looks for tool calls in it, the framework wraps it into events.  The floor is the same agent with a model that
yields chunks that are there already.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.llms.openai_like import OpenAILike
from measure import Row, in_turn, table
from server import ANSWER, BATCH, CHUNKS, MODEL

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from measure import Figure
    from server import Server

QUESTION = "What is in the picture?"
_WORDS = [f" word{number}" for number in range(CHUNKS)]


def get_weather(city: str) -> str:
    """Current weather for a city."""
    return f"sun in {city}"


class BareChat(BaseChatModel):
    """LangChain's floor: chunks that are there already."""

    def _generate(self, *_: Any, run_manager: Any = None, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(ANSWER))])

    def _stream(self, *_: Any, run_manager: Any = None, **__: Any) -> Iterator[ChatGenerationChunk]:
        for word in _WORDS:
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        """Takes tools, and calls none."""
        return self

    @property
    def _llm_type(self) -> str:
        return "bare"


class BareLLM(FunctionCallingLLM):
    """LlamaIndex's floor: responses that are there already, each with the text so far, as the contract wants."""

    @property
    def metadata(self) -> LLMMetadata:
        """It calls functions, or an agent would not take it."""
        return LLMMetadata(is_function_calling_model=True)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> AsyncIterator[ChatResponse]:
        """2,000 pieces of an answer."""

        async def pieces() -> AsyncIterator[ChatResponse]:
            text = ""
            for word in _WORDS:
                text += word
                yield ChatResponse(message=ChatMessage(role="assistant", content=text), delta=word, raw={})

        return pieces()

    def get_tool_calls_from_response(self, response: Any, *_: Any, **__: Any) -> list[Any]:
        """None."""
        return []

    def _prepare_chat_with_tools(self, tools: Any, *_: Any, chat_history: Any = None, **__: Any) -> dict[str, Any]:
        return {"messages": chat_history or []}

    def _unused(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("An agent that streams does not use it.")

    chat = stream_chat = complete = stream_complete = achat = acomplete = astream_complete = _unused


def function_agent(base_url: str, how: str) -> str:
    """LlamaIndex."""
    models: dict[str, Any] = {
        "framework floor (responses that are there)": BareLLM(),
        "MiniCPM": MiniCPM(model=MODEL, base_url=base_url, api_key="key", backend="vllm"),
        "OpenAILike": OpenAILike(
            model=MODEL, api_base=base_url, api_key="key", is_chat_model=True, is_function_calling_model=True
        ),
    }
    with asyncio.Runner() as loop:
        cases: dict[str, Callable[[], None]] = {
            name: partial(_on, loop, FunctionAgent(tools=[get_weather], llm=model)) for name, model in models.items()
        }
        found = in_turn(cases, rounds=7, calls=1, units=CHUNKS)
    return _report(f"LlamaIndex: `FunctionAgent`, {how}", found, "MiniCPM")


def _on(loop: asyncio.Runner, agent: FunctionAgent) -> None:
    loop.run(_turn(agent))


async def _turn(agent: FunctionAgent) -> None:
    handler = agent.run(user_msg=QUESTION)
    pieces = [event async for event in handler.stream_events() if isinstance(event, AgentStream)]
    answer: Any = await handler
    if len(pieces) < CHUNKS or not str(answer.response.content).endswith(_WORDS[-1]):
        raise RuntimeError(f"The agent streamed {len(pieces)} pieces, or lost the end of its answer.")


def langchain_agent(base_url: str, how: str) -> str:
    """LangChain."""
    models: dict[str, BaseChatModel] = {
        "framework floor (chunks that are there)": BareChat(),
        "ChatMiniCPM": ChatMiniCPM(model=MODEL, base_url=base_url, api_key="key", backend="vllm"),
        "ChatOpenAI": ChatOpenAI(model=MODEL, base_url=base_url, api_key="key"),
    }
    cases = {name: partial(_drain, create_agent(model, [get_weather])) for name, model in models.items()}
    return _report(f"LangChain: `create_agent`, {how}", in_turn(cases, rounds=7, calls=1, units=CHUNKS), "ChatMiniCPM")


def _drain(agent: Any) -> None:
    question = {"messages": [{"role": "user", "content": QUESTION}]}
    pieces = [piece for piece, _ in agent.stream(question, stream_mode="messages")]
    if len(pieces) < CHUNKS:
        raise RuntimeError(f"The agent streamed {len(pieces)} pieces.")


def _report(title: str, found: Mapping[str, Figure], name: str) -> str:
    ours = found[name].median
    floor = next(iter(found.values())).median
    rows = [Row(case, figure, f"{figure.median / ours:.2f}x ours") for case, figure in found.items()]
    return table(title, "CPU us a chunk", rows, [f"Over the floor: {ours - floor:,.1f} us a chunk."])


def main(server: Server) -> list[str]:
    """All tables."""
    each, batched = server.base_url(), server.base_url(batched=True)
    return [
        function_agent(each, "an event in each HTTP chunk"),
        function_agent(batched, f"{BATCH} events in each HTTP chunk"),
        langchain_agent(each, "an event in each HTTP chunk"),
        langchain_agent(batched, f"{BATCH} events in each HTTP chunk"),
    ]
