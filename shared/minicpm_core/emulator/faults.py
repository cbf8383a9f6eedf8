"""Faults on request, so that users can see what their own code does when a server misbehaves. Strictly opt-in.

A fault is written `name=value`, several are joined by semicolons: `status=429; retry-after=2`.  One request asks for it
with the header `X-Emulator-Fault`, a test with `EmulatorServer.inject(fault, times=1)`, every answer has it with the
setting `fault`.  They concern `POST /v1/chat/completions` alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from minicpm_core.errors import ConfigurationError

HEADER = "x-emulator-fault"

FaultPlan: TypeAlias = dict[str, float]
"""The faults of one answer: name and value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        does: What happens.
        default: The value where none is written; `None` if one must be.
        lowest: The smallest value.
        highest: The largest value.
        whole: The value must be a whole number.
    """

    does: str
    default: float | None = 0
    lowest: float = 0
    highest: float = math.inf
    whole: bool = True


FAULTS: dict[str, Fault] = {
    "status": Fault("Answer with this HTTP status and the dialect's error body.", None, 400, 599),
    "retry-after": Fault("With `status`: send this many seconds as Retry-After.", None, whole=False),
    "retry-after-date": Fault("With `status`: send Retry-After as a date this many seconds ahead.", None),
    "slow": Fault("Wait this many seconds before the first byte.", None, whole=False),
    "drop": Fault("Close the connection without a byte of an answer."),
    "empty": Fault("Answer 200 with an empty body."),
    "html": Fault("Answer with a proxy's HTML page and this status.", 502, 200, 599),
    "garbage-after": Fault("After this many events send a line of broken JSON and end; a whole answer is cut JSON."),
    "error-after": Fault(
        "After this many events send an error inside the stream; a whole answer is 200 with an error."
    ),
    "cut-after": Fault("After this many events close the connection; a whole answer is closed in its middle."),
    "stall-after": Fault("After this many events send nothing more, and keep the connection; a whole answer likewise."),
    "gzip": Fault("Compress the answer with gzip."),
    "chunk": Fault("Send a stream in pieces of this many bytes, wherever they cut it.", 7, 1),
    "comments": Fault("Send a comment line before each event of a stream."),
    "crlf": Fault("End the lines of a stream with CR LF."),
    "no-done": Fault("End a stream without `data: [DONE]`."),
}
"""Every fault by its name."""


def parse_fault(text: str) -> FaultPlan:
    """The faults that a text asks for.

    Args:
        text: Such as `status=429; retry-after=2`.

    Raises:
        ConfigurationError: A name is unknown, or a value is missing or cannot be.
    """
    plan: FaultPlan = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        name, _, written = (piece.strip() for piece in part.partition("="))
        fault = FAULTS.get(name)
        if fault is None:
            raise ConfigurationError(f"Unknown fault {name!r}: it must be one of {', '.join(FAULTS)}.")
        plan[name] = _value(name, written, fault)
    return plan


def _value(name: str, written: str, fault: Fault) -> float:
    if not written:
        if fault.default is None:
            raise ConfigurationError(f"The fault {name} needs a value, such as {name}={max(1, int(fault.lowest))}.")
        return fault.default
    try:
        value = float(written)
    except ValueError:
        raise ConfigurationError(f"The fault {name} needs a number, not {written!r}.") from None
    if not fault.lowest <= value <= fault.highest or math.isinf(value) or (fault.whole and value != int(value)):
        kind = "a whole number" if fault.whole else "a number"
        limits = f"{fault.lowest:g} or more" if math.isinf(fault.highest) else f"{fault.lowest:g} to {fault.highest:g}"
        raise ConfigurationError(f"The fault {name} needs {kind}, {limits}, not {written!r}.")
    return value
