"""Every recorded exchange over real HTTP through both adapters: whole and streamed, in both kinds of calls."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessageChunk

from langchain_minicpm._chunks import chunk_writer
from llama_index_minicpm._responses import ChatReader
from minicpm_core.errors import APIError
from minicpm_core.protocol.stream import StreamDecoder
from tests.support.server import Answer as Bytes
from tests.support.server import ScriptedServer, events, sse, whole
from tests.wire.adapters import KEY, STREAMS, WHOLE, Seen, of_chunks, of_responses
from tests.wire.cases import Case, answered, case_of, load_cases
from tests.wire.expected import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llama_index.core.base.llms.types import ChatResponse

_WHOLE = [case for case in load_cases() if not case.is_stream]
_STREAMS = [case for case in load_cases() if case.is_stream]
_AS_TEXT = {"vllm-noparser", "transformers-raw"}
_NO_MODELS: dict[str, Any] = {"object": "list", "data": []}


def _goes(way: str, case: Case) -> bool:
    """A LangChain stream has one answer: `n` is refused before anything is sent."""
    several = isinstance(case.expected, tuple) and len(case.expected) > 1
    return not (way.startswith("langchain") and several)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(models=_NO_MODELS) as running:
        yield running


def _answer(case: Case, *, size: int | None = None) -> Bytes:
    """The recorded answer; a stream in HTTP chunks of `size` bytes, or in one."""
    headers = {"x-request-id": case.headers["x-request-id"]} if "x-request-id" in case.headers else {}
    if not case.is_stream:
        content_type = case.headers.get("content-type", "text/plain")
        return whole(case.body, status=case.status, headers=headers, content_type=content_type)
    step = size or len(case.body)
    return events((case.body[at : at + step] for at in range(0, len(case.body), step)), headers=headers)


async def _check(way: str, case: Case, server: ScriptedServer, *, size: int | None = None) -> None:
    server.answers = [_answer(case, size=size)]
    ask = (WHOLE | STREAMS)[way]
    if isinstance(case.expected, Refusal):
        with pytest.raises(APIError) as caught:
            await ask(case, server.base_url)
        _check_kind(caught.value, case.expected)
        return
    seen = await ask(case, server.base_url)
    assert seen.answers == (case.answers if way.endswith("invoke") else case.answers[:1])
    assert seen.usage == case.usage


def _check_kind(error: APIError, expected: Refusal) -> None:
    """LangChain's errors are its own and ours at once; of ours, exactly the one that is expected."""
    ours = next(kind for kind in type(error).__mro__ if kind.__module__ == "minicpm_core.errors")
    assert ours is expected.error
    assert expected.says in str(error)
    assert KEY not in f"{error!r} {vars(error)}"
    assert getattr(error, "code", None) == expected.code
    known = {name: value for name, value in expected.attributes.items() if name != "model"}
    assert {name: getattr(error, name) for name in known} == known


@pytest.mark.parametrize("case", _WHOLE, ids=str)
@pytest.mark.parametrize("way", WHOLE)
async def test_a_whole_reply(way: str, case: Case, server: ScriptedServer) -> None:
    await _check(way, case, server)


@pytest.mark.parametrize(
    ("way", "case"), [(way, case) for way in STREAMS for case in _STREAMS if _goes(way, case)], ids=str
)
async def test_a_stream(way: str, case: Case, server: ScriptedServer) -> None:
    await _check(way, case, server)


@pytest.mark.parametrize("case", [case for case in _WHOLE if case.server == "llamacpp"], ids=str)
@pytest.mark.parametrize("way", STREAMS)
async def test_a_whole_reply_in_the_place_of_a_stream(way: str, case: Case, server: ScriptedServer) -> None:
    """Errors come so, and some servers answer so to every request."""
    await _check(way, case, server)


_IN_PIECES = [
    *(case_of(folder, name) for folder in ("vllm", "llamacpp") for name in ("tool_parallel_stream", "stop_stream")),
    *(case_of(folder, "tool_parallel_stream") for folder in ("transformers", "vllm-noparser", "transformers-raw")),
    case_of("transformers", "stop_stream"),
]


@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("case", _IN_PIECES, ids=str)
@pytest.mark.parametrize("way", STREAMS)
async def test_a_stream_in_pieces(way: str, case: Case, size: int, server: ScriptedServer) -> None:
    await _check(way, case, server, size=size)


@pytest.mark.parametrize("case", [case for case in answered() if case.is_stream], ids=str)
@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
def test_the_translation_of_a_stream_that_comes_byte_by_byte(case: Case, v1: bool) -> None:
    """The cuts themselves are tested on the decoder; here its deltas go through what the adapters make of them."""
    _check_translation(case, (bytes([byte]) for byte in case.body), v1=v1)


@pytest.mark.parametrize("case", [case for case in answered() if case.is_stream and case.server in _AS_TEXT], ids=str)
def test_the_translation_of_a_text_that_is_cut_at_every_character(case: Case) -> None:
    """Calls that come as text: two deltas, whose border falls anywhere in thoughts, text, tags and values."""
    events = [json.loads(line[6:]) for line in case.body.splitlines() if line.startswith(b"data: {")]
    said = [event for event in events if event["choices"] and event["choices"][0]["delta"].get("content")]
    text = "".join(event["choices"][0]["delta"]["content"] for event in said)
    others = [event for event in events if event not in said]
    for cut in range(len(text) + 1):
        halves = [copy.deepcopy(said[0]), copy.deepcopy(said[0])]
        for event, part in zip(halves, (text[:cut], text[cut:]), strict=True):
            event["choices"][0]["delta"]["content"] = part
        _check_translation(case, [sse(others[0], *halves, *others[1:], "[DONE]")], v1=bool(cut % 2))


def _check_translation(case: Case, pieces: Iterable[bytes], *, v1: bool) -> None:
    decoder = StreamDecoder(case.headers, case.context)
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)] + decoder.finish()
    deltas = [delta for delta in deltas if not delta.index]
    expected = Seen(case.answers[:1], case.usage)
    write, reader = chunk_writer(v1=v1, model="m"), ChatReader()
    chunks = [chunk.message for delta in deltas if (chunk := write(delta)) is not None]
    assert of_chunks([chunk for chunk in chunks if isinstance(chunk, AIMessageChunk)]) == expected
    responses: list[ChatResponse] = [response for delta in deltas if (response := reader.read(delta)) is not None]
    assert of_responses(responses) == expected
