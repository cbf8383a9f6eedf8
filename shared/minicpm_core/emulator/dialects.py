"""The kinds of server that can be imitated, as data: a new one is a row of `DIALECTS`.

A row holds what a client can see: names of fields, shapes of whole and streamed answers, what is refused and in which
words.  The facts were read off the wire (vLLM 0.32, llama-server, transformers serve 5.23) and from Ollama's source; of
the hosted API only its ids and its error bodies are known, so the rest of that row is vLLM's, which it was seen to run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from minicpm_core.backends import BACKENDS, Backend, BackendName
from minicpm_core.emulator.refusals import (
    LLAMACPP,
    MODELBEST,
    OLLAMA,
    TRANSFORMERS,
    VLLM,
    ErrorShape,
    ErrorTable,
)
from minicpm_core.models import CARDS

if TYPE_CHECKING:
    from collections.abc import Mapping

DialectName: TypeAlias = Literal["modelbest", "vllm", "llamacpp", "transformers", "ollama"]

Check: TypeAlias = Literal[
    "content_type",
    "context",
    "developer_role",
    "greedy_n",
    "least_max_tokens",
    "max_tokens_range",
    "model",
    "range",
    "stream_options_alone",
    "tools_together",
]
"""Checks that not every server makes."""

_HOSTED = tuple(card.hosted_id for card in CARDS if card.hosted_id)
_LOCAL = tuple(name for card in CARDS for name in card.hugging_face)
_OLD = tuple(name for card in CARDS for name in card.hosted_aliases)
_OLLAMA_NAMES = tuple(name for card in CARDS for name in card.ollama)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a client sees of one kind of server.

    Attributes:
        name: The row's name.
        title: As a person would call it.
        models: Ids that it offers where the emulator was told none.
        model_suffix: What it appends to the model's name in an answer.
        model_row: What a row of `/v1/models` has beside `id`, `object` and `created`; names in braces are filled in.
        headers: Of each answer; `{unique}` is filled in.
        errors: What it says when it refuses.
        error_shape: The shape of an error body that has no shape of its own.
        lets_pass: Checks that it does not make.
        ignores: Request fields that it takes and does nothing with.
        most_answers: The largest `n`.
        thinks: Whether it thinks where a request says nothing; `None` leaves it to the model's card.
        thinking_switch: How a request switches thinking on and off.
        id_form: Of an answer's id; `{unique}` is filled in.
        call_id_form: Of a tool call's id; `{id}` is the answer's, `{index}` the call's number.
        reasoning_field: The field that thoughts come back in.
        reasoning_null: The field is there, as null, without thoughts.
        reasoning_end: What a whole answer's thoughts end with.
        content_lead: What the content begins with after thoughts.
        no_content: What stands in place of content that is not there.
        no_content_beside_forced_calls: The same, beside calls that the request forced.
        message_nulls: Fields of a message that are always null.
        choice_nulls: Fields of a choice that are always null.
        reply_nulls: Fields of a whole answer that are always null.
        usage_nulls: Fields of a whole answer's usage that are always null.
        stop_reason: A choice names the stop text that was met.
        logprobs: Log probabilities are given where asked for.
        logprobs_null: The field is there, as null, where they were not.
        compact_arguments: Tool arguments are written without blanks.
        first_delta: The first delta of a stream.
        every_delta: What each later delta has beside its piece.
        last_delta: What the delta with the finish reason has.
        first_chunk_nulls: Fields of the first chunk that are always null.
        chunk_nulls: Fields of a streamed choice after the first that are always null.
        finish_reason_null: The key `finish_reason` is there, as null, until the end.
        finish_on_last_piece: At the token limit the last piece carries the finish reason.
        stream_reasoning_lead: What streamed thoughts begin with, in a delta of its own.
        stream_reasoning_end: What streamed thoughts end with.
        stream_without_thoughts: A reasoning delta that comes although thinking is off.
        stream_content_lead: What streamed content begins with.
        call_deltas: A streamed call's first delta: name without arguments, name with the first brace, or all of it.
        usage_in_finish: Usage comes in the last choice's chunk, asked for or not.
        done: A stream ends with `data: [DONE]`.
        cached_tokens: Usage tells tokens from the prefix cache (always none here).
        reasoning_tokens: Usage tells tokens of thoughts.
        timings: Answers count their tokens once more under `timings`.
        named_call_finish: The finish reason of a call that `tool_choice` named.
        enforces_named: A tool that `tool_choice` names is called; otherwise that is taken as `auto`.
        parsers: Thoughts and tool calls are read out of what the model writes; otherwise both arrive in the text.
        needs_tool_parser: Tools are refused by a server without a parser for calls; otherwise it takes them, and calls
            arrive in the text.
        loads_as: The backend whose videos and recordings it takes; `None` is its own. (A client that detects the kind
            of server takes the hosted API at another address for the vLLM that it runs.)
    """

    name: DialectName
    title: str
    models: tuple[str, ...] = (*_LOCAL, *_HOSTED, *_OLD)
    model_suffix: str = ""
    model_row: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...] = (("server", "uvicorn"),)
    errors: ErrorTable
    error_shape: ErrorShape = "openai"
    lets_pass: frozenset[Check] = frozenset()
    ignores: frozenset[str] = frozenset()
    most_answers: int = 128
    thinks: bool | None = None
    thinking_switch: Literal["chat_template_kwargs", "reasoning_effort"] = "chat_template_kwargs"
    id_form: str = "chatcmpl-{unique}"
    call_id_form: str = "call_{unique}"
    reasoning_field: Literal["reasoning", "reasoning_content"] = "reasoning"
    reasoning_null: bool = False
    reasoning_end: str = "\n"
    content_lead: str = ""
    no_content: str | None = ""
    no_content_beside_forced_calls: str | None = ""
    message_nulls: tuple[str, ...] = ()
    choice_nulls: tuple[str, ...] = ()
    usage_nulls: tuple[str, ...] = ()
    reply_nulls: tuple[str, ...] = ()
    stop_reason: bool = False
    logprobs: bool = False
    logprobs_null: bool = False
    compact_arguments: bool = False
    first_delta: Mapping[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": ""})
    every_delta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    last_delta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    first_chunk_nulls: tuple[str, ...] = ()
    chunk_nulls: tuple[str, ...] = ()
    finish_reason_null: bool = True
    finish_on_last_piece: bool = False
    stream_reasoning_lead: str = ""
    stream_reasoning_end: str = "\n"
    stream_without_thoughts: str = ""
    stream_content_lead: str = ""
    call_deltas: Literal["name_first", "brace_first", "whole"] = "whole"
    usage_in_finish: bool = False
    done: bool = True
    cached_tokens: bool = False
    reasoning_tokens: bool = False
    timings: bool = False
    named_call_finish: Literal["stop", "tool_calls"] = "tool_calls"
    enforces_named: bool = True
    parsers: bool = True
    needs_tool_parser: bool = False
    loads_as: BackendName | None = None

    @property
    def backend(self) -> Backend:
        """What the client knows of this kind of server: which fields and pictures it takes."""
        return BACKENDS[self.name]

    @property
    def loader(self) -> Backend:
        """Which videos and recordings it takes, and in which shapes."""
        return BACKENDS[self.loads_as or self.name]

    def without_parsers(self) -> Dialect:
        """The same server, started without parsers for thoughts and tool calls."""
        counted = ("completion_tokens_details",) if self.reasoning_tokens else ()
        return replace(
            self,
            parsers=False,
            content_lead="",
            stream_content_lead="",
            stream_without_thoughts="",
            last_delta={"content": ""} if self.needs_tool_parser else {},
            reasoning_tokens=False,
            usage_nulls=(*self.usage_nulls, *counted),
        )


_VLLM = Dialect(
    name="vllm",
    title="vLLM",
    model_row={"owned_by": "vllm", "root": "{id}", "parent": None, "max_model_len": "{context}", "permission": []},
    errors=VLLM,
    lets_pass=frozenset({"developer_role"}),
    call_id_form="chatcmpl-tool-{unique}",
    reasoning_null=True,
    content_lead="\n\n",
    no_content=None,
    message_nulls=("refusal", "annotations", "audio", "function_call"),
    choice_nulls=("token_ids", "routed_experts"),
    usage_nulls=("prompt_tokens_details",),
    reply_nulls=(
        "service_tier",
        "prompt_logprobs",
        "prompt_token_ids",
        "prompt_text",
        "kv_transfer_params",
        "ec_transfer_params",
        "metrics",
    ),
    stop_reason=True,
    logprobs=True,
    logprobs_null=True,
    first_chunk_nulls=("prompt_token_ids", "prompt_text"),
    chunk_nulls=("token_ids",),
    finish_on_last_piece=True,
    stream_content_lead="\n\n",
    call_deltas="name_first",
    reasoning_tokens=True,
    named_call_finish="stop",
    needs_tool_parser=True,
    loads_as="vllm",
)

DIALECTS: dict[DialectName, Dialect] = {
    row.name: row
    for row in (
        replace(_VLLM, name="modelbest", title="ModelBest hosted API", models=_HOSTED, errors=MODELBEST),
        _VLLM,
        Dialect(
            name="llamacpp",
            title="llama-server",
            model_row={
                "aliases": ["{id}"],
                "tags": [],
                "owned_by": "llamacpp",
                "meta": {"n_ctx": "{context}", "n_ctx_train": "{context_trained}"},
            },
            headers=(("server", "llama.cpp"),),
            errors=LLAMACPP,
            error_shape="llamacpp",
            lets_pass=frozenset({
                "content_type", "developer_role", "greedy_n", "least_max_tokens", "max_tokens_range", "model", "range",
                "stream_options_alone", "tools_together",
            }),
            most_answers=1,
            thinks=True,
            call_id_form="{unique}{unique}",
            reasoning_field="reasoning_content",
            logprobs=True,
            compact_arguments=True,
            first_delta={"role": "assistant", "content": None},
            call_deltas="brace_first",
            cached_tokens=True,
            timings=True,
            enforces_named=False,
        ),
        Dialect(
            name="transformers",
            title="transformers serve",
            model_suffix="@main",
            model_row={"owned_by": "{owner}"},
            headers=(("server", "uvicorn"), ("x-request-id", "{unique}")),
            errors=TRANSFORMERS,
            error_shape="detail",
            lets_pass=frozenset({
                "context", "greedy_n", "max_tokens_range", "range", "stream_options_alone", "tools_together"
            }),
            ignores=BACKENDS["transformers"].ignores,
            id_form="{unique}",
            call_id_form="{id}_tool_call_{index}",
            reasoning_field="reasoning_content",
            reasoning_end="",
            first_delta={"role": "assistant"},
            finish_reason_null=False,
            stream_reasoning_lead="\n",
            stream_without_thoughts="\n\n",
            stream_content_lead="\n\n",
            usage_in_finish=True,
            done=False,
        ),
        Dialect(
            name="ollama",
            title="Ollama",
            models=(*_OLLAMA_NAMES, *_LOCAL, *_HOSTED, *_OLD),
            model_row={"owned_by": "library"},
            headers=(),
            errors=OLLAMA,
            lets_pass=frozenset({
                "content_type", "context", "developer_role", "greedy_n", "least_max_tokens", "max_tokens_range",
                "range", "stream_options_alone", "tools_together",
            }),
            ignores=frozenset({"chat_template_kwargs", "logprobs", "n", "parallel_tool_calls", "tool_choice"}),
            thinking_switch="reasoning_effort",
            reasoning_end="",
            every_delta={"role": "assistant", "content": ""},
            stream_reasoning_end="",
            compact_arguments=True,
        ),
    )
}  # fmt: skip
"""Every dialect by its name."""
