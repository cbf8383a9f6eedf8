"""Streams that are left before their end give their connection back at once.

LlamaIndex's callback decorators put a generator of their own around ours and never close ours; a handler that keeps
the event of a closed stream (`LlamaDebugHandler` does) keeps our generator alive with it, and so the connection.  The
decorators here go around LlamaIndex's: what the caller gets closes the request when it is closed or dropped.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from minicpm_core import AsyncCompletionStream, CompletionStream

R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound="CompletionStream | AsyncCompletionStream")
Streams = TypeVar("Streams", bound="Callable[..., Generator[Any, None, None]]")
AsyncStreams = TypeVar("AsyncStreams", bound="Callable[..., Coroutine[Any, Any, AsyncGenerator[Any, None]]]")

_opened: ContextVar[list[Any]] = ContextVar("minicpm_opened_streams")


def held(stream: S) -> S:
    """The same stream, made known to the decorator around the method that opened it."""
    _opened.get().append(stream)
    return stream


def releasing(method: Streams) -> Streams:
    """Close the stream that a method `held` as soon as the generator that it returns is closed or dropped."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
        opened: list[CompletionStream] = []
        token = _opened.set(opened)
        try:
            responses = method(*args, **kwargs)
        finally:
            _opened.reset(token)
        return _started(_releasing(responses, opened))

    return cast("Streams", call)


def _releasing(responses: Generator[R, None, None], opened: list[CompletionStream]) -> Generator[R | None, None, None]:
    try:
        yield None
        yield from responses
    finally:
        for stream in opened:
            stream.close()


def _started(generator: Generator[R | None, None, None]) -> Generator[R, None, None]:
    """The generator at its first `yield`: one that was never started would skip its `finally`."""
    next(generator)
    return cast("Generator[R, None, None]", generator)


def areleasing(method: AsyncStreams) -> AsyncStreams:
    """Close the stream that a method `held` as soon as the generator that it returns is closed or dropped."""

    @wraps(method)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        opened: list[AsyncCompletionStream] = []
        token = _opened.set(opened)
        try:
            responses = await method(*args, **kwargs)
        finally:
            _opened.reset(token)
        return _AsyncResponses(responses, opened)

    return cast("AsyncStreams", call)


class _AsyncResponses(AsyncGenerator[R, None]):
    """The responses of a stream, which close it with themselves.

    Not an asynchronous generator: the loop closes all of those at its end in no order, and one that is waiting for
    another that is being closed fails.
    """

    __slots__ = ("_opened", "_responses")

    def __init__(self, responses: AsyncGenerator[R, None], opened: list[AsyncCompletionStream]) -> None:
        self._responses = responses
        self._opened = opened

    @override
    def __anext__(self) -> Any:
        return self._responses.__anext__()

    @override
    async def asend(self, value: None) -> R:
        return await self._responses.asend(value)

    @override
    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> R:
        error = val or (typ if isinstance(typ, BaseException) else typ())
        try:
            return await self._responses.athrow(error.with_traceback(tb))
        except BaseException:
            await self.aclose()
            raise

    @override
    async def aclose(self) -> None:
        try:
            await self._responses.aclose()
        finally:
            for stream in self._opened:
                await stream.aclose()

    def __del__(self) -> None:
        for stream in self._opened:
            stream.abandon()


def mapped(function: Callable[[R], T], things: Generator[R, None, None]) -> Generator[T, None, None]:
    """A function of each thing that a stream gives; the stream is closed with it."""
    return _started(_mapped(function, things))


def _mapped(function: Callable[[R], T], things: Generator[R, None, None]) -> Generator[T | None, None, None]:
    try:
        yield None
        for thing in things:
            yield function(thing)
    finally:
        things.close()


class AsyncMapped(AsyncGenerator[T, None], Generic[R, T]):
    """A function of each thing that a stream gives; the stream is closed with it.

    Not an asynchronous generator, for the same reason.
    """

    __slots__ = ("_function", "_things")

    def __init__(self, function: Callable[[R], T], things: AsyncGenerator[R, None]) -> None:
        self._function = function
        self._things = things

    @override
    async def __anext__(self) -> T:
        return self._function(await anext(self._things))

    @override
    async def asend(self, value: None) -> T:
        return await anext(self)

    @override
    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> T:
        return self._function(await self._things.athrow(typ, val, tb))

    @override
    async def aclose(self) -> None:
        await self._things.aclose()
