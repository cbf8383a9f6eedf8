"""Preparing a request, and decoding a stream, in one go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core._uploads import Upload
from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.config import ClientConfig
from minicpm_core.protocol.options import merged_options
from minicpm_core.protocol.reply import ReplyContext
from minicpm_core.protocol.request import Prepared, ServerTraits, build_request
from minicpm_core.protocol.stream import StreamDecoder
from minicpm_core.types import Message
from tests.support.server import sse

if TYPE_CHECKING:
    from minicpm_core.protocol.request import Request
    from minicpm_core.types import Choice, Completion, Delta

PLAIN = ReplyContext()
THINKING = ReplyContext(thinking=True, hold=True)


def decode(*payloads: dict[str, Any] | str, context: ReplyContext = PLAIN, done: bool = True) -> list[Delta]:
    """The deltas of a stream of these payloads, and of `[DONE]`."""
    decoder = StreamDecoder({"x-request-id": "req-1"}, context)
    return decoder.feed(sse(*payloads, *(["[DONE]"] if done else []))) + decoder.finish()


def final_of(deltas: list[Delta]) -> Completion:
    """The completion that ends a stream."""
    final = deltas[-1].final
    assert final is not None
    return final


def first_of(deltas: list[Delta]) -> Choice:
    """Its first choice."""
    return final_of(deltas).choices[0]


USER = Message("user", "Hello.")


def prepare(
    *messages: Message,
    backend: BackendName = "vllm",
    stream: bool = False,
    traits: ServerTraits | None = None,
    config: ClientConfig | None = None,
    **options: Any,
) -> Prepared:
    """The request for some messages with some options."""
    config = config or ClientConfig.create(api_key="sk-made-up-key", model="MiniCPM-V-4.6-Instruct")
    given_options: Any = options
    merged = merged_options(config, given_options)
    row = BACKENDS[backend]
    return build_request(config, row, traits or ServerTraits(), merged, messages or (USER,), stream=stream)


def body_of(*messages: Message, **how: Any) -> dict[str, Any]:
    """The body of such a request, parsed."""
    body: dict[str, Any] = json.loads(bytes_of(prepare(*messages, **how).request))
    return body


def bytes_of(request: Request) -> bytes:
    """A body as it is sent."""
    return request.body if isinstance(request.body, bytes) else b"".join(Upload(request.body))
