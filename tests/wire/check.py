"""Comparing what came out with what a recorded exchange must give."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.wire.expected import Answer, Refusal

if TYPE_CHECKING:
    from minicpm_core.errors import APIError
    from minicpm_core.types import Choice, Completion, Usage
    from tests.wire.cases import Case


def answer_of(choice: Choice) -> Answer:
    """A choice in the form of the expectations, with the arguments as objects."""
    calls = tuple((call.name, json.loads(call.arguments)) for call in choice.tool_calls)
    assert choice.finish_reason is not None
    return Answer(choice.text, choice.reasoning, calls, choice.finish_reason)


def check_completion(case: Case, completion: Completion) -> None:
    """A completion is what the case must give."""
    assert tuple(map(answer_of, completion.choices)) == case.expected
    assert [choice.index for choice in completion.choices] == list(range(len(case.answers)))
    assert counts_of(completion.usage) == case.usage
    assert completion.model is not None
    assert completion.model.startswith("MiniCPM-V-4.6-")
    assert completion.id
    assert completion.created
    assert completion.request_id == case.headers.get("x-request-id")


def counts_of(usage: Usage | None) -> tuple[int, int, int] | None:
    """Prompt, completion and total tokens."""
    return None if usage is None else (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def check_error(case: Case, error: APIError) -> None:
    """An error is what the case must give, and holds no key."""
    expected = case.expected
    assert isinstance(expected, Refusal)
    assert type(error) is expected.error
    assert isinstance(error, expected.error)
    assert expected.says in error.message
    assert "sk-test" not in repr(vars(error))
    assert error.code == expected.code
    assert error.status_code == case.status
    assert error.request_id == case.headers.get("x-request-id")
    assert {name: getattr(error, name) for name in expected.attributes} == expected.attributes
