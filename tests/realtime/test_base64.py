"""Base64 is the same with pybase64 and without, and is read strictly by both."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.realtime import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODECS = samples._codecs


@pytest.fixture(autouse=True, scope="module", params=["pybase64", "no pybase64"])
def installed(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pybase64", pybase64 if request.param == "pybase64" else None)
        _CODECS.cache_clear()
        assert (_CODECS()[0] is pybase64.b64encode) is (request.param == "pybase64")
        yield
    _CODECS.cache_clear()


@given(st.binary(max_size=300))
def test_it_is_that_of_the_standard_library(data: bytes) -> None:
    text = samples.base64_text(data)
    assert text == base64.b64encode(data).decode()
    assert samples.from_base64(text) == data


@given(
    st.binary(min_size=1, max_size=60), st.integers(0, 100), st.sampled_from(["", "=", "==", "\n", " ", "-", "é", "A"])
)
def test_a_text_that_was_cut_or_spoilt_is_refused(data: bytes, place: int, put: str) -> None:
    text = base64.b64encode(data).decode()
    at = place % len(text)
    spoilt = text[:at] + put + text[at + 1 :]
    try:
        expected = base64.b64decode(spoilt.encode("ascii"), validate=True)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds, and only that counts
            samples.from_base64(spoilt)
    else:
        assert samples.from_base64(spoilt) == expected


@pytest.mark.parametrize("text", ["QQ", "QQ=", "Q", "=", "QQ==QQ==", "QQ==\n", "====", "QQ==="])
def test_what_lacks_padding_or_has_more_behind_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        samples.from_base64(text)
