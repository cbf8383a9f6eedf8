"""MiniCPM is what LlamaIndex expects of a `FunctionCallingLLM`."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from llama_index_minicpm import MiniCPM
from tests.llama_index.conformance import SECRET, FunctionCallingContract


class TestMiniCPM(FunctionCallingContract):
    @override
    def make(self, base_url: str, **settings: Any) -> MiniCPM:
        return MiniCPM(base_url=base_url, api_key=SECRET, backend="vllm", max_retries=0, **settings)
