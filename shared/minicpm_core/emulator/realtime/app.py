"""The WebSocket route: mode, key and fault are checked before the handshake is answered, then a session is played."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from minicpm_core.emulator.faults import HEADER
from minicpm_core.emulator.realtime.desk import Desk
from minicpm_core.emulator.realtime.gen1 import Gen1Words
from minicpm_core.emulator.realtime.gen2 import Gen2Words
from minicpm_core.emulator.realtime.session import Session, SessionOver
from minicpm_core.emulator.realtime.state import RecordedSession
from minicpm_core.emulator.realtime.wire import Wire
from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.websockets import WebSocket

    from minicpm_core.emulator.realtime.faults import SessionPlan
    from minicpm_core.emulator.realtime.words import Words
    from minicpm_core.emulator.settings import EmulatorSettings
    from minicpm_core.emulator.state import EmulatorState

FREEZE = "minicpm.freeze"
HANG_UP = "minicpm.close"
"""ASGI extensions by which the server lets the app do to a connection what no message can."""

PATH = "/v1/realtime"
_FORBIDDEN = 403
_WORDS: dict[int, Callable[[], Words]] = {1: Gen1Words, 2: Gen2Words}


class RealtimeEndpoint:
    """Answers handshakes.

    Args:
        settings: Of the emulator.
        state: Where sessions are logged.
    """

    def __init__(self, settings: EmulatorSettings, state: EmulatorState) -> None:
        self._settings = settings
        self._state = state.realtime
        self._desk = Desk(settings.realtime)

    async def __call__(self, websocket: WebSocket) -> None:
        """One connection, from the handshake to its end."""
        words = _WORDS[self._settings.realtime.generation]()
        mode = words.modes(websocket.query_params.get("mode", "video"))
        try:
            plan = self._state.next_plan(websocket.query_params, websocket.headers, HEADER)
        except ConfigurationError as misasked:
            await websocket.send_denial_response(Response(json.dumps({"emulator": str(misasked)}), 400))
            return
        names = tuple(websocket.headers.keys())
        record = RecordedSession(
            mode=mode or "refused", generation=self._settings.realtime.generation, header_names=names
        )
        self._state.record(record)
        hang_up, freeze = _of(websocket, HANG_UP), _of(websocket, FREEZE)
        status = self._refusal(websocket, plan) if mode is not None else _FORBIDDEN
        if status is not None or mode is None:
            record.ended = "refused"
            await websocket.send_denial_response(Response(status_code=status or _FORBIDDEN))
            return
        if "connecting" in plan.strikes:
            record.ended = plan.strikes["connecting"]
            await _before_the_handshake(websocket, plan.strikes["connecting"], hang_up, freeze)
            return
        await websocket.accept()
        wire = Wire(websocket, hang_up=hang_up, freeze=freeze, novel="future" in plan.values)
        session = Session(wire, words, plan=plan, record=record, settings=self._settings.realtime, mode=mode)
        await self._played(session.play(self._desk), wire, record)

    def _refusal(self, websocket: WebSocket, plan: SessionPlan) -> int | None:
        """The status that the handshake is refused with."""
        if "refuse" in plan.values:
            return int(plan.number("refuse"))
        key = self._settings.api_key
        given = websocket.headers.get("authorization", "")
        if key is not None and not hmac.compare_digest(given.encode(), f"Bearer {key.reveal()}".encode()):
            return 401
        return None

    async def _played(self, played: Coroutine[Any, Any, None], wire: Wire, record: RecordedSession) -> None:
        """Play, until the session is over or the client has gone."""
        play, pump = asyncio.create_task(played), asyncio.create_task(wire.pump())
        try:
            await asyncio.wait({play, pump}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone = not play.done()
            play.cancel()
            pump.cancel()
            ends = await asyncio.gather(play, pump, return_exceptions=True)
        if gone:
            record.ended = record.ended or "dropped"
            self._desk.dropped()
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, SessionOver | WebSocketDisconnect):
                raise end


def _of(websocket: WebSocket, extension: str) -> Callable[[], None]:
    found: Callable[[], None] = websocket.scope.get("extensions", {}).get(extension, _cannot)
    return found


def _nothing() -> None:
    pass


def _cannot() -> None:
    raise RuntimeError("This ASGI server cannot do that to a connection: use EmulatorServer.")


async def _before_the_handshake(
    websocket: WebSocket, fault: str, hang_up: Callable[[], None], freeze: Callable[[], None]
) -> None:
    """What a fault does that was asked for before there is a connection: anything that says something is a refusal."""
    acts: dict[str, Callable[[], None]] = {"drop": hang_up, "half-open": freeze, "stall": _nothing}
    if fault not in acts:
        await websocket.send_denial_response(Response(status_code=_FORBIDDEN))
        return
    acts[fault]()
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
