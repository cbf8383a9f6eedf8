"""The states of a session: where each word leads, what may be said, and which error each kind of end is."""

from __future__ import annotations

import pickle
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import errors as core
from minicpm_core.realtime import client_events as said
from minicpm_core.realtime import errors
from minicpm_core.realtime import events as heard
from minicpm_core.realtime.codec import Codec
from minicpm_core.realtime.machine import HEARD, SAID, Machine, State
from tests.realtime.frames import CASES, Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.realtime.client_events import ClientEvent

INIT = said.SessionInit()
UNIT = said.InputAppend(audio=bytes(64_000))
CHAT = said.ChatAppend(messages=[said.ChatMessage("user", "Hi")])
CLOSE = said.SessionClose()
_STEPS: dict[State, Callable[[Machine], None]] = {
    State.QUEUED: lambda machine: machine.opened(),
    State.ASSIGNED: lambda machine: machine.hear(heard.QueueDone()),
    State.INITIALISING: lambda machine: machine.say(INIT),
    State.ACTIVE: lambda machine: machine.hear(heard.SessionCreated(session_id="s")),
    State.CLOSING: lambda machine: machine.say(CLOSE),
    State.CLOSED: lambda machine: machine.hear(heard.SessionClosed(reason="bye")),
}
_OPEN = [state for state in State if state is not State.CLOSED]


def machine_in(state: State, *, generation: Any = 2, mode: Any = "audio") -> Machine:
    """A machine that got there by the way of every session."""
    machine = Machine(mode=mode, generation=generation)
    for following, step in _STEPS.items():
        if machine.state is state:
            return machine
        step(machine)
        assert machine.state is following
    return machine


def test_a_session_goes_through_its_states_in_order() -> None:
    machine = machine_in(State.CLOSED)
    assert machine.error is None
    assert machine.created == heard.SessionCreated(session_id="s")


def test_the_queue_may_be_long() -> None:
    machine = machine_in(State.QUEUED)
    machine.hear(heard.SessionQueued(position=2))
    machine.hear(heard.QueueUpdate(position=1))
    assert machine.state is State.QUEUED


@pytest.mark.parametrize(
    ("state", "event"), list(product(State, [INIT, UNIT, CLOSE])), ids=lambda value: str(value)[:20]
)
def test_what_may_be_said_is_said_and_nothing_else(state: State, event: ClientEvent) -> None:
    machine = machine_in(state)
    allowed: dict[tuple[State, type[Any]], State] = {
        (State.ASSIGNED, said.SessionInit): State.INITIALISING,
        (State.ACTIVE, said.InputAppend): State.ACTIVE,
        (State.ACTIVE, said.SessionClose): State.CLOSING,
    }
    following = allowed.get((state, type(event)))
    if following is None:
        with pytest.raises(errors.SessionStateError, match=f"while the session is {state}"):
            machine.say(event)
        assert machine.state is state
    else:
        machine.say(event)
        assert machine.state is following


@pytest.mark.parametrize(
    ("mode", "right", "wrong"), [("audio", UNIT, CHAT), ("video", UNIT, CHAT), ("chat", CHAT, UNIT)]
)
def test_sound_is_for_duplex_and_messages_are_for_chat(mode: str, right: ClientEvent, wrong: ClientEvent) -> None:
    machine = machine_in(State.ACTIVE, mode=mode)
    machine.say(right)
    with pytest.raises(errors.SessionStateError, match=f"mode '{mode}'"):
        machine.say(wrong)


@pytest.mark.parametrize("state", State)
def test_an_unknown_event_changes_nothing(state: State) -> None:
    machine = machine_in(state)
    machine.hear(heard.UnknownEvent(type="new"))
    assert (machine.state, machine.error) == (state, None)


_KINDS = [heard.SessionQueued(), heard.QueueUpdate(), heard.QueueDone(), heard.SessionCreated(), heard.Listen(),
          heard.TextDelta(text="a"), heard.AudioDelta(audio=b""), heard.ResponseDone()]  # fmt: skip


