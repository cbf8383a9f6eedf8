"""What LlamaIndex's callbacks and instrumentation see: each thing once, with the counts of the server."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.rate_limiter import TokenBucketRateLimiter

from minicpm_core import StreamInterruptedError
from tests.llama_index.support import CHATS, KEY, METHODS, STREAMS, ask, recorded, streamed
from tests.support.server import Close, ScriptedServer, chunk, completion, events, sse, whole

if TYPE_CHECKING:
    from llama_index_minicpm import MiniCPM


def answer_in_kind(server: ScriptedServer, method: str) -> None:
    server.answers = [streamed(chunk("Hel"), chunk("lo."))] if method in STREAMS else [whole(completion())]


@pytest.mark.parametrize("method", METHODS)
async def test_each_event_is_seen_once(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    with recorded() as seen:
        responses = await ask(llm, method)
    kind = "Chat" if method in CHATS else "Completion"
    progress = len(responses) if method in STREAMS else 0
    expected = {f"LLM{kind}StartEvent": 1, f"LLM{kind}EndEvent": 1, f"LLM{kind}InProgressEvent": progress}
    assert Counter(name for name in seen.names if name.startswith("LLM")) == Counter(expected)


@pytest.mark.parametrize("method", METHODS)
async def test_events_hold_no_secret(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    llm.default_headers = {"x-token": "a-secret-header"}
    with recorded() as seen:
        await ask(llm, method)
    shown = " ".join(f"{event!r} {event.model_dump()}" for event in seen.events)
    assert "LLM" in shown
    assert KEY not in shown
    assert "a-secret-header" not in shown


@pytest.mark.parametrize("method", METHODS)
async def test_callbacks_begin_and_end_once_for_each_call(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    handler = LlamaDebugHandler(print_trace_on_end=False)
    llm.callback_manager = CallbackManager([handler])
    await ask(llm, method)
    assert [len(pair) for pair in handler.get_event_pairs(CBEventType.LLM)] == [2]


@pytest.mark.parametrize("method", METHODS)
async def test_the_token_counter_counts_what_the_server_counted(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    answer_in_kind(server, method)
    usage = {"prompt_tokens": 700, "completion_tokens": 50, "total_tokens": 750}
    if method in STREAMS:
        server.answers = [streamed(chunk("Hello."), usage=usage)]
    else:
        server.answers = [whole(completion(usage=usage))]

    def words(text: str) -> list[str]:
        return text.split()

    counter = TokenCountingHandler(tokenizer=words)
    llm.callback_manager = CallbackManager([counter])
    await ask(llm, method)
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (700, 50)


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_that_breaks_is_reported(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [events([sse(chunk("Hel")), Close()], end=False)]
    with recorded() as seen, pytest.raises(StreamInterruptedError):
        await ask(llm, method)
    assert seen.names.count("ExceptionEvent") == 1
    assert not [name for name in seen.names if name.endswith("EndEvent")]


@pytest.mark.parametrize("method", METHODS)
async def test_a_refused_call_drops_its_span(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole({"error": {"message": "no", "code": 400}}, status=400)]
    with recorded() as seen, pytest.raises(Exception, match="no"):
        await ask(llm, method)
    assert seen.names.count("SpanDropEvent") == 1


@pytest.mark.parametrize("method", METHODS)
async def test_the_rate_limiter_is_asked_once(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    asked: list[str] = []

    class Limiter(TokenBucketRateLimiter):
        def acquire(self, *_: Any, **__: Any) -> None:
            asked.append("sync")

        async def async_acquire(self, *_: Any, **__: Any) -> None:
            asked.append("async")

    llm.rate_limiter = Limiter(requests_per_minute=60)
    await ask(llm, method)
    assert asked == ["async" if method.startswith("a") else "sync"]
