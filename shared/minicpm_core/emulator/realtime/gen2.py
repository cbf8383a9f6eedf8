"""The second generation of the protocol, as the vendor's gateway speaks it."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.realtime.intake import BadInput
from minicpm_core.emulator.realtime.words import Asked, Facts, Frame, parsed
from minicpm_core.emulator.values import as_object

if TYPE_CHECKING:
    from minicpm_core.emulator.realtime.ledger import Ledger
    from minicpm_core.emulator.realtime.mind import Output, Unit
    from minicpm_core.realtime.events import Mode

BACKEND = "emulator"
_RUNTIMES = {"audio": "full_duplex", "video": "full_duplex", "chat": "turn_based"}
_MODES: dict[str, Mode] = {"audio": "audio", "video": "video", "chat": "chat"}


class Gen2Words:
    """Says and reads it. One for each session."""

    says_goodbye = True
    goes_on = False
    missing_audio = "full_duplex input requires audio"

    def __init__(self) -> None:
        self._session_id = f"sess_{uuid.uuid4().hex[:12]}"

    def modes(self, asked: str) -> Mode | None:
        """The mode that a query means; the gateway refuses what it does not know."""
        return _MODES.get(asked)

    def read(self, message: str) -> Asked | None:
        """What a message says.

        Raises:
            BadInput: It is no JSON object, of no known type, or lacks its payload.
        """
        frame = parsed(message)
        match frame.get("type"):
            case "session.init":
                return Asked("init", _held(frame, "payload"))
            case "input.append":
                return Asked("append", _held(frame, "input"))
            case "session.close":
                return Asked("close", frame)
            case _:
                raise BadInput

    def created(self, mode: Mode, ledger: Ledger) -> Frame:
        """`session.created`."""
        usage = {} if mode == "chat" else {"usage": ledger.usage}
        metrics = {"backend": BACKEND, "kv_cache_length": ledger.memory}
        return self._stamped("session.created", mode=_RUNTIMES[mode], metrics=metrics, **usage)

    def answer(self, unit: Unit, output: Output, facts: Facts, ledger: Ledger) -> list[Frame]:
        """`response.output.delta`: one that listens, or text, sound, and at a turn's end one that listens again."""
        kinds: list[Frame] = []
        piece = output.piece
        if piece is not None and piece.text:
            kinds.append({"kind": "text", "text": piece.text})
        if piece is not None and piece.audio:
            kinds.append({"kind": "audio", "audio": piece.audio})
        if output.ended or not kinds:
            kinds.append({"kind": "listen"})
        # Listening belongs to a turn only where it ends one.
        response = {"response_id": facts.response_id} if output.piece is not None or output.ended else {}
        caused = {"input_id": unit.input_id} if unit.input_id is not None else {}
        first: Frame = {"chunk_index": facts.number - 1, "chunk_usage": ledger.chunk, "usage": ledger.usage}
        shared: Frame = {**response, **caused, "metrics": _metrics(facts, ledger)}
        return [
            self._stamped("response.output.delta", **kind, **shared, **(first if at == 0 else {}))
            for at, kind in enumerate(kinds)
        ]

    def closed(self, reason: str, diagnostic: str = "", *, named: bool = True) -> Frame:
        """`session.closed`. At the time limit it does not name the session."""
        said = {"reason": reason, **({"diagnostic": {"message": diagnostic}} if diagnostic else {})}
        return self._stamped("session.closed", **said) if named else {"type": "session.closed", **said}

    def goodbye(self, asked: Asked) -> Frame:
        """`session.closed` with the client's own reason."""
        reason = asked.body.get("reason")
        return self.closed(reason if isinstance(reason, str) and reason else "client_closed")

    def broken_speech(self, audio: str) -> Frame:
        """A delta whose sound is this text."""
        return self._stamped("response.output.delta", kind="audio", audio=audio, response_id="resp_broken")

    def said(self, kind: str, **fields: Any) -> Frame:
        """A delta of a chat."""
        return self._stamped("response.output.delta", kind=kind, **fields)

    def done(self, **fields: Any) -> Frame:
        """`response.done`."""
        return self._stamped("response.done", **fields)

    def _stamped(self, name: str, **fields: Any) -> Frame:
        return {"type": name, "session_id": self._session_id, **fields, "server_send_ts": time.time()}


def _held(frame: Frame, name: str) -> Frame:
    held = as_object(frame.get(name))
    if held is None:
        raise BadInput(f"{frame['type']} requires {name}")
    return held


def _metrics(facts: Facts, ledger: Ledger) -> dict[str, Any]:
    text, sound = ledger.pieces
    return {
        "backend": BACKEND,
        "kv_cache_length": ledger.memory,
        "wall_clock_ms": round(facts.milliseconds, 3),
        "n_tokens": text,
        "n_tts_tokens": sound,
        "vision_slices": facts.slices,
        "vision_tokens": facts.vision_tokens,
    }
