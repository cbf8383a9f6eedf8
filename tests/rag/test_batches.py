"""Batches of captions and the Parquet files that they become, without a cluster."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AuthenticationError, ClientConfig, ConfigurationError
from minicpm_core.captions.batches import CaptionBatches, CaptionJob, Sealed, WrittenBatches
from minicpm_core.captions.parquet import Parts
from minicpm_core.emulator import EmulatorServer

if TYPE_CHECKING:
    from collections.abc import Iterable

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
CAT = (PHOTOS / "cat.jpg").read_bytes()
KEY = "made-up-key-of-the-batches"


def job(*base_urls: str, image_column: str = "image", **settings: Any) -> CaptionJob:
    config = ClientConfig.create(base_url=base_urls[0], max_retries=0)
    return CaptionJob(config=config, base_urls=base_urls, image_column=image_column, **settings)


def captioned(batches: CaptionBatches, table: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = asyncio.run(batches.caption(table)).to_pylist()
    return rows


def written(batches: WrittenBatches, table: Any) -> list[dict[str, Any]]:
    async def all_of_them() -> list[dict[str, Any]]:
        return [each async for each in batches(table)]

    return asyncio.run(all_of_them())


def part(ids: Iterable[int], *, wrong: Iterable[int] = ()) -> Any:
    numbers = list(ids)
    failed = set(wrong)
    return pa.table({
        "id": pa.array(numbers, pa.int64()),
        "error_type": pa.array(["ServerError" if number in failed else None for number in numbers], pa.string()),
    })  # fmt: skip


def ids_in(parts: Parts) -> list[int]:
    return sorted(row["id"] for row in pq.read_table(parts.output).to_pylist())


def test_a_row_without_a_picture_gets_an_error_and_the_others_a_caption(minicpm_emulator: EmulatorServer) -> None:
    table = pa.table({"id": [1, 2, 3], "image": pa.array([CAT, None, b"GIF89a"], pa.binary())})
    well, empty, broken = captioned(CaptionBatches(job(minicpm_emulator.base_url), Sealed()), table)
    assert "451 x 300 pixels" in well["caption"]
    assert (well["error_type"], well["error"]) == (None, None)
    assert (empty["caption"], empty["error_type"]) == (None, "InvalidInputError")
    assert "neither a path nor the bytes" in empty["error"]
    assert (broken["caption"], broken["error_type"]) == (None, "InvalidMediaError")


def test_pictures_may_be_paths_pages_or_structs(minicpm_emulator: EmulatorServer) -> None:
    batches = CaptionBatches(job(minicpm_emulator.base_url), Sealed())
    paths = pa.table({"image": [str(PHOTOS / "cat.jpg")], "page": pa.array([None], pa.int32())})
    structs = pa.table(
        {"image": [{"bytes": CAT, "path": "gone.jpg"}, {"bytes": None, "path": str(PHOTOS / "cat.jpg")}]}
    )
    for table in (paths, structs):
        assert all("451 x 300 pixels" in row["caption"] for row in captioned(batches, table))


def test_structured_captions_have_columns_of_their_own(minicpm_emulator: EmulatorServer) -> None:
    batches = CaptionBatches(job(minicpm_emulator.base_url, structured=True), Sealed())
    table = pa.table({"image": pa.array([CAT, None], pa.binary())})
    done = asyncio.run(batches.caption(table))
    assert done.schema.field("tables").type == pa.list_(pa.string())
    assert done["summary"].to_pylist()[1] is None
    assert isinstance(done["entities"].to_pylist()[0], list)


def test_servers_take_turns_and_one_that_fails_is_passed_over(minicpm_emulator: EmulatorServer) -> None:
    with EmulatorServer(fault="status=503") as broken:
        table = pa.table({"image": pa.array([CAT] * 8, pa.binary())})
        rows = captioned(CaptionBatches(job(minicpm_emulator.base_url, broken.base_url), Sealed()), table)
        assert [row["error_type"] for row in rows] == [None] * 8
        assert len(broken.requests) >= 4


def test_a_row_that_no_server_answers_says_so(minicpm_emulator: EmulatorServer) -> None:
    minicpm_emulator.inject("status=503", times=2)
    urls = (minicpm_emulator.base_url, minicpm_emulator.base_url)
    (row,) = captioned(CaptionBatches(job(*urls), Sealed()), pa.table({"image": [str(PHOTOS / "cat.jpg")]}))
    assert (row["caption"], row["error_type"]) == (None, "ServerError")


def test_the_key_reaches_the_server_and_is_in_no_repr_and_no_error() -> None:
    with EmulatorServer(api_key=KEY) as server:
        batches = CaptionBatches(job(server.base_url), Sealed(api_key=KEY))
        assert KEY not in repr(batches) + repr(Sealed(api_key=KEY, default_headers={"X": KEY}))
        server.inject("status=400")
        table = pa.table({"image": pa.array([CAT], pa.binary())})
        assert KEY not in captioned(batches, table)[0]["error"]
        assert captioned(batches, table)[0]["error"] is None
        with pytest.raises(AuthenticationError):
            captioned(CaptionBatches(job(server.base_url), Sealed(api_key="wrong")), table)


def test_a_batch_that_is_there_is_not_asked_for_again(minicpm_emulator: EmulatorServer, tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "image": pa.array([CAT, b"no picture"], pa.binary())})
    batches = WrittenBatches(
        job(minicpm_emulator.base_url), Sealed(), output=str(tmp_path), id_column="id", keep_image=None
    )
    first = written(batches, table)
    asked = len(minicpm_emulator.requests)
    assert first == written(batches, table) == [{"rows": [2], "failed": [1], "ended": [b""]}]
    assert len(minicpm_emulator.requests) == asked
    kept = pq.read_table(tmp_path)
    assert "image" not in kept.column_names
    assert kept["id"].to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pa.table({"id": [1], "picture": ["a.jpg"]}), "no column 'image'"),
        (pa.table({"number": [1], "image": ["a.jpg"]}), "no column 'id'"),
        (pa.table({"id": pa.array([None], pa.int64()), "image": ["a.jpg"]}), "has nulls"),
    ],
)
def test_what_every_batch_would_meet_ends_the_job(
    table: Any, told: str, minicpm_emulator: EmulatorServer, tmp_path: Path
) -> None:
    import pickle

    batches = WrittenBatches(
        job(minicpm_emulator.base_url), Sealed(), output=str(tmp_path), id_column="id", keep_image=None
    )
    (batch,) = written(batches, table)
    with pytest.raises(ConfigurationError, match=told):
        raise pickle.loads(batch["ended"][0])
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_there_twice_are_there_once_afterwards(tmp_path: Path) -> None:
    parts = Parts(tmp_path, id_column="id")
    for ids in ([1, 2, 3], [3, 4], [1, 2]):
        parts.write(parts.name(ids), part(ids))
    assert sorted(parts.settle().to_pylist()) == [1, 2, 3, 4]
    assert ids_in(parts) == [1, 2, 3, 4]


def test_rows_with_an_error_are_taken_out_to_be_done_again_or_left(tmp_path: Path) -> None:
    parts = Parts(tmp_path, id_column="id")
    parts.write(parts.name([1, 2]), part([1, 2], wrong=[2]))
    parts.write(parts.name([3]), part([3], wrong=[3]))
    assert parts.settle().to_pylist() in ([1, 2, 3], [3, 1, 2])
    assert parts.settle(drop_errors=True).to_pylist() == [1]
    assert ids_in(parts) == [1]


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "new", id_column="id")
    parts.open({"model": "m"})
    assert parts.settle() is None


def test_a_folder_of_another_job_is_refused(tmp_path: Path) -> None:
    Parts(tmp_path, id_column="id").open({"model": "one", "prompt": "p"})
    Parts(tmp_path, id_column="id").open({"model": "one", "prompt": "p"})
    with pytest.raises(ConfigurationError, match="another model"):
        Parts(tmp_path, id_column="id").open({"model": "two", "prompt": "p"})
    assert json.loads((tmp_path / "_job.json").read_text())["model"] == "one"


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigurationError, match=r"part-0\.parquet"):
        Parts(tmp_path, id_column="id").settle()


def test_a_writer_that_died_leaves_nothing_that_counts(tmp_path: Path) -> None:
    parts = Parts(tmp_path, id_column="id")
    parts.write(parts.name([1]), part([1]))
    (tmp_path / ".abc.tmp").write_bytes(b"half a file")
    assert parts.settle().to_pylist() == [1]
    assert ids_in(parts) == [1]
