"""Structured output: how an object is asked for, and how it is read from what the model wrote.

Nothing is sent here.  The object is asked for in the strictest way that the server enforces, read with the Pydantic
class itself whatever the server promised, and asked for once more, with the validator's message, where it does not fit.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.program.utils import create_flexible_model
from llama_index.core.types import PydanticProgramMode
from pydantic_core import from_json

from minicpm_core.errors import StructuredOutputError
from minicpm_core.structured import best_method, extract_json, problem_line, repair_message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.base.llms.types import ChatResponse

    from minicpm_core.backends import Backend

M = TypeVar("M", bound=BaseModel)
Method = Literal["json_schema", "json_object", "function_calling", "prompt"]

_OURS = frozenset({"tool_required", "tool_choice", "allow_parallel_tool_calls", "tools", "response_format"})
"""Keywords that say how an object is asked for, which is decided here."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME = 64
_MOST_PROBLEMS = 5
_GROWTH = 9 / 8
"""An unfinished object is read again when its text has grown by an eighth: about nine times its length in all."""
_INSTRUCTION = "Answer with one JSON object that fits this JSON Schema, and with nothing else:\n"


class UnfitError(ValueError):
    """What the model wrote is not the object that was asked for; the message is the validator's."""


def method_for(mode: PydanticProgramMode, backend: Backend, *, tools: bool) -> Method:
    """How objects are asked for.

    Args:
        mode: Of the LLM: `DEFAULT` takes what the server enforces, `FUNCTION` a tool call, `LLM` plain text.
        backend: The server.
        tools: The model can call tools.
    """
    if mode == PydanticProgramMode.LLM:
        return "prompt"
    if mode == PydanticProgramMode.FUNCTION:
        return "function_calling"
    best = best_method(backend)
    return "prompt" if best == "function_calling" and not tools else best


@dataclass(frozen=True, slots=True)
class StructuredRequest(Generic[M]):
    """A request for an object.

    Attributes:
        output_cls: Its class.
        messages: What is sent.
        options: The keywords of the `chat` call.
    """

    output_cls: type[M]
    messages: list[ChatMessage]
    options: dict[str, Any]

    @classmethod
    def of(
        cls,
        output_cls: type[M],
        messages: Sequence[ChatMessage],
        method: Method,
        llm_kwargs: Mapping[str, Any] | None,
    ) -> StructuredRequest[M]:
        """The request for an object of a class.

        Args:
            output_cls: A Pydantic model.
            messages: The conversation. Not changed.
            method: How the server is made to answer with JSON.
            llm_kwargs: Settings of the call.
        """
        schema = output_cls.model_json_schema()
        options = {name: value for name, value in (llm_kwargs or {}).items() if name not in _OURS}
        options |= _demand(method, _name(output_cls), schema)
        told = method in {"json_object", "prompt"}
        return cls(output_cls, _instructed(messages, schema) if told else list(messages), options)

    def read(self, response: ChatResponse) -> M:
        """The object in a whole answer.

        Raises:
            UnfitError: There is none that fits.
        """
        return self._validated(answered_text(response))

    def _validated(self, text: str) -> M:
        try:
            return self.output_cls.model_validate_json(extract_json(text))
        except ValidationError as error:
            raise UnfitError(_told(error)) from error
        except StructuredOutputError as error:
            raise UnfitError(error.problem) from error

    def again(self, response: ChatResponse, problem: UnfitError) -> StructuredRequest[M]:
        """The request that asks the model to mend its answer.

        Raises:
            StructuredOutputError: The answer was cut off at the limit of tokens, where asking again does not help.
        """
        if finish_reason(response) == "length":
            raise self.failure(response, problem) from problem
        told = repair_message(str(problem))
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if calls and all(isinstance(call.tool_kwargs, dict) for call in calls):
            ids = [call.tool_call_id or call.tool_name for call in calls]
            results = [
                ChatMessage(told, role=MessageRole.TOOL, additional_kwargs={"tool_call_id": each}) for each in ids
            ]
            return replace(self, messages=[*self.messages, response.message, *results])
        # A call that is not JSON goes back as text: servers read the arguments of earlier turns, and refuse such ones.
        said = ChatMessage(answered_text(response), role=MessageRole.ASSISTANT)
        return replace(self, messages=[*self.messages, said, ChatMessage(told, role=MessageRole.USER)])

    def failure(self, response: ChatResponse, problem: UnfitError) -> StructuredOutputError:
        """The error for an answer that no object could be read from."""
        cut = finish_reason(response) == "length"
        advice = "It was cut off at the limit of tokens: raise max_tokens." if cut else "Asking once more did not help."
        return StructuredOutputError(
            f"The model's answer is not the {self.output_cls.__name__} that was asked for. {advice} "
            "The error's `problem` says what is wrong, and its `text` has the answer.",
            text=answered_text(response),
            problem=str(problem),
            truncated=cut,
        )


