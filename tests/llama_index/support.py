"""Pictures, answers and observers for the tests of the LlamaIndex adapter."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation import get_dispatcher
from PIL import Image

from minicpm_core.parts import ImageSource
from tests.support.server import chunk, completion, events, sse

if TYPE_CHECKING:
    from collections.abc import Generator

    from llama_index.core.instrumentation.events import BaseEvent

    from minicpm_core.types import Message
    from tests.support.server import Action, Answer

KEY = "sk-a-secret-of-the-tests"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def png(colour: str = "red", size: tuple[int, int] = (4, 3)) -> bytes:
    """A small picture."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = png()
PICTURE_BASE64 = base64.b64encode(PICTURE).decode()
PICTURE_URL = f"data:image/png;base64,{PICTURE_BASE64}"


def user(content: Any = "Hello?") -> ChatMessage:
    """A user message."""
    return ChatMessage(content, role=MessageRole.USER)


def sources(message: Message) -> list[ImageSource]:
    """The pictures of a core message."""
    return [part for part in message.parts if isinstance(part, ImageSource)]


def streamed(*payloads: dict[str, Any], finish: str = "stop", usage: dict[str, int] | None = USAGE) -> Answer:
    """A streamed answer of these chunks, ended properly."""
    tail: list[dict[str, Any]] = [chunk(finish=finish)]
    if usage:
        tail.append({**chunk(), "choices": [], "usage": usage})
    return events([sse(*payloads, *tail, "[DONE]")])


def endless(*more: Action) -> Answer:
    """A stream that begins, and then whatever is given."""
    return events([sse(chunk("one ")), sse(chunk("two ")), *more], end=False)


def answer(text: str = "Hello.", *, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole answer whose message has more fields."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return completion(choices=[choice], usage=USAGE)


def tool_call(name: str = "add", arguments: str = '{"a": 1, "b": 2}', *, call: str = "call_1") -> dict[str, Any]:
    """A tool call as servers write it."""
    return {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}


class Recorder(BaseEventHandler):
    """Keeps the events of LlamaIndex's instrumentation."""

    events: list[Any] = []  # noqa: RUF012 - a Pydantic field, copied for each object

    @classmethod
    def class_name(cls) -> str:
        return "Recorder"

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.class_name() for event in self.events]


@contextmanager
def recorded() -> Generator[Recorder, None, None]:
    """All events of the block."""
    recorder = Recorder()
    root = get_dispatcher()
    root.add_event_handler(recorder)
    try:
        yield recorder
    finally:
        root.event_handlers.remove(recorder)


CHATS = ("chat", "stream_chat", "achat", "astream_chat")
COMPLETES = ("complete", "stream_complete", "acomplete", "astream_complete")
METHODS = (*CHATS, *COMPLETES)
STREAMS = tuple(name for name in METHODS if "stream" in name)


async def ask(llm: Any, method: str, question: Any = "Hello?", **options: Any) -> list[Any]:
    """All responses of one of the eight calls to a question; one, where it does not stream."""
    given = cast("Any", question if method in COMPLETES or isinstance(question, list) else [user(question)])
    result = getattr(llm, method)(given, **options)
    if method.startswith("a"):
        result = await result
    if "stream" not in method:
        return [result]
    return [response async for response in result] if method.startswith("a") else list(result)


def text_of(response: Any) -> str:
    """The text of a chat or completion response."""
    text: str = response.text if hasattr(response, "text") else response.message.content
    return text


def sent(server: Any, number: int = -1) -> dict[str, Any]:
    """The body of a request that the server received."""
    body: dict[str, Any] = server.requests[number].json
    return body
