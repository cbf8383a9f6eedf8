"""`minicpm talk`: a conversation by voice, with microphone and loudspeaker or from one sound file into another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minicpm_core.cli.captions import Captions
from minicpm_core.cli.emulate import NOT_A_MODEL
from minicpm_core.cli.emulate import REALTIME_URL_VARIABLE as URL_VARIABLE
from minicpm_core.cli.screen import NOTICE, say
from minicpm_core.cli.sound import read_pictures, sound_from
from minicpm_core.errors import ConfigurationError
from minicpm_core.realtime import events
from minicpm_core.realtime.barge_in import BargeIn
from minicpm_core.realtime.client import RealtimeClient
from minicpm_core.realtime.clock import SystemClock
from minicpm_core.realtime.devices import Microphone, Speaker, check_devices
from minicpm_core.realtime.jitter import JitterBuffer
from minicpm_core.realtime.wav import WavWriter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Sequence
    from pathlib import Path

    from minicpm_core.cli.screen import Screen
    from minicpm_core.realtime.events import Generation, Mode, QueueUpdate
    from minicpm_core.realtime.metrics import SessionMetrics
    from minicpm_core.realtime.recordings import Sound
    from minicpm_core.realtime.session import RealtimeSession

_QUIET = 3
"""Units without a word, after an answer, that end a conversation from a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What to talk about, and how.

    Attributes:
        url: Of a gateway; `None` for the emulator.
        mode: `audio` or `video`.
        generation: Of the protocol.
        system_prompt: What the model is told first.
        sound: The question; `None` for the microphone.
        pictures: One for each second of it.
        target: Where the answer is written; `None` for nowhere.
        wait: Seconds of silence in which an answer is waited for.
        speed: How much faster than sound; for the emulator alone.
    """

    url: str | None
    mode: Mode
    generation: Generation
    system_prompt: str | None
    sound: Sound | None
    pictures: Sequence[bytes] = field(repr=False)
    target: Path | None
    wait: float
    speed: float


def talk(
    *,
    url: str | None,
    source: Path | None,
    target: Path | None,
    frames: Sequence[Path],
    mode: Mode,
    generation: Generation,
    system_prompt: str | None,
    wait: float,
    speed: float,
    screen: Screen,
) -> None:
    """Talk, until the recording is answered, or until Ctrl-C.

    Args:
        url: Of a gateway; else the environment's, else the emulator is started.
        source: The question, a sound file; `None` for the microphone.
        target: Where the answer is written, as a WAV file.
        frames: Pictures or videos, for the mode `video`.
        mode: `audio` or `video`.
        generation: Of the protocol.
        system_prompt: What the model is told first.
        wait: Seconds of silence in which an answer is waited for.
        speed: How much faster than sound; for the emulator alone.
        screen: Where to write.

    Raises:
        ConfigurationError: A setting cannot be, or there is neither a file nor a sound device.
        APIError: The session did not begin, or ended badly.
    """
    if frames and mode != "video":
        raise ConfigurationError("--frames is for --mode video.")
    url = url or os.environ.get(URL_VARIABLE) or None
    if url and speed != 1:
        raise ConfigurationError("--speed is for the emulator; a model hears no faster than sound.")
    if source is None:
        _check_live()
    conversation = Conversation(
        url=url,
        mode=mode,
        generation=generation,
        system_prompt=system_prompt,
        sound=None if source is None else sound_from(source),
        pictures=read_pictures(frames),
        target=target,
        wait=wait,
        speed=speed,
    )
    with ExitStack() as stack:
        address = url or _emulator(stack, conversation, screen)
        asyncio.run(_talk(address, conversation, screen))


def _check_live() -> None:
    try:
        check_devices()
    except ConfigurationError as error:
        raise ConfigurationError(f"{error.message} Without: minicpm talk --in question.wav --out answer.wav") from error


def _emulator(stack: ExitStack, wanted: Conversation, screen: Screen) -> str:
    from minicpm_core.emulator import EmulatorServer, RealtimeEmulation

    settings = RealtimeEmulation(generation=wanted.generation, speed=wanted.speed)
    server = stack.enter_context(EmulatorServer(realtime=settings))
    say(screen.err, f"The emulator answers, since neither --url nor {URL_VARIABLE} is set. {NOT_A_MODEL}", NOTICE)
    return server.realtime_url


async def _talk(url: str, wanted: Conversation, screen: Screen) -> None:
    clock = SystemClock(wanted.speed)
    # One unit waits, so that a picture goes with the sound that it belongs to.
    client = RealtimeClient(base_url=url, generation=wanted.generation, clock=clock, max_pending_units=1)

    def queued(update: QueueUpdate) -> None:
        screen.note(f"Waiting for a worker: number {update.position} in the queue.")

    options: dict[str, Any] = {"mode": wanted.mode, "system_prompt": wanted.system_prompt, "on_queue": queued}
    if wanted.sound is not None:
        options |= {"pace": True, "silence_fill": wanted.wait}
    else:
        options |= {"on_limit": "rollover"}
    async with AsyncExitStack() as stack:
        wav = stack.enter_context(WavWriter(wanted.target)) if wanted.target else None
        session = await stack.enter_async_context(client.session(**options))
        captions = Captions(screen, clock)
        play = _from_file if wanted.sound is not None else _live
        stopped = await _unless_stopped(play(session, wanted, captions, wav, screen))
        captions.end("stopped" if stopped else "")
        _sum_up(session.metrics, captions, wanted, screen)


async def _unless_stopped(talking: Coroutine[Any, Any, None]) -> bool:
    """Talk until the end, or until Ctrl-C: then the session still says goodbye, and the file is completed."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # on Windows Ctrl-C just ends it
        loop.add_signal_handler(signal.SIGINT, stop.set)
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(talking), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not tasks[0].cancelled():
        tasks[0].result()
    return tasks[0].cancelled()


