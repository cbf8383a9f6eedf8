"""LlamaIndex's messages as the core's: every role, every block, and nothing of the caller's changed."""

from __future__ import annotations

import base64
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.schema import Document, ImageDocument, ImageNode, MediaResource, Node, NodeWithScore, TextNode

from llama_index_minicpm._messages import image_source, to_core, user_turn
from minicpm_core import InvalidInputError, InvalidMediaError, Message, TextPart, ToolCall, UnsupportedContentError
from minicpm_core.parts import AudioSource, DocumentSource, VideoSampling, VideoSource
from tests.llama_index.support import PICTURE, PICTURE_BASE64, PICTURE_URL, sources, user

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("role", "core"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("chatbot", "assistant"),
        ("model", "assistant"),
        ("tool", "tool"),
        ("function", "tool"),
    ],
)
def test_every_role_has_its_place(role: str, core: str) -> None:
    (message,) = to_core([ChatMessage(role=MessageRole(role), content="Hello")])
    assert (message.role, message.content) == (core, "Hello")


def test_no_role_is_forgotten() -> None:
    messages = [ChatMessage(role=role, content="x") for role in MessageRole]
    assert len(to_core(messages)) == len(MessageRole)


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([], ()),
        ([TextBlock(text="a")], "a"),
        ([TextBlock(text="a"), TextBlock(text="b")], (TextPart("a"), TextPart("b"))),
        ([CitableBlock(title="t", source="s", content=[TextBlock(text="cited")])], "cited"),
        (
            [CitationBlock(cited_content=TextBlock(text="said"), source="s", title="t", additional_location_info={})],
            "said",
        ),
        ([TextBlock(text="a"), CachePoint(cache_control=CacheControl(type="ephemeral"))], "a"),
    ],
    ids=["nothing", "text", "texts", "citable", "citation", "cache point"],
)
def test_text_comes_from_every_block_that_has_some(blocks: list[Any], content: Any) -> None:
    (message,) = to_core([ChatMessage(role=MessageRole.USER, blocks=blocks)])
    assert message.content == content


def test_text_and_pictures_keep_their_order() -> None:
    blocks = [TextBlock(text="before"), ImageBlock(image=PICTURE), TextBlock(text="after")]
    (message,) = to_core([user(blocks)])
    kinds = [type(part).__name__ for part in message.parts]
    assert kinds == ["TextPart", "ImageSource", "TextPart"]


def test_thoughts_of_an_earlier_turn_are_its_reasoning() -> None:
    blocks = [ThinkingBlock(content="first"), ThinkingBlock(content="then"), TextBlock(text="so")]
    (message,) = to_core([ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)])
    assert message == Message("assistant", "so", reasoning="first\nthen")


def test_a_thought_without_content_is_none() -> None:
    (message,) = to_core([ChatMessage(role=MessageRole.ASSISTANT, blocks=[ThinkingBlock(), TextBlock(text="so")])])
    assert message.reasoning is None


# -- Tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"a": 1}, '{"a": 1}'), ('{"a":1}', '{"a":1}'), ({}, "{}"), ("", "{}"), ({"x": "é"}, '{"x": "é"}')],
)
def test_tool_call_blocks_keep_their_arguments(arguments: Any, text: str) -> None:
    block = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs=arguments)
    (message,) = to_core([ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])])
    assert message.tool_calls == (ToolCall("c1", "add", text),)


def test_a_call_without_an_id_has_its_tools_name_as_id() -> None:
    (message,) = to_core([ChatMessage(role=MessageRole.ASSISTANT, blocks=[ToolCallBlock(tool_name="add")])])
    assert message.tool_calls == (ToolCall("add", "add", "{}"),)


@pytest.mark.parametrize(
    "call",
    [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}},
        SimpleNamespace(id="c1", function=SimpleNamespace(name="add", arguments='{"a": 1}')),
    ],
    ids=["json", "arguments as an object", "an SDK's object"],
)
def test_calls_in_additional_kwargs_are_read(call: Any) -> None:
    message = ChatMessage(role=MessageRole.ASSISTANT, additional_kwargs={"tool_calls": [call]})
    assert to_core([message])[0].tool_calls == (ToolCall("c1", "add", '{"a": 1}'),)


def test_a_call_that_is_given_twice_is_sent_once() -> None:
    call = {"id": "c1", "function": {"name": "add", "arguments": "{}"}}
    block = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={})
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[block], additional_kwargs={"tool_calls": [call]})
    assert to_core([message])[0].tool_calls == (ToolCall("c1", "add", "{}"),)


