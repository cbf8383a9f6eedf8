"""Against the emulator, in every server's dialect: text, pictures, thoughts, tools, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ImageBlock, TextBlock, ThinkingBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import ImageDocument
from llama_index.core.tools import FunctionTool

from llama_index_minicpm import MiniCPM
from minicpm_core import AuthenticationError, ConfigurationError, InvalidMediaError, ModelNotFoundError
from tests.llama_index.support import CHATS, COMPLETES, METHODS, STREAMS, ask, png, text_of, user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from minicpm_core.emulator.server import EmulatorServer

DIALECTS = ["modelbest", "vllm", "llamacpp", "transformers", "ollama"]
THINKER = "MiniCPM-V-4.6-Thinking"


@pytest.fixture
def llm(minicpm_emulator: EmulatorServer) -> Iterator[MiniCPM]:
    with MiniCPM(base_url=minicpm_emulator.base_url, api_key="any") as model:
        yield model


@pytest.fixture(params=DIALECTS)
def spoken(request: pytest.FixtureRequest, minicpm_emulator_factory: EmulatorFactory) -> MiniCPM:
    """A model on a server of each kind; which one it is, it finds out itself."""
    return MiniCPM(base_url=minicpm_emulator_factory(dialect=request.param).base_url, api_key="any")


@pytest.mark.parametrize("method", METHODS)
async def test_text(method: str, llm: MiniCPM) -> None:
    responses = await ask(llm, method, "Count to 5.")
    assert text_of(responses[-1]) == "1 2 3 4 5"
    assert (len(responses) > 2) is (method in STREAMS)
    assert responses[-1].raw["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("method", METHODS)
async def test_pictures(method: str, llm: MiniCPM, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png("blue", (64, 48)))
    if method in COMPLETES:
        responses = await ask(llm, method, "Which colour?", image_documents=[ImageDocument(image_path=str(file))])
    else:
        responses = await ask(llm, method, [user([TextBlock(text="Which colour?"), ImageBlock(path=file)])])
    assert "blue" in text_of(responses[-1])


@pytest.mark.parametrize("method", CHATS)
async def test_thoughts_in_every_dialect(method: str, spoken: MiniCPM) -> None:
    spoken.model = THINKER
    responses = await ask(spoken, method, "Count to 3.")
    thought, said = responses[-1].message.blocks
    assert isinstance(thought, ThinkingBlock)
    assert thought.content
    assert said == TextBlock(text="1 2 3")
    if method in STREAMS:
        deltas = [response.additional_kwargs.get("thinking_delta") for response in responses]
        assert "".join(delta or "" for delta in deltas) == thought.content


@pytest.mark.parametrize("method", METHODS)
async def test_no_thoughts_where_none_are_wanted(method: str, spoken: MiniCPM) -> None:
    spoken.model = THINKER
    responses = await ask(spoken, method, "Count to 3.", thinking=False)
    assert text_of(responses[-1]) == "1 2 3"
    assert "reasoning" not in responses[-1].raw["choices"][0]["message"]


async def test_a_conversation_is_remembered(llm: MiniCPM) -> None:
    history = [user("My name is Ada.")]
    history.append((await llm.achat(history)).message)
    history.append(user("What is my name?"))
    assert llm.chat(history).message.content == "Your name is Ada."


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It rains in {city}."


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's agents use what Pydantic deprecates
async def test_an_agent_calls_its_tool(streaming: bool, llm: MiniCPM) -> None:
    tools: list[Any] = [FunctionTool.from_defaults(weather)]
    agent = FunctionAgent(llm=llm, tools=tools, streaming=streaming)
    answer: Any = await cast("Any", agent).run("What is the weather in Paris?")
    assert "It rains in Paris." in str(answer)


class Reading(BaseModel):
    """What a picture shows."""

    colour: str
    width: int


def test_structured_prediction(llm: MiniCPM) -> None:
    reading = llm.structured_predict(Reading, PromptTemplate("colour: red, width: 7"))
    assert reading == Reading(colour="red", width=7)


@pytest.mark.parametrize("method", METHODS)
async def test_the_refusals_of_a_server(method: str, minicpm_emulator_factory: EmulatorFactory) -> None:
    server = minicpm_emulator_factory(dialect="vllm", api_key="sk-right")
    with pytest.raises(AuthenticationError):
        await ask(MiniCPM(base_url=server.base_url, backend="vllm", api_key="sk-wrong"), method)
    llm = MiniCPM(base_url=server.base_url, backend="vllm", api_key="sk-right", model="MiniCPM-X")
    with pytest.raises(ModelNotFoundError):
        await ask(llm, method)


@pytest.mark.parametrize("method", COMPLETES)
async def test_what_is_no_picture_is_refused_before_it_is_sent(
    method: str, llm: MiniCPM, minicpm_emulator: EmulatorServer
) -> None:
    with pytest.raises(InvalidMediaError):
        await ask(llm, method, "Look", image_documents=[ImageBlock(image=b"no picture at all")])
    assert "POST" not in [request.method for request in minicpm_emulator.requests]


@pytest.mark.parametrize("method", METHODS)
async def test_the_hosted_service_wants_a_key_before_anything_is_sent(method: str) -> None:
    with pytest.raises(ConfigurationError, match=r"pass api_key=… or set MINICPM_API_KEY"):
        await ask(MiniCPM(), method)