async def _from_file(
    session: RealtimeSession, wanted: Conversation, captions: Captions, wav: WavWriter | None, screen: Screen
) -> None:
    sound = wanted.sound
    if sound is None:
        raise RuntimeError("There is no recording.")
    screen.note(f"{sound.seconds:.1f} s of sound at {sound.rate:,} Hz are sent at the speed of speech.")
    async with _beside(_send(session, sound, wanted.pictures)) as sending:
        quiet = 0
        async for event in session:
            captions.take(event)
            if wav is not None and isinstance(event, events.AudioDelta):
                wav.write(event.audio)
            listens = isinstance(event, events.Listen) and sending.done() and session.metrics.units_filled > 0
            quiet = quiet + 1 if listens and captions.turns else 0
            if quiet > _QUIET or isinstance(event, events.SilenceEnded):
                break


@asynccontextmanager
async def _beside(doing: Coroutine[Any, Any, None]) -> AsyncGenerator[asyncio.Task[None], None]:
    """Do something meanwhile, and no longer. Its error is raised, unless there is another."""
    task = asyncio.create_task(doing)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()


async def _send(session: RealtimeSession, sound: Sound, pictures: Sequence[bytes]) -> None:
    second = 2 * sound.rate
    for number, at in enumerate(range(0, len(sound.pcm), second)):
        if pictures:
            await session.send_frame(pictures[min(number, len(pictures) - 1)])
        await session.send_audio(sound.pcm[at : at + second], sample_rate=sound.rate)
    await session.flush()


async def _live(
    session: RealtimeSession, wanted: Conversation, captions: Captions, wav: WavWriter | None, screen: Screen
) -> None:
    buffer = JitterBuffer()
    barge_in = BargeIn()

    async def hear() -> None:
        async for piece in microphone:
            if barge_in.hear(piece, playing=buffer.playing):
                buffer.clear()
                await session.interrupt()
            await session.send_audio(piece)

    async with Microphone() as microphone, Speaker(buffer), _beside(hear()):
        screen.note("Speak; Ctrl-C ends it. With a loudspeaker near the microphone, wear headphones.")
        if wanted.pictures:
            await session.send_frame(wanted.pictures[0])
        async for event in session:
            captions.take(event)
            buffer.take(event)
            if wav is not None and isinstance(event, events.AudioDelta):
                wav.write(event.audio)


def _sum_up(metrics: SessionMetrics, captions: Captions, wanted: Conversation, screen: Screen) -> None:
    answered = f", the last {metrics.answer_delay_s:.1f} s after the question" if metrics.answer_delay_s else ""
    memory = f", {metrics.kv_tokens:,} tokens of memory" if metrics.kv_tokens else ""
    turns = f"{captions.turns} turn{'s' * (captions.turns != 1)}"
    screen.note(f"{turns}, {metrics.speech_s:.1f} s of speech{answered}; {metrics.units_sent} units sent{memory}.")
    if wanted.target is not None:
        screen.note(f"The answer is in {wanted.target}.")
    if not captions.turns:
        screen.note("No answer came. --wait gives it more time.", NOTICE)
