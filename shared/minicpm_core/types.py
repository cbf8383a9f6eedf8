"""The values that travel through the core: what a caller sends and what a server answers.

Every class is a frozen, slotted dataclass, so a value can be shared, hashed and compared, and nothing that a
caller handed in is ever changed.  The shapes are those of the Chat Completions API with the MiniCPM additions
(reasoning beside the text); no framework's type appears here.

    Message(role, content=(TextPart | ImageSource | …))     what is sent: see `minicpm_core.parts`
    Completion(choices=(Choice, …), usage=Usage)                       a whole answer
    Delta …, Delta(final=Completion)                                   a streamed answer
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from minicpm_core.parts import TextPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.parts import Part

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
"""Roles that the MiniCPM chat templates know. `developer` is accepted on input and sent as `system`."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by the model.

    Attributes:
        id: Unique within the answer. Made up by the client where a server sends none.
        name: The tool's name.
        arguments: The arguments as the server wrote them: JSON text, not parsed.
        repaired: `True` where that text was no JSON but for commas too many or line breaks inside strings, and
            `arguments` is without them. In a stream, slips are taken out of the pieces as these are handed on.
    """

    id: str
    name: str
    arguments: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call in a stream.

    Attributes:
        index: The client's own number of the call, counted from 0: stable even where servers repeat or omit theirs.
        id: Set on the first piece of a call, `None` on later ones.
        name: Set on the first piece of a call, `None` on later ones.
        arguments: The next characters of the JSON text, possibly none.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: `system`, `user`, `assistant` or `tool` (`developer` is read as `system`).
        content: The parts, in order. A string is read as one `TextPart`.
        name: The speaker's name, sent only when given.
        tool_calls: For `assistant`: the calls it made.
        tool_call_id: For `tool`: which call this answers.
        reasoning: For `assistant`: its thoughts, sent back only where the template wants them.
    """

    role: str
    content: str | tuple[Part, ...] = ()
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts, whichever way it was given."""
        if isinstance(self.content, str):
            return (TextPart(self.content),) if self.content else ()
        return self.content


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, as the server counted them.

    Attributes:
        prompt_tokens: Tokens of the prompt, pictures included.
        completion_tokens: Tokens written, reasoning included.
        total_tokens: As reported, or the sum where a server reports none.
        cached_tokens: Prompt tokens that came from the server's prefix cache; `None` where not reported.
        reasoning_tokens: Tokens of reasoning; `None` where not reported.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of a completion.

    Attributes:
        index: Its number, 0 unless `n` asked for several.
        text: The answer, without reasoning.
        reasoning: The thoughts, without tags; empty where there are none.
        tool_calls: Calls of tools, in order.
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter` …; `None` where a server says nothing.
        logprobs: The server's log-probability object, untouched.
        refusal: The server's refusal text, where it sends one.
        reasoning_promoted: `True` where the server put the whole answer into its reasoning field although thinking
            was off, so that it was moved to `text`.
        extras: Fields of the choice and the message that have no place above, such as `stop_reason`.
    """

    index: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = field(default=None, hash=False)
    refusal: str | None = None
    reasoning_promoted: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer.

    Attributes:
        choices: At least one, in the order of their index.
        usage: Tokens; `None` where the server reports none.
        model: The model that the server says answered.
        id: The server's id of the completion.
        request_id: The request id from the response headers, for the server's operators.
        created: Seconds since the epoch, as reported.
        extras: Top-level fields that have no place above, such as `system_fingerprint` and `timings`.
    """

    choices: tuple[Choice, ...]
    usage: Usage | None = None
    model: str | None = None
    id: str | None = None
    request_id: str | None = None
    created: int | None = None
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.choices[0].text

    @property
    def reasoning(self) -> str:
        """The reasoning of the first choice."""
        return self.choices[0].reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the first choice."""
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
        return self.choices[0].finish_reason


@dataclass(slots=True)
class Delta:
    """A piece of a streamed answer.

    Most deltas carry text or reasoning alone.  Exactly one, the last, carries `final`: the whole completion with
    everything that is known only at the end (finish reasons, usage, model, ids) and all that was streamed before.
    Joining the text of all deltas of a choice gives that choice's text in `final`.

    Not frozen, since it is made once for each token of a stream and a frozen dataclass costs three times as much.

    Attributes:
        text: The next characters of the answer.
        reasoning: The next characters of the thoughts.
        index: Which choice this belongs to.
        tool_calls: Pieces of tool calls.
        logprobs: The server's log-probability object of this piece, untouched.
        final: Set on the last delta only.
    """

    text: str = ""
    reasoning: str = ""
    index: int = 0
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: dict[str, Any] | None = None
    final: Completion | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A row of a server's `/v1/models`.

    Attributes:
        id: The id to ask for.
        owned_by: Who the server says made it, which tells some servers apart.
        context_window: Tokens, where the server says (`max_model_len`, `meta.n_ctx_train`).
        raw: The row as received.
    """

    id: str
    owned_by: str | None = None
    context_window: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)
