"""Where a caption, a run or a file ends too early: nothing is kept that is cut, nothing is lost that was paid for."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient
from minicpm_core.captions import AsyncCaptioner, CaptionCache, Captioner
from minicpm_core.emulator import EmulatorServer
from minicpm_core.errors import InvalidMediaError, ServerError, TruncatedReplyError
from tests.captions.support import bodies, png
from tests.support.server import Delay, ScriptedServer, completion, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.captions.support import Run

SLOW = 0.3


@pytest.fixture
def slow() -> Iterator[EmulatorServer]:
    """An emulator whose every answer takes a while, so that several calls are under way."""
    with EmulatorServer(dialect="vllm", fault=f"slow={SLOW}") as running:
        yield running


# --- Captions that are cut -------------------------------------------------------------------------------------------


def test_a_caption_cut_at_its_limit_is_an_error_and_a_higher_limit_pays_for_it_alone(
    server: EmulatorServer, many: list[Path], tmp_path: Path, run: Run
) -> None:
    cache = CaptionCache(tmp_path / "cache")
    run(server.base_url, many[:2], cache=cache)
    cut = run(server.base_url, many[:4], cache=cache, on_error="skip", options={"max_tokens": 4})
    assert [type(one.error) for one in cut] == [type(None)] * 2 + [TruncatedReplyError] * 2
    assert [one.caption is None for one in cut] == [False, False, True, True]
    assert len(cache) == 2
    whole_ones = run(server.base_url, many[:4], cache=cache, options={"max_tokens": 400})
    assert [one.cached for one in whole_ones] == [True, True, False, False]
    for one, before in zip(whole_ones[2:], cut[2:], strict=True):
        assert isinstance(before.error, TruncatedReplyError)
        assert before.error.partial is not None
        assert one.caption is not None
        assert one.caption.text.startswith(before.error.partial.text)
    assert len(bodies(server)) == 6


def test_a_cut_caption_is_raised_where_errors_are(server: EmulatorServer, run: Run) -> None:
    with pytest.raises(TruncatedReplyError, match="raise max_tokens"):
        run(server.base_url, [png()], options={"max_tokens": 4})


def test_a_caption_whose_thoughts_took_all_tokens_says_so(run: Run) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
    with (
        ScriptedServer(answers=[whole(completion(choices=[choice]))]) as scripted,
        pytest.raises(TruncatedReplyError, match="raise max_tokens"),
    ):
        run(scripted.base_url, [png()])


# --- Errors of files -------------------------------------------------------------------------------------------------


class Unreachable:
    """A path on a share that is gone."""

    def __fspath__(self) -> str:
        """Fails as the share does."""
        raise PermissionError(13, "Permission denied")


def test_a_file_out_of_reach_is_an_error_of_its_own_picture(server: EmulatorServer, many: list[Path], run: Run) -> None:
    found = run(server.base_url, [many[0], Unreachable(), many[1]], on_error="skip")
    assert [type(one.error) for one in found] == [type(None), InvalidMediaError, type(None)]
    with pytest.raises(InvalidMediaError, match="Permission denied"):
        run(server.base_url, [Unreachable()])


def test_a_result_shows_no_picture(server: EmulatorServer, client: MiniCPMClient) -> None:
    assert "IHDR" not in repr(Captioner(client).caption(png()))


# --- Errors of the program -------------------------------------------------------------------------------------------


def _begun(server: EmulatorServer, calls: int) -> None:
    deadline = time.monotonic() + 20
    while len(bodies(server)) < calls:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _sources(server: EmulatorServer, many: list[Path]) -> Iterator[Path]:
    """Fails when three calls are under way."""
    yield from many[:3]
    _begun(server, 3)
    raise LookupError("a fault of the program")


async def _asources(server: EmulatorServer, many: list[Path]) -> Any:
    for path in many[:3]:
        yield path
    await asyncio.to_thread(_begun, server, 3)
    raise LookupError("a fault of the program")


def test_a_fault_of_the_program_ends_it_and_loses_nothing_that_is_under_way(
    slow: EmulatorServer, many: list[Path], tmp_path: Path, run: Run
) -> None:
    cache = CaptionCache(tmp_path / "cache")
    sources: Any = _asources(slow, many) if run.asynchronous else _sources(slow, many)
    with pytest.raises(LookupError):
        run(slow.base_url, sources, cache=cache, on_error="skip", concurrency=4)
    assert len(cache) == len(bodies(slow)) == 3


def test_a_fault_of_the_callback_ends_it_and_loses_nothing_that_is_under_way(
    slow: EmulatorServer, many: list[Path], tmp_path: Path, run: Run
) -> None:
    cache = CaptionCache(tmp_path / "cache")

    def progress(_done: int, _total: int | None) -> None:
        raise LookupError("a fault of the program")

    with pytest.raises(LookupError):
        run(slow.base_url, many, cache=cache, progress=progress, concurrency=4)
    assert 1 <= len(bodies(slow)) < len(many)
    assert len(cache) == len(bodies(slow))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("minicpm-captions")]


def test_an_error_of_one_picture_keeps_the_captions_of_those_under_way(
    many: list[Path], tmp_path: Path, run: Run
) -> None:
    cache = CaptionCache(tmp_path / "cache")
    with EmulatorServer(dialect="vllm", fault=f"slow={SLOW}") as server:
        server.inject("status=503")  # at once, while the others are being answered
        with pytest.raises(ServerError):
            run(server.base_url, many, cache=cache, concurrency=4)
        assert len(cache) == len(bodies(server)) - 1


# --- Being stopped ---------------------------------------------------------------------------------------------------


def test_leaving_early_waits_for_the_calls_under_way(slow: EmulatorServer, many: list[Path], tmp_path: Path) -> None:
    cache = CaptionCache(tmp_path)
    with MiniCPMClient(base_url=slow.base_url, backend="vllm") as client:
        captions = Captioner(client, cache=cache, concurrency=4).captions(many)
        next(captions)
        captions.close()
    assert len(cache) == len(bodies(slow)) < len(many)


async def test_cancelling_ends_at_once_and_keeps_what_was_answered(many: list[Path], tmp_path: Path) -> None:
    """Two are answered, of which one waits for its turn; two never would be."""
    cache = CaptionCache(tmp_path / "cache")
    never = [Delay(60.0)]
    answers = [whole(completion("A picture.")), never, whole(completion("Another one.")), never]
    with ScriptedServer(answers=answers) as scripted:
        async with AsyncMiniCPMClient(base_url=scripted.base_url, backend="vllm", max_retries=0) as client:
            captioner = AsyncCaptioner(client, cache=cache, concurrency=4)

            async def work() -> list[Any]:
                return [found async for found in captioner.captions(many)]

            working = asyncio.create_task(work())
            async with asyncio.timeout(20):
                while len(cache) < 2 or len(scripted.requests) < 6:  # noqa: ASYNC110 - another thread tells
                    await asyncio.sleep(0.01)
            working.cancel()
            began = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await working
            assert time.monotonic() - began < 20
    assert len(cache) == 2


async def test_an_answer_that_came_is_kept_though_its_task_is_cancelled(tmp_path: Path) -> None:
    entered, released = threading.Event(), threading.Event()

    class Deliberate(CaptionCache):
        def put(self, *args: Any, **kwargs: Any) -> None:
            entered.set()
            assert released.wait(20)
            super().put(*args, **kwargs)

    cache = Deliberate(tmp_path)
    with ScriptedServer(answers=[whole(completion("A picture."))]) as scripted:
        async with AsyncMiniCPMClient(base_url=scripted.base_url, backend="vllm") as client:
            asking = asyncio.create_task(AsyncCaptioner(client, cache=cache).caption(png()))
            assert await asyncio.to_thread(entered.wait, 20)
            asking.cancel()
            await asyncio.sleep(0)
            released.set()
            with pytest.raises(asyncio.CancelledError):
                await asking
    assert len(CaptionCache(tmp_path)) == 1
