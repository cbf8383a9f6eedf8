"""One call a picture, the cache first, several at a time, in order; errors by the policy."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient
from minicpm_core.captions import AsyncCaptioner, Caption, CaptionCache, Captioned, Captioner, find_media
from minicpm_core.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidInputError,
    InvalidMediaError,
    MalformedReplyError,
    ServerError,
    StructuredOutputError,
)
from tests.captions.support import Run, bodies, pictures, png
from tests.support.server import Delay, ScriptedServer, completion, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from minicpm_core.captions.plan import Captionable
    from minicpm_core.emulator import EmulatorServer

GOOD: dict[str, Any] = {"summary": "A chart.", "visible_text": "", "tables": [], "entities": []}


def test_each_picture_is_asked_for_once_and_comes_back_in_order(
    server: EmulatorServer, many: list[Path], run: Run
) -> None:
    found = run(server.base_url, many)
    assert [one.source for one in found] == many
    for number, one in enumerate(found):
        assert one.caption is not None
        assert f"{40 + number} x 30 pixels" in one.caption.text
    assert sorted(pictures(server)) == sorted(path.read_bytes() for path in many)


def test_pages_of_documents_and_bytes_are_captioned(server: EmulatorServer, folder: Path, run: Run) -> None:
    found = run(server.base_url, [*find_media(folder / "b.pdf"), png("blue")])
    texts = [one.caption.text for one in found if one.caption]
    assert ["white" in text for text in texts] == [True, True, False]
    assert "blue" in texts[2]


def test_what_is_in_the_cache_is_not_asked_for(
    server: EmulatorServer, many: list[Path], tmp_path: Path, run: Run
) -> None:
    cache = CaptionCache(tmp_path / "cache")
    first = run(server.base_url, many[:8], cache=cache)
    again = run(server.base_url, many, cache=cache)
    assert len(bodies(server)) == 12
    assert [one.cached for one in again] == [True] * 8 + [False] * 4
    assert [one.caption for one in again[:8]] == [one.caption for one in first]


def test_a_replaced_file_is_noticed(server: EmulatorServer, many: list[Path], tmp_path: Path, run: Run) -> None:
    cache = CaptionCache(tmp_path / "cache")
    run(server.base_url, many[:1], cache=cache)
    many[0].write_bytes(png("yellow"))
    (found,) = run(server.base_url, many[:1], cache=cache)
    assert found.caption is not None
    assert "yellow" in found.caption.text
    assert not found.cached


def test_the_same_picture_many_times_is_asked_for_once(server: EmulatorServer, tmp_path: Path, run: Run) -> None:
    found = run(server.base_url, [png()] * 10, cache=CaptionCache(tmp_path / "cache"))
    assert len(bodies(server)) == 1
    assert len({one.caption for one in found}) == 1


def test_one_picture_that_fails_is_kept_without_caption(
    server: EmulatorServer, many: list[Path], tmp_path: Path, run: Run
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(png()[:40])
    sources = [many[0], broken, tmp_path / "missing.png", many[1]]
    found = run(server.base_url, sources, on_error="skip")
    assert [one.caption is None for one in found] == [False, True, True, False]
    assert [type(one.error) for one in found] == [type(None), InvalidMediaError, InvalidMediaError, type(None)]


def test_a_failure_is_raised_and_says_of_which_picture(server: EmulatorServer, many: list[Path], run: Run) -> None:
    server.inject("status=503")
    with pytest.raises(ServerError) as caught:
        run(server.base_url, many[:1])
    assert str(many[0]) in "".join(caught.value.__notes__)


def test_what_every_picture_would_meet_is_raised_under_either_policy(
    server: EmulatorServer, many: list[Path], run: Run
) -> None:
    server.inject("status=401", times=12)
    with pytest.raises(AuthenticationError):
        run(server.base_url, many, on_error="skip")


def test_progress_counts_the_results(server: EmulatorServer, many: list[Path], run: Run) -> None:
    told: list[tuple[int, int | None]] = []

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))

    run(server.base_url, many[:3], progress=progress)
    assert told == [(1, 3), (2, 3), (3, 3)]


def _answers(*texts: str) -> ScriptedServer:
    return ScriptedServer(answers=[whole(completion(text)) for text in texts])


def test_an_empty_caption_is_an_error_and_not_kept(tmp_path: Path, run: Run) -> None:
    cache = CaptionCache(tmp_path)
    with _answers(" \n") as scripted:
        (found,) = run(scripted.base_url, [png()], cache=cache, on_error="skip")
    assert isinstance(found.error, MalformedReplyError)
    assert not list(cache)


def test_a_structured_caption_is_asked_for_by_its_schema(run: Run) -> None:
    with _answers(json.dumps(GOOD)) as scripted:
        (found,) = run(scripted.base_url, [png()], structured=True)
        assert scripted.requests[-1].json["response_format"]["type"] == "json_schema"
    assert found.caption == Caption(summary="A chart.")


def test_a_structured_caption_that_lacks_a_field_is_asked_for_once_more(run: Run) -> None:
    with _answers('{"summary": "A chart."}', json.dumps(GOOD)) as scripted:
        (found,) = run(scripted.base_url, [png()], structured=True)
        again = scripted.requests[-1].json["messages"]
    assert [message["role"] for message in again] == ["user", "assistant", "user"]
    assert "visible_text is missing" in str(again[-1]["content"])
    assert found.caption == Caption(summary="A chart.")


def test_a_structured_caption_that_never_fits_is_an_error(run: Run) -> None:
    with _answers("A chart, I think.") as scripted:
        with pytest.raises(StructuredOutputError):
            run(scripted.base_url, [png()], structured=True)
        assert len(scripted.requests) == 2


def test_a_server_that_ignores_schemas_is_told_of_it_in_words() -> None:
    with _answers(json.dumps(GOOD)) as scripted:
        with MiniCPMClient(base_url=scripted.base_url, backend="transformers") as client:
            found = Captioner(client, structured=True).caption(png())
        body = scripted.requests[-1].json
    assert found.caption == Caption(summary="A chart.")
    assert "response_format" not in body
    assert "visible_text" in json.dumps(body["messages"])


# --- Laziness --------------------------------------------------------------------------------------------------------


class Counted:
    """Pictures that know how many of them were taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += 1
            yield png(size=(self.taken, 1))


