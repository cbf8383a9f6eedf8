"""An answer as tokens: thoughts, text and tool calls, cut at stop texts and at the token limit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicpm_core.emulator.rules import Ruling, decide
from minicpm_core.emulator.spoken import concluded, cut, write
from minicpm_core.emulator.telling import numbered, size_of
from minicpm_core.emulator.tokens import tokens
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from minicpm_core.emulator.chat import Call, ChatRequest
    from minicpm_core.emulator.dialects import Dialect


@dataclass(frozen=True, slots=True)
class CallPieces:
    """A tool call in pieces.

    Attributes:
        name: The tool's name.
        arguments: The JSON text of the arguments, in tokens.
    """

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent, in tokens.

    Attributes:
        reasoning: The thoughts; none where thinking is off.
        text: The text.
        calls: Tool calls.
        finish_reason: Why it ended.
        stop_reason: The stop text that was met.
        prompt_tokens: Of the request.
        completion_tokens: Written, thoughts included. A stop text that was met counts, as do the names of tools.
    """

    reasoning: tuple[str, ...]
    text: tuple[str, ...]
    calls: tuple[CallPieces, ...]
    finish_reason: str
    stop_reason: str | None
    prompt_tokens: int
    completion_tokens: int


def answer(request: ChatRequest, dialect: Dialect, context: int) -> Answer:
    """The answer to a request.

    Args:
        request: The request.
        dialect: Decides how arguments are written and how calls are said to end.
        context: Tokens that prompt and answer may have together, where the dialect has a limit.
    """
    ruling = decide(request)
    thoughts = _thoughts(request, ruling) if request.thinks else ""
    sent = () if request.style else ruling.calls
    full = write(ruling.calls, request.style) if request.style and ruling.calls else ruling.text
    if not ruling.calls and request.schema is None:
        full = concluded(full, request.style)
    if thoughts and not dialect.parsers:
        full, thoughts = f"{_unparsed(thoughts, request.model)}{full}", ""
    apart = cut if ruling.calls else tokens
    reasoning = tokens(thoughts)
    text, stop_reason = _stopped(full, request.stop)
    written = apart(text)
    finish = "stop"
    if sent:
        finish = dialect.named_call_finish if request.tool_choice == "named" else "tool_calls"
    budget = _Budget(_limit(request, dialect, context))
    thought = budget.take(reasoning)
    said = budget.take(written)
    calls = tuple(_pieces(call, budget, dialect) for call in sent if budget.left != 0)
    met = len(apart(full[: len(text) + len(stop_reason or "")])) - len(written)
    if budget.short:
        finish, stop_reason, met = "length", None, 0
    return Answer(tuple(thought), tuple(said), calls, finish, stop_reason, request.prompt_tokens, budget.spent + met)


class _Budget:
    """Tokens that may still be written."""

    def __init__(self, left: int | None) -> None:
        self.left = left
        self.spent = 0
        self.short = False

    def take(self, pieces: list[str]) -> list[str]:
        taken = pieces if self.left is None else pieces[: self.left]
        self.spent += len(taken)
        self.short = self.short or len(taken) < len(pieces)
        if self.left is not None:
            self.left -= len(taken)
        return taken


def _limit(request: ChatRequest, dialect: Dialect, context: int) -> int | None:
    room = None if "context" in dialect.lets_pass else context - request.prompt_tokens
    limits = [limit for limit in (request.max_tokens, room) if limit is not None]
    return min(limits) if limits else None


def _stopped(text: str, stop: tuple[str, ...]) -> tuple[str, str | None]:
    """The text up to the first stop text, and which that was."""
    met = [(text.find(end), end) for end in stop if end and end in text]
    if not met:
        return text, None
    at, end = min(met)
    return text[:at], end


def _arguments(call: Call, dialect: Dialect) -> str:
    separators = (",", ":") if dialect.compact_arguments else (", ", ": ")
    return json.dumps(dict(call.arguments), ensure_ascii=False, separators=separators)


def _pieces(call: Call, budget: _Budget, dialect: Dialect) -> CallPieces:
    budget.take(tokens(call.name))
    return CallPieces(call.name, tuple(budget.take(tokens(_arguments(call, dialect)))))


def _unparsed(thoughts: str, model: str) -> str:
    """Thoughts as the model writes them: the opening tag is its own only where the template has not written it."""
    opening = "" if card_for(model).thinking_tag_in_prompt else "<think>\n"
    return f"{opening}{thoughts}\n</think>\n\n"


def _thoughts(request: ChatRequest, ruling: Ruling) -> str:
    """What was received and what is done about it: true, and short."""
    turns = len(request.turns)
    said = [f"I received {turns} message{'s' * (turns != 1)}."]
    said += [f"{name} is {size_of(medium)}: {medium.tokens} tokens." for name, medium in numbered(request.media)]
    if ruling.calls:
        said.append(f"The text asks for the tool {ruling.calls[0].name}, so I call it.")
    else:
        said.append(f"The rule for {ruling.rule} applies.")
    return " ".join(said)
