"""What a failed transport means to the caller, whichever HTTP library raised it."""

from __future__ import annotations

import httpx
import pytest

from minicpm_core.errors import APIConnectionError, APIError, APITimeoutError, MalformedReplyError
from minicpm_core.protocol.transport import failure_for

_KEY = "sk-made-up-key"


def _failure(error: BaseException, *, reused: bool = False) -> APIError | None:
    return failure_for(error, url="http://h/v1", reused=reused, timeout_read=30.0, secrets=(_KEY,))


@pytest.mark.parametrize(
    ("error", "phase", "says"),
    [
        (httpx.ConnectTimeout("x"), "connect", "no connection in time. Check base_url"),
        (httpx.PoolTimeout("x"), "pool", "no free connection in time. Make fewer calls at once"),
        (httpx.WriteTimeout("x"), "write", "could not be sent in time. Send smaller pictures"),
        (httpx.ReadTimeout("x"), "read", "no answer in time within 30 s. Raise timeout"),
        (httpx.TimeoutException("x"), "read", "no answer in time within 30 s"),
    ],
)
def test_a_timeout_says_what_took_too_long_and_what_to_do(error: Exception, phase: str, says: str) -> None:
    failure = _failure(error)
    assert type(failure) is APITimeoutError
    assert failure.phase == phase
    assert failure.message.startswith("http://h/v1: ")
    assert says in failure.message


@pytest.mark.parametrize(
    ("error", "sent", "may_pass"),
    [
        (httpx.ConnectError("refused"), False, True),
        (httpx.ProxyError("refused"), False, True),
        (httpx.UnsupportedProtocol("odd"), False, False),
        (httpx.LocalProtocolError("odd"), False, False),
        (httpx.ReadError("reset"), True, True),
        (httpx.WriteError("reset"), True, True),
        (httpx.CloseError("reset"), True, True),
        (httpx.RemoteProtocolError("closed"), True, True),
        (httpx.NetworkError("x"), True, True),
        (httpx.TransportError("x"), True, True),
    ],
)
def test_a_broken_connection_tells_whether_the_request_had_gone(
    error: Exception, *, sent: bool, may_pass: bool
) -> None:
    failure = _failure(error)
    assert type(failure) is APIConnectionError
    assert (failure.sent, failure.stale, failure.retryable) == (sent, False, may_pass)
    assert str(error) in failure.message
    assert ("Check base_url" in failure.message) is not sent
    reused = _failure(error, reused=True)
    assert isinstance(reused, APIConnectionError)
    assert reused.stale is sent, "only what was sent on a connection of the pool can have met a stale one"


def test_a_subclass_means_what_its_class_means() -> None:
    class Refused(httpx.ConnectError):
        pass

    assert isinstance(_failure(Refused("x")), APIConnectionError)


def test_other_libraries_are_known_by_the_same_names() -> None:
    read_timeout = type("ReadTimeout", (Exception,), {})
    assert isinstance(_failure(read_timeout("x")), APITimeoutError)


def test_an_answer_that_cannot_be_decompressed_is_malformed() -> None:
    failure = _failure(httpx.DecodingError("incorrect header check"))
    assert type(failure) is MalformedReplyError
    assert "could not be decompressed" in failure.message


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), TimeoutError("x"), KeyboardInterrupt()])
def test_what_is_no_transports_is_left_alone(error: BaseException) -> None:
    assert _failure(error) is None


def test_the_key_is_not_shown() -> None:
    failure = _failure(httpx.LocalProtocolError(f"Illegal header value b'Bearer {_KEY}'"))
    assert failure is not None
    assert _KEY not in failure.message
