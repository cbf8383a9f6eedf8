"""MiniCPM-o's realtime sessions as a LangChain Runnable: sound in, events out. Needs the extra `[realtime]`.

from langchain_minicpm import MiniCPMRealtime, each_turn

chain = MiniCPMRealtime("ws://localhost:8006") | each_turn(agent)
async for piece in chain.astream(microphone()):
    ...
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_minicpm._errors import ConfigurationError
from langchain_minicpm._realtime_chunks import RealtimeChunk, seconds
from langchain_minicpm._realtime_feed import Feed
from langchain_minicpm._realtime_inputs import RealtimeInput
from langchain_minicpm._realtime_steps import StreamStep
from langchain_minicpm._realtime_turns import each_turn, transcript
from minicpm_core.errors import APIError
from minicpm_core.realtime.client import RealtimeClient
from minicpm_core.realtime.events import INPUT_RATE, AudioDelta
from minicpm_core.realtime.settings import DEFAULT_REALTIME_URL
from minicpm_core.realtime.turns import TurnCollector
from minicpm_core.realtime.wav import to_wav

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from langchain_core.runnables import RunnableConfig

    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.client_events import Voice
    from minicpm_core.realtime.events import Mode
    from minicpm_core.realtime.turns import Turn

__all__ = ["MiniCPMRealtime", "RealtimeChunk", "RealtimeInput", "each_turn", "transcript"]


class MiniCPMRealtime(StreamStep[RealtimeChunk]):
    """A conversation with MiniCPM-o, as a Runnable: a stream of sound in, a stream of `RealtimeChunk` out.

    Each run is a session of its own. It ends when the input has ended and the model has answered; until then silence
    is sent, since the model only goes on while it hears. Closing the stream early, or cancelling the task, ends the
    session. While nobody takes what is streamed, nothing more is read from the server; while the server takes nothing
    more, the input is not read on.

    What goes in, by `atransform` or as the one input of `astream` and `ainvoke`, are bytes of 16-bit PCM or arrays of
    samples, pairs of sound and picture, `RealtimeInput`, and iterables or async iterables of these. In a pipeline,
    give the async iterable itself to `astream`: of what goes into `atransform`, LangChain's own steps keep all.

    Options bound with `bind` or given in a call take the place of those given here: `chain.bind(system_prompt="…")`.
    There are no tools, and no transcript of what the model hears.

    Args:
        client: Where sessions are had: a client, or the address of a gateway.
        mode: `audio`, or `video` for sound and pictures.
        system_prompt: What the model is told first.
        config: Settings of the duplex decoder, such as `length_penalty`.
        voice: The voice to speak with.
        format: What bytes are: `pcm16` or `f32`.
        sample_rate: Samples a second of what goes in.
        answer_within: Seconds of silence, once the input has ended, in which the model may begin to answer. One that
            speaks is heard to its end.
        trace_audio: Whether tracers get the sound of the turns, as WAV.
        **session: Further arguments of `RealtimeClient.session`.

    Raises:
        ConfigurationError: A setting is impossible.
    """

    name: str | None = "MiniCPMRealtime"

    def __init__(
        self,
        client: RealtimeClient | str = DEFAULT_REALTIME_URL,
        *,
        mode: Mode = "audio",
        system_prompt: str | None = None,
        config: Mapping[str, Any] | None = None,
        voice: Voice | None = None,
        format: SampleFormat = "pcm16",  # noqa: A002 - the word of this trade
        sample_rate: int = INPUT_RATE,
        answer_within: int = 10,
        trace_audio: bool = False,
        **session: Any,
    ) -> None:
        if mode == "chat":
            raise ConfigurationError("Chats without sound are ChatMiniCPM's. mode must be 'audio' or 'video' here.")
        if answer_within < 0:
            raise ConfigurationError("answer_within must be a number of seconds of 0 or more.")
        self._client = client if isinstance(client, RealtimeClient) else RealtimeClient(base_url=client)
        given = {"mode": mode, "system_prompt": system_prompt, "config": config, "voice": voice}
        self._options: dict[str, Any] = {**given, **session}
        self._sound: dict[str, Any] = {"format": format, "sample_rate": sample_rate}
        self._answer_within = answer_within
        self._trace_audio = trace_audio
        self._client.session(**self._options)  # so that an impossible setting is told at once

    def summary(self) -> _Spoken:
        """The turns, without their sound unless that was asked for."""
        return _Spoken(audio=self._trace_audio)

    async def produce(
        self, items: AsyncIterator[Any], config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[RealtimeChunk, None]:
        """The events of a session that hears a stream; see `atransform`."""
        del config  # nothing else is run
        async with self._client.session(**{**self._options, **options}) as session:
            feed = Feed(session, answer_within=self._answer_within, **self._sound)
            feeding = asyncio.create_task(feed.run(items))
            try:
                async for event in session:
                    feed.look_at(event)
                    yield RealtimeChunk(event)
                await feeding
            except GeneratorExit:
                await _stop(feeding)
                with suppress(APIError):  # whoever left is not there to be told how it ended
                    await session.close()
                raise
            finally:
                await _stop(feeding)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Spoken:
    """The turns of a session, for a trace."""

    def __init__(self, *, audio: bool) -> None:
        self._audio = audio
        self._collector = TurnCollector()
        self._seconds = 0.0
        self._turns: list[dict[str, Any]] = []

    def take(self, chunk: RealtimeChunk) -> None:
        """Look at what was streamed."""
        for event in chunk.events:
            kept = event if self._audio or not isinstance(event, AudioDelta) else replace(event, audio=b"")
            self._add(self._collector.take(kept))
            self._seconds += seconds(event)

    def outputs(self) -> dict[str, Any]:
        """What is shown."""
        self._add(self._collector.end())
        return {"turns": self._turns}

    def _add(self, turns: list[Turn]) -> None:
        for turn in turns:
            shown = {"text": turn.text, "audio_seconds": round(self._seconds, 3), "interrupted": turn.interrupted}
            self._turns.append(shown | ({"audio_wav": to_wav(turn.audio)} if self._audio else {}))
            self._seconds = 0.0
