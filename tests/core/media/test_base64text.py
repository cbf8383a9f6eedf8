"""Base64 and data URLs: strict about what they hold, forgiving about how they are wrapped."""

from __future__ import annotations

import base64
import textwrap
from urllib.parse import quote

import pytest

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media import image_from_base64, image_from_url, load_image
from minicpm_core.parts import ImageSource
from tests.core.media.pictures import PNG_AND_JPEG, content, data_url, jpeg, one, png

TEXT = base64.b64encode(png()).decode()
URL_SAFE = TEXT.replace("+", "-").replace("/", "_")


def read(source: ImageSource) -> bytes:
    return one(load_image(source, accept=PNG_AND_JPEG)).base64


def test_good_text_goes_through_as_the_same_characters() -> None:
    assert read(image_from_base64(TEXT)) == TEXT.encode()
    assert read(image_from_url(data_url(png()))) == TEXT.encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\n".join(textwrap.wrap(TEXT, 76)), id="lines"),
        pytest.param("\r\n".join(textwrap.wrap(TEXT, 76)) + "\r\n", id="mime-lines"),
        pytest.param(f"  {TEXT}\t", id="spaces"),
        pytest.param(URL_SAFE, id="url-safe"),
        pytest.param(URL_SAFE.rstrip("="), id="url-safe-unpadded"),
    ],
)
def test_wrapped_text_becomes_plain_standard_base64(text: str) -> None:
    assert "+" in TEXT or "/" in TEXT
    assert read(image_from_base64(text)) == TEXT.encode()
    assert read(image_from_url(f"data:image/png;base64,{text}")) == TEXT.encode()


def test_a_percent_encoded_data_url_is_decoded() -> None:
    assert read(image_from_url(f"data:image/png;base64,{quote(TEXT, safe='')}")) == TEXT.encode()


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "DATA:IMAGE/PNG;BASE64,",
        "data:;base64,",
        "data:image/png;charset=utf-8;base64,",
        'data:image/png;name="a b.png"; base64,',
        "data:application/octet-stream;base64,",
    ],
)
def test_every_lawful_head_of_a_data_url_is_taken(head: str) -> None:
    assert read(image_from_url(head + TEXT)) == TEXT.encode()


@pytest.mark.parametrize(
    "url", ["data:image/svg+xml,%3Csvg%3E", "data:image/png,%89PNG", "data:,hello", "data:image/png;base64;a=b,AAAA"]
)
def test_a_data_url_that_is_not_base64_is_refused_as_such(url: str) -> None:
    with pytest.raises(UnsupportedContentError, match="percent-encoded"):
        read(image_from_url(url))


@pytest.mark.parametrize("url", ["data:", "data:image/png;base64", "data:image/png;base64" + " " * 2000 + ",AAAA"])
def test_a_data_url_without_data_is_refused_as_malformed(url: str) -> None:
    with pytest.raises(InvalidMediaError, match="malformed"):
        read(ImageSource("data_url", url))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT.rstrip("=")[:-1], id="cut"),
        pytest.param(TEXT.rstrip("=") + "====", id="too-much-padding"),
        pytest.param(TEXT[:40] + "=" + TEXT[41:], id="padding-inside"),
        pytest.param(TEXT[:40] + "!" + TEXT[41:], id="foreign-character"),
        pytest.param(TEXT[:40] + "\0" + TEXT[41:], id="nul"),
        pytest.param(TEXT[:40] + "é" + TEXT[41:], id="not-ascii"),
        pytest.param(TEXT[:40] + "\ud800" + TEXT[41:], id="surrogate"),
        pytest.param("-" + TEXT[1:], id="mixed-alphabets"),
        pytest.param(TEXT + TEXT, id="twice") if TEXT.endswith("=") else pytest.param("A", id="one"),
    ],
)
def test_inexact_text_is_refused(text: str) -> None:
    for source in (image_from_base64(text), image_from_url(f"data:image/png;base64,{text}")):
        with pytest.raises(InvalidMediaError, match="not valid Base64") as caught:
            read(source)
        assert text[:30] not in str(caught.value)


def test_empty_text_is_an_empty_file() -> None:
    for source in (image_from_base64(""), image_from_url("data:image/png;base64,")):
        with pytest.raises(InvalidMediaError, match="an empty file"):
            read(source)


def test_a_whole_data_url_in_a_base64_field_is_pointed_out() -> None:
    for text in (data_url(png()), data_url(png()).encode()):
        with pytest.raises(InvalidMediaError, match="image_from_url"):
            image_from_base64(text)


@pytest.mark.parametrize("value", [7, None, bytearray(b"AAAA")])
def test_something_else_than_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidMediaError, match="Base64 image text must be"):
        image_from_base64(value)  # type: ignore[arg-type]  # the point of the test


def test_something_else_than_text_is_no_data_url() -> None:
    with pytest.raises(InvalidMediaError, match="must be a string"):
        read(ImageSource("data_url", b"data:image/png;base64,AAAA"))


def test_a_jpeg_in_a_data_url_that_says_png_is_a_jpeg() -> None:
    (part,) = load_image(image_from_url(data_url(jpeg())), accept=PNG_AND_JPEG)
    assert (part.media_type, content(part)) == ("image/jpeg", jpeg())
