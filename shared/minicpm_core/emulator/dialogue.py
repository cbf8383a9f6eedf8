"""Who says what in a conversation: the question, the calls made for it, and the results that wait for an answer.

A result is a message of the role `tool`, or one of the user that carries one: `<tool_response>` as the chat templates
write it, `Observation:` as ReAct does, and `Output of tool …:` with the pictures that a `tool` message cannot hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicpm_core.emulator.spoken import made_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.emulator.chat import Turn
    from minicpm_core.emulator.intake import Medium

_CARRIES = re.compile(r"\s*(?:<tool_response>|Observation:|Output of tool \S[^\n]*:)")
_RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
_OUTPUT_OF = re.compile(r"\s*(?:<tool_response>\s*)?Output of tool (\S[^\n]*?):\s*")
_OBSERVATION = re.compile(r"\s*Observation:\s*")


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool said.

    Attributes:
        name: The tool's; empty where the conversation does not tell.
        text: Its words.
        media: What it shows.
    """

    name: str
    text: str
    media: tuple[Medium, ...] = ()


def question(turns: Sequence[Turn]) -> Turn:
    """The last message of the user that is not a tool's."""
    return turns[_asked_at(turns)]


def made(turns: Sequence[Turn]) -> list[str]:
    """The names of the tools that were called since the question, in order."""
    return [name for turn in turns[_asked_at(turns) :] for name in _named(turn)]


def results(turns: Sequence[Turn]) -> tuple[Result, ...]:
    """The results that end the conversation, and so wait for an answer."""
    carries = _carries(turns)
    start = len(turns)
    while start and carries[start - 1]:
        start -= 1
    by_id = {call.id: call.name for turn in turns for call in turn.calls}
    in_order = _named(turns[start - 1]) if start else []
    found: list[Result] = []
    for turn in turns[start:]:
        found += _results(turn, by_id, in_order[len(found) :])
    return tuple(found)


def _named(turn: Turn) -> list[str]:
    if turn.role != "assistant":
        return []
    return [call.name for call in turn.calls] or made_in(turn.text)


def _results(turn: Turn, by_id: dict[str, str], in_order: list[str]) -> list[Result]:
    output = _OUTPUT_OF.match(turn.text)
    if turn.role == "tool":
        name = by_id.get(turn.call_id) or (in_order[0] if in_order and not turn.call_id else "")
        return [Result(name, turn.text, turn.media)]
    if output:
        said = turn.text[output.end() :].removesuffix("</tool_response>").rstrip()
        return [Result(output[1], said, turn.media)]
    texts = _RESPONSE.findall(turn.text) or [_OBSERVATION.sub("", turn.text, count=1)]
    names = [*in_order, *[""] * len(texts)]
    last = len(texts) - 1
    return [Result(names[at], text, turn.media if at == last else ()) for at, text in enumerate(texts)]


def _asked_at(turns: Sequence[Turn]) -> int:
    carries = _carries(turns)
    return max(at for at, turn in enumerate(turns) if turn.role == "user" and not carries[at])


def _carries(turns: Sequence[Turn]) -> list[bool]:
    """Which turns carry a tool's result: of the user's only such as come after a call, and after a question."""
    found: list[bool] = []
    asked = False
    for at, turn in enumerate(turns):
        if turn.role == "user":
            follows = at > 0 and (turns[at - 1].role == "assistant" or found[-1])
            found.append(asked and follows and _CARRIES.match(turn.text) is not None)
            asked = asked or not found[-1]
        else:
            found.append(turn.role == "tool")
    return found
