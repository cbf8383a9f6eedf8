"""Request bodies: options and messages to bytes.

Media are spliced into the JSON text as the base64 bytes that they already are: JSON-encoding a 3.75 MB picture costs
16 ms, splicing it 2.5 ms.  A random mark stands in for each while the rest is encoded.
"""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minicpm_core._version import __version__
from minicpm_core.config import secret_values
from minicpm_core.errors import ConfigurationError, InvalidInputError
from minicpm_core.models import card_for, hosted_id
from minicpm_core.parts import AudioPart, UrlPart
from minicpm_core.protocol.body import Splicer
from minicpm_core.protocol.content import sampling_fields
from minicpm_core.protocol.declarations import parameters_of
from minicpm_core.protocol.estimate import check_fit
from minicpm_core.protocol.fields import object_of, objects_of
from minicpm_core.protocol.forced import settle_choice
from minicpm_core.protocol.messages import normalise, render
from minicpm_core.protocol.options import body_fields
from minicpm_core.protocol.prompted import prompted_turns, with_instructions
from minicpm_core.protocol.reply import ReplyContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.backends import Backend
    from minicpm_core.config import ClientConfig, Timeouts
    from minicpm_core.protocol.body import PiecedBody
    from minicpm_core.types import Message

USER_AGENT = f"minicpm-integrations/{__version__}"
_MARK = secrets.token_hex(16)
_MERGED = frozenset({"chat_template_kwargs", "media_io_kwargs", "stream_options"})
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class MiniCPMWarning(UserWarning):
    """Something was done otherwise than asked, or cannot be done by this server."""


@dataclass(slots=True)
class ServerTraits:
    """What was learned about a server, kept for the life of a model object and shared by its clients.

    Attributes:
        backend: The row that applies; `None` until it is known.
        stream_usage: Whether the server takes `stream_options`.
        inline_reasoning: Whether it sends thoughts in the content without an opening tag.
        told_of_tools: Whether the caller was told that the model is not trained for tools.
        native_tools: Whether it takes `tools`, as far as is known.
        context_windows: Tokens that fit, by model id, where the server said so.
    """

    backend: Backend | None = None
    stream_usage: bool = True
    inline_reasoning: bool = False
    native_tools: bool = True
    told_of_tools: bool = False
    context_windows: dict[str, int] = field(default_factory=dict[str, int])

    def window_of(self, model: str) -> int | None:
        """Tokens that fit: as the server says, or else as the model's card does."""
        return self.context_windows.get(model) or card_for(model).context_window


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be sent.

    Attributes:
        method: `GET` or `POST`.
        path: To be joined to the base URL.
        headers: Names and values. They hold the key: never to be shown.
        body: Bytes, or what they consist of where they are many; empty for `GET`.
        stream: Whether the answer is read as it comes.
        timeout: Seconds, by step; `None` for the client's own.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | PiecedBody
    stream: bool
    timeout: Timeouts | None

    def __repr__(self) -> str:
        """Without headers and body: the key and the payload."""
        return f"Request({self.method} {self.path}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request and what reading its reply needs to know.

    Attributes:
        request: To be sent.
        context: For reading its reply.
        stream_options: Whether the body has this field, which not every server takes.
        may_prompt_tools: Whether the body has tools that could be declared in the system turn instead.
    """

    request: Request
    context: ReplyContext
    stream_options: bool = False
    may_prompt_tools: bool = False


def headers_for(config: ClientConfig, backend: Backend, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of a request; the caller's win over ours, whatever their case.

    Raises:
        ConfigurationError: The backend needs a key and there is none.
    """
    headers = {"accept": "application/json", "content-type": "application/json", "user-agent": USER_AGENT}
    if config.api_key is not None:
        headers["authorization"] = f"Bearer {config.api_key.reveal()}"
    for given in (config.default_headers, extra or {}):
        headers |= {name.lower(): value for name, value in given.items()}
    if backend.needs_key and "authorization" not in headers:
        raise ConfigurationError(
            f"{backend.title} needs an API key: pass api_key=… or set MINICPM_API_KEY ({backend.key_help}). "
            "For a server of your own set base_url or MINICPM_BASE_URL; `minicpm emulate` starts one that needs no key."
        )
    return headers


