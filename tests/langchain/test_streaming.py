"""The contract of streams: what is on which chunk, what callbacks see, what merging gives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models import chat_model_stream
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream

from langchain_minicpm._chunks import chunk_writer, last_chunk
from langchain_minicpm._messages import parsed_arguments
from minicpm_core import errors
from minicpm_core.types import Choice, Completion, Delta, ToolCall, ToolCallDelta
from tests.langchain.conftest import streamed, thoughts_and_text, tool_pieces
from tests.support.server import Close, Wait, chunk, events, sse

if TYPE_CHECKING:
    from langchain_minicpm import ChatMiniCPM
    from tests.support.server import ScriptedServer

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

USAGE = {
    "input_tokens": 9,
    "output_tokens": 4,
    "total_tokens": 13,
    "input_token_details": {"cache_read": 2},
    "output_token_details": {"reasoning": 1},
}
METADATA = {
    "finish_reason": "stop",
    "model_name": "MiniCPM-V-4.6-1B",
    "model_provider": "minicpm",
    "id": "chatcmpl-1",
    "request_id": "req-1",
    "created": 1,
}


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """What a user adds up."""
    full = chunks[0]
    for each in chunks[1:]:
        full += each
    return full


async def astreamed(model: ChatMiniCPM) -> list[AIMessageChunk]:
    return [each async for each in model.astream("Hello")]


class Listener(BaseCallbackHandler):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.reasoning: list[str] = []
        self.ids: set[Any] = set()
        self.results: list[Any] = []
        self.failures: list[Any] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        assert isinstance(chunk, ChatGenerationChunk)
        self.tokens.append(chunk.text)
        self.reasoning.append(chunk.message.additional_kwargs.get("reasoning_content", ""))
        self.ids.add(chunk.message.id)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.results.append(response.generations[0][0].message)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.failures.append((error, kwargs["response"]))


class AsyncListener(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        self.tokens.append(chunk.text)


class EventListener(Listener, _V2StreamingCallbackHandler):
    """A handler as LangGraph attaches it, for which even `invoke` runs over events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def on_stream_event(self, event: Any, **_: Any) -> None:
        self.events.append(event)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_each_thing_is_on_one_chunk(model: ChatMiniCPM, server: ScriptedServer, asynchronous: bool) -> None:
    server.answers[:] = [thoughts_and_text()]
    model.thinking = True
    chunks = await astreamed(model) if asynchronous else list(model.stream("Hello"))
    assert [each.content for each in chunks] == ["", "", "Hel", "lo", ""]
    assert [each.response_metadata for each in chunks] == [{}] * 4 + [METADATA]
    assert [each.usage_metadata for each in chunks] == [None] * 4 + [USAGE]
    assert [each.chunk_position for each in chunks] == [None] * 4 + ["last"]
    assert len({each.id for each in chunks}) == 1
    full = merged(chunks)
    assert full.content == "Hello"
    assert full.response_metadata == METADATA
    assert full.usage_metadata == USAGE
    blocks = [{"type": "reasoning", "reasoning": "Let me think."}, {"type": "text", "text": "Hello"}]
    assert full.content_blocks == blocks


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_standard_blocks(model: ChatMiniCPM, server: ScriptedServer, asynchronous: bool) -> None:
    server.answers[:] = [thoughts_and_text()]
    model.thinking, model.output_version = True, "v1"
    chunks = await astreamed(model) if asynchronous else list(model.stream("Hello"))
    full = merged(chunks)
    assert [(each["type"], each.get("text") or each.get("reasoning")) for each in full.content_blocks] == [
        ("reasoning", "Let me think."),
        ("text", "Hello"),
    ]
    assert full.content == full.content_blocks
    assert full.text == "Hello"
    assert full.response_metadata == {**METADATA, "output_version": "v1"}
    assert sum("model_provider" in each.response_metadata for each in chunks) == 1


def test_streams_say_what_whole_answers_say(model: ChatMiniCPM, server: ScriptedServer) -> None:
    model.thinking = True
    whole_answer = {"reasoning": "Let me think.", "content": "Hello"}
    from tests.langchain.conftest import USAGE as RAW
    from tests.support.server import completion, whole

    choices = [{"index": 0, "message": whole_answer, "finish_reason": "stop"}]
    server.answers[:] = [
        whole(completion(choices=choices, usage=RAW), headers={"x-request-id": "req-1"}),
        thoughts_and_text(),
    ]
    said = model.invoke("Hello")
    full = merged(list(model.stream("Hello")))
    assert (full.content, full.additional_kwargs) == (said.content, said.additional_kwargs)
    assert (full.response_metadata, full.usage_metadata) == (said.response_metadata, said.usage_metadata)


