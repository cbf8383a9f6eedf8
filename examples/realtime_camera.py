"""Show MiniCPM-o what a camera sees while speaking to it: a picture with each second of sound.

    python examples/realtime_camera.py question.wav photo.jpg [photo.jpg ...]
    python examples/realtime_camera.py question.wav film.mp4

The gateway is named in MINICPM_REALTIME_URL, such as ws://localhost:8006 (`minicpm emulate` starts one that needs no
model). A video needs the extra [media]. With a camera of your own, give `send_frame` what it takes: a Pillow picture, a
numpy array in RGB, or the bytes of a file; it is made as small as the model sees it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicpm_core.realtime import Listen, RealtimeClient, RealtimeSession, SilenceEnded, SystemClock, TextDelta

if TYPE_CHECKING:
    from collections.abc import Iterator


def camera(*paths: str) -> Iterator[Any]:
    """A picture for each second, for ever: those of the files, then the last one again."""
    picture: Any = None
    for path in map(Path, paths):
        if path.suffix in {".jpg", ".jpeg", ".png"}:
            picture = path.read_bytes()
            yield picture
            continue
        import av

        with av.open(path) as film:
            second = 0
            for frame in film.decode(video=0):
                if frame.time is not None and frame.time >= second:
                    second += 1
                    picture = frame.to_image()
                    yield picture
    while True:
        yield picture


async def speak(session: RealtimeSession, sound: bytes, rate: int, pictures: Iterator[Any]) -> None:
    """Send the sound by the second, each with what is seen meanwhile."""
    second = 2 * rate
    for at in range(0, len(sound), second):
        await session.send_frame(next(pictures))
        await session.send_audio(sound[at : at + second], sample_rate=rate)
    await session.flush()  # the last second is completed with silence


async def main(question: str, *paths: str) -> None:
    """Ask about what is seen, and show the words as they come."""
    with wave.open(question, "rb") as file:  # 16 bits, one channel
        rate, sound = file.getframerate(), file.readframes(file.getnframes())

    # A clock above 1 is for the emulator alone: a model hears no faster than sound.
    clock = SystemClock(float(os.environ.get("MINICPM_REALTIME_SPEED", "1")))
    # One unit waits, so that a picture goes with the sound that it belongs to.
    client = RealtimeClient(base_url=os.environ["MINICPM_REALTIME_URL"], clock=clock, max_pending_units=1)
    session = client.session(mode="video", system_prompt="Say what you see.", pace=True, silence_fill=20)
    async with session, asyncio.TaskGroup() as group:
        speaking = group.create_task(speak(session, sound, rate, camera(*paths)))
        async for event in session:
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
            elif isinstance(event, SilenceEnded) or (isinstance(event, Listen) and event.response_id):
                print()
                if speaking.done():
                    break


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
