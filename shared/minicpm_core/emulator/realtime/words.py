"""What the two generations of the protocol have in common, and what each must know how to say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from minicpm_core.emulator.realtime.intake import BadInput
from minicpm_core.emulator.values import as_object

if TYPE_CHECKING:
    from minicpm_core.emulator.realtime.ledger import Ledger
    from minicpm_core.emulator.realtime.mind import Output, Unit
    from minicpm_core.realtime.events import Mode

Frame: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client said, in the words of the second generation.

    Attributes:
        kind: Begin, take this, or end.
        body: The payload, the input, or the goodbye.
    """

    kind: Literal["init", "append", "close"]
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a unit's frames tell beside the answer.

    Attributes:
        number: Of the unit, from 1.
        response_id: Of the turn that it belongs to.
        milliseconds: That it took.
        slices, vision_tokens: What its frames came to.
    """

    number: int
    response_id: str | None
    milliseconds: float
    slices: int
    vision_tokens: int


class Words(Protocol):
    """A generation of the protocol, from the server's side. One object for each session."""

    says_goodbye: bool
    """Whether it closes with 1000; else the connection just ends."""
    goes_on: bool
    """Whether a unit that fails is told as an error, and the session goes on."""
    missing_audio: str
    """What it says of a unit without audio."""

    def modes(self, asked: str) -> Mode | None:
        """The mode that a query means; `None` refuses it."""
        ...

    def read(self, message: str) -> Asked | None:
        """What a message says; `None` for what is passed over.

        Raises:
            BadInput: It says nothing that can be.
        """
        ...

    def created(self, mode: Mode, ledger: Ledger) -> Frame:
        """The session has begun."""
        ...

    def answer(self, unit: Unit, output: Output, facts: Facts, ledger: Ledger) -> list[Frame]:
        """What a unit comes to."""
        ...

    def closed(self, reason: str, diagnostic: str = "", *, named: bool = True) -> Frame:
        """The session has ended."""
        ...

    def goodbye(self, asked: Asked) -> Frame:
        """The session has ended because the client wished it."""
        ...

    def broken_speech(self, audio: str) -> Frame:
        """Speech whose sound is this text."""
        ...


def error(code: str, message: str) -> Frame:
    """An `error`, the same in both."""
    return {"type": "error", "error": {"code": code, "message": message, "type": "server_error"}}


def parsed(message: str) -> Frame:
    """A message as an object.

    Raises:
        BadInput: It is none.
    """
    try:
        frame = as_object(json.loads(message))
    except (ValueError, RecursionError):
        frame = None
    if frame is None:
        raise BadInput
    return frame


def encoded(frame: Frame) -> str:
    """A frame as text. Sound is base64 already and is not looked at again."""
    audio = frame.get("audio")
    if not isinstance(audio, str):
        return json.dumps(frame, ensure_ascii=False)
    rest = json.dumps({name: value for name, value in frame.items() if name != "audio"}, ensure_ascii=False)
    return f'{rest[:-1]}, "audio": "{audio}"}}'
