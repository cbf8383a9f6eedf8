"""A model that answers what it hears: for tests of what is built upon sessions."""

from __future__ import annotations

import base64
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.realtime.gateway import Peer

SPOKEN = array("f", [0.25] * 2400).tobytes()
"""A tenth of a second of speech, as it is said with each piece of text."""
LOUD = array("h", [8000] * 16_000).tobytes()
"""A second of noise, as 16-bit PCM: a question."""
QUIET = bytes(32_000)
"""A second of silence."""


def loudness(unit: dict[str, Any]) -> float:
    """The peak of a unit."""
    return max(map(abs, array("f", base64.b64decode(unit["input"]["audio"]))))


async def cut_short(peer: Peer) -> None:
    """A script: once it is quiet after a question, half of an answer is said; then the session's time is up."""
    await peer.begin()
    asked = await peer.hear("input.append")
    assert loudness(asked) > 0.1
    await peer.answer(asked)
    unit = await peer.hear("input.append")
    await peer.delta("text", text="Half ", response_id="r1", input_id=unit["input"]["input_id"])
    await peer.hear("input.append")  # which the next session has to answer
    await peer.say("session.closed", reason="timeout")


def talker(*answers: str) -> Callable[[Peer], Awaitable[None]]:
    """A script: after each question, and once it is quiet, one of the answers is said, a word a unit.

    It is broken off by `force_listen`. What it says when there are no more answers is "Yes."
    """

    async def script(peer: Peer) -> None:
        await peer.begin()
        left = list(answers)
        asked, words, turn = False, list[str](), 0
        while (unit := await peer.hear())["type"] != "session.close":
            name = unit["input"]["input_id"]
            if unit["input"].get("force_listen"):
                words = []
            elif loudness(unit) > 0.1:
                asked = True
            elif asked and not words:
                asked, turn = False, turn + 1
                words = (left.pop(0) if left else "Yes.").split()
            if not words or (asked and turn == 0):
                ended = {"response_id": f"r{turn}"} if turn else {}
                await peer.delta("listen", input_id=name, **ended)
                continue
            text = words.pop(0) + (" " if words else "")
            sound = base64.b64encode(SPOKEN).decode()
            await peer.delta("text", text=text, response_id=f"r{turn}", input_id=name)
            await peer.delta("audio", audio=sound, response_id=f"r{turn}", input_id=name)
        await peer.say("session.closed", session_id="sess_1", reason=unit.get("reason"))

    return script
