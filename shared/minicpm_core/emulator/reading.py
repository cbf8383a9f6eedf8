"""From the bytes of a request to a `ChatRequest`, or to the refusal that the imitated server would answer with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.chat import ChatRequest, Tool
from minicpm_core.emulator.fields import bad_value, check_fields, missing, wrong_type
from minicpm_core.emulator.intake import Intake
from minicpm_core.emulator.messages import read_messages
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.spoken import declared_in, style_of
from minicpm_core.emulator.values import as_object
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.emulator.chat import ToolChoice, Turn
    from minicpm_core.emulator.dialects import Dialect
    from minicpm_core.emulator.settings import EmulatorSettings
    from minicpm_core.emulator.spoken import CallStyle
    from minicpm_core.emulator.values import Json, Object


def parse_json(raw: bytes) -> Json:
    """The JSON of a request's body.

    Raises:
        Refusal: It is not UTF-8 or not JSON (`NaN` and `Infinity` are not), is nested too deep, or holds half a
            character (a lone surrogate).
    """
    try:
        text = raw.decode()
        document = json.loads(text, parse_constant=_no_constant)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        said = error.msg
        raise Refusal("bad_json", said, position=error.pos, line=error.lineno, column=error.colno) from None
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_json", type(error).__name__, position=0, line=1, column=1) from None
    return document


def _no_constant(name: str) -> None:
    raise ValueError(name)


def read_request(document: Json, settings: EmulatorSettings) -> ChatRequest:
    """A request, understood and checked.

    Args:
        document: The parsed body.
        settings: Of the emulator.

    Raises:
        Refusal: The imitated server would refuse it.
    """
    given = as_object(document)
    if given is None:
        said = "Input should be a valid dictionary or object to extract fields from"
        raise Refusal("not_an_object", said, code="model_attributes_type", given=type(document).__name__)
    dialect = settings.dialect
    fields = check_fields(given, dialect)
    model = _model(fields, settings)
    if "messages" not in fields:
        raise missing("messages")
    stream = bool(fields.get("stream"))
    options = as_object(fields.get("stream_options")) or {}
    if options and not stream and "stream_options_alone" not in dialect.lets_pass:
        said = "Stream options can only be defined when `stream=True`. (parameter=stream_options)"
        raise Refusal("bad_value", said, param="stream_options")
    tools, choice = _tools(fields, dialect)
    stop = fields.get("stop", ())
    turns = read_messages(fields["messages"], Intake(dialect, model, fields))
    declared, style = _declared(turns, model)
    if tools:
        declared, style = (), None if dialect.parsers else style_of(model)
    schema = _schema(fields)
    request = ChatRequest(
        model=model,
        turns=turns,
        thinks=_thinks(fields, dialect, model) and (dialect.parsers or schema is None),
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        max_tokens=_max_tokens(fields, settings),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        n=_answers(fields, dialect),
        top_logprobs=int(fields.get("top_logprobs", 0)) if fields.get("logprobs") and dialect.logprobs else None,
        tools=tools,
        tool_choice=choice,
        declared=declared,
        style=style,
        parallel=fields.get("parallel_tool_calls", True),
        schema=schema,
    )
    if request.prompt_tokens >= settings.context and "context" not in dialect.lets_pass:
        raise Refusal(
            "context_overflow", param="input_tokens", n_ctx=settings.context, n_prompt_tokens=request.prompt_tokens
        )
    return request


def _model(fields: Object, settings: EmulatorSettings) -> str:
    first = settings.models[0]
    model: str = fields.get("model", first)
    known = model in settings.models or model.removesuffix(":latest") in settings.models
    if known or "model" in settings.dialect.lets_pass:
        return model
    raise Refusal("unknown_model", param="model", model=model, first=first, offered=", ".join(settings.models))


def _thinks(fields: Object, dialect: Dialect, model: str) -> bool:
    if dialect.thinking_switch == "reasoning_effort":
        asked = fields["reasoning_effort"] != "none" if "reasoning_effort" in fields else None
    else:
        asked = (as_object(fields.get("chat_template_kwargs")) or {}).get("enable_thinking")
    if asked is not None:
        return bool(asked)
    return card_for(model).thinking_default if dialect.thinks is None else dialect.thinks


def _max_tokens(fields: Object, settings: EmulatorSettings) -> int | None:
    name = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    most: int | None = fields.get(name)
    if most is not None and most > settings.context and "max_tokens_range" not in settings.dialect.lets_pass:
        said = f"{name}={most} cannot be greater than max_model_len={settings.context}."
        raise bad_value(name, most, f"{said} Please request fewer output tokens.")
    return most if most is None or most >= 0 else None  # where a negative one is let pass, it means no limit


def _answers(fields: Object, dialect: Dialect) -> int:
    number: int = fields.get("n", 1)
    if not 1 <= number <= dialect.most_answers:
        most = dialect.most_answers
        raise bad_value("n", number, f"Field 'n': Value must be between 1 <= value <= {most}, but got {number}")
    if number > 1 and fields.get("temperature") == 0 and "greedy_n" not in dialect.lets_pass:
        raise Refusal("bad_value", f"n must be 1 when using greedy sampling, got {number}.")
    return number


def _tools(fields: Object, dialect: Dialect) -> tuple[tuple[Tool, ...], ToolChoice]:
    tools = tuple(_tool(given, f"tools.{at}") for at, given in enumerate(fields.get("tools", ())))
    choice = fields.get("tool_choice", "auto")
    if "tools_together" not in dialect.lets_pass:
        if "tools" in fields and not tools:
            raise Refusal("bad_value", "`tools` must not be an empty array. (parameter=tools)", param="tools")
        if "tool_choice" in fields and choice != "none" and not tools:
            raise Refusal(
                "bad_value",
                "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)",
                param="tool_choice",
            )
    if tools and choice != "none" and dialect.needs_tool_parser and not dialect.parsers:
        raise Refusal("bad_value", _no_parser(choice))
    match choice:
        case "auto" | "none" | "required":
            return tools, choice
        case str():
            raise bad_value("tool_choice", choice, "tool_choice must be 'auto', 'none', 'required' or name a function.")
        case _:
            return _named(choice, tools, dialect)


def _no_parser(choice: Json) -> str:
    if choice == "auto":
        return '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    function = as_object((as_object(choice) or {}).get("function")) or {}
    wanted = f'"{choice}"' if isinstance(choice, str) else f'function "{function.get("name")}"'
    return f"tool_choice={wanted} requires --tool-call-parser to be set"


def _declared(turns: tuple[Turn, ...], model: str) -> tuple[tuple[Tool, ...], CallStyle | None]:
    """The tools that the system turn declares in text. One that makes no sense is a text like any other."""
    given, style = declared_in(turns[0].text, model) if turns[0].role == "system" else ([], None)
    tools = tuple(
        Tool(tool["name"], str(tool.get("description") or ""), as_object(tool.get("parameters")) or {})
        for tool in given
    )
    return tools, style


def _named(choice: Object, tools: tuple[Tool, ...], dialect: Dialect) -> tuple[tuple[Tool, ...], ToolChoice]:
    if not dialect.enforces_named:
        return tools, "auto"
    name = (as_object(choice.get("function")) or {}).get("name")
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        said = "The tool specified in `tool_choice` does not match any of the specified `tools` (parameter=tool_choice)"
        raise Refusal("bad_value", said, param="tool_choice")
    return named, "named"


def _tool(given: Json, param: str) -> Tool:
    tool = as_object(given) or {}
    function = as_object(tool.get("function"))
    if tool.get("type") != "function" or function is None:
        raise wrong_type(f"{param}.function", tool.get("function"), "object")
    name, description = function.get("name"), function.get("description") or ""
    given_parameters = function.get("parameters")
    parameters = {} if given_parameters is None else as_object(given_parameters)
    if not isinstance(name, str) or not isinstance(description, str):
        raise wrong_type(f"{param}.function.name", name, "string")
    if parameters is None:
        raise wrong_type(f"{param}.function.parameters", given_parameters, "object")
    return Tool(name, description, parameters)


def _schema(fields: Object) -> Mapping[str, Any] | None:
    response_format: Object = fields.get("response_format", {"type": "text"})
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return as_object(response_format.get("schema")) or {}
    if kind != "json_schema":
        said = "Input should be 'text', 'json_object' or 'json_schema'"
        raise bad_value("response_format.type", kind, said)
    schema = as_object((as_object(response_format.get("json_schema")) or {}).get("schema"))
    if schema is None:
        raise missing("response_format.json_schema.schema")
    return schema
