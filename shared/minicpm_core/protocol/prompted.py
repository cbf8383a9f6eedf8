"""Tools for servers that take none: declared in the system turn, as the model's own chat template would.

The wording is that of the templates that the models were trained with (Qwen3.5's for V 4.6, Qwen3's for V 4.5 and
o 4.5), since a model calls tools best where the prompt looks as it did in training.  Calls that the model made before
are written as the template writes them, and results of tools as user turns.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core.parts import text_of
from minicpm_core.protocol.messages import RESULT_CLOSE, RESULT_OPEN, arguments_of
from minicpm_core.types import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from minicpm_core.models import ToolFormat
    from minicpm_core.types import ToolCall

_XML = """# Tools

You have access to the following functions:

<tools>
{tools}
</tools>

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within \
<tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>"""
_JSON = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def prompted_turns(
    turns: Sequence[Message], tools: Sequence[Mapping[str, Any]], form: ToolFormat, demand: str = ""
) -> list[Message]:
    """A conversation with tools as one without. The given messages are not changed.

    Args:
        turns: From `normalise`.
        tools: What may be called; none to write the history alone.
        form: How the model writes its calls.
        demand: What else is said about calling them.

    Raises:
        InvalidInputError: An earlier call has arguments that are no JSON object.
    """
    written: list[Message] = []
    results: list[str] = []
    for turn in turns:
        if turn.role == "tool":
            results.append(f"{RESULT_OPEN}\n{text_of(turn.parts)}\n{RESULT_CLOSE}")
            continue
        written += _answered(results)
        results = []
        written.append(_with_calls(turn, _FORMS[form][1]) if turn.tool_calls else turn)
    written += _answered(results)
    return with_instructions(written, _declarations(tools, form, demand)) if tools else written


def _answered(results: list[str]) -> list[Message]:
    return [Message("user", "\n".join(results))] if results else []


def _with_calls(turn: Message, write: Callable[[ToolCall], str]) -> Message:
    said = text_of(turn.parts)
    calls = "\n".join(f"<tool_call>\n{write(call)}\n</tool_call>" for call in turn.tool_calls)
    return Message("assistant", f"{said}\n\n{calls}" if said else calls, name=turn.name, reasoning=turn.reasoning)


def _declarations(tools: Sequence[Mapping[str, Any]], form: ToolFormat, demand: str) -> str:
    lines = "\n".join(json.dumps(tool, ensure_ascii=False, allow_nan=False) for tool in tools)
    said = _FORMS[form][0].replace("{tools}", lines)
    return f"{said}\n\n{demand}" if demand else said


def with_instructions(turns: Sequence[Message], said: str) -> list[Message]:
    """A conversation whose system turn says more."""
    if turns[0].role != "system":
        return [Message("system", said), *turns]
    return [Message("system", f"{text_of(turns[0].parts)}\n\n{said}"), *turns[1:]]


def _xml(call: ToolCall) -> str:
    lines = [
        f"<parameter={key}>\n{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n</parameter>"
        for key, value in arguments_of(call).items()
    ]
    return "\n".join([f"<function={call.name}>", *lines, "</function>"])


def _json(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": arguments_of(call)}, ensure_ascii=False)


_FORMS: dict[ToolFormat, tuple[str, Callable[[ToolCall], str]]] = {"xml": (_XML, _xml), "json": (_JSON, _json)}
