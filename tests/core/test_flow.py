"""The way of a call: what is sent, when it is sent again, and what comes of it. No socket, no clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from minicpm_core.backends import BACKENDS
from minicpm_core.config import ClientConfig
from minicpm_core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    InvalidRequestError,
    MalformedReplyError,
    ModelNotFoundError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from minicpm_core.protocol.flow import (
    Begun,
    Command,
    Failure,
    Opened,
    Outcome,
    Read,
    Reply,
    Send,
    Sleep,
    complete_flow,
    detect_flow,
    models_flow,
    stream_flow,
)
from minicpm_core.protocol.request import ServerTraits
from minicpm_core.types import Completion, Delta
from tests.core.support import bytes_of, prepare
from tests.support.server import chunk, completion, sse

if TYPE_CHECKING:
    from minicpm_core.protocol.flow import Flow

T = TypeVar("T")
_MODELS = {"object": "list", "data": [{"id": "MiniCPM-V-4.6-1B", "owned_by": "vllm"}]}


def _config(*, api_key: str | None = None, max_retries: int = 2) -> ClientConfig:
    return ClientConfig.create(base_url="http://h/v1", api_key=api_key, max_retries=max_retries)


def _reply(body: Any = None, status: int = 200, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body if body is not None else completion()).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


class Drive:
    """Drives a flow with prepared outcomes, and keeps its commands."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)
        self.commands: list[Command] = []

    def __call__(self, flow: Flow[T]) -> T:
        try:
            command = next(flow)
            while True:
                self.commands.append(command)
                command = flow.send(None if isinstance(command, Sleep) else self._outcomes.pop(0))
        except StopIteration as stop:
            assert self._outcomes == [], "every outcome was asked for"
            result: T = stop.value
            return result

    @property
    def sent(self) -> list[str]:
        return [f"{c.request.method} {c.request.path}" for c in self.commands if isinstance(c, Send)]

    @property
    def slept(self) -> list[float]:
        return [c.seconds for c in self.commands if isinstance(c, Sleep)]

    def body(self, number: int) -> dict[str, Any]:
        sends = [c for c in self.commands if isinstance(c, Send)]
        found: dict[str, Any] = json.loads(bytes_of(sends[number].request))
        return found


def _complete(drive: Drive, config: ClientConfig | None = None) -> Completion:
    config = config or _config()
    return drive(complete_flow(lambda: prepare(config=config), config, ServerTraits()))


def _stream(drive: Drive, config: ClientConfig | None = None, traits: ServerTraits | None = None) -> Begun:
    config, traits = config or _config(), traits or ServerTraits()
    return drive(stream_flow(lambda: prepare(config=config, traits=traits, stream=True), config, traits))


_POST = "POST /chat/completions"
_GET = "GET /models"


# --- Whole completions -----------------------------------------------------------------------------------------------


def test_one_request_is_enough() -> None:
    drive = Drive(_reply())
    assert _complete(drive).text == "Hello."
    assert drive.sent == [_POST]


def test_a_failure_that_may_pass_is_met_with_another_request() -> None:
    unreachable = Failure(APIConnectionError("no connection"))
    drive = Drive(_reply({}, 503), unreachable, _reply())
    assert _complete(drive).text == "Hello."
    assert drive.sent == [_POST] * 3
    assert len(drive.slept) == 2
    assert 0 <= drive.slept[0] <= 0.5
    assert 0 <= drive.slept[1] <= 1.0


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_never_more_requests_than_retries_and_one(max_retries: int) -> None:
    drive = Drive(*[_reply({}, 500)] * (max_retries + 1))
    with pytest.raises(ServerError) as caught:
        _complete(drive, _config(max_retries=max_retries))
    assert caught.value.attempts == max_retries + 1
    assert drive.sent == [_POST] * (max_retries + 1)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (_reply({}, 400), InvalidRequestError),
        (_reply(b"<html>"), MalformedReplyError),
        (_reply(b""), MalformedReplyError),
        (Failure(APITimeoutError("too late", phase="read")), APITimeoutError),
        (Failure(APIConnectionError("broken", sent=True)), APIConnectionError),
    ],
)
def test_a_failure_that_stays_is_raised_at_once(outcome: Outcome, kind: type[APIError]) -> None:
    drive = Drive(outcome)
    with pytest.raises(kind) as caught:
        _complete(drive)
    assert caught.value.attempts == 1
    assert drive.sent == [_POST]


