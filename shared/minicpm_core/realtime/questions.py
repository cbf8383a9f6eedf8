"""The questions of a chat session, and which answer belongs to which."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING

from minicpm_core.realtime.client_events import ChatAppend, ChatMessage
from minicpm_core.realtime.codec import Codec
from minicpm_core.realtime.errors import RealtimeError, SessionStateError
from minicpm_core.realtime.events import OutputDelta, ResponseDone, UnknownEvent
from minicpm_core.realtime.turns import TurnCollector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from minicpm_core.realtime.client_events import QuestionOptions
    from minicpm_core.realtime.engine import Engine
    from minicpm_core.realtime.events import ServerEvent
    from minicpm_core.realtime.turns import Turn


class Questions:
    """Asks, and sorts out the answers. Servers answer one question after the other, in order.

    Args:
        engine: Of the session.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: deque[str] = deque()  # what is not answered to its end, oldest first
        self._asking = asyncio.Lock()
        self._reading = False

    async def stream(
        self, messages: str | ChatMessage | Sequence[ChatMessage], options: QuestionOptions
    ) -> AsyncGenerator[ServerEvent, None]:
        """The events of an answer, as `RealtimeSession.chat` gives them. What is left of other answers is passed over.

        Args:
            messages: The history, or a question without one.
            options: Of the question.

        Raises:
            InvalidInputError: It cannot be sent, or what is to be read is being read by another task.
            APIError: The session has ended before the answer had.
        """
        name = self._engine.outgoing.name()
        if isinstance(messages, str):
            messages = ChatMessage("user", messages)
        history = (messages,) if isinstance(messages, ChatMessage) else tuple(messages)
        question = ChatAppend(messages=history, input_id=name, **options)
        self._engine.check(question)
        # Pictures and sound are prepared and checked here; what was prepared is kept, and sent as it is.
        await asyncio.to_thread(Codec().encode, question)
        await self._engine.put(question)
        self._open.append(name)
        while name in self._open:
            event = await self._next()
            if isinstance(event, OutputDelta | ResponseDone | UnknownEvent) and self._owner(event) == name:
                yield event
                if isinstance(event, ResponseDone):
                    return
        raise SessionStateError("The rest of this answer was passed over, as another question was asked meanwhile.")

    async def whole(self, messages: str | ChatMessage | Sequence[ChatMessage], options: QuestionOptions) -> Turn:
        """A whole answer. Who asks meanwhile waits.

        Args:
            messages: As above.
            options: As above.

        Raises:
            InvalidInputError: As above.
            APIError: As above.
        """
        async with self._asking, aclosing(self.stream(messages, options)) as events:
            collector = TurnCollector()
            turns = [turn async for event in events for turn in collector.take(event)]
        return turns[-1]

    async def _next(self) -> ServerEvent:
        if self._reading:
            raise SessionStateError("Another task is reading an answer. Read one at a time, or use `ask`.")
        self._reading = True
        try:
            event = await self._engine.next_event()
        finally:
            self._reading = False
        if event is None:
            raise RealtimeError("The session was closed before the answer was complete.", state="closed")
        return event

    def _owner(self, event: OutputDelta | ResponseDone | UnknownEvent) -> str:
        """The question that an event answers: the one that it names, else the oldest."""
        named = event.extra.get("input_id") if isinstance(event, UnknownEvent) else event.input_id
        name = named if isinstance(named, str) else self._open[0]
        if isinstance(event, ResponseDone) and name in self._open:
            while self._open.popleft() != name:
                pass
        return name
