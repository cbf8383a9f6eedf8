"""Bodies in pieces: what stands where, and how long it all is, before anything is read."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core._uploads import Upload
from minicpm_core.parts import FileBody
from minicpm_core.protocol.body import ONE_PIECE, PiecedBody, Splicer, sent_size
from tests.core.support import bytes_of, prepare

if TYPE_CHECKING:
    from pathlib import Path

_MARK = "0123456789abcdef"
_NOWHERE = "/nowhere/at/all"


def _whole(body: bytes | PiecedBody) -> bytes:
    return body if isinstance(body, bytes) else b"".join(Upload(body))


@given(sizes=st.lists(st.integers(0, 40), max_size=4), texts=st.lists(st.binary(max_size=9), min_size=5, max_size=5))
def test_the_length_is_known_without_reading(sizes: list[int], texts: list[bytes]) -> None:
    """Base64 of each file by itself, whatever stands between."""
    segments: list[bytes | FileBody] = [texts[0]]
    for size, text in zip(sizes, texts[1:], strict=False):
        segments += [FileBody(_NOWHERE, size), text]
    expected = sum(map(len, texts[: len(sizes) + 1])) + sum(len(base64.b64encode(bytes(size))) for size in sizes)
    assert len(PiecedBody(tuple(segments))) == expected


def test_the_length_of_a_file_beyond_4_gb() -> None:
    assert sent_size(FileBody(_NOWHERE, 5 * 2**30 + 1)) == (5 * 2**30 + 3) // 3 * 4


def test_what_is_small_is_one_piece() -> None:
    splicer = Splicer(_MARK)
    text = json.dumps({"a": splicer.mark(b"QUJD"), "b": splicer.mark(b"")})
    assert splicer.spliced(text.encode()) == b'{"a": "QUJD", "b": ""}'


def test_without_marks_the_body_stays_as_it_is_however_long() -> None:
    text = b"x" * (2 * ONE_PIECE)
    assert Splicer(_MARK).spliced(text) is text


def test_what_is_large_is_not_copied() -> None:
    splicer = Splicer(_MARK)
    large = b"A" * ONE_PIECE
    body = splicer.spliced(f"[{splicer.mark(large)}]".encode())
    assert isinstance(body, PiecedBody)
    assert any(segment is large for segment in body.segments)
    assert _whole(body) == b"[%b]" % large


def test_files_stand_where_their_marks_were_in_any_order(tmp_path: Path) -> None:
    splicer = Splicer(_MARK)
    bodies: list[FileBody] = []
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode() * 5)
        bodies.append(FileBody(str(tmp_path / name), 15))
    one, two, three = splicer.mark(bodies[0]), splicer.mark(bodies[1]), splicer.mark(b"QUJD")
    body = splicer.spliced(json.dumps([two, f"{three},{three}", one]).encode())
    encoded = [base64.b64encode(name * 5).decode() for name in (b"two", b"one")]
    assert json.loads(_whole(body)) == [encoded[0], "QUJD,QUJD", encoded[1]]
    assert len(_whole(body)) == len(body)


def test_a_body_never_shows_what_it_holds() -> None:
    assert repr(PiecedBody((b"secret", FileBody(_NOWHERE, 1)))) == "PiecedBody()"


@pytest.mark.parametrize(
    ("options", "has_it"),
    [({}, True), ({"stream_usage": False}, False), ({"extra_body": {"stream_options": {"a": 1}}}, True)],
)
def test_a_request_knows_whether_it_asks_for_usage(options: dict[str, Any], has_it: bool) -> None:
    """Its body may be too large to look into."""
    prepared = prepare(stream=True, **options)
    assert prepared.stream_options is has_it
    assert ("stream_options" in json.loads(bytes_of(prepared.request))) is has_it
