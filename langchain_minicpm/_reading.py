"""How an object is read from what the model wrote, whole or as far as it has come, and held to its schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import pydantic
import pydantic.v1
from langchain_core import exceptions as langchain
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass

from minicpm_core.errors import StructuredOutputError
from minicpm_core.structured import extract_json, problem_line, validate_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessage, AIMessageChunk

_MOST_PROBLEMS: Final = 5
_STEP: Final = 32
"""An unfinished object is read again when its text has grown by one part in so many: it is cheap at any length."""
_DECODER: Final = json.JSONDecoder(strict=False)
_OLD: Final = cast("type[Any]", pydantic.v1.BaseModel)


@dataclass(frozen=True, slots=True)
class Form:
    """What answers are read as.

    Attributes:
        schema: As the user wrote it.
        json_schema: The same as a JSON schema.
        function: The name of the function whose arguments are the object; empty where the text is.
    """

    schema: dict[str, Any] | type
    json_schema: dict[str, Any]
    function: str = ""

    @property
    def kind(self) -> type[Any] | None:
        """The Pydantic class; `None` where answers are plain dictionaries."""
        return self.schema if isinstance(self.schema, type) and is_basemodel_subclass(self.schema) else None

    def read(self, answer: AIMessage) -> Any:
        """The object in an answer.

        Raises:
            StructuredOutputError: There is none, or it does not fit.
            langchain_core.exceptions.ModelRefusalError: The model refused (langchain-core 1.7.5 and later).
        """
        _raise_if_refused(answer)
        text = self.text_of(answer)
        try:
            return self._checked(extract_json(text))
        except StructuredOutputError as error:
            problem, truncated = error.problem, answer.response_metadata.get("finish_reason") == "length"
        where = "The answer ended at its token limit: raise max_tokens. " if truncated else ""
        raise StructuredOutputError(
            f"The answer does not fit the schema {self.json_schema.get('title', '')!r}. {where}"
            "The error's `text` has the answer, and its `problem` what the validator says.",
            text=text,
            problem=problem,
            truncated=truncated,
        )

    def text_of(self, answer: AIMessage) -> str:
        """What the model wrote for the object: the arguments of its call, else its text."""
        for call in answer.tool_calls:
            if call["name"] == self.function:
                return json.dumps(call["args"])
        for broken in answer.invalid_tool_calls:
            if broken.get("name") == self.function:
                return broken.get("args") or ""
        return answer.text

    def _checked(self, text: str) -> Any:
        kind = self.kind
        try:
            if kind is None:
                value = json.loads(text)
                problem = validate_json(value, self.json_schema)
            else:
                old = issubclass(kind, _OLD)
                value, problem = kind.parse_obj(json.loads(text)) if old else kind.model_validate_json(text), None
        except (pydantic.ValidationError, pydantic.v1.ValidationError) as error:
            value, problem = None, _told(error.errors())
        if problem is None:
            return value
        raise StructuredOutputError(problem, text=text, problem=problem)

    def fitting(self, value: dict[str, Any]) -> Any:
        """An unfinished object as it may be shown: itself, or the Pydantic object if it is one already, else `None`."""
        if self.kind is None:
            return value
        try:
            return self._checked(json.dumps(value))
        except StructuredOutputError:
            return None


class Partial:
    """An object that is being written, as it grows.

    Args:
        form: What it is read as.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._text = ""
        self._start = -1
        self._enough = 0
        self._whole = False
        self._called = False
        self.last: Any = None

    def grown(self, chunk: AIMessageChunk) -> Any:
        """What the object is with another piece of the answer; `None` if nothing new can be shown."""
        for call in chunk.tool_call_chunks:
            if self._form.function and not self._called:
                self._called, self._text, self._start = True, "", -1
            self._text += call.get("args") or ""
        if not self._called:
            self._text += chunk.text
        if self._start < 0:
            self._start = self._text.find("{")
        length = len(self._text) - self._start
        if self._start < 0 or self._whole or length < self._enough:
            return None
        self._enough = length + length // _STEP
        value = self._so_far()
        shown = self._form.fitting(cast("dict[str, Any]", value)) if isinstance(value, dict) else None
        if shown is None or shown == self.last:
            return None
        self.last = shown
        return shown

    def _so_far(self) -> Any:
        """The object as it is now; what follows a whole one is not looked at."""
        try:
            value = _DECODER.raw_decode(self._text, self._start)[0]
        except (ValueError, RecursionError):
            pass
        else:
            self._whole = True
            return value
        try:
            return parse_partial_json(self._text[self._start :])
        except (ValueError, RecursionError):
            return None


def _told(errors: Sequence[Any]) -> str:
    """Pydantic's errors, old or new, as a model can be shown them."""
    lines = [problem_line(".".join(map(str, error["loc"])), error["msg"]) for error in errors]
    return "\n".join(lines[:_MOST_PROBLEMS])


def _raise_if_refused(answer: AIMessage) -> None:
    refused: Any = getattr(langchain, "ModelRefusalError", None)
    if refused is None:
        return
    for block in answer.content_blocks:
        if block["type"] == "refusal":
            raise refused.from_refusal(block, raw_message=answer)
