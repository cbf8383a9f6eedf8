"""What LlamaIndex says to the model: its messages, blocks and image documents as the core's `Message`s.

Nothing is read, fetched or decoded here: a medium becomes a `Source`, which the core's client resolves (the
async one off the event loop).  The caller's objects are only looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
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
from llama_index.core.schema import ImageNode, MediaResource, Node, NodeWithScore

from minicpm_core.errors import InvalidInputError, UnsupportedContentError
from minicpm_core.media.sources import from_base64, from_path, from_url, from_value
from minicpm_core.parts import AudioSource, DocumentSource, ImageSource, Source, TextPart, VideoSampling, VideoSource
from minicpm_core.types import Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llama_index.core.base.llms.types import BaseRecursiveContentBlock, ChatMessage

    from minicpm_core.parts import Part

S = TypeVar("S", bound=Source)
_UNTITLED = "input_document"
"""What LlamaIndex calls a document that has no title."""

_ROLES: dict[MessageRole, str] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def to_core(messages: Sequence[ChatMessage]) -> list[Message]:
    """The conversation in the core's terms.

    Args:
        messages: As LlamaIndex holds them. They are not changed.

    Raises:
        UnsupportedContentError: A block of a kind that this version does not send.
        InvalidInputError: A block or a tool call that is not one.
    """
    return [_message(message) for message in messages]


def user_turn(prompt: str, images: Sequence[Any] | None) -> list[Message]:
    """A conversation of one user turn: the prompt, then the pictures.

    Args:
        prompt: The text.
        images: `ImageBlock`, `ImageDocument`, `ImageNode`, or any node or document with an `image_resource`.

    Raises:
        UnsupportedContentError: One of them has no picture, or its address cannot be used.
        InvalidInputError: The prompt is no text.
    """
    if not isinstance(prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"A prompt must be a string, not {type(prompt).__name__}.")
    if not images:
        return [Message("user", prompt)]
    text = (TextPart(prompt),) if prompt else ()
    return [Message("user", (*text, *(image_source(image) for image in images)))]


def image_source(image: Any) -> ImageSource:
    """The picture of a block, node or document, not yet read.

    Only fields that are meant for a picture are looked at, never `metadata`.

    Raises:
        UnsupportedContentError: There is no picture, or its address cannot be used.
    """
    if isinstance(image, NodeWithScore):
        image = image.node
    if isinstance(image, ImageBlock):
        return _source(image.image, image.path, image.url, image, detail=image.detail)
    if isinstance(image, ImageNode):
        return _source(image.image, image.image_path and Path(image.image_path), image.image_url, image)
    resource: Any = image.image_resource if isinstance(image, Node) else image
    if isinstance(resource, MediaResource):
        return _source(resource.data, resource.path, resource.url, image)
    raise UnsupportedContentError(
        f"{type(image).__name__} holds no picture: image_documents takes ImageBlock, ImageDocument, ImageNode and "
        "nodes or documents with an image_resource."
    )


def _source(data: Any, path: Any, url: Any, owner: object, *, detail: str | None = None) -> ImageSource:
    return _medium(ImageSource, data, path, url, owner, detail=detail)


def _medium(cls: type[S], data: Any, path: Any, url: Any, owner: object, **more: Any) -> S:
    """A source from the three places that LlamaIndex has for a medium, looked at in its order."""
    if isinstance(data, bytes | str):  # LlamaIndex keeps media as base64 text
        return from_base64(cls, data, **more)
    if data is not None:
        return from_value(cls, data, **more)
    if path:
        return from_path(cls, path, **more)
    if url:
        return from_url(cls, str(url), **more)
    raise UnsupportedContentError(f"{type(owner).__name__} holds no {cls.noun}: give it data, a path or a URL.")


@dataclass(slots=True)
class _Turn:
    """What the blocks of one message add up to."""

    parts: list[Part] = field(default_factory=list["Part"])
    reasoning: list[str] = field(default_factory=list[str])
    calls: list[ToolCall] = field(default_factory=list[ToolCall])

    def take(self, block: Any) -> None:
        for kind in type(block).__mro__:
            handler = _BLOCKS.get(kind)
            if handler is not None:
                handler(self, block)
                return
        raise UnsupportedContentError(f"{type(block).__name__} is a kind of block that this version does not know.")

    def text(self, block: TextBlock) -> None:
        self.parts.append(TextPart(block.text))

    def image(self, block: ImageBlock) -> None:
        self.parts.append(image_source(block))

    def thinking(self, block: ThinkingBlock) -> None:
        if block.content:
            self.reasoning.append(block.content)

    def tool_call(self, block: ToolCallBlock) -> None:
        self.calls.append(_call(block.tool_call_id, block.tool_name, block.tool_kwargs))

    def nested(self, block: BaseRecursiveContentBlock) -> None:
        for inner in block.nested_blocks:
            self.take(inner)

    def skip(self, block: CachePoint) -> None:
        """A hint for servers that cache prompts on request; MiniCPM's cache by themselves."""

    def video(self, block: VideoBlock) -> None:
        sampling = None if block.fps is None else VideoSampling(fps=block.fps)
        as_is = block.detail == "original"
        self.parts.append(
            _medium(VideoSource, block.video, block.path, block.url, block, sampling=sampling, as_is=as_is)
        )

    def audio(self, block: AudioBlock) -> None:
        self.parts.append(_medium(AudioSource, block.audio, block.path, block.url, block))

    def document(self, block: DocumentBlock) -> None:
        name = block.title if block.title != _UNTITLED else block.path and Path(block.path).name
        path = Path(block.path) if block.path else None  # a document's may be text
        self.parts.append(_medium(DocumentSource, block.data, path, block.url, block, name=name or None))


