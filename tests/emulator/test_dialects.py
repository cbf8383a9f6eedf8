"""Each dialect has the shapes of the server that it imitates, as recorded from that server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.backends import backend_for_models_reply
from minicpm_core.emulator import DIALECTS
from tests.emulator.support import DIALECT_NAMES, INSTRUCT, THINKING, parsed, shape, tool

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory
    from tests.emulator.support import Stream

RECORDED = Path(__file__).parent / "recorded"
SERVERS = ("vllm", "llamacpp", "transformers")
WEATHER = tool("get_weather", "Current weather for a city", city={"type": "string"})
ON: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
OFF: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "thinking": ("Say hello.", ON),
    "cut": ("Count to fifty.", {**OFF, "max_tokens": 5}),
    "cut_in_thoughts": ("Say hello.", {**ON, "max_tokens": 3}),
    "call": ("What is the weather in Paris?", {**OFF, "tools": [WEATHER]}),
}


def course(stream: Stream) -> list[Any]:
    """The shapes of a stream's chunks, without repetitions."""
    shapes = [shape(chunk) for chunk in stream.chunks]
    return [one for one, before in zip(shapes, [None, *shapes], strict=False) if one != before]


@pytest.mark.parametrize("dialect", SERVERS)
@pytest.mark.parametrize("case", CASES)
def test_a_whole_answer_has_the_server_s_shape(asker_of: AskerFactory, dialect: str, case: str) -> None:
    asked, fields = CASES[case]
    recorded = json.loads((RECORDED / dialect / f"{case}.json").read_text(encoding="utf-8"))
    answer = asker_of(dialect=dialect).ask(asked, model=THINKING, **fields)
    assert shape(answer) == shape(recorded)
    assert answer["choices"][0]["finish_reason"] == recorded["choices"][0]["finish_reason"]


@pytest.mark.parametrize("dialect", SERVERS)
@pytest.mark.parametrize("case", ["thinking", "cut", "call"])
def test_a_stream_has_the_server_s_course(asker_of: AskerFactory, dialect: str, case: str) -> None:
    asked, fields = CASES[case]
    recorded = parsed((RECORDED / dialect / f"{case}.sse").read_bytes())
    stream = asker_of(dialect=dialect).stream(asked, model=THINKING, stream_options={"include_usage": True}, **fields)
    assert course(stream) == course(recorded)
    assert stream.done == recorded.done
    assert stream.finish_reasons == recorded.finish_reasons
    assert shape(stream.deltas[0]) == shape(recorded.deltas[0])


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
@pytest.mark.parametrize("model", [INSTRUCT, THINKING])
def test_a_stream_says_what_the_whole_answer_says(asker_of: AskerFactory, dialect: str, model: str) -> None:
    asker = asker_of(dialect=dialect)
    field = DIALECTS[asker.server.settings.dialect.name].reasoning_field
    whole = asker.ask("Say: one, two.", model=model)
    stream = asker.stream("Say: one, two.", model=model, stream_options={"include_usage": True})
    message = whole["choices"][0]["message"]
    assert stream.joined("content").strip() == message["content"].strip() == "one, two."
    assert stream.joined(field).strip() == (message.get(field) or "").strip()
    assert [chunk["usage"] for chunk in stream.chunks if "usage" in chunk][-1].items() <= whole["usage"].items()


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_a_thinking_model_thinks_unless_it_is_told_not_to(asker_of: AskerFactory, dialect: str) -> None:
    asker = asker_of(dialect=dialect)
    field = asker.server.settings.dialect.reasoning_field
    assert asker.message("Count to 2.", model=THINKING)[field]
    off: dict[str, Any] = {"reasoning_effort": "none"} if dialect == "ollama" else OFF
    assert not asker.message("Count to 2.", model=THINKING, **off).get(field)
    on: dict[str, Any] = {"reasoning_effort": "high"} if dialect == "ollama" else ON
    assert asker.message("Count to 2.", model=INSTRUCT, **on)[field]


