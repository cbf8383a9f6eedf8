"""A soak of realtime sessions: many at once, faster than sound, for minutes, over every limit.

    python benchmarks/realtime_soak.py [--sessions 50] [--minutes 2] [--speed 20] [--server emulator|bare]

Each session sends three loud units and seven quiet ones in turn, paced, and rolls over at the time limit, which
comes after half a minute at twenty times the speed. Looked at is that every unit is answered, once, in its order; that
the memory of this process stays as it is after the first quarter; and that no task is left. Where the machine cannot
keep up, the sessions go slower, which is told. The exit status is 1 if anything is wrong.

`emulator` hears and speaks as `minicpm emulate` does, which is most of the work; `bare` only answers, and checks that
each unit holds the sound that it was sent with.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from realtime_server import RealtimeServer

from minicpm_core.realtime import (
    AudioDelta,
    Listen,
    RealtimeClient,
    RealtimeSession,
    SessionReplaced,
    SystemClock,
    TextDelta,
)

_PAGE = os.sysconf("SC_PAGE_SIZE")
_GROWTH = 1.05
_LOUD, _ROUND = 12, 20
"""Seconds that somebody speaks, of so many: the model answers in the others."""


@dataclass(slots=True)
class Account:
    """Of one session."""

    sent: int = 0
    answered: int = 0
    wrong: list[str] = field(default_factory=list[str])
    replaced: int = 0
    speech: float = 0.0
    error: str = ""


def unit(number: int) -> bytes:
    """A second of sound that begins with its number, as float32."""
    level = 0.2 if number % _ROUND < _LOUD else 0.0
    return (
        array("f", [number / (1 << 20)]).tobytes()
        + array("f", [level, level, -level, -level]).tobytes()[:12]
        + (array("f", [level, level, -level, -level]) * 3999).tobytes()
    )


def resident() -> float:
    """Megabytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


async def _send(session: RealtimeSession, account: Account, until: float) -> None:
    while time.monotonic() < until:
        account.sent += 1
        await session.send_audio(unit(account.sent), format="f32")
    await session.flush()


async def _one(client: RealtimeClient, account: Account, until: float) -> None:
    async with client.session(pace=True, on_limit="rollover") as session, asyncio.TaskGroup() as group:
        sending = group.create_task(_send(session, account, until))
        async for event in session:
            if isinstance(event, SessionReplaced):
                account.replaced += 1
            elif isinstance(event, Listen | TextDelta | AudioDelta):
                number = int((event.input_id or "in_0").removeprefix("in_"))
                if number == account.answered + 1:
                    account.answered = number
                elif number != account.answered:
                    account.wrong.append(f"{number} after {account.answered}")
                    account.answered = number
            if sending.done() and account.answered == account.sent:
                break
        account.speech = session.metrics.speech_s


async def _watched(client: RealtimeClient, account: Account, until: float) -> None:
    try:
        await _one(client, account, until)
    except Exception as error:  # noqa: BLE001 - it is printed, and the others go on
        account.error = f"{type(error).__name__}: {error}"


async def _sample(sizes: list[float]) -> None:
    while True:
        sizes.append(resident())
        await asyncio.sleep(1)


async def soak(url: str, *, sessions: int, seconds: float, speed: float) -> tuple[list[Account], list[float], int]:
    """Run it. Gives the accounts, the memory by the second, and how many tasks are left."""
    client = RealtimeClient(base_url=url, clock=SystemClock(speed=speed), max_retries=5)
    accounts = [Account() for _ in range(sessions)]
    sizes: list[float] = []
    sampling = asyncio.create_task(_sample(sizes))
    until = time.monotonic() + seconds
    await asyncio.gather(*(_watched(client, account, until) for account in accounts))
    sampling.cancel()
    await asyncio.wait({sampling})
    return accounts, sizes, len(asyncio.all_tasks()) - 1


def report(accounts: list[Account], sizes: list[float], tasks: int, *, took: float) -> bool:
    """Print what came of it. Whether all is well."""
    quarter = len(sizes) // 4
    first = statistics.median(sizes[quarter : 2 * quarter] or sizes)
    last = statistics.median(sizes[-quarter:] or sizes)
    sent, answered = (sum(getattr(account, name) for account in accounts) for name in ("sent", "answered"))
    wrong = [text for account in accounts for text in account.wrong]
    errors = [account.error for account in accounts if account.error]
    print(
        f"{len(accounts)} sessions, {took:.0f} s: {sent} units sent, {answered} answered, in order but for {len(wrong)}"
    )
    print(
        f"{sent / took / len(accounts):.1f} times as fast as sound; {sum(a.speech for a in accounts):,.0f} s of speech"
    )
    print(f"replaced {sum(account.replaced for account in accounts)} times; errors: {len(errors)}; tasks left: {tasks}")
    print(f"memory, MB: {first:.1f} in the second quarter, {last:.1f} in the last, at most {max(sizes):.1f}")
    for text in [*wrong[:5], *errors[:5]]:
        print(f"  {text}")
    return sent == answered > 0 and not wrong and not errors and not tasks and last < first * _GROWTH


def main() -> int:
    """Run it as a script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--speed", type=float, default=20.0)
    parser.add_argument("--server", choices=("emulator", "bare"), default="emulator")
    asked = parser.parse_args()
    with RealtimeServer(asked.server, speed=asked.speed) as server:
        begin = time.monotonic()
        found = asyncio.run(soak(server.url, sessions=asked.sessions, seconds=asked.minutes * 60, speed=asked.speed))
        took = time.monotonic() - begin
    well = report(*found, took=took)
    print("well" if well else "NOT WELL")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
