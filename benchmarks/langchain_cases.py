"""LangChain: invoke, stream, v3 events, construction and parallel calls, beside the floor and the peers."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import httpx
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from measure import Figure, Row, in_turn, table
from server import ANSWER, CHUNKS, MODEL, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUESTION = [HumanMessage("What is in the picture?")]
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "What is in the picture?"}]}
HEADERS = {"authorization": "Bearer key"}
PARALLEL = 200
PARALLEL_DELAY_MS = 100


class Bare(BaseChatModel):
    """The framework's floor: answers that are there already."""

    def _generate(self, *_: Any, run_manager: Any = None, **__: Any) -> ChatResult:
        return _RESULT

    def _stream(self, *_: Any, run_manager: Any = None, **__: Any) -> Iterator[ChatGenerationChunk]:
        yield from _PIECES

    @property
    def _llm_type(self) -> str:
        return "bare"


_RESULT = ChatResult(generations=[ChatGeneration(message=AIMessage(ANSWER))])
_PIECES = [ChatGenerationChunk(message=AIMessageChunk(content=f" word{n}")) for n in range(CHUNKS)]


class BareEvents(Bare):
    """The floor of native v3 events: events that are there already."""

    def _stream_chat_model_events(self, *_: Any, run_manager: Any = None, **__: Any) -> Iterator[Any]:
        yield from _EVENTS


