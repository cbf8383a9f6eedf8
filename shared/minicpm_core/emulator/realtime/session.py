"""One session of the emulator: from the queue to its end, with whatever fault was asked for on the way."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from minicpm_core.emulator.realtime import chat
from minicpm_core.emulator.realtime.gen2 import Gen2Words
from minicpm_core.emulator.realtime.intake import BadInput, read_unit, samples_of, vision
from minicpm_core.emulator.realtime.ledger import WINDOW, Ledger
from minicpm_core.emulator.realtime.mind import Mind, Sight
from minicpm_core.emulator.realtime.speech import Piece
from minicpm_core.emulator.realtime.state import RecordedSession, RecordedUnit
from minicpm_core.emulator.realtime.striking import BLOWS
from minicpm_core.emulator.realtime.wire import BinaryMessageError, Wire
from minicpm_core.emulator.realtime.words import Asked, Facts, error
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.values import as_object
from minicpm_core.realtime.events import INPUT_RATE

if TYPE_CHECKING:
    from minicpm_core.emulator.realtime.desk import Desk
    from minicpm_core.emulator.realtime.faults import Place, SessionPlan
    from minicpm_core.emulator.realtime.mind import Output, Unit
    from minicpm_core.emulator.realtime.settings import RealtimeEmulation
    from minicpm_core.emulator.realtime.words import Frame, Words
    from minicpm_core.realtime.events import Mode

_FORCED = 3
"""Units that the model listens to first in any case: `force_listen_count` where nothing is said."""
_PROMPT = "You are a helpful assistant."
_GOODBYE = 1000


class SessionOver(Exception):  # noqa: N818 - how a session ends
    """The session has ended, and the connection is closed."""


class Session:
    """Plays one session.

    Args:
        wire: The connection.
        words: Of the generation.
        plan: What goes wrong.
        record: What is kept of it.
        settings: Of the emulator.
        mode: Of the session.
    """

    def __init__(
        self,
        wire: Wire,
        words: Words,
        *,
        plan: SessionPlan,
        record: RecordedSession,
        settings: RealtimeEmulation,
        mode: Mode,
    ) -> None:
        self._wire = wire
        self._words = words
        self._plan = plan
        self._record = record
        self._settings = settings
        self._mode: Mode = mode
        self._mind = Mind(forced=_FORCED)
        self._ledger = Ledger(plan, _PROMPT, 0)
        self._speaks = "mute" not in plan.values
        self._full = False
        self._response: tuple[int | None, str] = (None, "")

    async def play(self, desk: Desk) -> None:
        """From the queue to the end. What comes after the limit of its time is a goodbye as well.

        Raises:
            SessionOver: Always, in the end.
        """
        self._record.state = "queued"
        await self._at("queued")
        if desk.is_full:
            await self._strike("queue-full")
        limit = self._settings.limit(self._mode)
        if "limit" in self._plan.values:
            limit = self._plan.number("limit") / self._settings.speed
        async with desk.worker(self._wire.say, held=self._plan.values.get("queue")):
            await self._wire.say({"type": "session.queue_done"})
            if desk.is_racing:
                await self._strike("race")
            try:
                async with asyncio.timeout(limit):
                    await self._assigned()
            except TimeoutError:
                await self._end(self._words.closed("timeout", named=False), why="timeout")

    async def _assigned(self) -> NoReturn:
        self._record.state = "assigned"
        await self._at("assigned")
        try:
            asked = await self._hear()
            if asked.kind == "close":
                await self._close(asked)
            self._record.state = "initialising"
            await self._at("initialising")
            self._begin(asked.body if asked.kind == "init" else {})
            await self._wire.say(self._words.created(self._mode, self._ledger))
            self._record.state = "active"
            await self._at("active")
            while True:
                asked = asked if asked.kind == "append" else await self._hear()
                if asked.kind == "close":
                    await self._close(asked)
                if asked.kind == "append":
                    await self._take(asked.body)
                asked = Asked("init", {})
        except BadInput as bad:
            await self._end(self._words.closed("backend_error", bad.diagnostic), why="backend_error")
        except BinaryMessageError:
            await self._end(error("session_failed", "'text'"), why="session_failed")

    async def _hear(self) -> Asked:
        """The next thing said that means something."""
        while True:
            asked = self._words.read(await self._wire.hear())
            if asked is not None:
                return asked

    def _begin(self, payload: Frame) -> None:
        config = as_object(payload.get("config")) or {}
        voice = as_object(payload.get("voice")) or {}
        prompt = payload.get("system_prompt") or payload.get("instructions")
        heard = {name: samples_of(text) for name, text in voice.items()}
        forced = config.get("force_listen_count", _FORCED)
        self._speaks = self._speaks and config.get("generate_audio", True) is not False
        self._mind = Mind(forced=forced if type(forced) is int else _FORCED, sees=Sight(chat.MODEL))
        seconds = max(heard.values(), default=0) / INPUT_RATE
        self._ledger = Ledger(self._plan, prompt if isinstance(prompt, str) else _PROMPT, seconds)
        self._record.init = {**payload, **({"voice": heard} if voice else {})}

    async def _take(self, given: Frame) -> None:
        """One unit, or one question."""
        self._record.count += 1
        if await self._at(self._record.count):
            return
        try:
            await (self._answer_question(given) if self._mode == "chat" else self._answer_unit(given))
        except BadInput as bad:
            if not self._words.goes_on:
                raise
            await self._wire.say(error("inference_failed", bad.diagnostic))

    async def _answer_unit(self, given: Frame) -> None:
        began = time.perf_counter()
        if "slow" in self._plan.values:
            await asyncio.sleep(self._plan.number("slow") / self._settings.speed)
        unit = read_unit(given, missing=self._words.missing_audio)
        self._note(unit)
        slices, tokens = vision(unit)
        try:
            output = self._mind.take(unit)
        except Refusal as refusal:
            raise BadInput(str(refusal)) from None
        if output.piece is not None and not self._speaks:
            output = replace(output, piece=Piece(output.piece.text, "", 0))
        self._ledger.add(unit, tokens, output.piece)
        facts = Facts(
            number=self._record.count,
            response_id=self._response_id(output),
            milliseconds=1000 * (time.perf_counter() - began),
            slices=slices,
            vision_tokens=tokens,
        )
        for frame in self._words.answer(unit, output, facts, self._ledger):
            await self._wire.say(frame)
        if output.ended and "done" in self._plan.values and isinstance(self._words, Gen2Words):
            await self._wire.say(self._words.done(text="", response_id=facts.response_id, reason="turn_end"))
        if self._words.goes_on and not self._full and self._ledger.memory >= WINDOW:
            self._full = True  # the first generation says so, and goes on all the same
            await self._wire.say(self._words.closed("context_full"))

    async def _answer_question(self, given: Frame) -> None:
        self._record.questions.append(chat.without_media(given))
        if not isinstance(self._words, Gen2Words):
            raise BadInput
        said = await asyncio.to_thread(chat.reply, given)
        for frame in chat.frames(self._words, said, said.prompt_tokens + len(said.pieces)):
            await self._wire.say(frame)

    def _note(self, unit: Unit) -> None:
        self._record.units.append(
            RecordedUnit(
                number=self._record.count,
                input_id=unit.input_id,
                samples=len(unit.samples),
                level=unit.level,
                frames=tuple(map(len, unit.frames)),
                force_listen=unit.force_listen,
            )
        )

    def _response_id(self, output: Output) -> str:
        """The name of the turn that an output belongs to."""
        if self._response[0] != output.number:
            self._response = (output.number, f"resp_{uuid.uuid4().hex[:12]}")
        return self._response[1]

    async def _close(self, asked: Asked) -> NoReturn:
        self._record.state = "closing"
        await self._at("closing")
        goodbye = self._words.goodbye(asked)
        await self._end(goodbye, why=goodbye["reason"])

    async def _at(self, place: Place) -> bool:
        """Let happen what was asked for here. Gives whether it takes the place of an answer."""
        name = self._plan.strikes.get(place)
        return False if name is None else await self._strike(name)

    async def _strike(self, name: str) -> bool:
        if name in {"stall", "half-open"}:
            self._record.ended = name
            if name == "half-open":
                self._wire.freeze()
            await self._wire.drain()
        blow = BLOWS[name](self._words, self._plan)
        if name == "error" and self._words.goes_on and self._record.state == "active":
            blow = replace(blow, ends=False)
        if blow.ends:
            await self._end(*blow.frames, why=self._plan.words.get(name, name), close_code=blow.close_code)
        await self._say(*blow.frames)
        return name == "error"

    async def _say(self, *frames: Any) -> None:
        for frame in frames:
            await (self._wire.say_raw(frame) if isinstance(frame, str | bytes) else self._wire.say(frame))

    async def _end(self, *frames: Any, why: str, close_code: int | None = _GOODBYE) -> NoReturn:
        """Say the last words, and end the connection as the generation does."""
        await self._say(*frames)
        if close_code == _GOODBYE and not self._words.says_goodbye:
            close_code = None
        self._record.ended, self._record.close_code = why, close_code
        self._record.state = "closed"
        await self._wire.close(close_code)
        raise SessionOver
