"""What comes after a realtime Runnable in a pipeline: an agent for each turn, or the words as they come."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.base import coerce_to_runnable

from langchain_minicpm._errors import InvalidInputError
from langchain_minicpm._realtime_chunks import RealtimeChunk
from langchain_minicpm._realtime_inputs import closing
from langchain_minicpm._realtime_steps import StreamStep
from minicpm_core.realtime.events import AudioDelta, TextDelta
from minicpm_core.realtime.turns import TurnCollector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_core.runnables.base import RunnableLike

    from minicpm_core.realtime.events import ServerEvent
    from minicpm_core.realtime.turns import Turn


def each_turn(consumer: RunnableLike[str, Any], *, interrupted: bool = False) -> StreamStep[Any]:
    """A step that runs an agent, or anything else, with the text of each turn of the model's.

    Any other Runnable in this place would be run once, at the end of the session, with all that was said.

        chain = MiniCPMRealtime(url) | each_turn(RunnableLambda(to_messages) | agent)

    What the consumer streams is streamed on. While it works, the session goes on, and its events wait:
    `max_pending_events` of the client says how many may.

    Args:
        consumer: Gets the text of a turn. A Runnable, a function or a mapping, as in any pipeline.
        interrupted: Whether turns that were broken off count, too.
    """
    return _EachTurn(coerce_to_runnable(consumer), interrupted=interrupted)


def transcript() -> StreamStep[str]:
    """A step that streams what the model says, as it says it; with a line for each turn."""
    return _Transcript()


async def _turns(items: AsyncIterator[Any]) -> AsyncGenerator[Turn, None]:
    collector = TurnCollector()
    async for chunk in items:
        for event in _words(chunk):
            for turn in collector.take(event):
                yield turn
    for turn in collector.end():
        yield turn


def _words(chunk: Any) -> Iterator[ServerEvent]:
    """The events of a chunk but its sound, which nothing here needs."""
    if not isinstance(chunk, RealtimeChunk):
        raise InvalidInputError(f"This step comes after MiniCPMRealtime; it cannot read {type(chunk).__name__}.")
    return (event for event in chunk.events if not isinstance(event, AudioDelta))


class _EachTurn(StreamStep[Any]):
    name: str | None = "each_turn"

    def __init__(self, consumer: Runnable[str, Any], *, interrupted: bool) -> None:
        self._consumer = consumer
        self._interrupted = interrupted

    async def produce(
        self, items: AsyncIterator[Any], config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[Any, None]:
        async with closing(items), aclosing(_turns(items)) as turns:
            async for turn in turns:
                if turn.text.strip() and (self._interrupted or not turn.interrupted):
                    async with closing(answers := self._consumer.astream(turn.text, config, **options)):
                        async for answer in answers:
                            yield answer


class _Transcript(StreamStep[str]):
    name: str | None = "transcript"

    async def produce(
        self, items: AsyncIterator[Any], config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[str, None]:
        del config, options  # nothing else is run, and there is nothing to choose
        collector = TurnCollector()
        async with closing(items):
            async for chunk in items:
                for event in _words(chunk):
                    if collector.take(event):
                        yield "\n"  # before the words that begin the next one
                    if isinstance(event, TextDelta):
                        yield event.text
        if collector.end():
            yield "\n"
