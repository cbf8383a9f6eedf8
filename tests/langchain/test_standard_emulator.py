"""langchain-tests' own integration tests of a chat model, over real HTTP to the emulator.

The tests of pictures and documents fetch some from fixed addresses; here they get what is drawn on the spot.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests
from PIL import Image

from langchain_minicpm import ChatMiniCPM

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from minicpm_core.emulator.pytest_plugin import EmulatorFactory

THINKING = "MiniCPM-V-4.6-Thinking"


def a_picture(url: str, **_: Any) -> httpx.Response:
    """What the tests get instead of fetching."""
    held = io.BytesIO()
    Image.new("RGB", (320, 200), "red").save(held, "PDF" if url.endswith(".pdf") else "PNG")
    return httpx.Response(200, content=held.getvalue(), request=httpx.Request("GET", url))


class OnTheEmulator(ChatModelIntegrationTests):
    """What all dialects share."""

    dialect: ClassVar[str]
    details: ClassVar[tuple[str, ...]]
    """Which counts of usage the server takes apart."""

    @pytest.fixture(autouse=True)
    def around(self, minicpm_emulator_factory: EmulatorFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MINICPM_BASE_URL", minicpm_emulator_factory(dialect=self.dialect).base_url)
        monkeypatch.setattr(httpx, "get", a_picture)

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatMiniCPM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "MiniCPM-V-4.6-1B", "api_key": "sk-test"}

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

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


class TestHosted(OnTheEmulator):
    dialect = "modelbest"
    details: ClassVar[tuple[str, ...]] = ("reasoning_output",)


class TestLlamaServer(OnTheEmulator):
    dialect = "llamacpp"
    details: ClassVar[tuple[str, ...]] = ("cache_read_input",)
