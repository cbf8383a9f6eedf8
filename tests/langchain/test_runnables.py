"""What LangChain builds on a model: retries, fallbacks, configuration, caches, rate limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.exceptions import ModelRateLimitError
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField

from langchain_minicpm import ChatMiniCPM
from minicpm_core import errors
from tests.langchain.conftest import KEY, thoughts_and_text
from tests.support.server import completion, whole

if TYPE_CHECKING:
    from tests.support.server import ScriptedServer

BUSY = whole({"error": {"message": "Slow down."}}, status=429)
HELLO = whole(completion())


def test_with_retry(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [BUSY, BUSY, HELLO]
    patient = model.with_retry(
        retry_if_exception_type=(ModelRateLimitError,), wait_exponential_jitter=False, stop_after_attempt=3
    )
    assert patient.invoke("Hello").text == "Hello."
    assert len(server.requests) == 3


def test_the_models_own_retries_are_no_more_than_asked_for(server: ScriptedServer) -> None:
    server.answers[:] = [whole({}, status=503, headers={"retry-after": "0"})]
    model = ChatMiniCPM(api_key=KEY, base_url=server.base_url, backend="vllm", max_retries=2)
    with pytest.raises(errors.ServerError):
        model.invoke("Hello")
    assert len(server.requests) == 3


def test_with_fallbacks(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [BUSY, HELLO]
    other = model.model_copy(update={"model": "another"})
    assert model.with_fallbacks([other], exceptions_to_handle=(errors.RateLimitError,)).invoke("Hello").text == "Hello."
    assert [request.json["model"] for request in server.requests] == ["MiniCPM-V-4.6-1B", "another"]


def test_configurable_fields(model: ChatMiniCPM, server: ScriptedServer) -> None:
    chosen = model.configurable_fields(temperature=ConfigurableField(id="heat"), model=ConfigurableField(id="who"))
    chosen.invoke("Hello")
    chosen.invoke("Hello", {"configurable": {"heat": 0.25, "who": "another"}})
    first, second = (request.json for request in server.requests)
    assert ("temperature" in first, second["temperature"], second["model"]) == (False, 0.25, "another")
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_a_chain(model: ChatMiniCPM, server: ScriptedServer) -> None:
    chain = (
        ChatPromptTemplate.from_messages([("system", "Be {mood}."), ("human", "{input}")]) | model | StrOutputParser()
    )
    assert chain.invoke({"mood": "kind", "input": "Hello"}) == "Hello."
    server.answers[:] = [thoughts_and_text()]
    assert "".join(chain.stream({"mood": "kind", "input": "Hello"})) == "Hello"
    assert server.requests[0].json["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
    ]


async def test_a_cache_answers_what_was_asked_with_the_same_settings(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    model.cache = InMemoryCache()
    answers = [model.invoke("Hello"), model.invoke("Hello"), await model.ainvoke("Hello")]
    assert [each.text for each in answers] == ["Hello."] * 3
    assert len(server.requests) == 1
    model.temperature = 0.5
    model.invoke("Hello")
    assert len(server.requests) == 2, "other settings are another question"
    model.invoke("Hello", thinking=True)
    assert len(server.requests) == 3


class Counting(BaseRateLimiter):
    """Counts who passes."""

    passed = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.passed += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.passed += 1
        return True


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_a_rate_limiter_is_asked_once_a_call(model: ChatMiniCPM, server: ScriptedServer) -> None:
    limiter = Counting()
    model.rate_limiter = limiter
    model.invoke("Hello")
    await model.ainvoke("Hello")
    server.answers[:] = [thoughts_and_text()]
    list(model.stream("Hello"))
    assert [each async for each in model.astream("Hello")]
    list(model.stream_events("Hello", version="v3"))
    assert limiter.passed == 5


def test_usage_is_found_by_langchains_counter(model: ChatMiniCPM, server: ScriptedServer) -> None:
    with get_usage_metadata_callback() as counter:
        model.invoke("Hello")
        server.answers[:] = [thoughts_and_text()]
        list(model.stream("Hello"))
    assert counter.usage_metadata["MiniCPM-V-4.6-1B"]["total_tokens"] == 18


@pytest.mark.parametrize("disabled", [True, "tool_calling"])
def test_streaming_can_be_switched_off(model: ChatMiniCPM, server: ScriptedServer, disabled: Any) -> None:
    model.disable_streaming = disabled
    tools: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    (only,) = model.stream("Hello", tools=tools)
    assert only.text == "Hello."
    assert "stream" not in server.requests[-1].json
    model.invoke("Hello", stream=False)
    assert "stream" not in server.requests[-1].json
