"""What an error shows of a body: readable, short, and never a key."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicpm_core.errors import APIError
from minicpm_core.protocol.failures import EXCERPT, clean, error_for_status, excerpt
from minicpm_core.protocol.reply import ReplyContext, parse_completion
from minicpm_core.protocol.stream import StreamDecoder
from minicpm_core.secret import MASK, redact

_KEY = 'sk-Ab/9+z"\\~key'
_CONTEXT = ReplyContext(secrets=(_KEY,))


def _seen(error: BaseException) -> str:
    """All that an error shows or keeps, but for the answer itself."""
    kept = {name: value for name, value in vars(error).items() if name != "partial"}
    return f"{error} {error!r} {error.args} {kept}"


_ECHOES = [
    f"Incorrect API key provided: {_KEY}.",
    f"Bearer {_KEY}",
    json.dumps({"authorization": f"Bearer {_KEY}"}),
    json.dumps({"authorization": f"Bearer {_KEY}"}).replace("/", "\\/"),
    f"https://example.org/?key={quote(_KEY, safe='')}",
    f"https://example.org/?key={quote(_KEY)}",
    f"{_KEY}{_KEY}",
    f"{'A' * 300}{_KEY}{'B' * 300}",
    f"{'x ' * 200}{_KEY}",
]
_FRAGMENTS = ("Ab/9", 'z"', "z\\", "~key", "sk-Ab", "Ab\\/9", "Ab%2F9")


@pytest.mark.parametrize("echo", _ECHOES)
def test_a_key_that_a_server_echoes_is_never_shown(echo: str) -> None:
    """As a message, as a code, as plain text, in broken JSON, in a page; whole, streamed or as an error."""
    bodies = [
        json.dumps({"error": {"message": echo, "code": "invalid_api_key"}}).encode(),
        json.dumps({"error": {"message": "No.", "type": echo}}).encode(),
        json.dumps({"error": echo}).encode(),
        json.dumps({"error": {"headers": echo}}).encode(),
        json.dumps({"detail": [{"loc": ["header", echo], "msg": echo}]}).encode(),
        json.dumps({"detail": {"x": echo}}).replace("/", "\\/").encode(),
        f'{{"error": "{echo}'.encode(),
        f"<html>{echo}</html>".encode(),
        echo.encode(),
    ]
    for body in bodies:
        errors: list[BaseException] = [error_for_status(400, {}, body, _CONTEXT)]
        with pytest.raises(APIError) as caught:
            parse_completion(200, {}, body, _CONTEXT)
        errors.append(caught.value)
        for stream in (b"data: " + body + b"\n\n", body):
            decoder = StreamDecoder({}, _CONTEXT)
            with pytest.raises(APIError) as caught:
                _ = decoder.feed(stream), decoder.finish()
            errors.append(caught.value)
        for error in errors:
            assert [fragment for fragment in _FRAGMENTS if fragment in _seen(error)] == []


@settings(max_examples=30)
@given(before=st.integers(3_900, 4_100) | st.integers(99_900, 100_100) | st.integers(399_000, 400_100))
def test_a_cut_never_leaves_a_part_of_a_key(before: int) -> None:
    """Though only the beginning of a long body is read, and what is long in it is folded."""
    for filling in ("A", " "):
        shown = excerpt((filling * before + " " + _KEY + " end").encode(), (_KEY,))
        assert "sk-" not in shown
        assert len(shown) <= EXCERPT + 1


def test_the_longer_of_two_keys_goes_first() -> None:
    assert redact("abcd1234efgh abcd1234", ("abcd1234", "abcd1234efgh")) == f"{MASK} {MASK}"


def test_what_is_too_short_to_be_a_key_stays() -> None:
    """Servers at home are given keys such as `x`."""
    assert redact("max_tokens must be 1 or more", ("x", "1", "")) == "max_tokens must be 1 or more"
    assert redact("the key was EMPTY", ("EMPTY",)) == f"the key was {MASK}"


def test_nothing_to_hide_changes_nothing() -> None:
    assert redact("text", ()) == "text"


def test_payloads_are_folded() -> None:
    picture = base64.b64encode(bytes(range(256)) * 20).decode()
    assert (
        clean(f"invalid: data:image/png;base64,{picture} at 3", ())
        == "invalid: data:image/png;base64,[6828 characters] at 3"
    )


def test_an_excerpt_is_one_short_line_of_printable_text() -> None:
    shown = clean("a\r\n\tb\x1b[31m\u2028c\u202ed\ud800 " + "word " * 500, ())
    assert shown.startswith("a b [31m c d word word")
    assert shown.isprintable()
    assert len(shown) == EXCERPT + 1
    assert shown.endswith("…")


@given(text=st.text(), secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=12))
def test_no_text_keeps_a_secret(text: str, secret: str) -> None:
    for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")):
        assert spelling not in redact(f"{text}{spelling}{text}", (secret,)).replace(MASK, " ")
