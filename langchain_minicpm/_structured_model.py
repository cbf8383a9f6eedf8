"""A model that answers with objects: it asks, reads, and asks once more with the validator's words where that failed.

What is said in each round is decided by one generator, `_rounds`; `invoke`, `ainvoke`, `stream` and `astream` only
carry its questions to the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.utils import AddableDict

from langchain_minicpm._guard import langchain_errors
from langchain_minicpm._messages import to_message
from langchain_minicpm._reading import Partial
from minicpm_core.errors import MiniCPMError, StructuredOutputError, ToolCallError
from minicpm_core.structured import repair_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from langchain_minicpm._reading import Form
    from langchain_minicpm._structured import Asked, ObjectRequest
    from langchain_minicpm.chat_models import ChatMiniCPM
    from minicpm_core.types import Completion


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended.

    Attributes:
        raw: The last answer.
        value: The object; `None` where there is none.
        error: Why there is none.
    """

    raw: AIMessage
    value: Any = None
    error: Exception | None = None


class StructuredModel(Runnable["LanguageModelInput", Any]):
    """A chat model whose answers are objects of a schema.

    Args:
        model: The chat model.
        request: What is asked for, and how.
        include_raw: Whether to give `{"raw", "parsed", "parsing_error"}`.
    """

    name: str | None = "StructuredModel"

    def __init__(self, model: ChatMiniCPM, request: ObjectRequest, *, include_raw: bool) -> None:
        self.model = model
        self.request = request
        self.include_raw = include_raw

    @property
    def InputType(self) -> Any:  # noqa: N802  # LangChain's name
        """What the model takes."""
        return self.model.InputType

    @property
    def OutputType(self) -> Any:  # noqa: N802  # LangChain's name
        """The schema, where it is a class of answers."""
        schema = self.request.schema
        return schema if isinstance(schema, type) and not self.include_raw else dict[str, Any]

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002  # LangChain's name
        """The object.

        Args:
            input: Messages, or what LangChain makes messages of.
            config: Callbacks, tags and the like.
            **kwargs: Further arguments of each call.

        Raises:
            StructuredOutputError: What the model wrote does not fit, and, unless it was cut off at its token limit,
                did not when it was asked again.
        """
        return self._call_with_config(self._answer, input, config, **kwargs)

    async def ainvoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002  # LangChain's name
        """The object; see `invoke`."""
        return await self._acall_with_config(self._aanswer, input, config, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """The object as it grows: each item is the whole of it up to now, and the last one fits its schema.

        A Pydantic object comes when all its required fields have.  Where the answer did not fit and another was asked
        for, that one comes in one piece.

        Args:
            input: Messages, or what LangChain makes messages of.
            config: Callbacks, tags and the like.
            **kwargs: Further arguments of each call.

        Raises:
            StructuredOutputError: As `invoke`.
        """
        yield from self.transform(iter([input]), config, **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """The object as it grows; see `stream`."""

        async def given() -> AsyncIterator[LanguageModelInput]:
            yield input

        async for item in self.atransform(given(), config, **kwargs):
            yield item

    def transform(
        self,
        input: Iterator[LanguageModelInput],  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """The object as it grows; see `stream`. A chain that streams calls this."""
        yield from self._transform_stream_with_config(input, self._grow, config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[LanguageModelInput],  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """The object as it grows; see `stream`. A chain that streams calls this."""
        async for item in self._atransform_stream_with_config(input, self._agrow, config, **kwargs):
            yield item

    def _answer(
        self, value: LanguageModelInput, run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Any:
        del run_manager  # the config has it
        with langchain_errors():
            asked = self.request.asked(self.model, self.model._clients().sync.backend())  # noqa: SLF001  # of the same package
            rounds = _rounds(self._messages(value, asked), asked.form)
            messages = next(rounds)
            while True:
                outcome = _told(rounds, _asked(asked.bound, messages, config, kwargs))
                if isinstance(outcome, Outcome):
                    return self._result(outcome)
                messages = outcome

    async def _aanswer(
        self,
        value: LanguageModelInput,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        del run_manager  # the config has it
        with langchain_errors():
            asked = self.request.asked(self.model, await self.model._clients().aio.backend())  # noqa: SLF001  # of the same package
            rounds = _rounds(self._messages(value, asked), asked.form)
            messages = next(rounds)
            while True:
                outcome = _told(rounds, await _aasked(asked.bound, messages, config, kwargs))
                if isinstance(outcome, Outcome):
                    return self._result(outcome)
                messages = outcome

    def _grow(
        self,
        values: Iterator[LanguageModelInput],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[Any]:
        del run_manager  # the config has it
        with langchain_errors():
            asked = self.request.asked(self.model, self.model._clients().sync.backend())  # noqa: SLF001  # of the same package
            rounds = _rounds(self._messages(_joined(list(values)), asked), asked.form)
            answer, partial = None, Partial(asked.form)
            try:
                for piece in asked.bound.stream(next(rounds), config, **kwargs):
                    answer = piece if answer is None else cast("AIMessage", answer + piece)
                    yield from self._shown(piece, partial)
            except ToolCallError as error:
                answer = _uncalled(error)
            outcome = _told(rounds, _of(answer))
            while not isinstance(outcome, Outcome):
                outcome = _told(rounds, _asked(asked.bound, outcome, config, kwargs))
            yield from self._end(outcome, partial)

    async def _agrow(
        self,
        values: AsyncIterator[LanguageModelInput],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        del run_manager  # the config has it
        with langchain_errors():
            asked = self.request.asked(self.model, await self.model._clients().aio.backend())  # noqa: SLF001  # of the same package
            rounds = _rounds(self._messages(_joined([value async for value in values]), asked), asked.form)
            answer, partial = None, Partial(asked.form)
            try:
                async for piece in asked.bound.astream(next(rounds), config, **kwargs):
                    answer = piece if answer is None else cast("AIMessage", answer + piece)
                    for item in self._shown(piece, partial):
                        yield item
            except ToolCallError as error:
                answer = _uncalled(error)
            outcome = _told(rounds, _of(answer))
            while not isinstance(outcome, Outcome):
                outcome = _told(rounds, await _aasked(asked.bound, outcome, config, kwargs))
            for item in self._end(outcome, partial):
                yield item

    def _messages(self, value: LanguageModelInput, asked: Asked) -> list[BaseMessage]:
        messages = self.model._convert_input(value).to_messages()  # noqa: SLF001  # as the model itself does
        if not asked.instruction:
            return messages
        at = next((at for at, message in enumerate(messages) if message.type != "system"), len(messages))
        return [*messages[:at], SystemMessage(asked.instruction), *messages[at:]]

    def _result(self, outcome: Outcome) -> Any:
        if self.include_raw:
            return {"raw": outcome.raw, "parsed": outcome.value, "parsing_error": outcome.error}
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def _shown(self, piece: AIMessage, partial: Partial) -> Iterator[Any]:
        if self.include_raw:
            yield AddableDict(raw=piece)
        grown = partial.grown(piece) if isinstance(piece, AIMessageChunk) else None
        if grown is not None:
            yield AddableDict(parsed=grown) if self.include_raw else grown

    def _end(self, outcome: Outcome, partial: Partial) -> Iterator[Any]:
        fresh = partial.last is None or outcome.value != partial.last
        if self.include_raw:
            if fresh:
                yield AddableDict(parsed=outcome.value)
            yield AddableDict(parsing_error=outcome.error)
        elif outcome.error is not None:
            raise outcome.error
        elif fresh:
            yield outcome.value


def _rounds(messages: list[BaseMessage], form: Form) -> Generator[list[BaseMessage], AIMessage, Outcome]:
    """The conversation: yields what to ask, is sent the answer, and returns how it ended."""
    outcome = _read((yield messages), form)
    problem = outcome.error
    if isinstance(problem, StructuredOutputError) and not problem.truncated:  # a cut one would be too long again
        said = [AIMessage(problem.text)] if problem.text else []
        outcome = _read((yield [*messages, *said, HumanMessage(repair_message(problem.problem))]), form)
    return outcome


def _read(raw: AIMessage, form: Form) -> Outcome:
    try:
        with langchain_errors():
            return Outcome(raw, form.read(raw))
    except StructuredOutputError as error:
        return Outcome(raw, error=error)
    except MiniCPMError:  # it is the schema that is wrong
        raise
    except Exception as error:  # noqa: BLE001  # a refusal, or what a validator of the schema's class raised
        return Outcome(raw, error=error)


def _asked(
    bound: Runnable[LanguageModelInput, AIMessage],
    messages: list[BaseMessage],
    config: RunnableConfig,
    kwargs: dict[str, Any],
) -> AIMessage:
    try:
        return bound.invoke(messages, config, **kwargs)
    except ToolCallError as error:
        return _uncalled(error)


async def _aasked(
    bound: Runnable[LanguageModelInput, AIMessage],
    messages: list[BaseMessage],
    config: RunnableConfig,
    kwargs: dict[str, Any],
) -> AIMessage:
    try:
        return await bound.ainvoke(messages, config, **kwargs)
    except ToolCallError as error:
        return _uncalled(error)


def _uncalled(error: ToolCallError) -> AIMessage:
    """The answer without the call that was asked for: the object may be in its text, or the model is asked again."""
    completion = cast("Completion", error.partial)  # this error always has it
    return to_message(completion, completion.choices[0], model=completion.model or "")


def _told(rounds: Generator[list[BaseMessage], AIMessage, Outcome], answer: AIMessage) -> list[BaseMessage] | Outcome:
    """The next question, or the end."""
    try:
        return rounds.send(answer)
    except StopIteration as end:
        return cast("Outcome", end.value)


def _joined(values: list[Any]) -> Any:
    """The input, which a chain may hand over in pieces."""
    first, *others = values
    for other in others:
        first = first + other
    return first


def _of(answer: AIMessage | None) -> AIMessage:
    return AIMessage("") if answer is None else answer
