"""The samples as files and on a web server, and a model server that records what it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from tests.media.matrix import Medium
from tests.media.samples import Place, sample
from tests.support.server import ScriptedServer, whole

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def model_server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture(scope="session")
def web() -> Iterator[ScriptedServer]:
    """A web server that serves each sample under its name."""
    made = [sample(medium) for medium in get_args(Medium)]
    routes = {f"/{each.name}": whole(each.data, content_type=each.media_type) for each in made}
    with ScriptedServer(routes=routes) as running:
        yield running


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, web: ScriptedServer) -> Place:
    folder = tmp_path_factory.mktemp("media")
    for medium in get_args(Medium):
        made = sample(medium)
        (folder / made.name).write_bytes(made.data)
    return Place(folder, web.base_url.removesuffix("/v1"))
