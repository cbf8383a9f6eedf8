"""Every cell of the table of media: what is sent is that medium, in that shape; or nothing, and it is said why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from minicpm_core import backends, errors
from tests.docs.pages import ROOT
from tests.media.matrix import BACKENDS, Cell, cells, every_combination, table
from tests.media.payload import LOOKED_AT, PASSED_ON, answered
from tests.media.samples import MODEL, Place, ask

if TYPE_CHECKING:
    from tests.support.server import ScriptedServer

ERRORS: dict[str, type[Exception]] = {
    "UnsupportedContentError": errors.UnsupportedContentError,
    "InvalidMediaError": errors.InvalidMediaError,
    "ValidationError": pydantic.ValidationError,
}


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_what_is_sent(cell: Cell, model_server: ScriptedServer, web: ScriptedServer, place: Place) -> None:
    model_server.requests.clear()
    web.requests.clear()
    passed = cell.source == "URL, passed on"
    settings: dict[str, Any] = {
        "model": MODEL,
        "base_url": model_server.base_url,
        "backend": cell.backend,
        "api_key": "sk-made-up-key",
        "max_retries": 0,
        "media_hosts": ["127.0.0.1"],
        "media_urls": "pass" if passed else "fetch",
    }
    if cell.outcome in ERRORS:
        with pytest.raises(ERRORS[cell.outcome]) as caught:
            ask(cell.framework, cell.medium, cell.source, place, **settings)
        assert type(caught.value).__name__ == cell.outcome or isinstance(caught.value, errors.MiniCPMError)
        assert model_server.requests == []
        return
    ask(cell.framework, cell.medium, cell.source, place, **settings)
    (request,) = model_server.requests
    parts = answered(request.json["messages"][0]["content"])
    if cell.outcome in PASSED_ON:
        kind = PASSED_ON[cell.outcome]
        assert parts == [{"type": kind, kind: {"url": place.url(cell.medium)}}]
        assert web.requests == []
    else:
        LOOKED_AT[cell.outcome](parts)
        assert len(web.requests) == (1 if cell.source.startswith("URL") else 0)


def test_the_table_has_each_combination_once() -> None:
    counted = Counter((cell.framework, cell.medium, cell.source, cell.backend) for cell in cells())
    assert counted == Counter(every_combination())
    assert list(backends.BACKENDS) == [*BACKENDS]


def test_the_page_shows_this_table() -> None:
    page = (ROOT / "docs" / "media.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| medium |")] == [table().splitlines()[0]]
    assert table() in page, "run `python -m tests.media.matrix` and put what it prints into docs/media.md"
