"""langchain-tests' own integration tests of a chat model, with every capability of the model card switched on.

The tests of pictures, documents and sound fetch some from fixed addresses; here they get what is made on the spot.
"""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests
from PIL import Image

from langchain_minicpm import ChatMiniCPM
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from minicpm_core.models import ModelCard

THINKING = "MiniCPM-V-4.6-Thinking"


def fetched(url: str, **_: Any) -> httpx.Response:
    """What the tests get instead of fetching."""
    held = io.BytesIO()
    if url.endswith(".wav"):
        with wave.open(held, "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(bytes(32_000))
    else:
        Image.new("RGB", (320, 200), "red").save(held, "PDF" if url.endswith(".pdf") else "PNG")
    return httpx.Response(200, content=held.getvalue(), request=httpx.Request("GET", url))


class StandardTests(ChatModelIntegrationTests):
    """The tests, with the capabilities that the card of a model tells.

    Pictures by URL are left out: the addresses of the tests are on the internet.
    """

    name: ClassVar[str] = "MiniCPM-V-4.6-1B"
    details: ClassVar[tuple[str, ...]] = ()
    """Which counts of usage the server takes apart."""

    @pytest.fixture(autouse=True)
    def nothing_is_fetched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(httpx, "get", fetched)
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "none: nothing is fetched")

    @property
    def card(self) -> ModelCard:
        return card_for(self.name)

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatMiniCPM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.name, "api_key": "sk-test"}

    @property
    def has_tool_calling(self) -> bool:
        return self.card.tools

    @property
    def has_tool_choice(self) -> bool:
        return self.card.tools

    @property
    def supports_image_inputs(self) -> bool:
        return "image" in self.card.modalities

    @property
    def supports_image_tool_message(self) -> bool:
        return self.card.tools and self.supports_image_inputs

    @property
    def supports_pdf_inputs(self) -> bool:
        return self.supports_image_inputs

    @property
    def supports_pdf_tool_message(self) -> bool:
        return self.supports_image_tool_message

    @property
    def supports_audio_inputs(self) -> bool:
        return "audio" in self.card.modalities

    @property
    def supports_video_inputs(self) -> bool:
        return "video" in self.card.modalities

    @property
    def supports_anthropic_inputs(self) -> bool:
        return self.card.tools

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return THINKING

    @property
    def supported_usage_metadata_details(self) -> dict[Any, Any]:
        return {"invoke": list(self.details), "stream": list(self.details)}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return answer(self.chat_model_class(**self.chat_model_params), stream=stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return answer(ChatMiniCPM(model=THINKING, api_key="sk-test"), stream=stream)


def answer(model: BaseChatModel, *, stream: bool) -> AIMessage:
    """What a model says, streamed or not."""
    if not stream:
        return model.invoke("Say: hello there.")
    first, *others = model.stream("Say: hello there.")
    assert isinstance(first, AIMessageChunk)
    return first + others
