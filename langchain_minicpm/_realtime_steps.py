"""Runnables that only stream, and only asynchronously: what LangChain needs of them, but no copy of the sound.

`RunnableGenerator` keeps every input and every output until its end, to show them in a trace.  For minutes of sound
that is too much, and a microphone does not end; so what goes into a trace is for each class here to say.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig, ensure_config, patch_config
from langchain_core.runnables.config import get_async_callback_manager_for_config

from langchain_minicpm._errors import UnsupportedFeatureError
from langchain_minicpm._realtime_errors import as_langchain_too
from minicpm_core.errors import MiniCPMError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForChainRun

Output = TypeVar("Output")


class Summary(Protocol):
    """Gathers what a trace shows of a stream."""

    def take(self, chunk: Any) -> None:
        """Look at a piece of it."""

    def outputs(self) -> Any:
        """What is shown."""


class Sum:
    """Adds pieces up, as LangChain does: what cannot be added takes the place of what was."""

    def __init__(self) -> None:
        self._total: Any = None

    def take(self, chunk: Any) -> None:
        """Add a piece."""
        if self._total is None:
            self._total = chunk
            return
        try:
            self._total = self._total + chunk
        except TypeError:
            self._total = chunk

    def outputs(self) -> Any:
        """The sum; `None` of nothing."""
        return self._total


class StreamStep(Runnable[Any, Output], Generic[Output]):
    """A Runnable from a stream to a stream, on asyncio alone."""

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangChain's name
        """Anything: streams have no schema."""
        return Any

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        """Anything, as above."""
        return Any

    @abstractmethod
    def produce(
        self, items: AsyncIterator[Any], config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[Output, None]:
        """What comes of a stream.

        Args:
            items: What is streamed in.
            config: For the Runnables that it runs in its turn.
            **options: That were bound, or given in the call.
        """

    def summary(self) -> Summary:
        """What a trace shows of the output: by default all of it."""
        return Sum()

    async def atransform(
        self,
        input: AsyncIterator[Any],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Output, None]:
        """Stream what comes of a stream.

        Args:
            input: What goes in.
            config: Callbacks, tags and so on.
            **kwargs: Options for this call.

        Raises:
            MiniCPMError: In a class that is langchain-core's, too.
        """
        config = ensure_config(config)
        manager = get_async_callback_manager_for_config(config)
        name = config.get("run_name") or self.get_name()
        run = await manager.on_chain_start(None, {"input": ""}, name=name, run_id=config.pop("run_id", None))
        summary = self.summary()
        try:
            inside = patch_config(config, callbacks=run.get_child())
            async with (
                aclosing(self.produce(input, inside, **kwargs)) as stream,
                aclosing(_tapped(stream, run)) as shown,
            ):
                async for chunk in shown:
                    summary.take(chunk)
                    yield chunk
        except MiniCPMError as error:
            converted = as_langchain_too(error)
            await run.on_chain_error(converted)
            raise converted from error.__cause__
        except BaseException as error:
            await run.on_chain_error(error)
            raise
        await run.on_chain_end(summary.outputs())

    async def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Output, None]:
        """Stream what comes of one input, which may itself be a stream (an async or plain iterable).

        Args:
            input: What goes in.
            config: Callbacks, tags and so on.
            **kwargs: Options for this call.

        Raises:
            MiniCPMError: In a class that is langchain-core's, too.
        """

        async def once() -> AsyncGenerator[Any, None]:
            yield input

        async with aclosing(self.atransform(once(), config, **kwargs)) as stream:
            async for chunk in stream:
                yield chunk

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """The sum of what is streamed.

        Args:
            input: What goes in.
            config: Callbacks, tags and so on.
            **kwargs: Options for this call.

        Raises:
            MiniCPMError: In a class that is langchain-core's, too.
        """
        total = Sum()
        async for chunk in self.astream(input, config, **kwargs):
            total.take(chunk)
        return total.outputs()  # type: ignore[no-any-return]

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> NoReturn:
        """Not possible.

        Raises:
            UnsupportedFeatureError: Always: use `ainvoke`.
        """
        self._refuse("invoke")

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> NoReturn:
        """Not possible.

        Raises:
            UnsupportedFeatureError: Always: use `astream`.
        """
        self._refuse("stream")

    def transform(
        self,
        input: Iterator[Any],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> NoReturn:
        """Not possible.

        Raises:
            UnsupportedFeatureError: Always: use `atransform`.
        """
        self._refuse("transform")

    def _refuse(self, method: str) -> NoReturn:
        raise UnsupportedFeatureError(
            f"{self.get_name()} listens and speaks at the same time, which needs asyncio: use a{method}, not {method}."
        )


def _tapped(stream: AsyncGenerator[Output, None], run: AsyncCallbackManagerForChainRun) -> AsyncGenerator[Output, None]:
    """The stream as `astream_events` and `astream_log` watch it."""
    for handler in run.handlers:
        tap = getattr(handler, "tap_output_aiter", None)
        if tap is not None:
            return tap(run.run_id, stream)  # type: ignore[no-any-return]
    return stream
