"""The first bytes decide what a file is, and what to say of one that is no picture."""

from __future__ import annotations

import struct

import pytest
from PIL import Image, features

from minicpm_core.errors import ConfigurationError, InvalidMediaError, MiniCPMError, UnsupportedContentError
from minicpm_core.media import image_from_bytes, load_image
from minicpm_core.media.sniff import lookalike, sniff
from tests.core.media.pictures import PNG_AND_JPEG, data_url, encoded, jpeg, one, png, quarters


def brands(major: bytes, *compatible: bytes) -> bytes:
    content = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    return struct.pack(">I", len(content) + 4) + content + b"\0\0\0\x08meta"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_what_pillow_writes_is_recognised(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write it")
    data = encoded(quarters(), kind)
    assert sniff(data) == sniff(data[:128]) == f"image/{kind.lower()}"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (brands(b"heic", b"mif1", b"heic"), "image/heic"),
        (brands(b"mif1", b"heic"), "image/heic"),
        (brands(b"mif1", b"miaf", b"avif"), "image/avif"),
        (brands(b"avis"), "image/avif"),
        (brands(b"isom", b"mp41"), None),
        (b"II+\0\x08\0\0\0", "image/tiff"),
        (b"GIF87a" + bytes(7), "image/gif"),
        (b"BMxxxx" + bytes(8) + b"\x10\0\0\0", None),
        (b"BM is how this text begins", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"\xff\xd8", None),
        (b"", None),
    ],
)
def test_other_heads(data: bytes, media_type: str | None) -> None:
    assert sniff(data) == media_type


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b"", "an empty file", InvalidMediaError),
        (b"<!DOCTYPE html><html><body>Please log in", "an HTML page", InvalidMediaError),
        (b"\xef\xbb\xbf\n  <HTML>", "an HTML page", InvalidMediaError),
        (b"<!doctype html><svg></svg>", "an HTML page", InvalidMediaError),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing", UnsupportedContentError),
        (b"<?xml version='1.0'?>\n<!-- drawn --><svg/>", "an SVG drawing", UnsupportedContentError),
        (b"<?xml version='1.0'?><feed/>", "an XML document", InvalidMediaError),
        (b'{"error": "not found"}', "JSON", InvalidMediaError),
        (b'[{"svg": "<svg"}]', "JSON", InvalidMediaError),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document", UnsupportedContentError),
        (brands(b"isom", b"mp41"), "an MP4 video", UnsupportedContentError),
        (b"\x1aE\xdf\xa3\x01\0\0\0", "a WebM or Matroska video", UnsupportedContentError),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a WAV recording", UnsupportedContentError),
        (b"RIFF\x24\0\0\0AVI LIST", "an AVI video", UnsupportedContentError),
        (b"ID3\x04\0\0", "an MP3 recording", UnsupportedContentError),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL picture", UnsupportedContentError),
        (b"\0\0\0\x0cJXL \r\n", "a JPEG XL picture", UnsupportedContentError),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture", UnsupportedContentError),
        (b"8BPS\0\x01", "a Photoshop document", UnsupportedContentError),
        (b"\0\0\x01\0\x01\0", "an icon file", UnsupportedContentError),
        (b"PK\x03\x04\x14\0", "a ZIP archive", InvalidMediaError),
        (b"\x1f\x8b\x08\0", "a gzip file", InvalidMediaError),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer", InvalidMediaError),
        (data_url(b"x" * 40).encode(), "the text of a data URL", InvalidMediaError),
        (data_url(png()).partition(",")[2].encode(), "Base64 text", InvalidMediaError),
        (data_url(jpeg()).partition(",")[2].encode(), "Base64 text", InvalidMediaError),
        ("Grüße aus Köln".encode(), "plain text", InvalidMediaError),
        ("ü".encode() * 600 + b"a" + "ü".encode() * 600, "plain text", InvalidMediaError),
        (b" \n\t\n ", "blank text", InvalidMediaError),
        (b"\xff", "unknown binary data", InvalidMediaError),
        (b"\x00\x01\x02\x03" * 50, "unknown binary data", InvalidMediaError),
        (b"caf\xe9 au lait, in an old encoding", "unknown binary data", InvalidMediaError),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(data: bytes, name: str, error: type[MiniCPMError]) -> None:
    """Text files named .png, error pages saved as .jpg and the like."""
    assert lookalike(data).name.startswith(name)
    with pytest.raises(error, match=name) as caught:
        load_image(image_from_bytes(data, "image/png"), accept=PNG_AND_JPEG)
    assert type(caught.value) is error


def test_heic_is_named_with_the_remedy() -> None:
    with pytest.raises(UnsupportedContentError, match=r"HEIC picture.*Convert it to JPEG"):
        load_image(image_from_bytes(brands(b"heic", b"mif1")), accept=PNG_AND_JPEG)


def test_no_content_of_a_file_starts_another_decoder() -> None:
    """PostScript would start a program; it is not even tried."""
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n"
    with pytest.raises(InvalidMediaError, match="plain text"):
        load_image(image_from_bytes(postscript), accept=PNG_AND_JPEG)


@pytest.mark.parametrize("tail", [b"<html></html>", b"%PDF-1.4", b"PK\x03\x04" + bytes(30), b"\0" * 100])
def test_a_picture_with_something_behind_it_is_still_that_picture(tail: bytes) -> None:
    for data, media_type in ((png(), "image/png"), (jpeg(), "image/jpeg")):
        assert one(load_image(image_from_bytes(data + tail), accept=PNG_AND_JPEG)).media_type == media_type


@pytest.mark.parametrize(
    "head", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM"]
)
@pytest.mark.parametrize("tail", [b"", b"<html></html>" * 20, bytes(300), b"\xff" * 300])
def test_the_head_of_a_picture_alone_does_not_make_one(head: bytes, tail: bytes) -> None:
    with pytest.raises((InvalidMediaError, ConfigurationError)):
        load_image(
            image_from_bytes(head + tail), accept=frozenset({*PNG_AND_JPEG, "image/gif", "image/webp", "image/bmp"})
        )


def test_every_prefix_of_a_picture_is_refused_by_a_typed_error() -> None:
    image = Image.effect_noise((16, 16), 50)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        data = encoded(image.convert("RGB") if kind != "GIF" else image, kind)
        for length in range(len(data) - 2):
            with pytest.raises(InvalidMediaError):
                load_image(image_from_bytes(data[:length]), accept=frozenset({f"image/{kind.lower()}"}))
