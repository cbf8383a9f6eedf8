"""How an answer's bytes leave: at the pace, and with the faults, that were asked for."""

from __future__ import annotations

import asyncio
import json
import zlib
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from minicpm_core.emulator.faults import FaultPlan

_BROKEN = b'data: {"choices": [{"index": 0, "delta": {"content": \n\n'
_IN_BAND = json.dumps({"error": {"message": "Injected by error-after.", "type": "InternalServerError", "code": 500}})
_PAGE = "<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>a proxy, injected by html</body></html>"


def page(status: int) -> str:
    """A proxy's HTML page."""
    return _PAGE.format(status=status)


def retry_headers(plan: FaultPlan) -> dict[str, str]:
    """The Retry-After header that was asked for, as seconds or as a date."""
    if "retry-after-date" in plan:
        return {"retry-after": formatdate(time() + plan["retry-after-date"], usegmt=True)}
    return {"retry-after": f"{plan['retry-after']:g}"} if "retry-after" in plan else {}


async def whole_body(body: bytes, plan: FaultPlan, close: Callable[[], None]) -> AsyncIterator[bytes]:
    """The bytes of a whole answer.

    Args:
        body: As it would be without faults.
        plan: The faults.
        close: Closes the connection.
    """
    if "error-after" in plan:
        yield _IN_BAND.encode()
        return
    half = body[: len(body) // 2]
    if not plan.keys() & {"garbage-after", "cut-after", "stall-after"}:
        yield body
        return
    yield half
    if "garbage-after" not in plan:
        await _silence(close if "cut-after" in plan else None)


async def event_stream(
    events: Iterable[str], plan: FaultPlan, close: Callable[[], None], *, pace: float, done: str | None
) -> AsyncIterator[bytes]:
    """The bytes of a stream.

    Args:
        events: The data of each event.
        plan: The faults.
        close: Closes the connection.
        pace: Events a second; 0 is as fast as possible.
        done: What a stream ends with after an error, too; `None` is nothing.
    """
    newline = "\r\n" if "crlf" in plan else "\n"
    ends = {plan[name]: name for name in ("garbage-after", "error-after", "cut-after", "stall-after") if name in plan}
    sent = 0
    for data in events:
        if sent in ends:
            break
        comment = f": keep-alive{newline * 2}" if "comments" in plan else ""
        yield f"{comment}data: {data}{newline * 2}".encode()
        sent += 1
        await asyncio.sleep(1 / pace if pace else 0)
    end = ends.get(sent)
    if end == "garbage-after":
        yield _BROKEN
    elif end == "error-after":
        yield "".join(f"data: {data}{newline * 2}" for data in (_IN_BAND, done) if data).encode()
    elif end is not None:
        await _silence(close if end == "cut-after" else None)


async def _silence(close: Callable[[], None] | None) -> None:
    """Send nothing more until the connection is gone, which cancels this; close it first where that is asked for."""
    if close is not None:
        close()
    await asyncio.Event().wait()


async def in_pieces(stream: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes, cut into pieces of one size."""
    waiting = b""
    async for part in stream:
        waiting += part
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
            await asyncio.sleep(0)
    if waiting:
        yield waiting


async def gzipped(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, compressed so that each part can be read when it arrives."""
    packer = zlib.compressobj(wbits=31)  # 31: with gzip's header
    async for part in stream:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