def build_request(
    config: ClientConfig,
    backend: Backend,
    traits: ServerTraits,
    options: Mapping[str, Any],
    messages: Sequence[Message],
    *,
    stream: bool,
) -> Prepared:
    """The request of a chat completion.

    Args:
        config: The client's settings.
        backend: The server's row.
        traits: What was learned about the server.
        options: From `merged_options`.
        messages: With their pictures read.
        stream: Whether the answer is streamed.

    Raises:
        InvalidInputError: A message or an option cannot be sent.
        ConfigurationError: The key is missing.
    """
    asked = options.get("model") or config.model
    model = hosted_id(asked) if backend.resolves_aliases else asked
    if model != asked:
        _warn(f"The hosted API serves {asked!r} as {model!r} today; that is what is asked for.")
    card = card_for(model)
    thinking = bool(card.thinking_default if options.get("thinking") is None else options["thinking"])
    doubt = check_fit(messages, model, window=traits.window_of(model), wanted=options.get("max_tokens"))
    if doubt:
        _warn(doubt)
    splicer = Splicer(_MARK)
    turns, fields = normalise(messages), body_fields(options)
    tools = _callable(fields)
    if tools and not (card.tools or traits.told_of_tools):
        traits.told_of_tools = True
        _warn(f"{card.name} is not trained to call tools: expect calls that are wrong or missing.")
    may_prompt = "tools" in fields and config.tool_calling == "auto" and not _prompts_tools(config, backend, traits)
    settled = settle_choice(fields, backend, prompted=_prompts_tools(config, backend, traits))
    if settled.prompted:
        turns = prompted_turns(turns, _without_tools(fields), card.tool_format, settled.demand)
    elif settled.demand:
        turns = with_instructions(turns, settled.demand)
    rendered = render(turns, backend=backend, splice=splicer.mark)
    body: dict[str, Any] = {"model": model, "messages": rendered, **fields}
    given = set(body)
    body |= _switches(backend, traits, options, thinking=thinking, stream=stream) | sampling_fields(turns, backend)
    extra: Mapping[str, Any] = options.get("extra_body") or {}
    body = _with_extra(body, extra)
    _check_fields(backend, (given | set(extra)) & set(body))
    headers = headers_for(config, backend, options.get("extra_headers"))
    if stream:
        headers["accept"] = "text/event-stream"
    thinking = _asked_to_think(body, backend, thinking=thinking)
    if thinking and "audio" in card.modalities and _has_audio(turns):
        _warn(f"{card.name} does not think about audio: thinking=True is sent, and will be ignored.")
    may_come_inline = thinking or (backend.thinking == "none" and card.thinks_by_default)
    data = splicer.spliced(_to_json(body))
    return Prepared(
        Request("POST", "/chat/completions", headers, data, stream, options.get("timeout")),
        ReplyContext(
            title=backend.title,
            thinking=may_come_inline,
            hold=may_come_inline and not traits.inline_reasoning,
            inline=may_come_inline and traits.inline_reasoning,
            secrets=(*config.secrets, *secret_values(options.get("extra_headers") or {})),
            max_bytes=config.max_response_bytes,
            key_help=backend.key_help,
            model=model,
            tools=tools if settled.prompted else _callable(body),
            must_call=settled.must_call,
            call_as_json=settled.as_json,
        ),
        stream_options="stream_options" in body,
        may_prompt_tools=may_prompt,
    )


def _prompts_tools(config: ClientConfig, backend: Backend, traits: ServerTraits) -> bool:
    """Whether tools go into the system turn, and not into the request."""
    if config.tool_calling != "auto":
        return config.tool_calling == "prompted"
    return not (backend.takes_tools and traits.native_tools)