def _demand(method: Method, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The options that make a server answer with JSON."""
    if method == "json_schema":
        return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}
    if method == "json_object":
        return {"response_format": {"type": "json_object"}}
    if method == "function_calling":
        function = {"name": name, "description": schema.get("description") or f"Give the {name}.", "parameters": schema}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    return {}


def _name(output_cls: type[BaseModel]) -> str:
    """The class's name in the characters that a tool's may have; that of a generic one has brackets."""
    return _NOT_IN_NAMES.sub("_", output_cls.__name__)[:_LONGEST_NAME] or "output"


def _instructed(messages: Sequence[ChatMessage], schema: Mapping[str, Any]) -> list[ChatMessage]:
    """The conversation with the schema in its system turn: the templates take only one, at the beginning."""
    text = TextBlock(text=_INSTRUCTION + json.dumps(schema, ensure_ascii=False))
    if messages and messages[0].role == MessageRole.SYSTEM:
        head = messages[0]
        blocks = [*head.blocks, TextBlock(text="\n\n"), text]
        return [
            ChatMessage(role=head.role, blocks=blocks, additional_kwargs=dict(head.additional_kwargs)),
            *messages[1:],
        ]
    return [ChatMessage(role=MessageRole.SYSTEM, blocks=[text]), *messages]


def answered_text(response: ChatResponse) -> str:
    """Where the object is: the arguments of the first call, or the text."""
    calls = response.message.additional_kwargs.get("tool_calls")
    if calls:
        return cast("str", calls[0]["function"]["arguments"])
    return response.message.content or ""


def finish_reason(response: ChatResponse) -> str | None:
    """Why the answer ended; `None` where that is not known."""
    raw = cast("dict[str, Any]", response.raw or {})
    return raw["choices"][0].get("finish_reason") if raw.get("choices") else None


def _told(error: ValidationError) -> str:
    """What is wrong, a line for each field."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "\n".join(problem_line(".".join(map(str, each["loc"])), each["msg"]) for each in found[:_MOST_PROBLEMS])


class PartialObjects(Generic[M]):
    """What can be said of an object while it is being written.

    An object is of the class itself once what is there fits it; before, it is of a lenient one with the same fields, in
    which those that are missing are `None`.

    Args:
        output_cls: The class.
    """

    def __init__(self, output_cls: type[M]) -> None:
        self._cls = output_cls
        self._lenient = create_flexible_model(output_cls)
        fields = output_cls.model_fields
        self._names = {field.alias: name for name, field in fields.items() if field.alias}
        self._read_at = 0
        self._values: dict[str, Any] = {}

    def feed(self, response: ChatResponse) -> BaseModel | None:
        """The object so far; `None` where it is the same as before.

        Args:
            response: A chunk, with all that came before it.
        """
        text = answered_text(response)
        start = text.find("{")
        if start < 0 or len(text) <= self._read_at * _GROWTH:
            return None
        self._read_at = len(text)
        try:
            values: Any = from_json(text[start:], allow_partial="trailing-strings")
        except ValueError:
            return None  # cannot be read so far; the finished object is read strictly
        if not isinstance(values, dict) or values == self._values:
            return None
        self._values = cast("dict[str, Any]", values)
        return self._object()

    def _object(self) -> BaseModel:
        try:
            return self._cls.model_validate(self._values)
        except ValidationError:
            named = {self._names.get(name, name): value for name, value in self._values.items()}
            return self._lenient.model_validate(named)