def test_the_cause_of_a_failure_is_kept() -> None:
    error = APIConnectionError("broken", sent=True)
    error.__cause__ = OSError("reset by peer")
    with pytest.raises(APIConnectionError) as caught:
        _complete(Drive(Failure(error)))
    assert isinstance(caught.value.__cause__, OSError)


def test_a_server_that_names_a_time_is_waited_for() -> None:
    drive = Drive(_reply({}, 429, retry_after="7"), _reply())
    assert _complete(drive).text == "Hello."
    assert drive.slept == [7.0]


def test_a_server_that_asks_for_too_long_is_given_up_with_a_word_about_it() -> None:
    drive = Drive(_reply({}, 429, retry_after="3600"))
    with pytest.raises(RateLimitError, match=r"asks to wait 3600 s, longer than max_retry_after=60") as caught:
        _complete(drive)
    assert caught.value.retry_after == 3600.0
    assert drive.sent == [_POST]
    assert drive.slept == []


def test_a_stale_connection_is_replaced_without_waiting() -> None:
    drive = Drive(Failure(APIConnectionError("closed", sent=True, stale=True)), _reply())
    assert _complete(drive).text == "Hello."
    assert drive.slept == [0.0]


def test_a_missing_model_is_explained_by_what_the_server_offers() -> None:
    missing = _reply({"error": {"message": "The model `MiniCPM-V-4.6-Instruct` does not exist."}}, 404)
    drive = Drive(missing, _reply(_MODELS))
    with pytest.raises(ModelNotFoundError, match=r"Did you mean 'MiniCPM-V-4\.6-1B'") as caught:
        drive(complete_flow(lambda: prepare(model="MiniCPM-V-4.6-Instruct"), _config(), ServerTraits()))
    assert caught.value.available == ("MiniCPM-V-4.6-1B",)
    assert drive.sent == [_POST, _GET]


@pytest.mark.parametrize(
    "listing", [_reply(b"<html>"), _reply({}, 404), Failure(APIConnectionError("gone")), _reply({"data": []})]
)
def test_a_missing_model_is_raised_also_where_the_server_does_not_say_what_it_offers(listing: Outcome) -> None:
    drive = Drive(_reply({"error": {"code": "model_not_found", "message": "No."}}, 404), listing)
    with pytest.raises(ModelNotFoundError, match="It lists no models"):
        _complete(drive)


# --- Streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_begins_with_its_first_deltas() -> None:
    body = sse(chunk("", role="assistant"), chunk("Hel"))
    drive = Drive(Opened({}), body[:30], body[30:] + sse(chunk("lo"))[:30])
    begun = _stream(drive)
    assert begun.deltas == [Delta("Hel")]
    assert drive.commands[1:] == [Read(), Read()]


def test_a_stream_that_is_over_at_once_is_a_stream() -> None:
    body = sse(chunk("Hello."), chunk(finish="stop"))
    begun = _stream(Drive(Opened({}), body))
    assert begun.deltas == [Delta("Hello.")]
    assert begun.decoder.finish()[-1].final is not None


@pytest.mark.parametrize(
    "first",
    [
        [_reply({}, 500)],
        [Failure(APIConnectionError("no connection"))],
        [Opened({}), Failure(APIConnectionError("broken", sent=True))],
        [Opened({}), sse(chunk("", role="assistant")), b""],
        [Opened({}), b'data: {"error": {"message": "Boom", "code": 500}}\n\n'],
    ],
)
def test_a_stream_is_asked_for_again_while_nothing_was_handed_on(first: list[Outcome]) -> None:
    drive = Drive(*first, Opened({}), sse(chunk("Hello.")))
    assert _stream(drive).deltas == [Delta("Hello.")]
    assert drive.sent == [_POST] * 2


