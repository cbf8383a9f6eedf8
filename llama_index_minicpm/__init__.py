"""MiniCPM for LlamaIndex: `MiniCPM`, a multimodal, function-calling LLM.

Example:
    ```python
    from llama_index_minicpm import MiniCPM

    llm = MiniCPM()
    print(llm.complete("Say hello."))
    ```
"""

from __future__ import annotations

from minicpm_core._version import __version__

try:
    from llama_index_minicpm.llm import MiniCPM
except ModuleNotFoundError as error:
    if error.name not in {"llama_index", "llama_index.core"}:
        raise
    raise ImportError(
        'llama_index_minicpm needs llama-index-core. Install it with: pip install "minicpm-integrations[llama-index]"'
    ) from error

__all__ = ["MiniCPM", "__version__"]