@pytest.mark.parametrize(
    ("dialect", "reasoning", "content"),
    [
        ("vllm", "\n", "\n\n1 2"),
        ("modelbest", "\n", "\n\n1 2"),
        ("llamacpp", "\n", "1 2"),
        ("transformers", "", "1 2"),
        ("ollama", "", "1 2"),
    ],
)
def test_newlines_around_the_thoughts_are_the_server_s(
    asker_of: AskerFactory, dialect: str, reasoning: str, content: str
) -> None:
    asker = asker_of(dialect=dialect)
    field = asker.server.settings.dialect.reasoning_field
    message = asker.message("Count to 2.", model=THINKING)
    assert message["content"] == content
    assert message[field].endswith(f".{reasoning}")


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_a_client_can_tell_the_server_by_its_models(asker_of: AskerFactory, dialect: str) -> None:
    asker = asker_of(dialect=dialect)
    response = asker.http.get("/models")
    found = backend_for_models_reply(response.headers, response.json()["data"])
    assert found is not None
    assert found.name == ("vllm" if dialect == "modelbest" else dialect)
    assert INSTRUCT in {row["id"] for row in response.json()["data"]}


def test_the_hosted_dialect_offers_the_hosted_ids_alone(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="modelbest")
    assert {row["id"] for row in asker.http.get("/models").json()["data"]} == {
        "MiniCPM-V-4.6-1B",
        "MiniCPM-V-4.6-Thinking",
        "MiniCPM-O-4.5-9B",
        "MiniCPM-V-4.5-9B",
    }


def test_the_context_is_told_where_the_server_tells_it(asker_of: AskerFactory) -> None:
    vllm = asker_of(dialect="vllm", context=4096).http.get("/models").json()
    llama = asker_of(dialect="llamacpp", context=4096).http.get("/models").json()
    assert {row["max_model_len"] for row in vllm["data"]} == {4096}
    assert {row["meta"]["n_ctx"] for row in llama["data"]} == {4096}


def test_a_model_of_one_s_own_can_be_offered(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="vllm", models=["mine"])
    assert asker.ask("Count to 2.", model="mine")["model"] == "mine"
    assert asker.ask("Count to 2.", model=None)["model"] == "mine"
    assert asker.post("Count to 2.", model=INSTRUCT).status_code == 404


@pytest.mark.parametrize(("dialect", "header"), [("vllm", "uvicorn"), ("llamacpp", "llama.cpp"), ("ollama", None)])
def test_the_server_header_is_the_server_s(asker_of: AskerFactory, dialect: str, header: str | None) -> None:
    asker = asker_of(dialect=dialect)
    for response in (asker.post("x"), asker.post([]), asker.http.get("/models"), asker.http.get("/nowhere")):
        assert response.headers.get("server") == header


def test_requests_to_transformers_have_ids_of_their_own(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="transformers")
    ids = {asker.post("x").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


def test_usage_comes_in_a_stream_as_it_was_asked_for(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="vllm")
    without = asker.stream("Count to 3.")
    assert not [chunk for chunk in without.chunks if "usage" in chunk]
    every = asker.stream("Count to 3.", stream_options={"include_usage": True, "continuous_usage_stats": True})
    counts = [chunk["usage"]["completion_tokens"] for chunk in every.chunks]
    assert counts == [0, 1, 2, 3, 3, 3]
    assert every.chunks[-1]["choices"] == []
    transformers = asker_of(dialect="transformers").stream("Count to 3.")
    assert transformers.chunks[-1]["usage"]["completion_tokens"] == 3


def test_transformers_ignores_what_it_does_not_know_how_to_do(asker_of: AskerFactory) -> None:
    asker = asker_of(dialect="transformers")
    choice = {"type": "function", "function": {"name": "nothing"}}
    answer = asker.ask("Count to 3.", n=2, logprobs=True, tool_choice=choice, response_format={"type": "json_object"})
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["1 2 3"]
    assert answer["model"] == f"{INSTRUCT}@main"


def test_health_needs_no_key(asker_of: AskerFactory) -> None:
    asker = asker_of(api_key="sk-secret")
    assert asker.http.get(asker.server.base_url.removesuffix("/v1") + "/health").json() == {"status": "ok"}
