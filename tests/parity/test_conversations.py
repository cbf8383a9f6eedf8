"""The same conversation is the same request, whichever framework it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.tool import invalid_tool_call
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM
from minicpm_core import BACKENDS
from tests.parity.conversations import NONSENSE, WAYS, Picture, Turn, conversations, pictures, wrong_conversations
from tests.parity.in_langchain import to_langchain
from tests.parity.in_llama_index import to_llama_index
from tests.parity.wire import MODES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parity.conversations import Way
    from tests.parity.wire import Outcome, Wire


def outcomes(wire: Wire, folder: Path, backend: str, mode: str, turns: list[Turn]) -> tuple[Outcome, Outcome]:
    """What comes of a conversation in LangChain and in LlamaIndex."""
    made = wire.settings(backend)
    return (
        wire.ask(lambda: getattr(ChatMiniCPM(**made), mode)(to_langchain(turns, folder))),
        wire.ask(lambda: getattr(MiniCPM(**made), MODES[mode])(to_llama_index(turns, folder))),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20)
@given(turns=conversations)
def test_a_conversation(wire: Wire, folder: Path, backend: str, turns: list[Turn]) -> None:
    """Both adapters send one request, and it is the same: URL, headers, timeouts and JSON."""
    for mode in MODES:
        langchain, llama_index = outcomes(wire, folder, backend, mode, turns)
        assert langchain == llama_index
        assert [len(langchain.sent), langchain.refused] == [1, None]


@settings(max_examples=100)
@given(turns=wrong_conversations, backend=st.sampled_from(sorted(BACKENDS)), mode=st.sampled_from(sorted(MODES)))
def test_a_wrong_conversation(wire: Wire, folder: Path, turns: list[Turn], backend: str, mode: str) -> None:
    """What one adapter refuses, the other does too, with the same error and in the same words."""
    langchain, llama_index = outcomes(wire, folder, backend, mode, turns)
    assert langchain == llama_index
    assert bool(langchain.sent) is (langchain.refused is None)


def test_broken_calls_are_each_frameworks_own(wire: Wire) -> None:
    """LangChain keeps unreadable calls apart, and they are not sent; in LlamaIndex they are calls, and refused."""
    made = wire.settings("vllm")
    broken = '{"a": 1'
    langchain = wire.ask(
        lambda: ChatMiniCPM(**made).invoke(
            [
                HumanMessage("Hello?"),
                AIMessage("Hm.", invalid_tool_calls=[invalid_tool_call(name="paint", args=broken, id="1", error=None)]),
            ]
        )
    )
    llama_index = wire.ask(
        lambda: MiniCPM(**made).chat(
            [
                ChatMessage("Hello?"),
                ChatMessage(
                    role="assistant",
                    blocks=[
                        TextBlock(text="Hm."),
                        ToolCallBlock(tool_call_id="1", tool_name="paint", tool_kwargs=broken),
                    ],
                ),
            ]
        )
    )
    assert langchain.sent[0].body["messages"][1] == {"role": "assistant", "content": "Hm."}
    assert (llama_index.refused or "").startswith("InvalidInputError: The arguments of the call of 'paint' are not")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_a_picture_that_is_none(wire: Wire, folder: Path, mode: str, way: Way) -> None:
    """However it is handed over, it is the same error, and nothing is sent."""
    turns = [Turn("user", (Picture(NONSENSE, way), "What is this?"))]
    langchain, llama_index = outcomes(wire, folder, "vllm", mode, turns)
    assert langchain == llama_index
    assert (langchain.sent, langchain.refused) == ((), "InvalidMediaError")


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=20)
@given(prompt=st.text(min_size=1), pictures=st.lists(pictures, max_size=3))
def test_a_prompt(wire: Wire, folder: Path, mode: str, prompt: str, pictures: list[Picture]) -> None:
    """LlamaIndex's `complete`, with pictures or without, sends what a lone question of LangChain does."""
    made = wire.settings("vllm")
    method = MODES[mode].replace("chat", "complete")
    (question,) = to_langchain([Turn("user", (prompt, *pictures))], folder)
    (same,) = to_llama_index([Turn("user", tuple(pictures))], folder)
    langchain = wire.ask(lambda: getattr(ChatMiniCPM(**made), mode)([question]))
    llama_index = wire.ask(lambda: getattr(MiniCPM(**made), method)(prompt, image_documents=same.blocks))
    assert langchain == llama_index
    assert len(langchain.sent) == 1