def test_tool_calls_are_whole_at_the_end(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [tool_pieces('{"city"', ': "Paris"}')]
    for version in (None, "v1"):
        model.output_version = version
        full = merged(list(model.stream("Hello")))
        assert full.tool_calls == [
            {"name": "get_weather", "args": {"city": "Paris"}, "id": "call-1", "type": "tool_call"}
        ]
        assert [each["type"] for each in full.content_blocks] == ["tool_call"]
        assert full.invalid_tool_calls == []


def test_parallel_calls_without_an_index_stay_apart(model: ChatMiniCPM, server: ScriptedServer) -> None:
    calls = [{"id": f"call-{n}", "function": {"name": f"f{n}", "arguments": f'{{"n": {n}}}'}} for n in range(2)]
    server.answers[:] = [
        streamed(chunk("Wait."), *(chunk(tool_calls=[each]) for each in calls), chunk(finish="tool_calls"))
    ]
    for version in (None, "v1"):
        model.output_version = version
        full = merged(list(model.stream("Hello")))
        assert [(each["name"], each["args"]) for each in full.tool_calls] == [("f0", {"n": 0}), ("f1", {"n": 1})]
        assert [each["type"] for each in full.content_blocks] == ["text", "tool_call", "tool_call"]


CUT = ['{"city"', '{"city": ', '{"city": "Par', '{"city": "a\\', '{"city": [1', '{"city": [{"x": "', '{"a": "]', "["]


@pytest.mark.parametrize("arguments", CUT)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_that_was_cut_off_is_invalid(
    model: ChatMiniCPM, server: ScriptedServer, arguments: str, streaming: bool
) -> None:
    """LangChain would complete the JSON, and an agent would carry the call out."""
    server.answers[:] = [tool_pieces(arguments, finish="length")]
    if streaming:
        model.streaming = True
        full = model.invoke("Hello")
    else:
        full = merged(list(model.stream("Hello")))
    assert full.tool_calls == []
    (call,) = full.invalid_tool_calls
    assert (call["name"], call["id"]) == ("get_weather", "call-1")
    assert call["args"] is not None
    assert call["args"].startswith(arguments)


def test_every_beginning_of_arguments_is_invalid_until_the_last() -> None:
    whole = '{"a": "x\\"]}", "b": [1, {"c": "\\u00e9\\\\"}], "d": null}'
    for cut in range(1, len(whole) + 1):
        text = whole[:cut]
        pieces = [
            chunk_writer(v1=False, model="m")(Delta(tool_calls=(ToolCallDelta(0, "1", "f", text),))),
            last_chunk(Completion((Choice(tool_calls=(ToolCall("1", "f", text),)),)), v1=False, model="m"),
        ]
        full = merged(
            [each.message for each in pieces if each is not None and isinstance(each.message, AIMessageChunk)]
        )
        assert (len(full.tool_calls), len(full.invalid_tool_calls)) == ((1, 0) if cut == len(whole) else (0, 1)), text
        assert (parsed_arguments(text) is None) == (cut < len(whole))


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream", "v3", "av3"])
async def test_callbacks_see_each_token_once(model: ChatMiniCPM, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [thoughts_and_text()]
    listener = Listener()
    config: Any = {"callbacks": [listener]}
    model.thinking = True
    if how.endswith("invoke"):
        model.streaming = True
    if how == "invoke":
        model.invoke("Hello", config)
    elif how == "stream":
        list(model.stream("Hello", config))
    elif how == "ainvoke":
        await model.ainvoke("Hello", config)
    elif how == "astream":
        assert [each async for each in model.astream("Hello", config)]
    elif how == "v3":
        list(model.stream_events("Hello", config, version="v3"))
    else:
        stream = await model.astream_events("Hello", config, version="v3")
        assert [each async for each in stream]
        assert stream._producer_task is not None
        await stream._producer_task  # which tells of the end after the last event
    assert [token for token in listener.tokens if token] == ["Hel", "lo"]
    assert "".join(listener.reasoning) == "Let me think."
    assert len(listener.ids) == 1
    (result,) = listener.results
    assert result.text == "Hello"
    assert result.usage_metadata == USAGE
    assert result.id == listener.ids.pop()


async def test_the_old_events_give_each_token_once(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [streamed(chunk("Hel"), chunk("lo"), chunk(finish="stop"))]
    events_seen: list[Any] = [each async for each in model.astream_events("Hello", version="v2")]
    texts = [each["data"]["chunk"].content for each in events_seen if each["event"] == "on_chat_model_stream"]
    assert [text for text in texts if text] == ["Hel", "lo"]


async def test_stream_hooks_call_back_themselves_where_they_are_given_a_run(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    """Some callers use `_stream` directly, with a run manager: then nobody else tells the handlers."""
    from uuid import uuid4

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.messages import HumanMessage

    server.answers[:] = [streamed(chunk("Hel"), chunk("lo"), chunk(finish="stop"))]
    told, atold = Listener(), AsyncListener()
    common: Any = {"run_id": uuid4(), "inheritable_handlers": []}
    list(model._stream([HumanMessage("x")], run_manager=CallbackManagerForLLMRun(handlers=[told], **common)))
    manager = AsyncCallbackManagerForLLMRun(handlers=[atold], **common)
    assert [each async for each in model._astream([HumanMessage("x")], run_manager=manager)]
    assert [token for token in told.tokens if token] == [token for token in atold.tokens if token] == ["Hel", "lo"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_native_events(model: ChatMiniCPM, server: ScriptedServer, asynchronous: bool) -> None:
    server.answers[:] = [thoughts_and_text()]
    model.thinking = True
    if asynchronous:
        stream: Any = await model.astream_events("Hello", version="v3")
        seen = [each async for each in stream]
        message = await stream.output
    else:
        stream = model.stream_events("Hello", version="v3")
        assert isinstance(stream, chat_model_stream.ChatModelStream)
        seen = list(stream)
        message = stream.output
    assert_valid_event_stream(seen)
    assert [each["event"] for each in seen] == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-delta",
        "content-block-finish",
        "content-block-start",
        "content-block-delta",
        "content-block-delta",
        "content-block-finish",
        "message-finish",
    ]
    assert isinstance(message, AIMessage)
    assert message.text == "Hello"
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]
    assert message.additional_kwargs == {"reasoning_content": "Let me think."}
    assert message.response_metadata == {**METADATA, "output_version": "v1"}
    assert message.usage_metadata == USAGE


def test_native_events_and_the_bridge_from_chunks_agree(
    model: ChatMiniCPM, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """langchain-core makes events from chunks where the private hook is not there."""
    server.answers[:] = [thoughts_and_text()]
    model.thinking = True
    native = model.stream_events("Hello", version="v3").output
    monkeypatch.setattr(type(model), "_stream_chat_model_events", None)
    stream = model.stream_events("Hello", version="v3")
    assert_valid_event_stream(list(stream))
    bridged = stream.output
    assert native.content_blocks == bridged.content_blocks
    assert native.usage_metadata == bridged.usage_metadata
    assert native.response_metadata == bridged.response_metadata
    assert native.additional_kwargs == bridged.additional_kwargs


def test_native_events_of_tool_calls(model: ChatMiniCPM, server: ScriptedServer) -> None:
    second = {"index": 1, "id": "call-2", "function": {"name": "wait", "arguments": '{"s": '}}
    server.answers[:] = [
        streamed(
            chunk("First. "),
            chunk(tool_calls=[{"index": 0, "id": "call-1", "function": {"name": "look", "arguments": '{"a"'}}]),
            chunk(tool_calls=[second]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
            chunk("Then."),
            chunk(finish="length"),
        )
    ]
    stream = model.stream_events("Hello", version="v3")
    seen = list(stream)
    assert_valid_event_stream(seen)
    message = stream.output
    assert [(each["name"], each["args"]) for each in message.tool_calls] == [("look", {"a": 1})]
    assert [(each["name"], each["args"]) for each in message.invalid_tool_calls] == [("wait", '{"s": ')]
    assert [block["type"] for block in message.content_blocks] == ["text", "tool_call", "invalid_tool_call"]
    assert message.text == "First. Then."


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_handler_of_events_makes_invoke_run_over_them(
    model: ChatMiniCPM, server: ScriptedServer, asynchronous: bool
) -> None:
    server.answers[:] = [thoughts_and_text()]
    model.thinking = True
    listener = EventListener()
    config: Any = {"callbacks": [listener]}
    answer = await model.ainvoke("Hello", config) if asynchronous else model.invoke("Hello", config)
    assert answer.text == "Hello"
    assert_valid_event_stream(listener.events)
    assert server.requests[-1].json["stream"] is True


def test_an_empty_answer_is_an_answer(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [streamed(chunk(finish="stop"))]
    assert merged(list(model.stream("Hello"))).content == ""
    stream = model.stream_events("Hello", version="v3")
    assert_valid_event_stream(list(stream))
    assert stream.output.text == ""


def test_usage_is_left_out_where_it_is_not_wanted(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [thoughts_and_text()]
    list(model.stream("Hello"))
    list(model.stream("Hello", stream_usage=False))
    first, second = (request.json for request in server.requests)
    assert first["stream_options"] == {"include_usage": True}
    assert "stream_options" not in second


async def test_a_stream_has_one_answer(model: ChatMiniCPM, server: ScriptedServer) -> None:
    with pytest.raises(errors.UnsupportedFeatureError):
        list(model.stream("Hello", n=2))
    with pytest.raises(errors.UnsupportedFeatureError):
        assert [each async for each in model.astream("Hello", n=2)]
    assert not server.requests


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_stream_that_is_cut_keeps_what_came(
    model: ChatMiniCPM, server: ScriptedServer, asynchronous: bool
) -> None:
    server.answers[:] = [events([sse(chunk("Hel")), sse(chunk("lo")), Close()], end=False)]
    listener = Listener()
    model.callbacks = [listener]
    with pytest.raises(errors.StreamInterruptedError) as caught:
        assert await astreamed(model) if asynchronous else list(model.stream("Hello"))
    assert listener.tokens == ["Hel", "lo"]
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello"
    (failure,) = listener.failures
    assert failure[0] is caught.value
    assert failure[1].generations[0][0].text == "Hello", "a trace shows what came"


@pytest.mark.parametrize("how", ["stream", "v3 hook"])
def test_leaving_a_stream_ends_its_request(model: ChatMiniCPM, server: ScriptedServer, how: str) -> None:
    from langchain_core.messages import HumanMessage

    server.answers[:] = [events([sse(chunk("Hel")), Wait()], end=False)]
    stream: Any = model.stream("Hello") if how == "stream" else model._stream_chat_model_events([HumanMessage("x")])
    next(stream)
    stream.close()
    assert server.wait_until_closed()


@pytest.mark.parametrize("how", ["stream", "v3 hook"])
async def test_leaving_an_asynchronous_stream_ends_its_request(
    model: ChatMiniCPM, server: ScriptedServer, how: str
) -> None:
    from langchain_core.messages import HumanMessage

    server.answers[:] = [events([sse(chunk("Hel")), Wait()], end=False)]
    stream: Any = model._astream([HumanMessage("x")])
    if how == "v3 hook":
        stream = model._astream_chat_model_events([HumanMessage("x")])
    await anext(stream)
    await stream.aclose()
    assert server.wait_until_closed()


async def test_an_asynchronous_stream_that_is_only_left_ends_its_request(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    """As most people leave one: by `break`."""
    server.answers[:] = [events([sse(chunk("Hel")), Wait()], end=False)]
    async for _ in model.astream("Hello"):
        break
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_cancelling_a_stream_ends_its_request_and_is_not_swallowed(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    server.answers[:] = [events([sse(chunk("Hel")), Wait()], end=False)]
    began = asyncio.Event()

    async def read() -> None:
        async for _ in model.astream("Hello"):
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.wait_until_closed)


def test_a_server_that_repeats_itself_is_counted_once(model: ChatMiniCPM, server: ScriptedServer) -> None:
    """Some repeat the finish reason, and report usage so far with each piece."""
    pieces = [chunk("Hel"), chunk("lo"), chunk(finish="stop"), chunk(finish="stop")]
    for count, piece in enumerate(pieces, 1):
        piece["usage"] = {"prompt_tokens": 9, "completion_tokens": count, "total_tokens": 9 + count}
    server.answers[:] = [streamed(*pieces)]
    full = merged(list(model.stream("Hello")))
    assert full.response_metadata["finish_reason"] == "stop"
    assert full.response_metadata["model_name"] == "MiniCPM-V-4.6-1B"
    assert full.usage_metadata == USAGE


@pytest.mark.parametrize("version", [None, "v1"])
def test_a_refusal_streams(model: ChatMiniCPM, server: ScriptedServer, version: str | None) -> None:
    model.output_version = version
    server.answers[:] = [streamed(chunk(refusal="I "), chunk(refusal="won't."), chunk(finish="stop"))]
    full = merged(list(model.stream("Hello")))
    (block,) = full.content_blocks
    assert (block["type"], block.get("refusal")) == ("refusal", "I won't.")


def test_thoughts_between_texts_are_blocks_of_their_own(model: ChatMiniCPM, server: ScriptedServer) -> None:
    model.thinking = True
    pieces = [chunk(reasoning="Hm."), chunk("Hel"), chunk(reasoning="Ah."), chunk("lo"), chunk(finish="stop")]
    server.answers[:] = [streamed(*pieces)]
    stream = model.stream_events("Hello", version="v3")
    assert_valid_event_stream(list(stream))
    assert [(block["type"], block.get("text") or block.get("reasoning")) for block in stream.output.content_blocks] == [
        ("reasoning", "Hm."),
        ("text", "Hello"),
        ("reasoning", "Ah."),
    ]


def test_what_says_nothing_makes_no_chunk() -> None:
    assert chunk_writer(v1=False, model="m")(Delta(logprobs={"content": []})) is None


def test_a_second_choice_that_nobody_asked_for_does_not_mix_into_the_first() -> None:
    write = chunk_writer(v1=False, model="m")
    pieces = [write(Delta("one")), write(Delta("two", index=1)), write(Delta(reasoning="two", index=1))]
    assert [piece and piece.text for piece in pieces] == ["one", None, None]
