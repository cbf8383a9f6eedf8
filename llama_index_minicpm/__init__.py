"""MiniCPM for LlamaIndex: `MiniCPM`, a multimodal, function-calling LLM, and what RAG over pictures needs beside it.

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
    from llama_index_minicpm.image_captioner import ImageCaption, MiniCPMImageCaptioner
    from llama_index_minicpm.image_loader import load_images
    from llama_index_minicpm.image_query import ImageCitation, MiniCPMImagePostprocessor, image_citations
    from llama_index_minicpm.voice_agent import MiniCPMVoiceAgent, MiniCPMVoiceAgentWebsocket, QueueVoiceInterface

__all__ = [
    "ImageCaption",
    "ImageCitation",
    "MiniCPM",
    "MiniCPMImageCaptioner",
    "MiniCPMImagePostprocessor",
    "MiniCPMVoiceAgent",
    "MiniCPMVoiceAgentWebsocket",
    "QueueVoiceInterface",
    "__version__",
    "image_citations",
    "load_images",
]

_HOMES = {
    "ImageCaption": "image_captioner",
    "ImageCitation": "image_query",
    "MiniCPMImageCaptioner": "image_captioner",
    "MiniCPMImagePostprocessor": "image_query",
    "MiniCPMVoiceAgent": "voice_agent",
    "MiniCPMVoiceAgentWebsocket": "voice_agent",
    "QueueVoiceInterface": "voice_agent",
    "image_citations": "image_query",
    "load_images": "image_loader",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
