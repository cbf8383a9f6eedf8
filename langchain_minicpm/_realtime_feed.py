"""What a session is fed by a Runnable: the input, and then silence until the model has answered."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from langchain_minicpm._realtime_inputs import inputs
from minicpm_core.errors import APIError
from minicpm_core.realtime.audio import UNIT_BYTES, UnitMaker
from minicpm_core.realtime.events import AudioDelta, Listen, ResponseInterrupted, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_minicpm._realtime_inputs import RealtimeInput
    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.events import ServerEvent
    from minicpm_core.realtime.session import RealtimeSession


class Feed:
    """Feeds a session, and closes it when the conversation is over.

    Args:
        session: The open session.
        answer_within: Units of silence in which the model may begin to answer.
        format: What bytes are.
        sample_rate: Samples a second.
    """

    def __init__(
        self,
        session: RealtimeSession,
        *,
        answer_within: int,
        format: SampleFormat,  # noqa: A002 - the word of this trade
        sample_rate: int,
    ) -> None:
        self._session = session
        self._answer_within = answer_within
        self._format: SampleFormat = format
        self._sample_rate = sample_rate
        self._units = UnitMaker()
        self._speaking = self._has_spoken = False
        self._seen = asyncio.Event()

    async def run(self, items: AsyncIterator[Any]) -> None:
        """Send all of a stream, and silence after it; then close the session, also where the stream fails."""
        try:
            async with aclosing(inputs(items)) as given:
                async for item in given:
                    await self._send(item)
            for unit in self._units.flush():
                await self._put(unit)
            await self._hear_out()
        except Exception:
            with suppress(APIError):  # what failed first is what is told
                await self._session.close()
            raise
        await self._session.close()

    def look_at(self, event: ServerEvent) -> None:
        """See what the model does."""
        self._seen.set()
        if isinstance(event, TextDelta | AudioDelta):
            self._speaking = True
        elif isinstance(event, Listen):
            self._has_spoken = self._has_spoken or self._speaking
            self._speaking = False
        elif isinstance(event, ResponseInterrupted):
            self._speaking = False

    async def _send(self, item: RealtimeInput) -> None:
        if item.interrupt:
            await self._session.interrupt(units=item.interrupt)
        if item.frame is not None:
            await self._session.send_frame(item.frame)
        if item.audio is not None:
            typed = not isinstance(item.audio, bytes | bytearray)
            kind = item.format or (None if typed else self._format)
            rate = item.sample_rate or self._sample_rate
            for unit in self._units.push(item.audio, format=kind, sample_rate=rate):
                await self._put(unit)

    async def _put(self, unit: bytes) -> None:
        await self._session.send_audio(unit, format="f32")

    async def _hear_out(self) -> None:
        """Send silence, a unit for each that was answered, until the model has had its say."""
        await self._answered()
        self._has_spoken = False  # before the end of the input, which may have asked for more
        for _ in range(self._answer_within):
            if self._speaking or self._has_spoken:
                break
            await self._be_silent()
        while self._speaking:
            await self._be_silent()

    async def _be_silent(self) -> None:
        await self._put(bytes(UNIT_BYTES))
        await self._answered()

    async def _answered(self) -> None:
        """Wait until all that was sent is answered, and the answers were looked at."""
        await self._session.answered()
        while self._session.metrics.events_pending:
            self._seen.clear()
            await self._seen.wait()