def test_what_is_no_call_is_refused() -> None:
    message = ChatMessage(role=MessageRole.ASSISTANT, additional_kwargs={"tool_calls": ["add"]})
    with pytest.raises(InvalidInputError, match="that is no tool call"):
        to_core([message])


def nested(depth: int) -> dict[str, Any]:
    """Objects in each other, deeper than JSON's writer goes."""
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


@pytest.mark.parametrize("value", [float("nan"), object(), nested(100_000)], ids=["nan", "object", "deep"])
def test_arguments_that_are_no_json_are_refused(value: Any) -> None:
    block = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": value})
    with pytest.raises(InvalidInputError, match="arguments of the call of 'add' are not JSON"):
        to_core([ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])])


@pytest.mark.parametrize("prompt", [None, 5, b"Look"])
@pytest.mark.parametrize("images", [None, [PICTURE_BASE64]])
def test_a_prompt_that_is_no_text_is_refused(prompt: Any, images: Any) -> None:
    with pytest.raises(InvalidInputError, match="A prompt must be a string"):
        user_turn(prompt, images)


def test_a_tools_result_says_which_call_it_answers_and_keeps_its_pictures() -> None:
    blocks = [TextBlock(text="chart"), ImageBlock(image=PICTURE)]
    message = ChatMessage(
        role=MessageRole.TOOL, blocks=blocks, additional_kwargs={"tool_call_id": "c1", "name": "plot"}
    )
    (result,) = to_core([message])
    assert (result.role, result.tool_call_id, result.name) == ("tool", "c1", "plot")
    assert [source.kind for source in sources(result)] == ["base64"]


# -- Pictures --------------------------------------------------------------------------------------------------------


def test_bytes_travel_as_the_base64_that_llamaindex_made_of_them() -> None:
    block = ImageBlock(image=PICTURE)
    source = image_source(block)
    assert source.kind == "base64"
    assert source.value is block.image
    value: Any = source.value
    assert base64.b64decode(value) == PICTURE


def test_a_path_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PICTURE)
    block = ImageBlock(path=file)
    file.unlink()
    assert (image_source(block).kind, image_source(block).value) == ("path", file)


def test_a_data_url_is_passed_on_as_it_is() -> None:
    source = image_source(ImageBlock(url=PICTURE_URL))
    assert (source.kind, source.value) == ("data_url", PICTURE_URL)


def test_an_open_file_is_passed_on_unread() -> None:
    file = BytesIO(PICTURE)
    file.seek(3)
    source = image_source(ImageBlock(image=file))
    assert (source.kind, source.value) == ("file", file)
    assert file.tell() == 3


def test_detail_is_passed_on_only_where_it_is_given() -> None:
    assert image_source(ImageBlock(image=PICTURE, detail="low")).detail == "low"
    assert image_source(ImageBlock(image=PICTURE)).detail is None


def test_a_web_address_is_never_fetched() -> None:
    assert image_source(ImageBlock(url="http://example.com/a.png")).kind == "url"


def test_a_file_url_is_refused() -> None:
    with pytest.raises(UnsupportedContentError, match="begins with file:"):
        image_source(ImageBlock(url="file:///etc/passwd"))


def test_an_image_block_without_a_picture_is_refused() -> None:
    with pytest.raises(UnsupportedContentError, match="ImageBlock holds no image"):
        to_core([user([ImageBlock()])])


def documents(file: Path) -> list[Any]:
    """A picture in everything that may hold one."""
    return [
        ImageDocument(image=PICTURE_BASE64),
        ImageDocument(image_path=str(file)),
        ImageNode(image=PICTURE_BASE64),
        ImageNode(image_path=str(file)),
        ImageNode(image_url=PICTURE_URL),
        ImageBlock(image=PICTURE),
        Document(text="a caption", image_resource=MediaResource(path=file)),
        Node(image_resource=MediaResource(data=PICTURE)),
        Node(image_resource=MediaResource.model_validate({"url": PICTURE_URL})),
        MediaResource(path=file),
        NodeWithScore(node=ImageNode(image=PICTURE_BASE64), score=0.5),
    ]


def test_image_documents_of_every_kind_have_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PICTURE)
    (message,) = user_turn("Look", documents(file))
    assert message.parts[0] == TextPart("Look")
    kinds = ["base64", "path", "base64", "path", "data_url", "base64", "path", "base64", "data_url", "path", "base64"]
    assert [source.kind for source in sources(message)] == kinds


