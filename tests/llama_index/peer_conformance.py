"""The same contract for LlamaIndex's generic client. Not part of the suite: it is installed for `make bench` alone.

python -m pytest tests/llama_index/peer_conformance.py -o asyncio_mode=auto -o addopts=
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tests.llama_index.conformance import SECRET, FunctionCallingContract

if TYPE_CHECKING:
    from llama_index.core.llms.function_calling import FunctionCallingLLM


class TestOpenAILike(FunctionCallingContract):
    @override
    def make(self, base_url: str, *, is_function_calling: bool = True, **settings: Any) -> FunctionCallingLLM:
        made: FunctionCallingLLM = import_module("llama_index.llms.openai_like").OpenAILike(
            model="MiniCPM-V-4.6-1B",
            api_base=base_url,
            api_key=SECRET,
            is_chat_model=True,
            is_function_calling_model=is_function_calling,
            max_retries=0,
            timeout=10,
            **settings,
        )
        return made