@pytest.mark.parametrize(
    ("outcomes", "kind"),
    [
        ([_reply({}, 400)], InvalidRequestError),
        ([_reply(b"<html>", 404)], APIError),
        ([Opened({}), b"<html>", b""], MalformedReplyError),
        ([Opened({}), b""], MalformedReplyError),
        ([Opened({}), Failure(APITimeoutError("too late", phase="read"))], APITimeoutError),
        ([Opened({}), b'data: {"error": "No way."}\n\n'], APIError),
    ],
)
def test_a_stream_that_cannot_begin_raises_where_it_is_asked_for(outcomes: list[Outcome], kind: type[APIError]) -> None:
    drive = Drive(*outcomes)
    with pytest.raises(kind):
        _stream(drive)
    assert drive.sent == [_POST]


def test_a_stream_that_never_begins_raises_what_it_was_after_all_tries() -> None:
    once: tuple[Outcome, ...] = (Opened({}), sse(chunk("", role="assistant")), b"")
    drive = Drive(*once * 3)
    with pytest.raises(StreamInterruptedError) as caught:
        _stream(drive)
    assert caught.value.attempts == 3
    assert caught.value.message.count("was cut") == 1


_REFUSES_USAGE = _reply({"detail": "Unexpected fields in the request: {'stream_options'}"}, 422)


def test_a_server_that_refuses_usage_is_asked_without_it_at_once_and_from_then_on() -> None:
    traits = ServerTraits()
    drive = Drive(_REFUSES_USAGE, Opened({}), sse(chunk("Hello.")))
    assert _stream(drive, traits=traits).deltas == [Delta("Hello.")]
    assert [("stream_options" in drive.body(number)) for number in (0, 1)] == [True, False]
    assert drive.slept == []
    assert not traits.stream_usage


def test_what_was_learned_serves_the_next_call_where_this_one_may_not_try_again() -> None:
    traits, config = ServerTraits(), _config(max_retries=0)
    with pytest.raises(InvalidRequestError):
        _stream(Drive(_REFUSES_USAGE), config, traits)
    drive = Drive(Opened({}), sse(chunk("Hello.")))
    _stream(drive, config, traits)
    assert "stream_options" not in drive.body(0)


def test_a_server_that_refuses_for_another_reason_teaches_nothing() -> None:
    traits = ServerTraits()
    with pytest.raises(InvalidRequestError):
        _stream(Drive(_reply({"detail": "Bad temperature"}, 422)), traits=traits)
    assert traits.stream_usage


# --- Which server, which models --------------------------------------------------------------------------------------


def test_models_are_listed() -> None:
    drive = Drive(_reply(_MODELS))
    (row,) = drive(models_flow(_config(), BACKENDS["vllm"]))
    assert row.id == "MiniCPM-V-4.6-1B"
    assert drive.sent == [_GET]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (_reply({}, 401), APIError),
        (_reply(b"<html>"), APIError),
        (Failure(APIConnectionError("gone")), APIConnectionError),
    ],
)
def test_models_that_are_not_told_are_an_error(outcome: Outcome, kind: type[APIError]) -> None:
    with pytest.raises(kind):
        Drive(outcome)(models_flow(_config(), BACKENDS["vllm"]))


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (_reply(_MODELS), "vllm"),
        (_reply({"data": []}, server="llama.cpp"), "llamacpp"),
        (_reply({}, 404, server="llama.cpp"), "llamacpp"),
        (_reply({"object": "list", "data": []}, server="uvicorn", x_request_id="5"), "transformers"),
        (_reply({"detail": "Not Found"}, 404, server="uvicorn", x_request_id="5"), "generic"),
        (_reply(b"<html>", server="nginx"), "generic"),
        (_reply(b"<html>", server="uvicorn", x_request_id="5"), "generic"),
        (_reply({"data": [{"id": "m"}]}), "generic"),
        (_reply({}, 401), None),
        (_reply({}, 503), None),
        (Failure(APIConnectionError("gone")), None),
    ],
)
def test_a_server_is_asked_what_it_is(outcome: Outcome, name: str | None) -> None:
    """A server that did not really answer is asked again the next time."""
    drive = Drive(outcome)
    traits = ServerTraits()
    drive(detect_flow(_config(api_key="sk-made-up-key"), traits))
    assert (traits.backend and traits.backend.name) == name
    assert drive.sent == [_GET]
