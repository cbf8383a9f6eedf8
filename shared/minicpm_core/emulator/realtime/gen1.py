"""The first generation of the protocol, as gateways of spring 2026 speak it, whatever their documents say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.realtime.words import Asked, Facts, Frame, parsed
from minicpm_core.emulator.values import as_object

if TYPE_CHECKING:
    from minicpm_core.emulator.realtime.ledger import Ledger
    from minicpm_core.emulator.realtime.mind import Output, Unit
    from minicpm_core.realtime.events import Mode


class Gen1Words:
    """Says and reads it. One for each session."""

    says_goodbye = False
    goes_on = True
    missing_audio = "Missing audio_base64"

    def __init__(self) -> None:
        self._session_id = f"rt_{time.time_ns() // 1_000_000}"

    def modes(self, asked: str) -> Mode | None:
        """The mode that a query means: there is no chat, and anything that is unknown is sound alone."""
        return "video" if asked == "video" else "audio"

    def read(self, message: str) -> Asked | None:
        """What a message says; unknown types are passed over.

        Raises:
            BadInput: It is no JSON object.
        """
        frame = parsed(message)
        match frame.get("type"):
            case "session.update":
                return Asked("init", _payload(as_object(frame.get("session")) or {}))
            case "input_audio_buffer.append":
                return Asked("append", {name: value for name, value in frame.items() if name != "input_id"})
            case "session.close":
                return Asked("close", frame)
            case _:
                return None

    def created(self, mode: Mode, ledger: Ledger) -> Frame:
        """`session.created`."""
        del mode
        return {"type": "session.created", "session_id": self._session_id, "prompt_length": ledger.memory}

    def answer(self, unit: Unit, output: Output, facts: Facts, ledger: Ledger) -> list[Frame]:
        """`response.listen`, or text and sound together. Without sound, `audio` is null, whatever the schema says."""
        del unit, facts
        piece = output.piece
        if piece is None:
            return [{"type": "response.listen", "kv_cache_length": ledger.memory}]
        return [
            {
                "type": "response.output_audio.delta",
                "text": piece.text,
                "audio": piece.audio or None,
                "end_of_turn": output.ended,
                "kv_cache_length": ledger.memory,
            }
        ]

    def closed(self, reason: str, diagnostic: str = "", *, named: bool = True) -> Frame:
        """`session.closed`, which has no room for a diagnostic, nor the name of the session."""
        del diagnostic, named
        return {"type": "session.closed", "reason": _REASONS.get(reason, reason)}

    def goodbye(self, asked: Asked) -> Frame:
        """`session.closed`, whatever reason the client gave."""
        del asked
        return self.closed("stopped")

    def broken_speech(self, audio: str) -> Frame:
        """Speech whose sound is this text."""
        said = {"text": "Hm", "audio": audio, "end_of_turn": False, "kv_cache_length": 0}
        return {"type": "response.output_audio.delta", **said}


_REASONS = {"backend_error": "error"}


def _payload(session: Frame) -> dict[str, Any]:
    voice = {
        f"{name}_base64": session[name] for name in ("ref_audio", "tts_ref_audio") if isinstance(session.get(name), str)
    }
    return {
        "system_prompt": session.get("instructions"),
        "config": session.get("voice_config"),
        "voice": voice,
        "max_slice_nums": session.get("max_slice_nums"),
    }
