"""MiniCPM for LlamaIndex: `MiniCPM`, a multimodal, function-calling LLM.

Example:
    ```python
    from llama_index_minicpm import MiniCPM

    llm = MiniCPM()
    print(llm.complete("Say hello."))
    ```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core._lazy import lazily
from minicpm_core._version import __version__

try:
    from llama_index_minicpm.llm import MiniCPM
except ModuleNotFoundError as error:
    if error.name not in {"llama_index", "llama_index.core"}:
        raise
    raise ImportError(
        'llama_index_minicpm needs llama-index-core. Install it with: pip install "minicpm-integrations[llama-index]"'
    ) from error

if TYPE_CHECKING:
    from llama_index_minicpm.voice_agent import MiniCPMVoiceAgent, MiniCPMVoiceAgentWebsocket, QueueVoiceInterface

__all__ = ["MiniCPM", "MiniCPMVoiceAgent", "MiniCPMVoiceAgentWebsocket", "QueueVoiceInterface", "__version__"]

_HOMES = dict.fromkeys(["MiniCPMVoiceAgent", "MiniCPMVoiceAgentWebsocket", "QueueVoiceInterface"], "voice_agent")

__getattr__, __dir__ = lazily(__name__, _HOMES)
