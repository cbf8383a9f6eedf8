"""The tree of errors: as drawn, of the standard kinds, and whole after a pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import errors
from minicpm_core.errors import MiniCPMError
from minicpm_core.types import Choice, Completion

if TYPE_CHECKING:
    from collections.abc import Callable

_CLASSES: list[type[MiniCPMError]] = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, MiniCPMError)
]
_PARTIAL = Completion(choices=(Choice(text="Hel"),))
_ATTRIBUTES: dict[str, Any] = {
    "request_id": "r",
    "retryable": True,
    "attempts": 3,
    "partial": _PARTIAL,
    "status_code": 404,
    "code": "c",
    "body": "b",
    "retry_after": 1.5,
    "model": "m",
    "available": ("a", "b"),
    "suggestion": "a",
    "n_ctx": 5,
    "n_prompt": 6,
    "phase": "connect",
    "sent": True,
    "stale": True,
    "text": "No.",
    "problem": "p",
    "truncated": True,
}


def _pickled(error: MiniCPMError) -> MiniCPMError:
    other: MiniCPMError = pickle.loads(pickle.dumps(error))
    return other


def _drawn() -> dict[str, tuple[str | None, str | None]]:
    """Of the tree in the module's docstring: each class, the one above it, and the standard class beside it."""
    found: dict[str, tuple[str | None, str | None]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)(?: \((\w+)\))?", line)
        if match is None or "Error" not in match[2]:
            continue
        depth = len(match[1]) // 4
        above[depth] = match[2]
        found[match[2]] = (above.get(depth - 1), match[3])
    return found


def test_the_tree_is_as_it_is_drawn() -> None:
    real = {
        kind.__name__: (
            next((base.__name__ for base in kind.__bases__ if issubclass(base, MiniCPMError)), None),
            next(
                (b.__name__ for b in kind.__bases__ if not issubclass(b, MiniCPMError) and b is not Exception),
                None,
            ),
        )
        for kind in _CLASSES
    }
    assert _drawn() == real
    assert len(real) == 26


@pytest.mark.parametrize("kind", _CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_docstring_and_knows_its_attributes(kind: type[MiniCPMError]) -> None:
    assert kind.__doc__
    annotated = {name for base in kind.__mro__ for name in vars(base).get("__annotations__", {})}
    assert all(hasattr(kind, name) for name in annotated), "each has a default"
    assert annotated <= set(_ATTRIBUTES), "add it to _ATTRIBUTES, so that it is pickled below"


@pytest.mark.parametrize("kind", _CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, _pickled], ids=["copy", "deepcopy", "pickle"])
def test_an_error_is_whole_after_a_copy(
    kind: type[MiniCPMError], copied: Callable[[MiniCPMError], MiniCPMError]
) -> None:
    """An exception with attributes of its own does not survive a pickle unless it is made to."""
    error = kind("What happened.", **_ATTRIBUTES)
    error.add_note("where")
    other = copied(error)
    assert type(other) is kind
    assert str(other) == "What happened."
    assert other.args == error.args
    assert other.message == error.message
    assert {name: getattr(other, name) for name in _ATTRIBUTES} == _ATTRIBUTES
    assert other.__notes__ == ["where"]


@pytest.mark.parametrize(
    ("kind", "standard"),
    [
        (errors.ConfigurationError, ValueError),
        (errors.InvalidInputError, ValueError),
        (errors.InvalidMediaError, ValueError),
        (errors.StructuredOutputError, ValueError),
        (errors.UnsupportedFeatureError, NotImplementedError),
        (errors.APITimeoutError, TimeoutError),
        (errors.APIConnectionError, ConnectionError),
        (errors.StreamInterruptedError, ConnectionError),
    ],
)
def test_errors_are_caught_as_what_they_are_in_python(kind: type[MiniCPMError], standard: type[Exception]) -> None:
    with pytest.raises(standard, match="What happened"):
        raise kind("What happened.")


@pytest.mark.parametrize("kind", [errors.APITimeoutError, errors.APIConnectionError])
def test_an_os_error_of_ours_has_a_message_and_no_number(kind: type[MiniCPMError]) -> None:
    error = kind("What happened.", phase="read")
    assert str(error) == "What happened."
    assert isinstance(error, OSError)
    assert error.errno is None


def test_what_may_pass_by_itself_says_so() -> None:
    retryable = {kind.__name__ for kind in _CLASSES if getattr(kind, "retryable", False)}
    assert retryable == {"APITimeoutError", "APIConnectionError", "StreamInterruptedError"}
    assert errors.APIStatusError("x", retryable=True).retryable