def _without_tools(fields: dict[str, Any]) -> list[Any]:
    """Take the tools, and what else is about them, out of the body's fields."""
    fields.pop("tool_choice", None)
    fields.pop("parallel_tool_calls", None)
    tools: list[Any] = fields.pop("tools", [])
    return tools


def _callable(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tools that the model may call, so that a call in the text is read as one."""
    return {} if body.get("tool_choice") == "none" else parameters_of(objects_of(body.get("tools")))


def _has_audio(messages: Sequence[Message]) -> bool:
    return any(
        isinstance(part, AudioPart) or (isinstance(part, UrlPart) and part.medium == "audio")
        for message in messages
        for part in message.parts
    )


def _switches(
    backend: Backend, traits: ServerTraits, options: Mapping[str, Any], *, thinking: bool, stream: bool
) -> dict[str, Any]:
    """The fields that this library adds: how to think, and how to stream."""
    fields: dict[str, Any] = {}
    if backend.thinking == "chat_template_kwargs":
        fields["chat_template_kwargs"] = {"enable_thinking": thinking}
    elif backend.thinking == "reasoning_effort":
        fields["reasoning_effort"] = "medium" if thinking else "none"
    elif options.get("thinking") is not None:
        _warn(
            f"It is not known how this server switches thinking, so thinking={thinking} was not sent. "
            "Name the server with backend=…, or pass its own field in extra_body."
        )
    if stream:
        fields["stream"] = True
        wanted = options.get("stream_usage")
        if wanted or (wanted is None and backend.stream_usage and traits.stream_usage):
            fields["stream_options"] = {"include_usage": True}
    return fields


def _with_extra(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the caller's own fields, which win; a field that is set to `None` is left out.

    Objects that this library sends too (`chat_template_kwargs`, `stream_options`) are merged, not replaced.
    """
    merged = dict(body)
    for name, value in extra.items():
        mergeable = name in _MERGED and isinstance(value, Mapping)
        merged[name] = {**object_of(body.get(name)), **value} if mergeable else value
    return {name: value for name, value in merged.items() if value is not None}


def _asked_to_think(body: Mapping[str, Any], backend: Backend, *, thinking: bool) -> bool:
    """What the finished body asks for, since the caller's own fields may say otherwise than the option."""
    if backend.thinking == "reasoning_effort":
        return bool(body.get("reasoning_effort", "none") != "none")
    switch = object_of(body.get("chat_template_kwargs")).get("enable_thinking")
    return switch if isinstance(switch, bool) else thinking


def _check_fields(backend: Backend, given: set[str]) -> None:
    fields = given - {"model", "messages", "stream"}
    if backend.fields is not None:
        refused = sorted(fields - backend.fields)
        if refused:
            raise InvalidInputError(
                f"{backend.title} does not take {', '.join(map(repr, refused))} and would answer 422. "
                "Leave it out, or set it where the server is started."
            )
    ignored = sorted(fields & backend.ignores)
    if ignored:
        _warn(f"{backend.title} ignores {', '.join(map(repr, ignored))}.")


def _warn(text: str) -> None:
    warnings.warn(text, MiniCPMWarning, stacklevel=2)


def _to_json(body: dict[str, Any]) -> bytes:
    try:
        return _encode(body).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"A message or an option holds a lone surrogate (U+{ord(error.object[error.start]):04X}), "
            "which is not text and cannot be sent. Decode the text it came from with errors='replace'."
        ) from None
    except ValueError:
        raise InvalidInputError("A message or an option holds NaN or infinity, or refers to itself.") from None
    except RecursionError:
        raise InvalidInputError("A message or an option is nested too deeply to be sent.") from None
    except TypeError as error:
        raise InvalidInputError(f"A message or an option cannot be sent as JSON: {error}.") from None
