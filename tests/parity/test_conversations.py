"""The same conversation is the same request, whichever framework it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM
from minicpm_core import BACKENDS
from tests.parity.conversations import Picture, Turn, conversations, pictures, wrong_conversations
from tests.parity.in_langchain import to_langchain
from tests.parity.in_llama_index import to_llama_index
from tests.parity.wire import MODES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parity.wire import Outcome, Wire


def outcomes(wire: Wire, folder: Path, backend: str, mode: str, turns: list[Turn]) -> tuple[Outcome, Outcome]:
    """What comes of a conversation in LangChain and in LlamaIndex."""
    made = wire.settings(backend)
    return (
        wire.ask(lambda: getattr(ChatMiniCPM(**made), mode)(to_langchain(turns, folder))),
        wire.ask(lambda: getattr(MiniCPM(**made), MODES[mode])(to_llama_index(turns, folder))),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30)
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
