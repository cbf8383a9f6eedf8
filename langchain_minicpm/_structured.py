"""Structured output: what is bound to the model, and the parser behind it.

Three methods: the server holds the answer to a JSON schema (`json_schema`), the model calls a function whose
parameters are the schema (`function_calling`), or the server holds it to some JSON and the prompt says which
(`json_mode`).  Reasoning is apart from the text in every answer, so that the parsers see JSON alone.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from minicpm_core.errors import InvalidInputError

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage

    from langchain_minicpm.chat_models import ChatMiniCPM

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]
METHODS: Final = ("json_schema", "function_calling", "json_mode")


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
    try:
        json_schema = convert_to_json_schema(cast("Any", schema), strict=strict)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            "The schema must be a Pydantic class, a TypedDict, or a JSON schema with a 'title'."
        ) from error
    described: dict[str, Any] = {"name": json_schema["title"], "schema": json_schema}
    if "description" in json_schema:
        described["description"] = json_schema["description"]
    if strict is not None:
        described["strict"] = strict
    return {"type": "json_schema", "json_schema": described}


def structured(
    model: ChatMiniCPM,
    schema: dict[str, Any] | type,
    *,
    method: Method,
    include_raw: bool,
    strict: bool | None,
    kwargs: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """The model, bound to answer in the form of a schema, and the parser of its answers.

    Raises:
        InvalidInputError: The method is unknown, or does not go with the schema or `strict`.
    """
    bind = _BINDERS.get(method)
    if bind is None:
        raise InvalidInputError(f"Unknown method {method!r}: it must be one of {', '.join(METHODS)}.")
    bound, parser = bind(model, schema, strict=strict, kwargs=kwargs)
    return _with_raw(bound, parser) if include_raw else bound | parser


def _traced(method: Method, schema: dict[str, Any] | type, **kwargs: Any) -> dict[str, Any]:
    """What tracers are told; langchain-core takes it out again before the model is called."""
    return {"kwargs": {"method": method, **kwargs}, "schema": schema}


def _by_schema(
    model: ChatMiniCPM, schema: dict[str, Any] | type, *, strict: bool | None, kwargs: dict[str, Any]
) -> tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]:
    bound = model.bind(
        **kwargs,
        response_format=response_format_for(schema, strict=strict),
        ls_structured_output_format=_traced("json_schema", schema, strict=strict),
    )
    return bound, _json_parser(schema)


def _by_function(
    model: ChatMiniCPM, schema: dict[str, Any] | type, *, strict: bool | None, kwargs: dict[str, Any]
) -> tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]:
    name = convert_to_openai_tool(cast("Any", schema))["function"]["name"]
    bound = model.bind_tools(
        [schema],
        tool_choice=name,
        parallel_tool_calls=False,
        strict=strict,
        ls_structured_output_format=_traced("function_calling", schema, strict=strict),
        **kwargs,
    )
    if _is_pydantic(schema):
        return bound, PydanticToolsParser(tools=[cast("Any", schema)], first_tool_only=True)
    return bound, JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _by_prompt(
    model: ChatMiniCPM, schema: dict[str, Any] | type, *, strict: bool | None, kwargs: dict[str, Any]
) -> tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]:
    if strict is not None:
        raise InvalidInputError("strict goes with json_schema and function_calling: json_mode sends no schema.")
    bound = model.bind(
        **kwargs,
        response_format={"type": "json_object"},
        ls_structured_output_format=_traced("json_mode", schema),
    )
    return bound, _json_parser(schema)


_BINDERS: Final[dict[str, Any]] = {
    "json_schema": _by_schema, "function_calling": _by_function, "json_mode": _by_prompt,
}  # fmt: skip


def _is_pydantic(schema: dict[str, Any] | type) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _json_parser(schema: dict[str, Any] | type) -> Runnable[Any, Any]:
    if _is_pydantic(schema):
        return PydanticOutputParser(pydantic_object=cast("Any", schema))
    return JsonOutputParser()


def _with_raw(
    bound: Runnable[LanguageModelInput, AIMessage], parser: Runnable[Any, Any]
) -> Runnable[LanguageModelInput, Any]:
    """`{"raw", "parsed", "parsing_error"}` instead of an error or a bare object."""
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")
