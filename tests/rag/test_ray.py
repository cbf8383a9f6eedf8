"""Captions on Ray Data, on a cluster of two workers: whoever dies, each row is there once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import AuthenticationError
from minicpm_core.captions.ray import caption_batches, caption_dataset
from minicpm_core.emulator import EmulatorServer
from tests.rag import ray_support as support

if TYPE_CHECKING:
    from collections.abc import Iterator

ray = pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")

pytestmark = [pytest.mark.slow, *(pytest.mark.filterwarnings(each) for each in support.WARNINGS)]
KEY = "made-up-key-of-the-ray-tests"
DRIVER = Path(__file__).parent / "ray_driver.py"
EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_captions.py"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster on two CPUs of this machine: its address."""
    os.environ.update(support.ENVIRONMENT)
    context = ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=128 * 1024 * 1024,
        _node_ip_address="127.0.0.1",
    )
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    """An emulator that wants a key and takes a moment for each answer."""
    with EmulatorServer(dialect="vllm", api_key=KEY, fault="slow=0.02") as server:
        yield server


def rows_by_id(output: Path) -> list[dict[str, Any]]:
    return sorted(pq.read_table(output).to_pylist(), key=lambda row: row["id"])


def session_files() -> list[Path]:
    """What Ray has written of this session: logs, plans, addresses."""
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    return [path for path in session.rglob("*") if path.is_file()]


def test_nothing_is_lost_doubled_or_paid_twice_when_a_driver_and_then_a_worker_are_killed(
    cluster: str, server: EmulatorServer, tmp_path: Path
) -> None:
    """200 pictures: the first driver dies after 40 of them; of the second, a worker after 60 more."""
    photos, output = tmp_path / "photos", tmp_path / "captions"
    photos.mkdir()
    paths = support.cut_photographs(photos, 200)
    sizes = {str(path): support.size_of(path) for path in paths}
    broken = paths[177]
    broken.write_bytes(broken.read_bytes()[:200])

    died = subprocess.run(
        [sys.executable, str(DRIVER), cluster, str(photos), str(output), "40"],
        env=support.environment(MINICPM_API_KEY=KEY, MINICPM_BASE_URL=server.base_url),
        check=False,
        timeout=280,
        capture_output=True,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    paid = {row["id"] for row in rows_by_id(output) if not row["error_type"]}  # one that failed is tried again
    assert 40 <= len(paid) < 200
    server.reset()
    killed: list[int] = []
    written: set[str] = set()

    def kill_one(rows: int) -> None:
        if rows >= 60 and not killed:
            written.update(row["id"] for row in rows_by_id(output) if not row["error_type"])
            killed.append(support.actors_under(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    run = caption_dataset(
        photos,
        output=output,
        base_url=server.base_url,
        api_key=KEY,
        concurrency=4,
        batch_size=10,
        progress=kill_one,
    )

    assert killed
    assert (run.skipped + run.captioned + run.failed, run.failed) == (200, 1)
    assert paid <= written
    asked = support.sizes_asked(server)
    assert all(sizes[name] not in asked for name in paid)
    assert all(asked[sizes[name]] == 1 for name in written - paid)
    rows = rows_by_id(output)
    assert [row["id"] for row in rows] == [str(path) for path in paths]
    (failed,) = [row for row in rows if row["error_type"]]
    assert (failed["path"], failed["caption"], failed["error_type"]) == (str(broken), None, "InvalidMediaError")
    assert all(sizes[row["path"]] in row["caption"] and row["error"] is None for row in rows if row is not failed)
    assert KEY.encode() not in b"".join(path.read_bytes() for path in session_files())


def test_a_wrong_key_ends_the_job_and_writes_no_rows(cluster: str, server: EmulatorServer, tmp_path: Path) -> None:
    source = ray.data.from_items(
        [
            {"id": number, "image": path.read_bytes()}
            for number, path in enumerate(support.cut_photographs(tmp_path, 40))
        ]
    )
    with pytest.raises(AuthenticationError) as raised:
        caption_dataset(
            source,
            output=tmp_path / "captions",
            base_url=server.base_url,
            api_key="another",
            image_column="image",
            concurrency=4,
        )
    captions = [request for request in server.requests if request.method == "POST"]
    assert 1 <= len(captions) <= 8  # of forty: what two actors had under way
    assert "another" not in str(raised.value)
    assert list((tmp_path / "captions").glob("part-*")) == []


def test_the_example_captions_its_photographs_once(cluster: str, server: EmulatorServer, tmp_path: Path) -> None:
    environment = support.environment(
        MINICPM_API_KEY=KEY, MINICPM_BASE_URL=server.base_url, RAY_ADDRESS=cluster, PYTHONWARNINGS="ignore"
    )
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), "", str(tmp_path / "captions")],
        env=environment,
        check=False,
        timeout=280,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "3 captions, 0 errors, 0 were there before" in ran.stdout
    assert "rocket.jpg: What looks like a photo, landscape, 640 x 427 pixels" in ran.stdout


def test_the_key_is_not_in_the_plan(cluster: str) -> None:
    arguments = caption_batches(api_key=KEY, base_url="http://127.0.0.1:9/v1", default_headers={"X-Proxy": KEY})
    assert KEY not in repr(arguments)
    assert KEY.encode() not in ray.cloudpickle.dumps(arguments)
