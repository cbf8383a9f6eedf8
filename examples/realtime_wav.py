"""Ask MiniCPM-o by voice: a question from a WAV file, the answer into another.

    python examples/realtime_wav.py question.wav answer.wav

The gateway is named in MINICPM_REALTIME_URL, such as ws://localhost:8006 (`minicpm emulate` starts one that needs no
model). The question has 16 bits, one channel and any rate.
"""

from __future__ import annotations

import asyncio
import os
import sys
import wave

from minicpm_core.realtime import (
    AudioDelta,
    Listen,
    RealtimeClient,
    RealtimeSession,
    SilenceEnded,
    SystemClock,
    TextDelta,
    WavWriter,
)


async def send(session: RealtimeSession, sound: bytes, rate: int) -> None:
    """Send it all; its last second is completed with silence."""
    await session.send_audio(sound, sample_rate=rate)
    await session.flush()


async def main(question: str, answer: str) -> None:
    """Ask, show the words as they come, and write down how they sound."""
    with wave.open(question, "rb") as file:
        rate, sound = file.getframerate(), file.readframes(file.getnframes())

    # A clock above 1 is for the emulator alone: a model hears no faster than sound.
    clock = SystemClock(float(os.environ.get("MINICPM_REALTIME_SPEED", "1")))
    client = RealtimeClient(base_url=os.environ["MINICPM_REALTIME_URL"], clock=clock)

    # The recording is sent at the speed of speech, and silence after it: the model only goes on while it hears.
    session = client.session(system_prompt="Be brief.", pace=True, silence_fill=20)
    with WavWriter(answer) as wav:
        async with session, asyncio.TaskGroup() as group:
            sending = group.create_task(send(session, sound, rate))
            async for event in session:
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)
                elif isinstance(event, AudioDelta):
                    wav.write(event.audio)
                elif isinstance(event, SilenceEnded) or (isinstance(event, Listen) and event.response_id):
                    print()
                    if sending.done():
                        break

    delay = session.metrics.answer_delay_s
    print(f"[{session.metrics.speech_s:.1f} s of speech]" if delay is None else f"[answered after {delay:.1f} s]")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
