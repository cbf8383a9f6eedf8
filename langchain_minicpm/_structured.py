"""Structured output: how a server is asked for an object, by what it enforces.

The server holds the answer to a JSON schema (`json_schema`), or the model calls a function whose parameters are the
schema (`function_calling`), or the server holds it to some JSON and the user's prompt says which (`json_mode`), or the
schema is told to the model in words and nobody holds it to that (`prompt`).  Whatever was promised, the answer is read
and checked on this side: `_reading`; and asked for once more where it does not fit: `_structured_model`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool

from langchain_minicpm._reading import Form
from langchain_minicpm._structured_model import StructuredModel
from minicpm_core.errors import InvalidInputError
from minicpm_core.structured import best_method

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    from langchain_minicpm.chat_models import ChatMiniCPM
    from minicpm_core.backends import Backend

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode", "prompt"]
METHODS: Final = ("json_schema", "function_calling", "json_mode", "prompt")
_WITH_STRICT: Final = frozenset({"json_schema", "function_calling"})
_BY_BEST: Final[dict[str, Method]] = {
    "json_schema": "json_schema",
    "json_object": "json_mode",
    "function_calling": "function_calling",
    "prompt": "prompt",
}
_INSTRUCTION: Final = "Answer with one JSON object that fits this JSON schema, and with nothing else:\n"


def response_format_for(schema: dict[str, Any] | type, *, strict: bool | None = None) -> dict[str, Any]:
    """`response_format` for a schema; a mapping that already is one is passed on.

    Args:
        schema: A Pydantic class, a TypedDict, a JSON schema with a title, OpenAI's function form, or a response format.
        strict: Whether the server should hold the answer to the schema strictly; `None` leaves it out.

    Raises:
        InvalidInputError: It is none of these.
    """
    if isinstance(schema, dict) and schema.get("type") in {"json_schema", "json_object", "text"}:
        return schema
    json_schema = _json_schema(schema, strict=strict)
    described: dict[str, Any] = {"name": json_schema["title"], "schema": json_schema}
    if "description" in json_schema:
        described["description"] = json_schema["description"]
    if strict is not None:
        described["strict"] = strict
    return {"type": "json_schema", "json_schema": described}


def _json_schema(schema: dict[str, Any] | type, *, strict: bool | None = None) -> dict[str, Any]:
    try:
        return convert_to_json_schema(cast("Any", schema), strict=strict)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"The schema must be a Pydantic class, a TypedDict, or a JSON schema with a 'title' ({error})."
        ) from error


@dataclass(frozen=True, slots=True)
class Asked:
    """How an object is asked for.

    Attributes:
        bound: The model with what it is asked besides the messages.
        form: What its answers are read as.
        instruction: Told to the model with the messages, where the server is not told of the schema.
    """

    bound: Runnable[LanguageModelInput, AIMessage]
    form: Form
    instruction: str = ""


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """An object that is asked for.

    Attributes:
        schema: As the user wrote it.
        method: How to ask; `None` for the strictest way that the server does not ignore.
        strict: Passed on to the server with the schema; `None` leaves it out.
        kwargs: Further arguments of each call.
    """

    schema: dict[str, Any] | type
    method: Method | None
    strict: bool | None
    kwargs: dict[str, Any]

    def asked(self, model: ChatMiniCPM, backend: Backend) -> Asked:
        """How a server is asked: as the user wishes, unless the server would ignore that."""
        best = _BY_BEST[best_method(backend)]
        method = self.method or best
        if method == "json_schema" and best == "prompt":
            method = "prompt"
        strict = {"strict": self.strict} if method in _WITH_STRICT else {}
        told = {"kwargs": {"method": method, **strict}, "schema": self.schema}  # tracers; langchain-core takes it out
        if method == "function_calling":
            return self._by_function(model, told)
        sent = dict(self.kwargs)
        if method == "json_schema":
            sent["response_format"] = response_format_for(self.schema, strict=self.strict)
        elif method == "json_mode" and best != "prompt":
            sent["response_format"] = {"type": "json_object"}
        form = Form(self.schema, _json_schema(self.schema))
        words = _INSTRUCTION + json.dumps(form.json_schema, ensure_ascii=False) if method == "prompt" else ""
        return Asked(model.bind(**sent, ls_structured_output_format=told), form, words)

    def _by_function(self, model: ChatMiniCPM, told: dict[str, Any]) -> Asked:
        name = convert_to_openai_tool(cast("Any", self.schema))["function"]["name"]
        bound = model.bind_tools(
            [self.schema],
            tool_choice=name,
            parallel_tool_calls=False,
            strict=self.strict,
            ls_structured_output_format=told,
            **self.kwargs,
        )
        return Asked(bound, Form(self.schema, _json_schema(self.schema), name))


def structured(
    model: ChatMiniCPM,
    schema: dict[str, Any] | type,
    *,
    method: Method | None,
    include_raw: bool,
    strict: bool | None,
    kwargs: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """The model, answering in the form of a schema.

    Raises:
        InvalidInputError: The method is unknown, or does not go with the schema or `strict`.
    """
    if method is not None and method not in METHODS:
        raise InvalidInputError(f"Unknown method {method!r}: it must be one of {', '.join(METHODS)}.")
    if strict is not None and method is not None and method not in _WITH_STRICT:
        raise InvalidInputError(f"strict goes with json_schema and function_calling: {method} sends no schema.")
    _json_schema(schema)  # said now rather than at the first call
    return StructuredModel(model, ObjectRequest(schema, method, strict, kwargs), include_raw=include_raw)
