"""The recorded frames, made whole again, and the schemas that frames keep to.

The recording has its long base64 cut off, with its length: what is missing is filled with zeros, so that each text has
the length that it had.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple, cast

from jsonschema import Draft7Validator

_HERE = Path(__file__).parent
_CUT = re.compile(r"(?P<head>.+)\.\.\.<(?P<length>\d+) chars>", re.DOTALL)


class Line(NamedTuple):
    """A line of the recording: `down` is from the server, `up` from the client, `--` about the connection."""

    case: str
    direction: str
    frame: dict[str, Any]

    @property
    def generation(self) -> int:
        return 1 if self.case.startswith("gen1") else 2

    @property
    def text(self) -> str:
        return json.dumps(self.frame)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_whole(part) for part in cast("Any", value)]
    cut = _CUT.fullmatch(value) if isinstance(value, str) else None
    return cut["head"] + "A" * (int(cut["length"]) - len(cut["head"])) if cut else value


def _lines() -> dict[str, list[Line]]:
    cases: dict[str, list[Line]] = {}
    for text in (_HERE / "transcript.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        cases.setdefault(row["case"], []).append(Line(row["case"], row["dir"], _whole(row["frame"])))
    return cases


CASES = _lines()
"""The recorded sessions by name."""

DOWN = [line for lines in CASES.values() for line in lines if line.direction == "down"]
"""Everything that a server said."""


def _schema(generation: int) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_HERE / "schemas" / f"gen{generation}.schema.json").read_text("utf-8"))
    return loaded


_VALIDATORS: dict[tuple[int, str], Any] = {
    (generation, name): Draft7Validator({**_schema(generation), "oneOf": [{"$ref": f"#/definitions/client/{name}"}]})
    for generation in (1, 2)
    for name in _schema(generation)["definitions"]["client"]
}


def check_sent(text: str, generation: int) -> dict[str, Any]:
    """The frame, which must be one of those that the schema lets a client say."""
    frame: dict[str, Any] = json.loads(text)
    name = frame["type"]
    if name == "input.append":
        name += ".chat" if "messages" in frame["input"] else ".duplex"
    validator = _VALIDATORS[generation, name]
    assert [error.message[:200] for error in validator.iter_errors(frame)] == []
    return frame
