"""What the emulator understood of a request: the values that the rules work on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from minicpm_core.emulator import dialogue, tokens
from minicpm_core.emulator.pictures import Picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.emulator.dialogue import Result
    from minicpm_core.emulator.intake import Medium
    from minicpm_core.emulator.spoken import CallStyle

ToolChoice: TypeAlias = Literal["auto", "none", "required", "named"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, made earlier by the assistant or now by the emulator.

    Attributes:
        name: The tool's name.
        arguments: The arguments as a JSON object.
        id: Of an earlier call; empty for one that is being made.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        text: Its text parts, joined by newlines.
        media: Its pictures, videos and recordings, in order.
        calls: An assistant's tool calls.
        call_id: Which call a tool's message answers.
    """

    role: str
    text: str
    media: tuple[Medium, ...] = ()
    calls: tuple[Call, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that may be called.

    Attributes:
        name: Its name.
        description: What it says it does.
        parameters: The JSON schema of its arguments.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request, checked.

    Attributes:
        model: The model asked for, or the first one offered.
        turns: The conversation; at least one is the user's.
        thinks: Whether thoughts come before the answer.
        stream: Whether the answer is streamed.
        include_usage: Whether a stream ends with token counts.
        continuous_usage: Whether each chunk of a stream has them.
        max_tokens: The most tokens to write, thoughts included; `None` is without limit.
        stop: Texts that end the answer.
        n: How many answers.
        top_logprobs: Log probabilities asked for: `None` for none, else how many alternatives.
        tools: Tools that may be called.
        tool_choice: `auto`, `none`, `required`, or `named` for the one tool that is left in `tools`.
        declared: Tools that the system turn declares in text.
        style: How calls are written into the text; `None` sends them as calls.
        parallel: Whether several calls may be made at once.
        schema: The JSON schema that the answer must fit; an empty one asks for any object; `None` asks for text.
    """

    model: str
    turns: tuple[Turn, ...]
    thinks: bool = False
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    top_logprobs: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    declared: tuple[Tool, ...] = ()
    style: CallStyle | None = None
    parallel: bool = True
    schema: Mapping[str, Any] | None = None

    @property
    def question(self) -> Turn:
        """The last message of the user that is not a tool's."""
        return dialogue.question(self.turns)

    @property
    def made(self) -> list[str]:
        """The names of the tools that were called since the question."""
        return dialogue.made(self.turns)

    @property
    def results(self) -> tuple[Result, ...]:
        """Tool results that end the conversation, and so wait for an answer."""
        return dialogue.results(self.turns)

    @property
    def media(self) -> tuple[Medium, ...]:
        """All media of the conversation, in order."""
        return tuple(medium for turn in self.turns for medium in turn.media)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt: text, calls and media of each turn, its marks, the tools, the answer's opening."""
        spent = tokens.ANSWER_TOKENS
        for turn in self.turns:
            spent += tokens.TURN_TOKENS + tokens.count(turn.text)
            spent += sum(tokens.count(f"{call.name} {json.dumps(dict(call.arguments))}") for call in turn.calls)
        for at, medium in enumerate(self.media):
            # The number of a picture is written into the prompt, a digit a token.
            spent += medium.tokens + (len(str(at)) - 1 if isinstance(medium, Picture) else 0)
        for tool in self.tools:
            spent += tokens.count(f"{tool.name} {tool.description} {json.dumps(dict(tool.parameters))}")
        return spent
