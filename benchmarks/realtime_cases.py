"""Realtime: CPU per second of sound both ways, latency over a bare echo, memory of a session.

The floor is websockets alone with the same bytes: what is left is samples that are checked, Base64, JSON, and two tasks
and two queues. The server is in another process; its time is in the latencies, and not in the CPU.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import statistics
import time
from array import array
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime_server import RealtimeServer

from minicpm_core.realtime import AudioDelta, Listen, RealtimeClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_UNITS = 60
_ROUNDS = 5
_TRIPS = 100
_SESSIONS = 30
_PCM = array("h", [1000, -1000] * 8000).tobytes()
_F32 = array("f", [0.03, -0.03] * 8000).tobytes()


async def _floor(url: str, units: int) -> None:
    """The same frames by hand: encoded, sent, and what comes back parsed."""
    from websockets.asyncio.client import connect

    async with connect(url, compression=None, max_size=None) as socket:
        for _ in range(units):
            text = json.dumps({"type": "input.append", "input": {"audio": base64.b64encode(_F32).decode()}})
            await socket.send(text)
            json.loads(await socket.recv())


async def _ours(url: str, units: int, *, kind: type, mode: Any = "audio", sound: bytes = _PCM, **given: Any) -> None:
    async with RealtimeClient(base_url=url).session(mode=mode) as session:
        await session.send_audio(sound[: len(sound) // 8], **given)  # a resampler holds some back
        for _ in range(units):
            await session.send_audio(sound, **given)
            async for event in session:
                if isinstance(event, kind):
                    break


async def _cpu(case: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Milliseconds of CPU a unit, median and least, without what opening takes."""
    found: list[float] = []
    await case(1)  # what is imported, and filters that are kept
    for _ in range(_ROUNDS):
        gc.collect()
        begin = time.process_time()
        await case(1)
        opened = time.process_time()
        await case(_UNITS + 1)
        found.append(((time.process_time() - opened) - (opened - begin)) * 1e3 / _UNITS)
    return statistics.median(found), min(found)


async def _trips(one: Callable[[], Awaitable[None]]) -> list[float]:
    """Milliseconds of each of many round trips."""
    found: list[float] = []
    for _ in range(_TRIPS):
        begin = time.perf_counter()
        await one()
        found.append((time.perf_counter() - begin) * 1e3)
    return sorted(found)


async def _latencies(bare: str, echo: str) -> dict[str, list[float]]:
    """Of a unit and its answer: ours, an echo of as many bytes, and the same frames by hand, made beforehand."""
    from websockets.asyncio.client import connect

    frame = json.dumps(
        {"type": "input.append", "input": {"audio": base64.b64encode(_F32).decode(), "input_id": "in_1"}}
    )
    found: dict[str, list[float]] = {"bare echo, as much down": [], "by hand, `listen` down": [], "session": []}
    async with (
        connect(echo, compression=None, max_size=None) as mirror,
        connect(f"{bare}/v1/realtime?mode=audio", compression=None, max_size=None) as socket,
        RealtimeClient(base_url=bare).session() as ours,
    ):
        await socket.send(json.dumps({"type": "session.init", "payload": {}}))
        while json.loads(await socket.recv())["type"] != "session.created":
            pass

        async def by_echo() -> None:
            await mirror.send(frame)
            await mirror.recv()

        async def by_hand() -> None:
            await socket.send(frame)
            await socket.recv()

        async def by_session() -> None:
            await ours.send_audio(_F32, format="f32")
            async for event in ours:
                if isinstance(event, Listen):
                    return

        await by_session()
        for _ in range(3):  # in turn, as other programs come and go
            for name, one in zip(found, (by_echo, by_hand, by_session), strict=True):
                found[name] += await _trips(one)
    return {name: sorted(times) for name, times in found.items()}


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e3


async def _memory(url: str) -> float:
    """Kilobytes that one more open session takes, after it has sent and heard a few units."""
    client = RealtimeClient(base_url=url)
    await _ours(url, 3, kind=Listen)
    async with AsyncExitStack() as stack:
        sizes: list[float] = []
        for count in range(_SESSIONS + 1):
            session = await stack.enter_async_context(client.session())
            for _ in range(3):
                await session.send_audio(_PCM)
                async for event in session:
                    if isinstance(event, Listen):
                        break
            if count in {0, _SESSIONS}:
                gc.collect()
                sizes.append(_resident())
    return (sizes[1] - sizes[0]) / _SESSIONS


async def _measured(bare: str, echo: str) -> list[str]:
    rows = {
        "websockets alone, a unit up": await _cpu(lambda units: _floor(echo, units)),
        "session, float32 up, `listen` down": await _cpu(
            lambda units: _ours(bare, units, kind=Listen, sound=_F32, format="f32")
        ),
        "session, PCM16 up, `listen` down": await _cpu(lambda units: _ours(bare, units, kind=Listen)),
        "session, 48 kHz PCM16 up, `listen` down": await _cpu(
            lambda units: _ours(bare, units, kind=Listen, sound=_PCM * 3, sample_rate=48_000)
        ),
        "session, PCM16 up, a second of speech down": await _cpu(
            lambda units: _ours(bare, units, kind=AudioDelta, mode="video")
        ),
    }
    lines = ["| Realtime, CPU ms for a second of sound | median (least) |", "|---|---:|"]
    lines += [f"| {name} | {median:.2f} ({least:.2f}) |" for name, (median, least) in rows.items()]
    lines += ["", "| A unit and its answer, wall ms | median | p99 |", "|---|---:|---:|"]
    times = await _latencies(bare, echo)
    marks = {name: (found[len(found) // 2], found[len(found) * 99 // 100]) for name, found in times.items()}
    lines += [f"| {name} | {median:.2f} | {late:.2f} |" for name, (median, late) in marks.items()]
    for name in list(marks)[:-1]:
        added = [ours - floor for ours, floor in zip(marks["session"], marks[name], strict=True)]
        lines.append(f"| added to {name} | {added[0]:.2f} | {added[1]:.2f} |")
    lines.append("")
    lines += [f"Memory of an open session: {await _memory(bare):.0f} KB, over {_SESSIONS} of them.", ""]
    return lines


def main(_server: object) -> list[str]:
    """The tables."""
    with RealtimeServer("bare") as bare, RealtimeServer("echo") as echo:
        return asyncio.run(_measured(bare.url, echo.url))
