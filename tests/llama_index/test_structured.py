"""Objects: how they are asked for on each server, what is read, and what is done with what does not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.bridge.pydantic import BaseModel, Field
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import PydanticProgramMode

from minicpm_core.errors import StructuredOutputError
from tests.llama_index.support import PICTURE, PICTURE_URL, answer, recorded, sent, streamed, tool_call, user
from tests.support.server import ScriptedServer, chunk, whole

if TYPE_CHECKING:
    from llama_index_minicpm import MiniCPM

FAMILY = ["structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict"]
WHOLE = FAMILY[:2]
STREAMED = FAMILY[2:]
ALBUM = '{"title": "Kid A", "year": 2000}'


class Album(BaseModel):
    """An album."""

    title: str
    year: int = Field(ge=1900)


KID_A = Album(title="Kid A", year=2000)
PROMPT = PromptTemplate("An album by {who}")


async def predicted(llm: MiniCPM, method: str, prompt: Any = PROMPT, cls: Any = Album, **args: Any) -> list[Any]:
    """All objects that one of the four forms gives; one, where it does not stream."""
    given = {"who": "Radiohead", **args}
    result = getattr(llm, method)(cls, prompt, **given)
    if method == "astructured_predict":
        return [await result]
    if method == "astream_structured_predict":
        return [each async for each in await result]
    return list(result) if "stream" in method else [result]


def written(method: str, *texts: str, finish: str = "stop") -> Any:
    """The answer of a server: some texts, in pieces where the method streams."""
    if "stream" in method:
        return streamed(*map(chunk, texts), finish=finish)
    return whole(answer("".join(texts), finish=finish))


# -- How it is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", FAMILY)
async def test_the_server_is_held_to_the_schema(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written(method, ALBUM)]
    llm.system_prompt = "Be brief."
    objects = await predicted(llm, method, llm_kwargs={"temperature": 0.25, "tool_choice": "auto"})
    assert objects[-1] == KID_A
    body = sent(server)
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["name"] == "Album"
    assert set(body["response_format"]["json_schema"]["schema"]["properties"]) == {"title", "year"}
    assert body["temperature"] == 0.25
    assert "tool_choice" not in body
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "An album by Radiohead"),
    ]


@pytest.mark.parametrize("method", FAMILY)
async def test_a_tool_call_is_demanded_where_functions_are_wanted(
    method: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    """LlamaIndex's own demands none where it streams, and loses the system prompt where it is asynchronous."""
    call = tool_call("Album", ALBUM)
    piece = chunk(tool_calls=[{"index": 0, **call}])
    server.answers = [streamed(piece) if "stream" in method else whole(answer("", tool_calls=[call]))]
    llm.pydantic_program_mode = PydanticProgramMode.FUNCTION
    llm.system_prompt = "Be brief."
    assert (await predicted(llm, method))[-1] == KID_A
    body = sent(server)
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["Album"]
    assert body["messages"][0]["content"] == "Be brief."


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize("system", ["", "Be brief."])
async def test_the_schema_is_told_where_nothing_is_enforced(
    method: str, system: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    """LlamaIndex's own doubles the braces of the schema."""
    server.answers = [written(method, ALBUM)]
    llm.pydantic_program_mode = PydanticProgramMode.LLM
    llm.system_prompt = system or None
    assert (await predicted(llm, method))[-1] == KID_A
    body = sent(server)
    assert {"response_format", "tools"}.isdisjoint(body)
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    told = json.dumps(body["messages"][0]["content"])
    assert system in told
    assert json.dumps(json.dumps(Album.model_json_schema()))[1:-1] in told


async def test_a_server_that_ignores_response_format_is_told_the_schema(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.backend = "transformers"
    server.answers = [written("", ALBUM)]
    assert llm.structured_predict(Album, PROMPT, who="Radiohead") == KID_A
    assert "response_format" not in sent(server)
    assert "JSON Schema" in sent(server)["messages"][0]["content"]


@pytest.mark.parametrize("method", FAMILY)
async def test_pictures_go_along(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written(method, ALBUM)]
    blocks = [TextBlock(text="Which album of {who}?"), ImageBlock(image=PICTURE)]
    prompt = ChatPromptTemplate([ChatMessage(role=MessageRole.USER, blocks=blocks)])
    assert (await predicted(llm, method, prompt))[-1] == KID_A
    text, picture = sent(server)["messages"][0]["content"]
    assert text["text"] == "Which album of Radiohead?"
    assert picture["image_url"]["url"] == PICTURE_URL


# -- What is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{ALBUM}\n```",
        f"Here it is: {ALBUM} I hope that helps.",
        f"{ALBUM}\n\n\n   \n",
        f"<think>\nWhich {{one}}?\n</think>\n\n{ALBUM}",
    ],
)
async def test_what_is_around_the_object_does_no_harm(
    method: str, text: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [written(method, text)]
    assert (await predicted(llm, method))[-1] == KID_A


async def test_an_object_in_the_text_will_do_where_a_call_was_demanded(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.pydantic_program_mode = PydanticProgramMode.FUNCTION
    server.answers = [written("", ALBUM)]
    assert llm.structured_predict(Album, PROMPT, who="Radiohead") == KID_A


# -- What does not fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize("bad", ['{"title": "Kid A", "year": 20}', "Kid A, of course.", '{"title": "Kid A"'])
async def test_what_does_not_fit_is_asked_for_once_more(
    method: str, bad: str, llm: MiniCPM, server: ScriptedServer
) -> None:
    server.answers = [written(method, bad), written("", ALBUM)]
    assert (await predicted(llm, method))[-1] == KID_A
    *_, said, told = sent(server)["messages"]
    assert (said["role"], said["content"]) == ("assistant", bad)
    assert told["role"] == "user"
    assert sent(server)["response_format"]["type"] == "json_schema"


async def test_the_validators_words_are_told(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written("", '{"title": "Kid A", "year": 20}'), written("", ALBUM)]
    llm.structured_predict(Album, PROMPT, who="Radiohead")
    assert "year: Input should be greater than or equal to 1900" in sent(server)["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("arguments", "roles"),
    [('{"title": "Kid A"}', ["assistant", "tool"]), ('{"title": ', ["assistant", "user"])],
)
async def test_a_call_that_does_not_fit_is_answered_as_a_call(
    arguments: str, roles: list[str], llm: MiniCPM, server: ScriptedServer
) -> None:
    """One that is not JSON goes back as text, since servers read the arguments of earlier turns."""
    llm.pydantic_program_mode = PydanticProgramMode.FUNCTION
    server.answers = [
        whole(answer("", tool_calls=[tool_call("Album", arguments)])),
        whole(answer("", tool_calls=[tool_call("Album", ALBUM)])),
    ]
    assert llm.structured_predict(Album, PROMPT, who="Radiohead") == KID_A
    assert [turn["role"] for turn in sent(server)["messages"]] == ["user", *roles]


@pytest.mark.parametrize("method", FAMILY)
async def test_what_never_fits_is_an_error_with_the_text(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written(method, "Kid"), written("", "Kid A, I said.")]
    with pytest.raises(StructuredOutputError, match="not the Album that was asked for") as caught:
        await predicted(llm, method)
    assert (caught.value.text, caught.value.truncated) == ("Kid A, I said.", False)
    assert "Kid A" not in str(caught.value)
    assert caught.value.problem


@pytest.mark.parametrize("method", FAMILY)
async def test_what_was_cut_off_is_not_asked_for_again(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written(method, '{"title": "Kid', finish="length"), written("", ALBUM)]
    with pytest.raises(StructuredOutputError, match="raise max_tokens") as caught:
        await predicted(llm, method)
    assert (caught.value.text, caught.value.truncated) == ('{"title": "Kid', True)
    assert sent(server)["messages"][-1]["content"] == "An album by Radiohead"


async def test_padding_that_was_cut_off_does_no_harm(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written("", ALBUM + "\n" * 40, finish="length")]
    assert llm.structured_predict(Album, PROMPT, who="Radiohead") == KID_A


# -- Streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", STREAMED)
async def test_an_object_grows(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written(method, "Here: ", '{"title"', ': "Kid', ' A", ', '"year": 2000', "}")]
    objects = await predicted(llm, method)
    seen = list(dict.fromkeys((each.title, each.year) for each in objects))
    assert seen == [("Kid", None), ("Kid A", None), ("Kid A", 2000)]
    assert isinstance(objects[-1], Album)


@pytest.mark.parametrize("method", STREAMED)
async def test_a_call_grows_as_well(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    llm.pydantic_program_mode = PydanticProgramMode.FUNCTION
    head = {"index": 0, "id": "c", "type": "function", "function": {"name": "Album", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": text}} for text in ('{"title": "Kid', ' A", "year": 2000}')]
    server.answers = [streamed(*(chunk(tool_calls=[piece]) for piece in (head, *pieces)), finish="tool_calls")]
    objects = await predicted(llm, method)
    assert list(dict.fromkeys(each.title for each in objects)) == ["Kid", "Kid A"]
    assert objects[-1] == KID_A


class Shelf(BaseModel):
    """A shelf, whose field has another name on the wire."""

    albums: list[Album] = Field(alias="Records")


async def test_names_on_the_wire_are_understood_before_the_end(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [streamed(chunk('{"Records": [{"title": "Kid'), chunk(f' A", "year": 2000}}, {ALBUM}]}}'))]
    first, *_, last = await predicted(llm, "stream_structured_predict", cls=Shelf)
    assert first.albums == [{"title": "Kid"}]
    assert last.albums == [KID_A, KID_A]


@pytest.mark.parametrize("method", FAMILY)
async def test_observers_are_told(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [written(method, ALBUM)]
    with recorded() as recorder:
        await predicted(llm, method)
    assert recorder.names[0] == "LLMStructuredPredictStartEvent"
    assert recorder.names[-1] == "LLMStructuredPredictEndEvent"
    assert recorder.events[-1].output == KID_A


# -- An LLM that answers with objects ----------------------------------------------------------------------------------


async def from_structured_llm(llm: MiniCPM, method: str, given: Any) -> list[Any]:
    result = getattr(llm.as_structured_llm(Album), method)(given, temperature=0.5)
    result = await result if method.startswith("a") else result
    if "stream" not in method:
        return [result]
    return [each async for each in result] if method.startswith("a") else list(result)


@pytest.mark.parametrize("method", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_a_structured_llm_chats(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    """Braces in messages are text; LlamaIndex's own takes them for variables."""
    server.answers = [written(method, ALBUM[:18], ALBUM[18:])]
    question = user([TextBlock(text="What is {this}?"), ImageBlock(image=PICTURE)])
    responses = await from_structured_llm(llm, method, [question])
    assert responses[-1].raw == KID_A
    assert json.loads(responses[-1].message.content) == json.loads(ALBUM)
    assert (len(responses) > 1) is ("stream" in method)
    text, picture = sent(server)["messages"][0]["content"]
    assert (text["text"], picture["image_url"]["url"]) == ("What is {this}?", PICTURE_URL)
    assert sent(server)["temperature"] == 0.5


@pytest.mark.parametrize("method", ["complete", "acomplete", "stream_complete", "astream_complete"])
async def test_a_structured_llm_completes(method: str, llm: MiniCPM, server: ScriptedServer) -> None:
    """LlamaIndex's own cannot stream completions."""
    server.answers = [written(method, ALBUM)]
    responses = await from_structured_llm(llm, method, "What is {this}?")
    assert responses[-1].raw == KID_A
    assert json.loads(responses[-1].text) == json.loads(ALBUM)
