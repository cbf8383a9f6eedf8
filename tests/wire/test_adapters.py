"""Every recorded exchange over real HTTP through both adapters: whole and streamed, in both kinds of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessageChunk

from langchain_minicpm._chunks import chunk_writer
from llama_index_minicpm._responses import ChatReader
from minicpm_core.errors import APIError
from minicpm_core.protocol.stream import StreamDecoder
from tests.support.server import Answer as Bytes
from tests.support.server import ScriptedServer, events, whole
from tests.wire.adapters import KEY, STREAMS, WHOLE, Seen, of_chunks, of_responses
from tests.wire.cases import Case, answered, case_of, load_cases
from tests.wire.expected import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llama_index.core.base.llms.types import ChatResponse

_WHOLE = [case for case in load_cases() if not case.is_stream]
_STREAMS = [case for case in load_cases() if case.is_stream]
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


@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("name", ["tool_parallel_stream", "stop_stream"])
@pytest.mark.parametrize("folder", ["vllm", "llamacpp", "transformers"])
@pytest.mark.parametrize("way", STREAMS)
async def test_a_stream_in_pieces(way: str, folder: str, name: str, size: int, server: ScriptedServer) -> None:
    await _check(way, case_of(folder, name), server, size=size)


@pytest.mark.parametrize("case", [case for case in answered() if case.is_stream], ids=str)
@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
def test_the_translation_of_a_stream_that_comes_byte_by_byte(case: Case, v1: bool) -> None:
    """The cuts themselves are tested on the decoder; here its deltas go through what the adapters make of them."""
    decoder = StreamDecoder(case.headers, case.context)
    deltas = [delta for byte in case.body for delta in decoder.feed(bytes([byte]))] + decoder.finish()
    deltas = [delta for delta in deltas if not delta.index]
    expected = Seen(case.answers[:1], case.usage)
    write, reader = chunk_writer(v1=v1, model="m"), ChatReader()
    chunks = [chunk.message for delta in deltas if (chunk := write(delta)) is not None]
    assert of_chunks([chunk for chunk in chunks if isinstance(chunk, AIMessageChunk)]) == expected
    responses: list[ChatResponse] = [response for delta in deltas if (response := reader.read(delta)) is not None]
    assert of_responses(responses) == expected
