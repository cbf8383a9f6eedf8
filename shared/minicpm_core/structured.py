"""Structured output: how an object is best asked for, how it is found in an answer, and whether it fits its schema.

An answer may hold more than the object: reasoning before it, a code fence, prose on both sides, blanks up to the token
limit.  So it is read from its start, bracket by bracket: a bracket that begins JSON is decoded; one that begins JSON
and is broken is stepped over whole, so that no part of a broken object passes for the object; any other bracket is
prose.  Each character is looked at a fixed number of times.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from minicpm_core.errors import ConfigurationError, InvalidInputError, StructuredOutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from minicpm_core.backends import Backend

_PADDING: Final = " \t\r\n\ufeff\x00"
_FENCE = re.compile(r"(?:```|~~~)[ \t]*\w*[ \t]*\r?\n(.*)\r?\n[ \t]*(?:```|~~~)", re.DOTALL)
_OPENER = re.compile(r"[\[{]")
_BEGINS_JSON = re.compile(r'\{\s*(?:"|\Z)|\[\s*(?:["\[{\d-]|true|false|null|\Z)')
_STEP = re.compile(r'[^\[\]{}"]++|"(?:[^"\\]++|\\.)*+"|.', re.DOTALL)
_THOUGHTS_END: Final = "</think>"
_MOST_PROBLEMS: Final = 5
_LONGEST_PROBLEM: Final = 300

_EMPTY: Final = "It is empty."
_NO_JSON: Final = "There is no JSON in it."
_BROKEN: Final = "Its JSON is broken."
_CUT: Final = "It breaks off in the middle of the JSON."


def best_method(backend: Backend) -> Literal["json_schema", "json_object", "function_calling", "prompt"]:
    """How an object is best asked for: in the strictest way that the server does not ignore.

    Args:
        backend: The server's row.
    """
    return "prompt" if "response_format" in backend.ignores else "json_schema"


def extract_json(text: str) -> str:
    """The JSON document in an answer.

    Reasoning up to `</think>`, a code fence, prose before and after, and padding are left out.  Of several documents
    the longest is taken, and of those the last.

    Args:
        text: The answer, whole.

    Returns:
        JSON text: the document as it was written, but with raw line ends and tabs in its strings escaped.

    Raises:
        StructuredOutputError: There is no JSON, or it is broken, or the answer breaks off within it.
    """
    answer = text.strip(_PADDING)
    said = answer.rpartition(_THOUGHTS_END)[2].strip(_PADDING)
    fenced = _FENCE.fullmatch(said)
    for whole in (answer, said, fenced[1].strip(_PADDING) if fenced else ""):
        found = _decoded(whole, 0)
        if found is not None and found[1] == len(whole):
            return found[0]
    document, problem = _longest(said)
    if document is not None and not problem:
        return document
    raise StructuredOutputError(
        f"The answer is not the JSON that was asked for. {problem} The error's `text` has it.",
        text=text,
        problem=problem,
    )


def validate_json(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What a validator says against a value; `None` where the value fits its schema.

    Args:
        value: A decoded JSON document.
        schema: A JSON schema, of the draft that its `$schema` names, else 2020-12. No reference is fetched.

    Returns:
        One line for each of the first problems, after the path of the value: `city.name: 3 is not of type 'string'`.

    Raises:
        InvalidInputError: The schema is none, or refers to what it does not contain.
        ConfigurationError: The package jsonschema is not installed.
    """
    try:
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError as error:
        raise ConfigurationError(
            "Checking an answer against a JSON schema needs jsonschema, which comes with the extras langchain and "
            "llama-index: pip install jsonschema"
        ) from error
    plain = dict(schema)
    kind = validator_for(plain, default=Draft202012Validator)
    try:
        kind.check_schema(plain)
        # With a registry given, the validator fetches nothing.
        found = list(kind(plain, registry=Registry()).iter_errors(value))
    except SchemaError as error:
        raise InvalidInputError(f"The JSON schema is none: {error.message[:_LONGEST_PROBLEM]}") from error
    except Unresolvable as error:
        raise InvalidInputError(
            "The JSON schema refers to what it does not contain, and nothing is fetched."
        ) from error
    found.sort(key=lambda problem: problem.json_path)
    return "\n".join(problem_line(problem.json_path, problem.message) for problem in found[:_MOST_PROBLEMS]) or None


def problem_line(path: str, message: str) -> str:
    """One problem of a validator's, cut to a line that a model can be shown.

    Args:
        path: Where in the document, as a JSON path or with dots; empty or `$` for the whole.
        message: What is wrong there.
    """
    place = path.removeprefix("$").removeprefix(".")
    said = message if len(message) <= _LONGEST_PROBLEM else f"{message[:_LONGEST_PROBLEM]}…"
    return f"{place}: {said}" if place else said


def repair_message(problem: str) -> str:
    """What the user says to an answer that did not fit.

    Args:
        problem: The validator's words.
    """
    return f"That answer does not fit the schema:\n{problem}\nGive the whole JSON again, corrected, and nothing else."


def _refused(name: str) -> NoReturn:
    raise ValueError(name)


_STRICT = json.JSONDecoder(parse_constant=_refused)
_LENIENT = json.JSONDecoder(parse_constant=_refused, strict=False)


def _decoded(text: str, start: int) -> tuple[str, int] | None:
    """The document that begins there, and where it ends; `None` if none does."""
    try:
        return text[start : (end := _STRICT.raw_decode(text, start)[1])], end
    except (ValueError, RecursionError):
        pass
    try:
        value, end = _LENIENT.raw_decode(text, start)
    except (ValueError, RecursionError):  # the former also for numbers of thousands of digits
        return None
    return json.dumps(value, ensure_ascii=False), end


def _longest(text: str) -> tuple[str | None, str]:
    """The longest document, and what is wrong with it."""
    best: tuple[int, str | None, str] = (0, None, _NO_JSON if text else _EMPTY)
    for length, document, problem in _documents(text):
        if problem == _CUT:  # the answer proper, whatever came before it
            return None, problem
        if length >= best[0]:
            best = (length, document, problem)
    return best[1], best[2]


def _documents(text: str) -> Iterator[tuple[int, str | None, str]]:
    """Each document's length, the document if it is whole, and what is wrong if it is not."""
    at = 0
    while opener := _OPENER.search(text, at):
        start = opener.start()
        found = _decoded(text, start)
        if found is not None:
            at = found[1]
            yield at - start, found[0], ""
        elif not _BEGINS_JSON.match(text, start):
            at = start + 1
        else:
            end = _closing(text, start)
            if end is None:
                yield len(text) - start, None, _CUT
                return
            at = end
            yield at - start, None, _BROKEN


def _closing(text: str, start: int) -> int | None:
    """Where the bracket that opens there is closed; `None` if it is not."""
    depth = 0
    for step in _STEP.finditer(text, start):
        piece = step[0]
        if piece == '"':  # of a string that does not end
            return None
        depth += (piece in "[{") - (piece in "]}")
        if not depth:
            return step.end()
    return None