@pytest.mark.parametrize(("state", "event"), list(product(State, _KINDS)), ids=lambda value: str(value)[:20])
def test_every_event_in_every_state_moves_on_or_is_a_typed_error(state: State, event: heard.ServerEvent) -> None:
    machine = machine_in(state)
    machine.hear(event)
    following = HEARD.get(state, {}).get(type(event))
    if following is not None:
        assert (machine.state, machine.error) == (following, None)
    else:
        assert machine.state is State.CLOSED
        assert isinstance(machine.error, errors.UnexpectedEventError) or state is State.CLOSED


@pytest.mark.parametrize("event", [heard.TextDelta(text="a"), heard.SessionCreated(), heard.ResponseDone()], ids=repr)
def test_an_answer_before_the_question_is_an_error(event: heard.ServerEvent) -> None:
    machine = machine_in(State.QUEUED)
    machine.hear(event)
    assert isinstance(machine.error, errors.UnexpectedEventError)
    assert machine.error.state == "queued"


_BY_ERROR = {
    "queue_full": errors.QueueFullError,
    "worker_busy": errors.WorkerBusyError,
    "session_failed": errors.SessionFailedError,
    "worker_connect_failed": errors.SessionFailedError,
    "not_ready": errors.SessionFailedError,
    "service_unavailable": errors.SessionFailedError,
    "inference_error": errors.BackendError,
    "inference_failed": errors.BackendError,
    "unknown_event": errors.BackendError,
    "missing_field": errors.BackendError,
    "invalid_payload": errors.BackendError,
    "something_new": errors.BackendError,
    "": errors.BackendError,
}


@pytest.mark.parametrize(("state", "code"), list(product(_OPEN, _BY_ERROR)))
def test_every_error_ends_a_session_of_the_second_generation(state: State, code: str) -> None:
    machine = machine_in(state)
    machine.hear(heard.ErrorEvent(code=code, message="what happened"))
    assert type(machine.error) is _BY_ERROR[code]
    assert (machine.state, machine.error.code, machine.error.diagnostic) == (
        State.CLOSED, code or None, "what happened",
    )  # fmt: skip
    assert machine.error.state == state


def test_an_error_does_not_end_an_active_session_of_the_first_generation() -> None:
    machine = machine_in(State.ACTIVE, generation=1)
    machine.hear(heard.ErrorEvent(code="inference_failed", message="Missing audio_base64"))
    assert (machine.state, machine.error) == (State.ACTIVE, None)
    machine = machine_in(State.QUEUED, generation=1)
    machine.hear(heard.ErrorEvent(code="queue_full"))
    assert isinstance(machine.error, errors.QueueFullError)


_BY_REASON = {
    "backend_error": errors.BackendError,
    "error": errors.BackendError,
    "timeout": errors.SessionTimeLimitError,
    "context_full": errors.ContextFullError,
    "server_shutdown": errors.ServerShutdownError,
    "maintenance": errors.SessionEndedError,
    None: errors.SessionEndedError,
}


@pytest.mark.parametrize("state", [state for state in _OPEN if state is not State.CLOSING])
@pytest.mark.parametrize("reason", _BY_REASON)
def test_a_session_that_the_server_closes_ends_with_the_error_of_the_reason(state: State, reason: str | None) -> None:
    machine = machine_in(state)
    machine.hear(heard.SessionClosed(reason=reason, diagnostic="why"))
    assert type(machine.error) is _BY_REASON[reason]
    assert (machine.state, machine.error.code, machine.error.diagnostic) == (State.CLOSED, reason, "why")


@pytest.mark.parametrize("reason", ["user_stop", "client_closed", "stopped", "timeout", None])
def test_a_session_that_was_asked_to_close_ends_well_whatever_the_reason(reason: str | None) -> None:
    machine = machine_in(State.CLOSING)
    machine.hear(heard.SessionClosed(reason=reason))
    machine.lost(1006)
    assert (machine.state, machine.error) == (State.CLOSED, None)


def test_a_backend_that_fails_while_closing_is_an_error_nevertheless() -> None:
    machine = machine_in(State.CLOSING)
    machine.hear(heard.SessionClosed(reason="backend_error"))
    assert isinstance(machine.error, errors.BackendError)


_BY_CLOSE = {
    1000: errors.ConnectionLostError,
    1001: errors.ServerShutdownError,
    1006: errors.ConnectionLostError,
    1009: errors.RealtimeError,
    1011: errors.ConnectionLostError,
    1012: errors.ServerShutdownError,
    1013: errors.QueueFullError,
    4321: errors.ConnectionLostError,
    None: errors.ConnectionLostError,
}


