"""What is tried again, how often, and after which wait."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from minicpm_core import Timeouts, errors
from tests.shells.support import answer, ask, failing, pieces, streamed
from tests.support.server import Close, ScriptedServer, Wait, chunk, completion, events, sse, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that the shells asked for; none of them takes place."""
    asked: list[float] = []

    def note(seconds: float) -> None:
        if seconds > 0:
            asked.append(seconds)

    async def note_async(seconds: float) -> None:
        note(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("minicpm_core._exchange.sleep", note)
    monkeypatch.setattr("minicpm_core._exchange_aio.sleep", note_async)
    return asked


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_a_passing_failure_is_tried_again(
    make: Callable[..., Shell], server: ScriptedServer, how: str, waits: list[float], status: int
) -> None:
    server.answers[:] = [failing(status), failing(status), answer(how)]
    assert await ask(make(max_retries=2), how) == "Hello."
    assert len(server.requests) == 3
    assert all(0 <= wait <= 8 for wait in waits)
    assert server.opened == 1  # the refusals were read, so the connection was kept


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
async def test_a_lasting_failure_is_not(
    make: Callable[..., Shell], server: ScriptedServer, how: str, waits: list[float], status: int
) -> None:
    server.answers[:] = [failing(status)]
    with pytest.raises(errors.APIStatusError) as caught:
        await ask(make(max_retries=5), how)
    assert caught.value.status_code == status
    assert (len(server.requests), caught.value.attempts, waits) == (1, 1, [])


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_never_more_requests_than_allowed(
    make: Callable[..., Shell], server: ScriptedServer, how: str, waits: list[float], retries: int
) -> None:
    server.answers[:] = [failing(503)]
    with pytest.raises(errors.ServerError) as caught:
        await ask(make(max_retries=retries), how)
    assert len(server.requests) == caught.value.attempts == retries + 1


async def test_every_cause_counts(make: Callable[..., Shell], server: ScriptedServer, waits: list[float]) -> None:
    """A kept connection that broke, a refused field and a busy server use up the same allowance."""
    refusal = failing(400, message="Unknown field stream_options")
    server.answers[:] = [streamed("Hello."), [Close()], refusal, failing(503)]
    shell = make(max_retries=2)
    await shell.deltas()
    with pytest.raises(errors.ServerError) as caught:
        await shell.deltas()
    assert caught.value.attempts == 3
    assert len(server.requests) == 1 + 3
    assert ["stream_options" in request.json for request in server.requests] == [True, True, True, False]


async def test_usage_is_not_asked_for_where_it_is_refused(
    make: Callable[..., Shell], server: ScriptedServer, waits: list[float]
) -> None:
    server.answers[:] = [failing(422, message="stream_options: extra fields not permitted"), streamed("Hello.")]
    shell = make(max_retries=1)
    assert await ask(shell, "stream") == "Hello."
    assert await ask(shell, "stream") == "Hello."
    assert ["stream_options" in request.json for request in server.requests] == [True, False, False]


@pytest.mark.parametrize("header", ["seconds", "date"])
async def test_a_server_says_how_long_to_wait(
    make: Callable[..., Shell], server: ScriptedServer, how: str, waits: list[float], header: str
) -> None:
    now = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    value = "7" if header == "seconds" else format_datetime(now + timedelta(seconds=7), usegmt=True)
    busy = failing(429, headers={"retry-after": value, "date": format_datetime(now, usegmt=True)})
    server.answers[:] = [busy, answer(how)]
    assert await ask(make(max_retries=1), how) == "Hello."
    assert waits == [7]


async def test_a_wait_that_is_too_long_fails_at_once_and_says_so(
    make: Callable[..., Shell], server: ScriptedServer, how: str, waits: list[float]
) -> None:
    server.answers[:] = [failing(429, headers={"retry-after": "61"})]
    with pytest.raises(errors.RateLimitError, match=r"asks to wait 61 s, longer than max_retry_after=60") as caught:
        await ask(make(max_retries=5), how)
    assert (caught.value.retry_after, len(server.requests), waits) == (61, 1, [])


async def test_no_connection_is_tried_again(make: Callable[..., Shell], how: str, waits: list[float]) -> None:
    with ScriptedServer() as gone:
        url = gone.base_url
    with pytest.raises(errors.APIConnectionError) as caught:
        await ask(make(base_url=url, max_retries=2), how)
    assert caught.value.attempts == 3
    assert len(waits) == 2


async def test_a_server_that_comes_back_is_reached(
    make: Callable[..., Shell], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as gone:
        url, port = gone.base_url, gone.port
    back = ScriptedServer(answers=[answer(how)], port=port)

    def start(seconds: float) -> None:
        back.__enter__()

    async def start_async(seconds: float) -> None:
        start(seconds)

    shell = make(base_url=url, max_retries=1)
    with monkeypatch.context() as patched:
        patched.setattr("minicpm_core._exchange.sleep", start)
        patched.setattr("minicpm_core._exchange_aio.sleep", start_async)
        try:
            assert await ask(shell, how) == "Hello."
        finally:
            back.__exit__()


async def test_a_kept_connection_that_the_server_closed_is_replaced_unseen(
    shell: Shell, server: ScriptedServer, how: str
) -> None:
    server.answers[:] = [[*answer(how), Close()], answer(how)]
    await ask(shell, how)
    assert await asyncio.to_thread(server.wait_until_closed)
    assert await ask(shell, how) == "Hello."  # with no retry allowed
    assert (server.opened, len(server.requests)) == (2, 2)


async def test_a_kept_connection_that_breaks_as_it_is_used_is_tried_again(
    make: Callable[..., Shell], server: ScriptedServer, how: str, waits: list[float]
) -> None:
    server.answers[:] = [answer(how), [Close()], answer(how)]
    shell = make(max_retries=1)
    await ask(shell, how)
    assert await ask(shell, how) == "Hello."
    assert (server.opened, len(server.requests), waits) == (2, 3, [])


async def test_after_a_broken_connection_the_next_is_a_new_one(
    make: Callable[..., Shell], server: ScriptedServer, waits: list[float]
) -> None:
    """The others that were kept are no younger."""
    server.answers[:] = [streamed("Hello."), streamed("Hello."), [Close()], whole(completion())]
    shell = make(max_retries=1)
    first, second = await shell.stream(), await shell.stream()
    await shell.rest(first)
    await shell.rest(second)
    assert (server.opened, server.open_now) == (2, 2)
    await shell.complete()
    assert (server.opened, len(server.requests)) == (3, 4)
    assert await asyncio.to_thread(server.wait_until, lambda: server.open_now == 1)


async def test_a_new_connection_that_breaks_is_not(
    make: Callable[..., Shell], server: ScriptedServer, how: str
) -> None:
    """The server has the request and may be at work on it: asking again might pay twice."""
    server.answers[:] = [[Close()]]
    with pytest.raises(errors.APIConnectionError, match="broke"):
        await ask(make(max_retries=3), how)
    assert len(server.requests) == 1


async def test_an_answer_that_breaks_off_is_not(make: Callable[..., Shell], server: ScriptedServer) -> None:
    cut = [whole(completion())[0][:-5], Close()]  # type: ignore[index]
    server.answers[:] = [whole(completion()), cut]
    shell = make(max_retries=3)
    await shell.complete()
    with pytest.raises(errors.APIConnectionError):
        await shell.complete()  # on the kept connection, on which bytes had come
    assert len(server.requests) == 2


async def test_a_read_timeout_is_not(make: Callable[..., Shell], server: ScriptedServer, how: str) -> None:
    server.answers[:] = [[Wait()]]
    with pytest.raises(errors.APITimeoutError, match=r"no answer in time within 0.05 s") as caught:
        await ask(make(max_retries=3, timeout=Timeouts(read=0.05)), how)
    assert (caught.value.phase, len(server.requests)) == ("read", 1)


async def test_a_stream_is_tried_again_before_its_first_delta(
    make: Callable[..., Shell], server: ScriptedServer, waits: list[float]
) -> None:
    cut = events([sse(chunk(role="assistant", content="")), Close()], end=False)
    server.answers[:] = [cut, streamed("Hel", "lo.")]
    assert await ask(make(max_retries=1), "stream") == "Hello."
    assert len(server.requests) == 2


async def test_a_stream_is_not_tried_again_after_it(make: Callable[..., Shell], server: ScriptedServer) -> None:
    server.answers[:] = [events([*pieces("Hel")[:1], Close()], end=False), streamed("Hel", "lo.")]
    shell = make(max_retries=3)
    stream = await shell.stream()
    assert (await shell.next(stream)).text == "Hel"
    with pytest.raises(errors.StreamInterruptedError) as caught:
        await shell.next(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].text == "Hel"
    assert len(server.requests) == 1
    assert await shell.rest(stream) == []


async def test_listing_models_is_one_request(make: Callable[..., Shell], server: ScriptedServer) -> None:
    server.answers[:] = [whole({"object": "list", "data": [{"id": "a"}, {"id": "b"}]})]
    assert await make().models() == ["a", "b"]
    assert [request.path for request in server.requests] == ["/v1/models"]
