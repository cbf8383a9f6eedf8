"""The states of a session, as a table, without I/O: what is heard and said in which, and how it ends.

connecting ─ opened ─► queued ─ QueueDone ─► assigned ─ SessionInit ─► initialising ─ SessionCreated ─► active
                                                                                                          │
                                   closed ◄─ SessionClosed, a fatal error, the end of the connection ─ closing
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from minicpm_core.realtime import client_events as said
from minicpm_core.realtime import events as heard
from minicpm_core.realtime.errors import (
    BackendError,
    RealtimeTimeoutError,
    SessionStateError,
    UnexpectedEventError,
    from_close_code,
    from_closed,
    from_error,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.errors import APIError
    from minicpm_core.realtime.client_events import ClientEvent
    from minicpm_core.realtime.events import Generation, Mode, ServerEvent


class State(StrEnum):
    """What a session is doing."""

    CONNECTING = "connecting"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    INITIALISING = "initialising"
    ACTIVE = "active"
    CLOSING = "closing"
    CLOSED = "closed"


_C, _Q, _S, _I, _A, _G, _X = State

_OUTPUTS: tuple[type[ServerEvent], ...] = (heard.Listen, heard.TextDelta, heard.AudioDelta, heard.ResponseDone)

HEARD: Mapping[State, Mapping[type[ServerEvent], State]] = {
    _Q: {heard.SessionQueued: _Q, heard.QueueUpdate: _Q, heard.QueueDone: _S},
    # Queue events that come late or twice do no harm.
    _S: {heard.SessionQueued: _Q, heard.QueueUpdate: _S, heard.QueueDone: _S},
    _I: {heard.SessionQueued: _I, heard.QueueUpdate: _I, heard.QueueDone: _I, heard.SessionCreated: _A},
    _A: {heard.QueueUpdate: _A, heard.QueueDone: _A, **dict.fromkeys(_OUTPUTS, _A)},
    _G: {heard.QueueUpdate: _G, heard.QueueDone: _G, **dict.fromkeys(_OUTPUTS, _G)},
    # The first generation goes on answering after the session is closed.
    _X: dict.fromkeys(_OUTPUTS, _X),
}
"""The next state, by what a server says. `SessionClosed` and `ErrorEvent` are told by `errors`; an `UnknownEvent`
changes nothing. Anything else has no place there."""

SAID: Mapping[State, Mapping[type[ClientEvent], State]] = {
    _S: {said.SessionInit: _I},
    _A: {said.InputAppend: _A, said.ChatAppend: _A, said.SessionClose: _G},
}
"""The next state, by what the client says. Anything else may not be said there."""

_APPENDS: Mapping[Mode, type[ClientEvent]] = {
    "audio": said.InputAppend,
    "video": said.InputAppend,
    "chat": said.ChatAppend,
}


class Machine:
    """Where one session stands.

    Args:
        mode: What is sent: sound, sound and pictures, or messages.
        generation: In the second, an error event ends the session; in the first it does not, once it is active.

    Attributes:
        state: What the session is doing.
        created: What the server said when it opened the session.
        error: How it ended badly; `None` while it lasts, and after a graceful end.
    """

    def __init__(self, *, mode: Mode, generation: Generation = 2) -> None:
        self.state = State.CONNECTING
        self.created: heard.SessionCreated | None = None
        self.error: APIError | None = None
        self._cause: APIError | None = None
        self._append = _APPENDS[mode]
        self._fatal = generation != 1
        self._mode = mode

    def opened(self) -> None:
        """The handshake is done."""
        self.state = State.QUEUED

    def hear(self, event: ServerEvent) -> None:
        """Take note of what a server said. Bad news does not raise; it stands in `error`."""
        if isinstance(event, heard.SessionClosed):
            self._closed(event)
        elif isinstance(event, heard.ErrorEvent):
            if self._fatal or self.state not in {State.ACTIVE, State.CLOSING}:
                self.fail(from_error(event, state=self.state))
        elif not isinstance(event, heard.UnknownEvent):
            self._move(event)

    def check(self, event: ClientEvent) -> State:
        """The state that saying this leads to.

        Raises:
            SessionStateError: It cannot be said now, or not in this mode.
        """
        following = SAID.get(self.state, {}).get(type(event))
        name = type(event).__name__
        if following is None:
            raise SessionStateError(f"{name} cannot be sent while the session is {self.state}. Nothing was sent.")
        self.check_mode(event)
        return following

    def check_mode(self, event: ClientEvent) -> None:
        """Raise `SessionStateError` if this is not for sessions of this mode, in whatever state."""
        if type(event) in _APPENDS.values() and type(event) is not self._append:
            name = type(event).__name__
            raise SessionStateError(f"{name} cannot be sent in mode {self._mode!r}. Nothing was sent.")

    def say(self, event: ClientEvent) -> None:
        """Take note of what is sent.

        Raises:
            SessionStateError: As `check`.
        """
        self.state = self.check(event)

    def lost(self, close_code: int | None, reason: str = "") -> None:
        """The connection has ended. Without `session.closed` before it, that is an error, whatever the code."""
        self.fail(from_close_code(close_code, reason, state=self.state))

    def timed_out(self, phase: str, seconds: float) -> None:
        """A step took too long."""
        message = _LATE[phase].format(seconds=f"{seconds:g}")
        self.fail(RealtimeTimeoutError(message, phase=phase, state=str(self.state), retryable=phase == "open"))

    def give_up(self, cause: APIError) -> None:
        """The session is going to be closed, and not because its user wants it: this is how it will have ended."""
        self._cause = cause

    def fail(self, error: APIError) -> None:
        """End the session with an error, unless it has ended already."""
        if self.state is not State.CLOSED:
            self.error = self._cause or error
            self.state = State.CLOSED

    def _closed(self, event: heard.SessionClosed) -> None:
        asked = self.state is State.CLOSING
        error = from_closed(event, state=self.state)
        if not asked or self._cause is not None or isinstance(error, BackendError):
            self.fail(error)
        self.state = State.CLOSED

    def _move(self, event: ServerEvent) -> None:
        following = HEARD.get(self.state, {}).get(type(event))
        if following is None:
            name = type(event).__name__
            message = f"The server said {name} while the session was {self.state}. Is `generation` that of the server?"
            self.fail(UnexpectedEventError(message, state=str(self.state)))
            return
        if isinstance(event, heard.SessionCreated):
            self.created = event
        self.state = following


_LATE: Mapping[str, str] = {
    "open": "No connection within {seconds} s. Is the address right, and the server up?",
    "queue": "No worker within {seconds} s of waiting. Gateways without any worker let one wait for ever.",
    "init": "No session within {seconds} s. Servers do not answer the opening of another generation of the protocol.",
    "idle": "No answer for {seconds} s to what was sent. Begin a new session.",
    "close": "No end of the session within {seconds} s. The connection was cut.",
}
"""What to say of a step that took too long."""