_EVENTS: list[dict[str, Any]] = [
    {"event": "message-start", "role": "ai"},
    {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
    *(
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": f" word{n}"}}
        for n in range(CHUNKS)
    ),
    {
        "event": "content-block-finish",
        "index": 0,
        "content": {"type": "text", "text": "".join(f" word{n}" for n in range(CHUNKS))},
    },
    {"event": "message-finish"},
]


def _drain(stream: Any) -> None:
    for _ in stream:
        pass


def _drain_of(stream: Callable[..., Any], *given: Any, **named: Any) -> None:
    _drain(stream(*given, **named))


def _minicpm(base_url: str) -> Any:
    from langchain_minicpm import ChatMiniCPM

    return ChatMiniCPM(model=MODEL, base_url=base_url, api_key="key", backend="vllm")


def _mistral(base_url: str) -> Any:
    from langchain_mistralai import ChatMistralAI

    return ChatMistralAI(model_name=MODEL, base_url=base_url, api_key="key", max_concurrent_requests=PARALLEL)


def _openai(base_url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=MODEL, base_url=base_url, api_key="key")


MODELS = {"ChatMiniCPM": _minicpm, "ChatMistralAI": _mistral, "ChatOpenAI": _openai}
"""Imported where they are made: what one has imported, the garbage collector walks through in another's turn."""


def _models(base_url: str) -> dict[str, Any]:
    return {name: make(base_url) for name, make in MODELS.items()}


def invoke(base_url: str) -> str:
    """One call, its answer at once."""
    client = httpx.Client()
    bare = Bare()
    cases: dict[str, Callable[[], Any]] = {
        "framework floor (an answer that is there)": lambda: bare.invoke(QUESTION),
        "raw httpx post + json": lambda: client.post(f"{base_url}/chat/completions", json=BODY, headers=HEADERS).json(),
    }
    for name, model in _models(base_url).items():
        cases[name] = partial(model.invoke, QUESTION)
    found = in_turn(cases, rounds=15, calls=60)
    floor, post = list(found.values())[:2]
    both = floor.median + post.median
    return _report("LangChain: `invoke`", "CPU us a call", found, base=both, what="floor + post", aim="at most 1.15")


def stream(base_url: str) -> str:
    """2,000 chunks."""
    client = httpx.Client()
    bare = Bare()
    body = BODY | {"stream": True}

    def post() -> Any:
        return client.stream("POST", f"{base_url}/chat/completions", json=body, headers=HEADERS)

    def raw_lines() -> None:
        with post() as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    json.loads(line[6:])

    def raw_bytes() -> None:
        with post() as response:
            _drain(response.iter_raw())

    cases: dict[str, Callable[[], Any]] = {
        "framework floor (chunks that are there)": lambda: _drain(bare.stream(QUESTION)),
        "raw httpx, lines + json": raw_lines,
        "raw httpx, bytes only": raw_bytes,
    }
    for name, model in _models(base_url).items():
        cases[name] = partial(_drain_of, model.stream, QUESTION)
    found = in_turn(cases, rounds=11, calls=1, units=CHUNKS)
    floor, lines = list(found.values())[:2]
    both = floor.median + lines.median
    return _report(
        "LangChain: `stream`", "CPU us a chunk", found, base=both, what="floor + raw httpx", aim="at most 1.4"
    )


def events(base_url: str) -> str:
    """2,000 chunks through `stream_events(version="v3")`."""
    client = httpx.Client()
    bare = BareEvents()
    body = BODY | {"stream": True}

    def raw_bytes() -> None:
        with client.stream("POST", f"{base_url}/chat/completions", json=body, headers=HEADERS) as response:
            _drain(response.iter_raw())

    cases: dict[str, Callable[[], Any]] = {
        "framework floor (events that are there)": lambda: _drain(bare.stream_events(QUESTION, version="v3")),
        "raw httpx, bytes only": raw_bytes,
    }
    for name, model in _models(base_url).items():
        cases[name] = partial(_drain_of, model.stream_events, QUESTION, version="v3")
    found = in_turn(cases, rounds=9, calls=1, units=CHUNKS)
    base = found["raw httpx, bytes only"].median
    aim = "at most 1.7, which is 10 us where raw httpx takes the 6 of the machine that the aim was set on"
    return _report("LangChain: v3 events", "CPU us an event", found, base=base, what="raw httpx", aim=aim)


def construction(base_url: str) -> str:
    """Making a model object."""
    cases: dict[str, Callable[[], Any]] = {name: partial(make, base_url) for name, make in MODELS.items()}
    found = in_turn(cases, rounds=7, calls=20)
    rows = [Row(name, figure) for name, figure in found.items()]
    return table("LangChain: construction", "CPU us", rows, ["Aim: at most 100 us for ChatMiniCPM."])


def parallel(server: Server) -> str:
    """200 `ainvoke` at once on a server that takes 100 ms."""
    base_url = server.base_url(PARALLEL_DELAY_MS)
    lines = [
        f"### LangChain: {PARALLEL} parallel `ainvoke` on a {PARALLEL_DELAY_MS} ms server",
        "",
        "| | wall ms, median (least) | CPU us a call | ratio to the delay |",
        "|---|---:|---:|---:|",
    ]
    processes = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)  # no peer's garbage to collect
    for name in MODELS:
        wall, cpu = processes.submit(_parallel_in_a_process, name, base_url).result()
        ratio = wall.median / PARALLEL_DELAY_MS
        lines.append(f"| {name} | {wall.median:,.0f} ({wall.least:,.0f}) | {cpu.median:,.0f} | {ratio:.2f} |")
    client = httpx.Client()
    one = lambda: client.post(f"{server.base_url()}/chat/completions", json=BODY, headers=HEADERS).json()  # noqa: E731
    post = in_turn({"post": one}, rounds=15, calls=60)["post"].median
    notes = [
        "Aim for ChatMiniCPM: within 2.5x of the delay, at most 700 us a call on a machine on which a raw httpx post,",
        f"one at a time, takes 300 us. Here it takes {post:,.0f}, so at most {post * 700 / 300:,.0f}.",
    ]
    return "\n".join([*lines, "", "- " + " ".join(notes), ""])


def _parallel_in_a_process(name: str, base_url: str) -> tuple[Figure, Figure]:
    return asyncio.run(_parallel(MODELS[name](base_url)))


async def _parallel(model: Any) -> tuple[Figure, Figure]:
    walls: list[float] = []
    cpus: list[float] = []
    for turn in range(16):
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(model.ainvoke(QUESTION) for _ in range(PARALLEL)))
        if turn:  # the first opens the connections
            walls.append((time.perf_counter() - wall) * 1e3)
            cpus.append((time.process_time() - cpu) * 1e6 / PARALLEL)
    return Figure(statistics.median(walls), min(walls)), Figure(statistics.median(cpus), min(cpus))


def _report(title: str, unit: str, found: dict[str, Figure], *, base: float, what: str, aim: str) -> str:
    ours = found["ChatMiniCPM"].median
    rows = [Row(name, figure, f"{figure.median / ours:.2f}x ours") for name, figure in found.items()]
    return table(title, unit, rows, [f"Ours / ({what}) = {ours / base:.2f} (aim: {aim})."])


def main(server: Server) -> list[str]:
    """All tables."""
    base_url = server.base_url()
    return [invoke(base_url), stream(base_url), events(base_url), construction(base_url), parallel(server)]
