"""What is streamed into a realtime Runnable, in any of the shapes in which sound is at hand."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from minicpm_core.realtime.audio import SampleFormat

_PAIR = 2


class RealtimeInput:
    """Something for the model to hear or see, or an interruption of it.

    Neither `repr` nor `to_dict`, which tracers call, shows sound or pictures. (A dataclass is written out by them.)

    Args:
        audio: Bytes of 16-bit PCM, or an array of samples; one channel, of any length.
        frame: A picture that goes with the next second of sound, in sessions of mode `video`: bytes, a Pillow image
            or a numpy array of height, width and 3 colours.
        interrupt: In how many of the next units of one second the model must listen; the rest of what it is saying
            is dropped. 0 does not interrupt it.
        format: What bytes are: `pcm16` or `f32`; `None` for what the Runnable is set to.
        sample_rate: Samples a second; `None` for what the Runnable is set to.
    """

    __slots__ = ("audio", "format", "frame", "interrupt", "sample_rate")

    def __init__(
        self,
        *,
        audio: Any = None,
        frame: Any = None,
        interrupt: int = 0,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int | None = None,
    ) -> None:
        self.audio = audio
        self.frame = frame
        self.interrupt = interrupt
        self.format: SampleFormat | None = format
        self.sample_rate = sample_rate

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items() if value)
        return f"RealtimeInput({shown})"

    def to_dict(self) -> dict[str, Any]:
        """What a trace shows: no sound and no picture."""
        return {
            "audio": None if self.audio is None else type(self.audio).__name__,
            "frame": None if self.frame is None else type(self.frame).__name__,
            "interrupt": self.interrupt,
        }


async def inputs(items: AsyncIterable[Any]) -> AsyncGenerator[RealtimeInput, None]:
    """The inputs in a stream of sound, of pairs of sound and picture, of inputs, and of iterables of these.

    Generators are closed when this is.

    Raises:
        InvalidInputError: There is something else among them.
    """
    async with closing(items):
        async for item in items:
            if isinstance(item, AsyncIterable):
                within: Any = item  # pyright: ignore[reportUnknownVariableType]
                async with closing(within):
                    async for each in within:
                        yield _single(each)
            elif _is_plain_iterable(item):
                for each in item:
                    yield _single(each)
            else:
                yield _single(item)


@asynccontextmanager
async def closing(items: AsyncIterable[Any]) -> AsyncGenerator[None, None]:
    """Close a stream at the end, if it can be closed."""
    try:
        yield
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def _single(item: Any) -> RealtimeInput:
    kind = type(item).__name__
    if isinstance(item, RealtimeInput):
        return item
    if isinstance(item, tuple):
        pair: Any = item  # pyright: ignore[reportUnknownVariableType]
        if len(pair) == _PAIR:
            return RealtimeInput(audio=pair[0], frame=pair[1])
    elif _is_sound(item):
        return RealtimeInput(audio=item)
    raise InvalidInputError(
        f"A realtime session hears bytes or arrays of samples, pairs of sound and picture, and RealtimeInput; "
        f"not {kind}."
    )


def _is_sound(item: Any) -> bool:
    try:
        memoryview(item)
    except TypeError:
        return False
    return True


def _is_plain_iterable(item: Any) -> bool:
    if isinstance(item, str | tuple) or _is_sound(item):
        return False
    return isinstance(item, Iterable)