_BLOCKS: dict[type, Callable[[_Turn, Any], None]] = {
    TextBlock: _Turn.text,
    ImageBlock: _Turn.image,
    ThinkingBlock: _Turn.thinking,
    ToolCallBlock: _Turn.tool_call,
    CitableBlock: _Turn.nested,
    CitationBlock: _Turn.nested,
    CachePoint: _Turn.skip,
    AudioBlock: _Turn.audio,
    VideoBlock: _Turn.video,
    DocumentBlock: _Turn.document,
}


def _message(message: ChatMessage) -> Message:
    turn = _Turn()
    extra = message.additional_kwargs
    for block in _without_repeats(message.blocks) if extra.get("images") else message.blocks:
        turn.take(block)
    calls = turn.calls or [_tool_call(call) for call in extra.get("tool_calls") or ()]
    text_only = len(turn.parts) == 1 and isinstance(turn.parts[0], TextPart)
    return Message(
        role=_ROLES[MessageRole(message.role)],
        content=turn.parts[0].text if text_only else tuple(turn.parts),  # type: ignore[union-attr]
        name=extra.get("name"),
        tool_calls=tuple(calls),
        tool_call_id=extra.get("tool_call_id"),
        reasoning="\n".join(turn.reasoning) or None,
    )


def _without_repeats(blocks: Sequence[Any]) -> list[Any]:
    """LlamaIndex appends the pictures of `additional_kwargs["images"]` again whenever it checks the message."""
    kept: list[Any] = []
    for block in blocks:
        if not isinstance(block, ImageBlock) or block not in kept:
            kept.append(block)
    return kept


def _tool_call(call: Any) -> ToolCall:
    """A call as `additional_kwargs["tool_calls"]` has it: OpenAI's JSON, or its SDK's object of the same shape."""
    function = _get(call, "function")
    name = _get(function, "name")
    if not isinstance(name, str):
        raise InvalidInputError(
            f'additional_kwargs["tool_calls"] holds a {type(call).__name__} that is no tool call: expected '
            '{"id": …, "type": "function", "function": {"name": …, "arguments": …}}.'
        )
    return _call(_get(call, "id"), name, _get(function, "arguments"))


def _get(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return cast("Mapping[str, Any]", holder).get(name)
    return getattr(holder, name, None)


def _call(call_id: str | None, name: str, arguments: Any) -> ToolCall:
    """A call; one without an id gets its tool's name as id, as the integrations do that know no ids."""
    try:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"The arguments of the call of {name!r} are not JSON: {error}.") from error
    return ToolCall(call_id or name, name, text if arguments else "{}")
