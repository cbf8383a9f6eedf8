"""One choice of a streamed reply, put together delta by delta.

What is handed out is what the whole reply would say: reasoning and text told apart, line breaks of the template and
white space around tool calls dropped, emoji that were cut in two joined again.  Joining the deltas of a choice gives
the text, the reasoning and the calls of `ChoiceAssembler.choice()` after `end`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from minicpm_core.protocol.fields import list_of, object_of, text_of
from minicpm_core.protocol.reply import (
    choice_extras,
    content_text,
    promotes,
    reasoning_text,
    told_apart,
    whole_characters,
)
from minicpm_core.protocol.thinking import ThinkingSplitter
from minicpm_core.protocol.toolcalls import ToolCallAssembler
from minicpm_core.types import Choice, Delta

if TYPE_CHECKING:
    from minicpm_core.protocol.callbody import TextCall
    from minicpm_core.protocol.reply import ReplyContext


class ChoiceAssembler:
    """Collects one choice.

    Args:
        index: Its number.
        context: What reading the reply needs to know of its request.
    """

    __slots__ = (
        "_blanks", "_extras", "_halves", "_held", "_plain", "_promoted", "_reasoning", "_refusal", "_splitter", "_text",
        "_thinking", "_tool_text", "_tools", "finish_reason", "index", "logprobs",
    )  # fmt: skip

    def __init__(self, index: int, context: ReplyContext) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.logprobs: dict[str, Any] | None = None
        self._thinking = context.thinking
        self._splitter = ThinkingSplitter(hold=context.hold, inline=context.inline)
        self._tools = ToolCallAssembler()
        self._tool_text = context.splitter()
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._held: list[str] = []  # reasoning that came although thinking was off: perhaps the answer itself
        self._blanks: list[str] = []  # white space beside tool calls: text only if text follows
        self._halves = {
            "content": "",
            "reasoning": "",
        }  # of surrogate pairs, by field: the other half comes with the next piece
        self._refusal: list[str] = []
        self._extras: dict[str, Any] = {}
        self._promoted = False
        self._plain = False  # nothing is held back and text has begun: further content is text without more ado

    @property
    def saw_lone_close(self) -> bool:
        """Whether thoughts came in the content without an opening tag."""
        return self._splitter.saw_lone_close

    def choice(self) -> Choice:
        """The choice as it stands, with what is still held back."""
        reasoning, text = self._splitter.pending
        calls = self._tools
        if self._tool_text is not None:
            calls = deepcopy(calls)
            text = told_apart(self._tool_text.pending_with(text), calls)
        return Choice(
            index=self.index,
            text="".join((*self._text, text)),
            reasoning="".join((*self._reasoning, *self._held, reasoning)),
            tool_calls=calls.calls(),
            finish_reason=self.finish_reason,
            logprobs=self.logprobs,
            refusal="".join(self._refusal) or None,
            reasoning_promoted=self._promoted,
            extras=self._extras,
        )

    def take(self, raw: dict[str, Any], deltas: list[Delta]) -> bool:
        """Take an entry of a chunk's `choices`, add the deltas that it gives, and say whether it ended the choice."""
        message: Any = raw.get("delta")
        if message.__class__ is not dict:
            message = object_of(message if "delta" in raw else raw.get("message"))
        content = message.get("content")
        logprobs = raw.get("logprobs")
        if self._plain and not logprobs and len(message) == 1 and isinstance(content, str):
            text = content if content.isascii() else self._characters("content", content)
            if text:
                self._text.append(text)
                deltas.append(Delta(text, "", self.index))
        elif message or logprobs:
            self._message(message, object_of(logprobs), deltas)
        finish_reason = raw.get("finish_reason")
        if not finish_reason or not isinstance(finish_reason, str):
            return False
        self.finish_reason = finish_reason
        self._extras |= choice_extras(raw, {})
        return True

    def end(self, deltas: list[Delta]) -> None:
        """End the choice: hand out what was held back."""
        if self._halves["reasoning"]:
            self._thoughts("\ufffd", deltas)
        if self._halves["content"]:
            self._emit(*self._splitter.content("\ufffd"), deltas)
        self._emit(*self._splitter.finish(truncated=self.finish_reason == "length"), deltas)
        if self._tool_text is not None:
            self._hand_out(self._tool_text.finish(), deltas)
        pieces = self._tools.end()
        if pieces:
            deltas.append(Delta(index=self.index, tool_calls=pieces))
        held = "".join(self._held)
        self._promoted = promotes(
            thinking=self._thinking,
            text="".join(self._text),
            reasoning=held,
            tools=bool(self._tools),
            finish_reason=self.finish_reason,
        )
        if self._promoted:
            self._held = []
            self._promote(held, deltas)
        elif self._blanks and not self._tools:
            self._release(deltas)
            self._text += self._blanks
            deltas.append(Delta("".join(self._blanks), index=self.index))
        self._release(deltas)

    def _message(self, message: dict[str, Any], logprobs: dict[str, Any], deltas: list[Delta]) -> None:
        before = len(deltas)
        thoughts = reasoning_text(message)
        if thoughts:
            self._thoughts(self._characters("reasoning", thoughts), deltas)
        content = content_text(message.get("content"))
        if content:
            self._emit(*self._splitter.content(self._characters("content", content)), deltas)
        if self._tool_text is not None and message.get("tool_calls"):
            self._say(self._tool_text.release(), deltas)
        pieces = self._tools.feed(message.get("tool_calls"))
        if pieces:
            self._release(deltas)
            deltas.append(Delta(index=self.index, tool_calls=pieces))
        refusal = text_of(message.get("refusal"))
        if refusal:
            self._refusal.append(refusal)
        if logprobs:
            self._merge_logprobs(logprobs)
            if len(deltas) == before:
                deltas.append(Delta(index=self.index))
            deltas[before].logprobs = logprobs
        waiting = self._tools or self._blanks or self._held or self._halves["content"]
        self._plain = self._splitter.in_text and not waiting and self._tool_text is None

    def _thoughts(self, piece: str, deltas: list[Delta]) -> None:
        reasoning, text = self._splitter.reasoning(piece)
        self._emit("", text, deltas)
        if self._thinking or self._text or self._tools:
            self._emit(reasoning, "", deltas)
        elif reasoning:
            self._held.append(reasoning)

    def _promote(self, held: str, deltas: list[Delta]) -> None:
        """Hand out reasoning that is the answer, or calls of tools."""
        if self._tool_text is None:
            self._text.append(held)
            deltas.append(Delta(held, index=self.index))
        else:
            self._hand_out(self._tool_text.feed(held) + self._tool_text.finish(), deltas)

    def _emit(self, reasoning: str, text: str, deltas: list[Delta]) -> None:
        if self._tool_text is None:
            self._say(text, deltas, reasoning)
            return
        self._say("", deltas, reasoning)
        self._hand_out(self._tool_text.feed(text), deltas)

    def _hand_out(self, events: list[str | TextCall], deltas: list[Delta]) -> None:
        for event in events:
            if isinstance(event, str):
                self._say(event, deltas)
            else:
                self._release(deltas)
                deltas.append(Delta(index=self.index, tool_calls=(self._tools.add(event.name, event.arguments),)))

    def _say(self, text: str, deltas: list[Delta], reasoning: str = "") -> None:
        if text and (self._tools or not self._text):
            self._blanks.append(text)
            text = "" if text.isspace() else "".join(self._blanks)
            if text:
                self._blanks = []
        if not (reasoning or text):
            return
        self._release(deltas)
        if reasoning:
            self._reasoning.append(reasoning)
        if text:
            self._text.append(text)
        deltas.append(Delta(text, reasoning, self.index))

    def _release(self, deltas: list[Delta]) -> None:
        """Hand out reasoning that came although thinking was off: other content shows that it is not the answer."""
        if self._held:
            self._reasoning += self._held
            deltas.append(Delta(reasoning="".join(self._held), index=self.index))
            self._held = []

    def _characters(self, name: str, piece: str) -> str:
        """The piece in whole characters: half of a surrogate pair at its end waits for the next piece."""
        piece = self._halves[name] + piece
        self._halves[name] = ""
        if "\ud800" <= piece[-1] <= "\udbff":
            self._halves[name] = piece[-1]
            self._plain = False
            piece = piece[:-1]
        return whole_characters(piece)

    def _merge_logprobs(self, logprobs: dict[str, Any]) -> None:
        """Join the lists of the log-probability objects of a stream, as a whole reply has them."""
        merged = self.logprobs = self.logprobs or {}
        for key, value in logprobs.items():
            if isinstance(value, list):
                known = merged.setdefault(key, [])  # a list of our own: the delta keeps the server's
                if isinstance(known, list):
                    merged[key].extend(list_of(value))
                    continue
            if value is not None:
                merged[key] = value
