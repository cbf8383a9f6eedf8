"""LangChain's profile of a model, from its card and what its server takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core.backends import BACKENDS, backend_for_url
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from langchain_core.language_models import ModelProfile


def profile_for(model: str, *, backend: str, base_url: str) -> ModelProfile:
    """What is known of a model under LangChain's names; what is not known is left out.

    Args:
        model: The model's id.
        backend: A name of `BACKENDS`, or `auto`.
        base_url: Tells the backend where `backend` does not.
    """
    card = card_for(model)
    server = BACKENDS.get(backend) if backend != "auto" else backend_for_url(base_url)  # type: ignore[call-overload]
    ignored = server.ignores if server else frozenset[str]()
    takes = card.modalities
    hears = "audio" in takes and (server is None or server.audio is not None)
    profile: ModelProfile = {
        "name": card.name,
        "text_inputs": "text" in takes,
        "image_inputs": "image" in takes,
        "image_url_inputs": "image" in takes,
        "pdf_inputs": "image" in takes,
        "audio_inputs": hears,
        "video_inputs": "video" in takes,
        "image_tool_message": "image" in takes,
        "pdf_tool_message": "image" in takes,
        "text_outputs": True,
        "image_outputs": False,
        "audio_outputs": False,
        "video_outputs": False,
        "tool_calling": card.tools,
        "tool_choice": card.tools and "tool_choice" not in ignored,
        "tool_call_streaming": card.tools,
        "structured_output": "response_format" not in ignored,
        "reasoning_output": card.thinks_by_default,
        "temperature": True,
    }
    if not card.known:
        del profile["name"]
    else:
        profile["open_weights"] = bool(card.hugging_face)
    if card.context_window is not None:
        profile["max_input_tokens"] = card.context_window
    return profile
