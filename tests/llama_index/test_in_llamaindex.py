"""The places in LlamaIndex where people put an LLM: settings, predictions, query and chat engines, programs, agents."""

# LlamaIndex's engines and agents are typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportDeprecated=false

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import PromptTemplate, Settings, VectorStoreIndex, get_response_synthesizer
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.embeddings.mock_embed_model import MockEmbedding
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import ImageNode, MediaResource, Node, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool

from tests.llama_index.support import PICTURE, PICTURE_URL, answer, sent, streamed, tool_call, user
from tests.support.server import ScriptedServer, chunk, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llama_index_minicpm import MiniCPM

with_agents = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""LlamaIndex's agents use what Pydantic and its own workflows deprecate."""

PROMPT = PromptTemplate("Say {word}.")


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """LlamaIndex's default tokenizer would be downloaded."""
    settings: Any = Settings
    before = settings._tokenizer
    settings.tokenizer = str.split
    yield
    settings._tokenizer = before


def roles(server: ScriptedServer, number: int = -1) -> list[str]:
    return [message["role"] for message in sent(server, number)["messages"]]


def pictures(server: ScriptedServer, number: int = -1) -> list[str]:
    parts = [message["content"] for message in sent(server, number)["messages"] if isinstance(message["content"], list)]
    return [part["image_url"]["url"] for each in parts for part in each if part["type"] == "image_url"]


def test_it_can_be_the_llm_of_the_settings(llm: MiniCPM) -> None:
    settings: Any = Settings
    before = settings._llm
    try:
        Settings.llm = llm
        assert Settings.llm is llm
    finally:
        settings._llm = before


async def test_predictions_send_the_system_prompt(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.system_prompt = "Be brief."
    assert llm.predict(PROMPT, word="hello") == "Hello."
    assert await llm.apredict(PROMPT, word="hello") == "Hello."
    server.answers = [streamed(chunk("Hel"), chunk("lo."))]
    assert "".join(llm.stream(PROMPT, word="hello")) == "Hello."
    assert "".join([token async for token in await llm.astream(PROMPT, word="hello")]) == "Hello."
    for number in range(4):
        assert roles(server, number) == ["system", "user"]


def test_messages_to_prompt_is_not_used_for_a_chat_model(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.messages_to_prompt = lambda messages: "never"
    llm.predict(PROMPT, word="hello")
    assert sent(server)["messages"] == [{"role": "user", "content": "Say hello."}]


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate"])
def test_response_synthesizers_answer(mode: Any, llm: MiniCPM, server: ScriptedServer) -> None:
    synthesizer = get_response_synthesizer(llm=llm, response_mode=mode)
    nodes = [NodeWithScore(node=TextNode(text="The sky is green here."), score=1.0)]
    assert "Hello." in str(synthesizer.synthesize("What colour?", nodes))
    assert "The sky is green here." in str(sent(server)["messages"])


async def test_query_engines_answer_streamed_and_not(llm: MiniCPM, server: ScriptedServer) -> None:
    index = VectorStoreIndex([TextNode(text="The sky is green here.")], embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_query_engine(llm=llm)
    assert str(engine.query("What colour?")) == "Hello."
    assert str(await engine.aquery("What colour?")) == "Hello."
    server.answers = [streamed(chunk("Hel"), chunk("lo."))]
    answered: Any = index.as_query_engine(llm=llm, streaming=True).query("What colour?")
    assert "".join(answered.response_gen) == "Hello."
    assert "The sky is green here." in str(sent(server)["messages"])


@pytest.mark.skipif(
    "multimodal" not in inspect.signature(get_response_synthesizer).parameters,
    reason="the oldest version that is supported has no multimodal synthesizers",
)
@pytest.mark.parametrize("kind", ["node", "image node"])
def test_multimodal_query_engines_show_the_picture(
    kind: str, llm: MiniCPM, server: ScriptedServer, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PICTURE)
    node: Any = (
        Node(text_resource=MediaResource(text="a caption"), image_resource=MediaResource(path=file))
        if kind == "node"
        else ImageNode(text="a caption", image_path=str(file))
    )
    synthesizer = get_response_synthesizer(llm=llm, multimodal=True)
    query = QueryBundle("What colour?")
    assert str(synthesizer.synthesize(query, [NodeWithScore(node=node, score=1.0)])) == "Hello."
    assert pictures(server) == [PICTURE_URL]


async def test_chat_engines_remember_pictures_and_stream(llm: MiniCPM, server: ScriptedServer) -> None:
    memory = ChatMemoryBuffer.from_defaults(llm=llm, tokenizer_fn=str.split)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="Be brief.")
    memory.put(user([TextBlock(text="Look"), ImageBlock(image=PICTURE)]))
    assert str(engine.chat("What colour?")) == "Hello."
    server.answers = [streamed(chunk("Hel"), chunk("lo."))]
    assert "".join(engine.stream_chat("And now?").response_gen) == "Hello."
    stream = await engine.astream_chat("And now?")
    assert [token async for token in stream.async_response_gen()] == ["Hel", "lo."]
    assert roles(server) == ["system", "user", "user", "assistant", "user", "assistant", "user"]
    assert pictures(server) == [PICTURE_URL]


def look() -> list[Any]:
    """Take a picture."""
    return [TextBlock(text="taken"), ImageBlock(image=PICTURE)]


@with_agents
@pytest.mark.parametrize("streaming", [False, True])
async def test_function_agents_call_tools_and_see_their_pictures(
    streaming: bool, llm: MiniCPM, server: ScriptedServer
) -> None:
    call = tool_call("look", "{}", call="c1")
    if streaming:
        first = streamed(chunk(reasoning="hm"), chunk(tool_calls=[{"index": 0, **call}]), finish="tool_calls")
        server.answers = [first, streamed(chunk("It is "), chunk("red."))]
    else:
        server.answers = [whole(answer("", tool_calls=[call], reasoning="hm")), whole(answer("It is red."))]
    llm.thinking = True
    tools: list[Any] = [FunctionTool.from_defaults(look)]
    agent = FunctionAgent(llm=llm, tools=tools, system_prompt="Be brief.", streaming=streaming)
    handler = agent.run("What do you see?")
    thoughts = [event.thinking_delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
    assert str(await handler) == "It is red."
    assert [thought for thought in thoughts if thought] == (["hm"] if streaming else [])
    assert roles(server) == ["system", "user", "assistant", "tool", "user"]
    assert pictures(server) == [PICTURE_URL]
    assistant = sent(server)["messages"][2]
    assert [each["id"] for each in assistant["tool_calls"]] == ["c1"]


@with_agents
@pytest.mark.parametrize("streaming", [False, True])
async def test_react_agents_never_take_thoughts_for_the_answer(
    streaming: bool, llm: MiniCPM, server: ScriptedServer
) -> None:
    said = "Thought: I can answer.\nAnswer: red"
    if streaming:
        server.answers = [streamed(chunk(reasoning="Answer: blue"), chunk(said))]
    else:
        server.answers = [whole(answer(said, reasoning="Answer: blue"))]
    llm.thinking = True
    agent = ReActAgent(llm=llm, tools=[], streaming=streaming)
    message = ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="Colour?"), ImageBlock(image=PICTURE)])
    assert str(await agent.run(message)) == "red"
    assert pictures(server) == [PICTURE_URL]