@pytest.mark.parametrize("given", [TextNode(text="no picture"), Document(text="no picture"), "a.png", 7, ImageNode()])
def test_what_holds_no_picture_is_refused_by_name(given: Any) -> None:
    with pytest.raises(UnsupportedContentError, match=type(given).__name__):
        user_turn("Look", [given])


def test_a_path_in_metadata_is_never_read(tmp_path: Path) -> None:
    """Metadata comes from loaders and stores: whoever wrote it does not name files of this machine."""
    file = tmp_path / "secret.png"
    file.write_bytes(PICTURE)
    with pytest.raises(UnsupportedContentError):
        user_turn("Look", [ImageNode(metadata={"file_path": str(file)})])


def test_a_prompt_alone_is_one_plain_user_message() -> None:
    assert user_turn("Look", None) == user_turn("Look", []) == [Message("user", "Look")]


def test_pictures_need_no_prompt() -> None:
    (message,) = user_turn("", [ImageBlock(image=PICTURE)])
    assert [type(part).__name__ for part in message.parts] == ["ImageSource"]


def test_pictures_in_additional_kwargs_are_sent_once() -> None:
    """LlamaIndex appends them to the blocks each time that it validates the message."""
    message = ChatMessage("Look", additional_kwargs={"images": [ImageDocument(image=PICTURE_BASE64)]})
    ChatMessage.model_validate(message)
    assert len(message.blocks) > 2
    assert len(sources(to_core([message])[0])) == 1


# -- What is refused, what is left alone -------------------------------------------------------------------------------


def test_other_media_become_sources_of_their_own(tmp_path: Path) -> None:
    """Nothing is read."""
    path = tmp_path / "report.pdf"
    path.touch()
    blocks = [
        AudioBlock(audio=b"RIFF\0"),
        VideoBlock(video=b"\0\0\0 ftyp", fps=2),
        VideoBlock(path=path, detail="original"),
        DocumentBlock(data=b"%PDF-1.7", title="Report"),
        DocumentBlock(path=str(path)),
        VideoBlock(url="https://example.com/clip.mp4"),
    ]
    (message,) = to_core([user(blocks)])
    assert message.parts == (
        AudioSource("base64", b"UklGRgA="),
        VideoSource("base64", b"AAAAIGZ0eXA=", sampling=VideoSampling(fps=2)),
        VideoSource("path", path, as_is=True),
        DocumentSource("base64", b"JVBERi0xLjc=", name="Report"),
        DocumentSource("path", path, name="report.pdf"),
        VideoSource("url", "https://example.com/clip.mp4"),
    )


@pytest.mark.parametrize("block", [AudioBlock(), VideoBlock(), DocumentBlock()], ids=lambda block: type(block).__name__)
def test_an_empty_block_is_refused_by_name(block: Any) -> None:
    with pytest.raises(UnsupportedContentError, match=f"{type(block).__name__} holds no"):
        to_core([user([block])])


def test_a_block_of_ones_own_is_read_as_what_it_derives_from() -> None:
    class Shouted(TextBlock):
        """Text, said loudly."""

    message = user("quiet")
    message.blocks = [Shouted(text="LOUD")]
    assert to_core([message])[0].content == "LOUD"


def test_a_kind_of_block_that_nobody_knows_is_refused_by_name() -> None:
    class HologramBlock(BaseContentBlock):
        """Not of this time."""

    message = user("x")
    message.blocks = cast("Any", [HologramBlock()])
    with pytest.raises(UnsupportedContentError, match="HologramBlock"):
        to_core([message])


def test_a_text_path_is_refused() -> None:
    block = ImageBlock(image=PICTURE)
    block.image, block.path = None, "photo.png"  # type: ignore[assignment]
    with pytest.raises(InvalidMediaError, match=r"pathlib\.Path"):
        image_source(block)


def test_the_callers_messages_are_not_changed() -> None:
    file = BytesIO(PICTURE)
    history = [
        ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
        user([TextBlock(text="Look"), ImageBlock(image=PICTURE), ImageBlock(image=file)]),
        ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[
                ThinkingBlock(content="hm"),
                ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={"a": [1]}),
            ],
            additional_kwargs={"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
        ),
        ChatMessage(role=MessageRole.TOOL, content="1", additional_kwargs={"tool_call_id": "c"}),
    ]
    before = [message.model_dump() for message in history]
    to_core(history)
    assert [message.model_dump() for message in history] == before
    assert len(history) == 4
