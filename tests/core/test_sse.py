"""Server-sent events: the same events wherever the bytes are cut, and nothing but LF, CR and CRLF ends a line."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minicpm_core.protocol.sse import Event, SSEDecoder

_BOM = b"\xef\xbb\xbf"


def _decode(*chunks: bytes) -> list[Event]:
    decoder = SSEDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.flush()


def _one_by_one(data: bytes) -> list[Event]:
    return _decode(*(bytes([byte]) for byte in data))


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"data: a\r\n\ndata: b\n\r\n", [("", b"a"), ("", b"b")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"data: a\ndata:\ndata: b\n\n", [("", b"a\n\nb")]),
        (b": ping\n\n: ping\ndata: a\n: ping\n\n:\n\n", [("", b"a")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [("error", b"a"), ("", b"b")]),
        (b"data: a\nevent: error\n\n", [("error", b"a")]),
        (b"event: error\n\ndata: a\n\n", [("", b"a")]),
        (b"id: 7\nretry: 10\nunknown: x\nno colon\ndata: a\nid\n\n", [("", b"a")]),
        (b"data:\n\ndata\n\ndata: a\n\n", [("", b"a")]),
        (b"\n\n\r\n\rdata: a\n\n\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (_BOM + b"data: a\n\n", [("", b"a")]),
        (b"data: a\n\n" + _BOM + b"data: b\n\n", [("", b"a")]),
        (b"data: a: b\n\n", [("", b"a: b")]),
        (b"data: [DONE]\n\n", [("", b"[DONE]")]),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert _decode(stream) == events
    assert _one_by_one(stream) == events


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n", b"\n\n"])
def test_the_last_event_needs_no_blank_line(end: bytes) -> None:
    """Some servers leave it out."""
    assert _decode(b"data: a\n\ndata: b" + end) == [("", b"a"), ("", b"b")]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1e", "🙂", "你"])
def test_only_line_ends_end_lines(character: str) -> None:
    """JSON may hold these unescaped; a decoder that cuts lines as `str.splitlines` does breaks them."""
    stream = f'data: {{"a":"x{character}y"}}\n\n'.encode()
    assert _decode(stream) == [("", stream[6:-2])]
    assert _one_by_one(stream) == [("", stream[6:-2])]


def test_a_line_end_that_is_cut_in_two_is_one() -> None:
    assert _decode(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [("", b"a\nb")]
    assert _decode(b"data: a\r", b"", b"\ndata: b\n\n") == [("", b"a\nb")]
    assert _decode(b"data: a\r\r", b"data: b\n\n") == [("", b"a"), ("", b"b")]


def test_an_event_is_given_as_soon_as_its_bytes_are_there() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\ndata: ") == [("", b"a")]
    assert decoder.feed(b"b\n\n") == [("", b"b")]
    assert decoder.feed(b"data: c\r\r") == [("", b"c")]
    assert decoder.flush() == []


def test_a_line_of_two_megabytes_in_small_pieces_is_read_once() -> None:
    """Linear: each byte is looked at when it comes and once more when its line ends, not with every piece."""
    copied = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal copied
        if event == "c_call" and getattr(argument, "__name__", "") in {"join", "splitlines"}:
            copied += 1

    decoder = SSEDecoder()
    piece = b"x" * 1000
    decoder.feed(b"data: ")
    sys.setprofile(count)
    try:
        before = [event for _ in range(2000) for event in decoder.feed(piece)]
        while_open = copied
        (event,) = decoder.feed(b"\n\n")
    finally:
        sys.setprofile(None)
    assert before == []
    assert event == ("", piece * 2000)
    assert while_open == 0
    assert copied < 10


_LINES = st.sampled_from([
    b"data: a", b"data: ", b"data:b", b"data", b"data:  c ", "data: ü\u2028🙂".encode(), b": ping", b":",
    b"event: error", b"event", b"id: 1", b"x", b"", b"", b"", _BOM + b"data: d", b'data: {"a": "\\n"}',
])  # fmt: skip
_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
_STREAMS = st.lists(st.tuples(_LINES, _ENDS), max_size=12).map(lambda rows: b"".join(a + b for a, b in rows))


@given(stream=_STREAMS | st.binary(max_size=40), cuts=st.lists(st.integers(0, 300), max_size=8), bom=st.booleans())
@example(stream=b"data: a\n\r\n\n", cuts=[9], bom=False)
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int], *, bom: bool) -> None:
    stream = _BOM + stream if bom else stream
    points = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert _decode(*(stream[a:b] for a, b in pairwise(points))) == _decode(stream) == _one_by_one(stream)


@given(payloads=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5))
def test_the_short_way_gives_what_the_general_way_gives(payloads: list[bytes]) -> None:
    """A comment at the front keeps the same bytes from taking the short way."""
    stream = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    assert SSEDecoder().feed(stream) == SSEDecoder().feed(b":\n\n" + stream)


@given(payloads=st.lists(st.text(st.characters(exclude_characters="\r\n"), min_size=1), min_size=1, max_size=5))
def test_what_is_sent_is_what_is_read(payloads: list[str]) -> None:
    stream = "".join(f"data: {payload}\n\n" for payload in payloads).encode("utf-8", "surrogatepass")
    assert [data.decode("utf-8", "surrogatepass") for _, data in _decode(stream)] == payloads
