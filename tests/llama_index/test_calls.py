"""The eight calls over real HTTP: what is sent, what comes back, what is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.schema import ImageDocument

from llama_index_minicpm import MiniCPM
from minicpm_core import (
    AuthenticationError,
    ContextOverflowError,
    InvalidInputError,
    MalformedReplyError,
    StreamInterruptedError,
    UnsupportedContentError,
)
from tests.llama_index.support import (
    CHATS,
    COMPLETES,
    KEY,
    METHODS,
    PICTURE,
    PICTURE_BASE64,
    PICTURE_URL,
    STREAMS,
    USAGE,
    answer,
    ask,
    sent,
    streamed,
    text_of,
    user,
)
from tests.support.server import Close, ScriptedServer, chunk, completion, events, sse, whole

if TYPE_CHECKING:
    from pathlib import Path

HELLO = (chunk("Hel"), chunk("lo."))
THOUGHT = (chunk(reasoning="hm"), chunk(reasoning=" so"), chunk("Hello."))


def answer_in_kind(server: ScriptedServer, method: str, *chunks: dict[str, Any], **message: Any) -> None:
    server.answers = [streamed(*(chunks or HELLO)) if method in STREAMS else whole(answer(**message))]


@pytest.mark.parametrize("method", METHODS)
async def test_every_call_answers(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    responses = await ask(llm, method)
    assert text_of(responses[-1]) == "Hello."
    assert responses[-1].raw["usage"] == USAGE
    assert responses[-1].additional_kwargs == USAGE
    assert sent(server)["messages"] == [{"role": "user", "content": "Hello?"}]
    assert sent(server).get("stream", False) is (method in STREAMS)


@pytest.mark.parametrize("method", METHODS)
async def test_nothing_is_sent_as_null(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    await ask(llm, method, temperature=None, tools=None, stop=None)
    assert None not in sent(server).values()
    assert "tools" not in sent(server)


@pytest.mark.parametrize("method", METHODS)
async def test_settings_of_a_call_win_over_those_of_the_object(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    answer_in_kind(server, method)
    llm.temperature, llm.max_tokens, llm.extra_body = 0.9, 100, {"min_p": 0.1}
    await ask(llm, method, model="other", temperature=0, thinking=True, extra_body={"top_k": 3}, timeout=5)
    body = sent(server)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other", 0, 100)
    assert (body["top_k"], body["min_p"]) == (3, 0.1)
    assert body["chat_template_kwargs"] == {"enable_thinking": True}


@pytest.mark.parametrize("method", METHODS)
async def test_none_leaves_a_setting_out_of_a_call(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    llm.temperature, llm.max_tokens = 0.9, 100
    await ask(llm, method, temperature=None)
    assert "temperature" not in sent(server)
    assert sent(server)["max_tokens"] == 100


@pytest.mark.parametrize("method", METHODS)
async def test_an_unknown_setting_of_a_call_is_refused_with_the_nearest(method: str, llm: MiniCPM) -> None:
    with pytest.raises(InvalidInputError, match=r"Unknown option 'temprature'\. Did you mean 'temperature'\?"):
        await ask(llm, method, temprature=1)


@pytest.mark.parametrize("method", STREAMS)
async def test_chunks_join_to_the_answer(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    responses = await ask(llm, method)
    assert [response.delta for response in responses] == ["Hel", "lo.", ""]
    assert [text_of(response) for response in responses] == ["Hel", "Hello.", "Hello."]


@pytest.mark.parametrize("method", METHODS)
async def test_thoughts_are_never_in_the_text(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method, *THOUGHT, reasoning="hm so")
    responses = await ask(llm, method, thinking=True)
    assert text_of(responses[-1]) == "Hello."
    assert responses[-1].raw["choices"][0]["message"]["reasoning"] == "hm so"
    if method in STREAMS:
        assert [response.additional_kwargs.get("thinking_delta") for response in responses[:3]] == ["hm", " so", None]


@pytest.mark.parametrize("method", STREAMS)
async def test_of_several_choices_the_first_is_streamed_and_all_are_in_raw(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    def second(chunk_of_it: dict[str, Any]) -> dict[str, Any]:
        return {**chunk_of_it, "choices": [{**choice, "index": 1} for choice in chunk_of_it["choices"]]}

    server.answers = [streamed(chunk("Hel"), second(chunk("Bye.")), chunk("lo."), second(chunk(finish="stop")))]
    responses = await ask(llm, method, n=2)
    assert [response.delta for response in responses] == ["Hel", "lo.", ""]
    choices = responses[-1].raw["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["Hello.", "Bye."]


@pytest.mark.parametrize("method", CHATS)
async def test_a_message_has_its_thoughts_as_a_block(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method, *THOUGHT, reasoning="hm so")
    message = (await ask(llm, method, thinking=True))[-1].message
    assert [(type(block).__name__) for block in message.blocks] == ["ThinkingBlock", "TextBlock"]
    assert message.blocks[0].content == "hm so"


@pytest.mark.parametrize("method", CHATS)
async def test_thought_tags_are_split_off(method: str, server: ScriptedServer) -> None:
    """A server without a reasoning parser leaves them in the text."""
    llm = MiniCPM(base_url=server.base_url, backend="vllm", model="MiniCPM-V-4.6-Thinking", max_retries=0)
    chunks = (chunk("hm so</thi"), chunk("nk>\n\nHel"), chunk("lo."))
    answer_in_kind(server, method, *chunks, text="hm so</think>\n\nHello.")
    message = (await ask(llm, method))[-1].message
    assert message.content == "Hello."
    assert message.blocks[0].content == "hm so"


@pytest.mark.parametrize("method", CHATS)
async def test_tool_calls_come_back(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    function = {"name": "add", "arguments": '{"a": 1}'}
    call = {"index": 0, "id": "c1", "type": "function", "function": function}
    answer_in_kind(server, method, chunk(tool_calls=[call]), text="", tool_calls=[call])
    message = (await ask(llm, method))[-1].message
    assert message.blocks == [ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": 1})]


@pytest.mark.parametrize("method", CHATS)
async def test_pictures_are_sent_as_data_urls(
    method: str, llm: MiniCPM, server: ScriptedServer, tmp_path: Path
) -> None:
    answer_in_kind(server, method)
    file = tmp_path / "a.dat"  # the bytes decide, not the name
    file.write_bytes(PICTURE)
    blocks = [
        TextBlock(text="Look"),
        ImageBlock(image=PICTURE),
        ImageBlock(path=file),
        ImageBlock(url=PICTURE_URL, detail="low"),
    ]
    await ask(llm, method, [user(blocks)])
    picture = {"type": "image_url", "image_url": {"url": PICTURE_URL}}
    detailed = {"type": "image_url", "image_url": {"url": PICTURE_URL, "detail": "low"}}
    expected = [{"type": "text", "text": "Look"}, picture, picture, detailed]
    assert sent(server)["messages"][0]["content"] == expected


@pytest.mark.parametrize("method", COMPLETES)
async def test_image_documents_follow_the_prompt(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    answer_in_kind(server, method)
    await ask(llm, method, "Look", image_documents=[ImageDocument(image=PICTURE_BASE64)])
    picture = {"type": "image_url", "image_url": {"url": PICTURE_URL}}
    assert sent(server)["messages"][0]["content"] == [{"type": "text", "text": "Look"}, picture]


@pytest.mark.parametrize("method", METHODS)
async def test_private_addresses_are_refused_before_anything_is_sent(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    picture = ImageBlock(url="http://127.0.0.1:9/a.png")
    given = {"image_documents": [picture]} if method in COMPLETES else {}
    with pytest.raises(UnsupportedContentError, match=r"127\.0\.0\.1"):
        await ask(llm, method, "Look" if method in COMPLETES else [user([picture])], **given)
    assert not server.requests


@pytest.mark.parametrize("method", COMPLETES)
async def test_a_prompt_is_formatted_unless_it_is(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    llm.completion_to_prompt = lambda prompt: f"<{prompt}>"
    for formatted, expected in ((False, "<Hello?>"), (True, "Hello?")):
        answer_in_kind(server, method)
        await ask(llm, method, formatted=formatted)
        assert sent(server)["messages"] == [{"role": "user", "content": expected}]


@pytest.mark.parametrize("method", METHODS)
async def test_the_system_prompt_is_left_to_llamaindex(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    """As with every LlamaIndex LLM, `predict` and what builds on it send it; the plain calls do not."""
    answer_in_kind(server, method)
    llm.system_prompt = "Be brief."
    await ask(llm, method)
    assert [message["role"] for message in sent(server)["messages"]] == ["user"]


@pytest.mark.parametrize("method", METHODS)
async def test_the_servers_refusal_is_raised_by_the_call_itself(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    """Also of a stream: not at its first chunk, where nobody looks for it."""
    server.answers = [whole({"error": {"message": f"bad key {KEY}", "code": 401}}, status=401)]
    given = "Hello?" if method in COMPLETES else [user()]
    with pytest.raises(AuthenticationError) as caught:  # noqa: PT012 - what is awaited differs
        result = getattr(llm, method)(given)
        if method.startswith("a"):
            await result
    assert KEY not in str(caught.value) + repr(caught.value) + caught.value.body


@pytest.mark.parametrize("method", METHODS)
async def test_a_prompt_that_is_too_long_is_a_typed_error(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    text = (
        "This model's maximum context length is 512 tokens. However, you requested 16 output tokens and your prompt "
        "contains at least 497 input tokens, for a total of at least 513 tokens."
    )
    server.answers = [whole({"error": {"message": text, "type": "BadRequestError", "code": 400}}, status=400)]
    with pytest.raises(ContextOverflowError) as caught:
        await ask(llm, method)
    assert caught.value.n_ctx == 512


@pytest.mark.parametrize("method", STREAMS)
async def test_a_cut_stream_raises_and_keeps_what_came(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [events([sse(chunk("Hel")), Close()], end=False)]
    with pytest.raises(StreamInterruptedError) as caught:
        await ask(llm, method)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "body",
    [b"<html>502 Bad Gateway</html>", b"", b'{"choices": []}', b'{"id": 1'],
    ids=["html", "empty", "none", "cut"],
)
async def test_an_answer_that_is_none_is_an_error(
    method: str, body: bytes, llm: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [whole(body, content_type="text/html")]
    with pytest.raises((MalformedReplyError, StreamInterruptedError)):
        await ask(llm, method)


@pytest.mark.parametrize("method", METHODS)
async def test_an_error_in_a_200_is_raised(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole({"error": {"message": "Unauthorized", "code": 401}})]
    with pytest.raises(AuthenticationError):
        await ask(llm, method)


@pytest.mark.parametrize("method", CHATS)
async def test_a_conversation_with_tools_and_their_pictures_is_rendered_whole(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    answer_in_kind(server, method)
    history = [
        ChatMessage(role=MessageRole.DEVELOPER, content="Be brief."),
        user("Plot it."),
        ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[ToolCallBlock(tool_call_id="c1", tool_name="plot", tool_kwargs={"x": 1})],
        ),
        ChatMessage(
            role=MessageRole.TOOL,
            blocks=[TextBlock(text="done"), ImageBlock(image=PICTURE)],
            additional_kwargs={"tool_call_id": "c1"},
        ),
    ]
    await ask(llm, method, history)
    call = {"id": "c1", "type": "function", "function": {"name": "plot", "arguments": '{"x": 1}'}}
    picture = {"type": "image_url", "image_url": {"url": PICTURE_URL}}
    assert sent(server)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Plot it."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "done", "tool_call_id": "c1"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<tool_response>\nOutput of tool plot:"},
                picture,
                {"type": "text", "text": "</tool_response>"},
            ],
        },
    ]


@pytest.mark.parametrize("method", METHODS)
async def test_clients_of_ones_own_are_used(method: str) -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if method in STREAMS:
            body = sse(chunk("Hello."), chunk(finish="stop"), "[DONE]")
            return httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json=completion())

    transport = httpx.MockTransport(reply)
    with httpx.Client(transport=transport) as client:
        async with httpx.AsyncClient(transport=transport) as async_client:
            llm = MiniCPM(
                base_url="http://nowhere.invalid/v1", backend="vllm", http_client=client, async_http_client=async_client
            )
            responses = await ask(llm, method)
    assert text_of(responses[-1]) == "Hello."
    assert [request.url.path for request in seen] == ["/v1/chat/completions"]
