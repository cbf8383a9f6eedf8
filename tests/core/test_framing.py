"""Where the body of an answer ends: the same wherever its bytes are cut, and as h11 reads it."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.protocol.framing import MOST_BETWEEN, BodyReader, ChunkedReader, LengthReader, keeps, reader_for

CHUNKED = [(b"transfer-encoding", b"chunked")]
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = b"5\r\nhello\r\n1;name=value\r\n \r\nA \t\r\n0123456789\r\n0\r\nx-trailer: 1\r\nx-other: 2\r\n\r\n"
BODY = b"hello 0123456789"


def _read(reader: BodyReader, *pieces: bytes) -> bytes:
    return b"".join(reader.feed(piece) for piece in pieces)


def _as_h11_reads_it(data: bytes) -> bytes:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "here")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(HEAD + data)
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data
    return body


def test_chunks_cut_at_every_two_places() -> None:
    assert _as_h11_reads_it(WHOLE) == BODY
    for first in range(1, len(WHOLE)):
        for second in range(first + 1, len(WHOLE)):
            reader = ChunkedReader()
            assert _read(reader, WHOLE[:first], WHOLE[first:second], WHOLE[second:]) == BODY
            assert (reader.done, reader.clean, reader.broken) == (True, True, "")


def test_chunks_byte_by_byte() -> None:
    """Nothing is held back: each byte of the body is given as soon as it is there."""
    reader = ChunkedReader()
    assert _read(reader, *(WHOLE[at : at + 1] for at in range(len(WHOLE) - 1))) == BODY
    assert not reader.done
    reader.feed(WHOLE[-1:])
    assert reader.done


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.lists(st.integers(0, 700), max_size=12))
def test_any_chunks_cut_anywhere_are_read_as_h11_reads_them(chunks: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = ChunkedReader()
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert _read(reader, *pieces) == b"".join(chunks) == _as_h11_reads_it(data)
    assert (reader.done, reader.clean) == (True, True)


@pytest.mark.parametrize(
    "bad",
    [
        b"x\r\n", b"0x5\r\n", b"+5\r\n", b"-5\r\n", b"1_0\r\n", b" 5\r\n", b"5\n", b"5\r\r\n", b"\r\n", b";a\r\n",
        b"5 x\r\n", b"1" * 17 + b"\r\n", b"5;" + b"x" * MOST_BETWEEN, b"<html>" * MOST_BETWEEN,
    ],
)  # fmt: skip
@pytest.mark.parametrize("after", [b"", b"3\r\nabc\r\n"], ids=["at once", "later"])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_is_no_chunk_breaks_the_answer_after_what_came_before(bad: bytes, after: bytes, one_by_one: bool) -> None:
    data = after + bad
    reader = ChunkedReader()
    pieces = [data[at : at + 1] for at in range(len(data))] if one_by_one else [data]
    assert _read(reader, *pieces) == (b"abc" if after else b"")
    assert reader.broken == "the answer came in chunks that are none"
    assert not reader.done


@pytest.mark.parametrize("ending", [b"abcX\r\n", b"abc\n0\r\n\r\n", b"abc\rX"])
def test_a_chunk_longer_than_its_size(ending: bytes) -> None:
    reader = ChunkedReader()
    assert reader.feed(b"3\r\n" + ending) == b"abc"
    assert reader.broken


def test_an_endless_trailer() -> None:
    reader = ChunkedReader()
    reader.feed(b"0\r\n")
    for _ in range(MOST_BETWEEN):
        reader.feed(b"a: b\r\n")
        if reader.broken:
            break
    assert reader.broken == "the answer came with an endless trailer"


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_chunked_answer_that_is_cut(cut: int) -> None:
    reader = ChunkedReader()
    assert BODY.startswith(_read(reader, WHOLE[:cut], b""))
    assert reader.broken == "the connection was closed in the middle of a chunked answer"
    assert not reader.done


def test_a_body_of_known_length() -> None:
    reader = LengthReader(5)
    assert _read(reader, b"he", b"llo") == b"hello"
    assert (reader.done, reader.clean, reader.broken) == (True, True, "")
    cut = LengthReader(5)
    assert _read(cut, b"hel", b"") == b"hel"
    assert cut.broken == "the connection was closed 2 bytes before the end of the answer"


@pytest.mark.parametrize("reader", [ChunkedReader(), LengthReader(5)], ids=["chunked", "length"])
def test_what_follows_an_answer_is_not_of_it(reader: BodyReader) -> None:
    """And the connection cannot be used again."""
    data = b"hello" if isinstance(reader, LengthReader) else b"5\r\nhello\r\n0\r\n\r\n"
    assert reader.feed(data + b"HTTP/1.1 200 OK") == b"hello"
    assert (reader.done, reader.clean) == (True, False)


def test_how_a_body_is_framed() -> None:
    """RFC 9112, section 6.3."""
    length = (b"content-length", b"5")
    assert _read(reader_for(200, [length, *CHUNKED]), WHOLE) == BODY
    assert _read(reader_for(200, [length]), b"hello") == b"hello"
    rest = reader_for(200, [(b"content-type", b"text/plain")])
    assert _read(rest, b"hel", b"lo") == b"hello"
    assert not rest.done
    assert _read(rest, b"") == b""
    assert (rest.done, rest.clean) == (True, False)
    for status in (204, 304):
        assert reader_for(status, [length]).done
    assert reader_for(200, [(b"content-length", b"0")]).done


def test_which_connections_are_kept() -> None:
    assert keeps(b"1.1", [(b"content-type", b"close")])
    assert keeps(b"1.1", [(b"connection", b"keep-alive")])
    assert not keeps(b"1.1", [(b"connection", b"Keep-Alive, Close")])
    assert not keeps(b"1.1", [(b"connection", b"upgrade"), (b"connection", b"close")])
    assert not keeps(b"1.0", [(b"connection", b"keep-alive")])