@pytest.mark.parametrize(("state", "code"), list(product(_OPEN, _BY_CLOSE)))
def test_a_connection_that_ends_without_a_goodbye_is_an_error_even_with_1000(state: State, code: int | None) -> None:
    machine = machine_in(state)
    machine.lost(code)
    assert type(machine.error) is _BY_CLOSE[code]
    assert (machine.state, machine.error.close_code) == (State.CLOSED, code or 1006)
    assert machine.error.state == state


def test_the_first_thing_that_went_wrong_is_what_is_told() -> None:
    """The queue is full, says the error; the close code after it adds nothing."""
    machine = machine_in(State.QUEUED)
    machine.hear(heard.ErrorEvent(code="queue_full"))
    first = machine.error
    machine.lost(1013)
    machine.timed_out("queue", 1)
    machine.hear(heard.SessionClosed(reason="backend_error"))
    assert machine.error is first


@pytest.mark.parametrize("phase", ["open", "queue", "init", "idle", "close"])
def test_each_step_that_takes_too_long_is_an_error_that_names_it(phase: str) -> None:
    machine = machine_in(State.QUEUED)
    machine.timed_out(phase, 2.5)
    assert isinstance(machine.error, errors.RealtimeTimeoutError)
    assert isinstance(machine.error, core.APITimeoutError)
    assert machine.error.phase == phase
    assert "2.5 s" in str(machine.error)


def test_the_tables_send_nobody_into_a_state_without_a_way_out() -> None:
    reached = {following for table in (HEARD, SAID) for row in table.values() for following in row.values()}
    assert reached | {State.CONNECTING} == {*State}


_ENDS = {
    "gen1-queue-holder": errors.ConnectionLostError,
    "gen1-context-full": errors.ContextFullError,
    "gen1-worker-dies": errors.ConnectionLostError,
    "gen2-inference-error": errors.BackendError,
    "gen2chain-inference-error": errors.BackendError,
    "gen2chain-worker-dies": errors.BackendError,
    "gen2-limit4s-session-limit": errors.SessionTimeLimitError,
    "gen2x-worker-SIGKILL": errors.SessionFailedError,
    "gen2x-gateway-SIGTERM": errors.ServerShutdownError,
    "gen1-video": None,
    "gen2-video": None,
    "gen2-chat": None,
    "gen2chain-video": None,
    "gen2chain-audio": None,
    "gen2chain-chat": None,
}


def _replay(lines: list[Line]) -> Machine:
    generation: Any = lines[0].generation
    mode: Any = lines[0].frame["connect"].rpartition("=")[2]
    machine, codec = Machine(mode=mode, generation=generation), Codec(generation=generation)
    sent: dict[str, ClientEvent] = {"session.init": INIT, "session.update": INIT, "session.close": CLOSE}
    for line in lines:
        if "connect" in line.frame:
            machine.opened()
        elif line.direction == "down":
            for event in codec.decode(line.text):
                machine.hear(event)
        elif line.direction == "up" and machine.state is not State.CLOSED:
            machine.say(sent.get(line.frame["type"], CHAT if mode == "chat" else UNIT))
        elif "close_code" in line.frame:
            machine.lost(line.frame["close_code"])
    return machine


@pytest.mark.parametrize("case", _ENDS)
def test_recorded_sessions_end_as_they_did(case: str) -> None:
    expected = _ENDS[case]
    machine = _replay(CASES[case])
    assert machine.state is State.CLOSED
    assert machine.error is None if expected is None else type(machine.error) is expected


def test_errors_are_of_the_core_and_survive_a_pickle() -> None:
    machine = machine_in(State.ACTIVE)
    machine.lost(1012, "restart")
    copy: errors.RealtimeError = pickle.loads(pickle.dumps(machine.error))
    assert isinstance(machine.error, core.APIConnectionError)
    assert (type(copy), copy.close_code, copy.diagnostic, copy.state) == (
        errors.ServerShutdownError, 1012, "restart", "active",
    )  # fmt: skip
    assert str(copy) == str(machine.error)