def test_no_more_is_read_ahead_than_is_under_way(server: EmulatorServer, client: MiniCPMClient) -> None:
    sources = Counted()
    captions = Captioner(client, concurrency=2).captions(sources)
    for number in range(1, 6):
        next(captions)
        assert sources.taken <= number + 3
    captions.close()
    assert len(bodies(server)) <= 9


async def test_no_more_is_read_ahead_on_an_event_loop(server: EmulatorServer) -> None:
    sources = Counted()
    async with AsyncMiniCPMClient(base_url=server.base_url, backend="vllm") as client:
        captions = AsyncCaptioner(client, concurrency=2).captions(sources)
        for number in range(1, 6):
            await anext(captions)
            assert sources.taken <= number + 3
        await captions.aclose()


async def test_calls_that_were_begun_end_when_the_captions_are_left() -> None:
    with ScriptedServer(answers=[[Delay(60.0)]]) as scripted:
        async with AsyncMiniCPMClient(base_url=scripted.base_url, backend="vllm") as client:
            captions = AsyncCaptioner(client, concurrency=4).captions([png()] * 9)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(captions), 0.3)
            await captions.aclose()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


def test_as_many_calls_run_as_are_allowed(many: list[Path]) -> None:
    barrier = threading.Barrier(3)

    class Meeting(Captioner):
        def caption(self, source: Captionable) -> Captioned:
            barrier.wait(20)  # breaks unless three are here at a time
            return Captioned(source, None, None)

    with MiniCPMClient(base_url="http://127.0.0.1:1/v1", backend="vllm") as client:
        assert len(list(Meeting(client, concurrency=3).captions(many))) == 12


# --- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"on_error": "ignore"}, {"concurrency": 0}, {"concurrency": True}, {"prompt": "  "}]
)
def test_impossible_settings_are_refused(client: MiniCPMClient, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Captioner(client, **settings)


def test_what_cannot_be_captioned_is_refused(client: MiniCPMClient) -> None:
    text: Any = "photo.png"
    with pytest.raises(InvalidInputError, match=r"give a pathlib\.Path"):
        Captioner(client).caption(text)


def test_a_captioner_can_be_sent_to_another_process(server: EmulatorServer, client: MiniCPMClient) -> None:
    captioner: Captioner = pickle.loads(pickle.dumps(Captioner(client)))
    assert captioner.caption(png()).caption is not None
