"""Tools for servers that take none: declared in the system turn, as the model's own chat template would.

The wording is that of the templates that the models were trained with (Qwen3.5's for V 4.6, Qwen3's for V 4.5 and
o 4.5), since a model calls tools best where the prompt looks as it did in training; so is the order, which differs: the
caller's own instructions come after the declarations in Qwen3.5's template and before them in Qwen3's.  Calls that the
model made before are written as the template writes them, and results of tools as user turns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
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
            results.append(f"{RESULT_OPEN}\n{text_of(turn.parts).strip()}\n{RESULT_CLOSE}")
            continue
        written += _answered(results)
        results = []
        written.append(_with_calls(turn, _FORMS[form]) if turn.tool_calls else turn)
    written += _answered(results)
    return _declaring(written, tools, _FORMS[form], demand) if tools else written


def _answered(results: list[str]) -> list[Message]:
    return [Message("user", "\n".join(results))] if results else []


def _with_calls(turn: Message, form: _Form) -> Message:
    said = text_of(turn.parts).strip()
    calls = "\n".join(f"<tool_call>\n{form.write(call)}\n</tool_call>" for call in turn.tool_calls)
    content = f"{said}{form.before_calls}{calls}" if said else calls
    return Message("assistant", content, name=turn.name, reasoning=turn.reasoning)


def _declaring(turns: Sequence[Message], tools: Sequence[Mapping[str, Any]], form: _Form, demand: str) -> list[Message]:
    """A conversation whose system turn declares the tools, where the template would."""
    lines = "\n".join(json.dumps(tool, ensure_ascii=False, allow_nan=False) for tool in tools)
    said = [form.declaration.replace("{tools}", lines)]
    rest = list(turns)
    if rest[0].role == "system":
        said.insert(len(said) if form.tools_first else 0, text_of(rest.pop(0).parts))
    return [Message("system", "\n\n".join(part for part in (*said, demand) if part)), *rest]


def with_instructions(turns: Sequence[Message], said: str) -> list[Message]:
    """A conversation whose system turn says more."""
    if turns[0].role != "system":
        return [Message("system", said), *turns]
    return [Message("system", f"{text_of(turns[0].parts)}\n\n{said}"), *turns[1:]]


def _xml(call: ToolCall) -> str:
    arguments = arguments_of(call).items()
    lines = [f"<parameter={key}>\n{_as_text(value)}\n</parameter>" for key, value in arguments]
    return "\n".join([f"<function={call.name}>", *lines, "</function>"])


def _as_text(value: Any) -> str:
    """A value as the template writes it: objects and lists as JSON, all else in Python's spelling (`True`, `None`)."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _json(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": arguments_of(call)}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Form:
    """How a template speaks of tools.

    Attributes:
        declaration: What its system turn says of them, with a place for their descriptions, one a line.
        tools_first: They come before what the caller has the system turn say.
        write: The inside of a `<tool_call>` block.
        before_calls: What stands between the text of a turn and its calls.
    """

    declaration: str
    tools_first: bool
    write: Callable[[ToolCall], str]
    before_calls: str


_FORMS: dict[ToolFormat, _Form] = {
    "xml": _Form(_XML, tools_first=True, write=_xml, before_calls="\n\n"),
    "json": _Form(_JSON, tools_first=False, write=_json, before_calls="\n"),
}
