"""What a file is, by its first bytes. Names, extensions and declared types are never asked."""

from __future__ import annotations

from dataclasses import dataclass

JPEG = "image/jpeg"
PNG = "image/png"
GIF = "image/gif"
WEBP = "image/webp"
BMP = "image/bmp"
TIFF = "image/tiff"
HEIC = "image/heic"
AVIF = "image/avif"

NAMES = {
    JPEG: "JPEG", PNG: "PNG", GIF: "GIF", WEBP: "WebP", BMP: "BMP", TIFF: "TIFF", HEIC: "HEIC", AVIF: "AVIF",
}  # fmt: skip
"""How to call each type in a message."""

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
)
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
})  # fmt: skip
_MAX_BRANDS_BOX = 128


def sniff(data: bytes) -> str | None:
    """The MIME type of a picture, or `None` if the bytes are not one that this library knows.

    Args:
        data: The file, or its first 128 bytes.
    """
    for prefix, media_type in _PREFIXES:
        if data.startswith(prefix):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return BMP
    if data[4:8] == b"ftyp":
        return _iso_type(data)
    return None


def _iso_type(data: bytes) -> str | None:
    """HEIC or AVIF, by the brands of an ISO base media file (ISO/IEC 14496-12, section 4.3)."""
    end = min(int.from_bytes(data[:4], "big"), _MAX_BRANDS_BOX)
    compatible = {data[at : at + 4] for at in range(16, end - 3, 4)}
    major = data[8:12]
    if major in _AVIF_BRANDS or (major in _HEIC_BRANDS and compatible & _AVIF_BRANDS):
        return AVIF
    return HEIC if major in _HEIC_BRANDS else None


@dataclass(frozen=True, slots=True)
class Lookalike:
    """What bytes that are no picture of a known type look like.

    Attributes:
        name: With its article, such as `an HTML page`.
        media: `True` where it is a picture or another medium after all, of a kind that cannot be sent as a picture.
        hint: What to do about it; empty if there is nothing to say.
    """

    name: str
    media: bool = False
    hint: str = ""


_FRAMES_HINT = "Send it as a video."
_PAGES_HINT = "Send it as a document."
_SVG = Lookalike("an SVG drawing", media=True, hint="Render it to PNG first.")
_MP4 = Lookalike("an MP4 video", media=True, hint=_FRAMES_HINT)

_BINARY: tuple[tuple[int, bytes, Lookalike], ...] = (
    (0, b"%PDF-", Lookalike("a PDF document", media=True, hint=_PAGES_HINT)),
    (4, b"ftyp", _MP4),
    (4, b"moov", _MP4),
    (0, b"\x1aE\xdf\xa3", Lookalike("a WebM or Matroska video", media=True, hint=_FRAMES_HINT)),
    (8, b"AVI ", Lookalike("an AVI video", media=True, hint=_FRAMES_HINT)),
    (8, b"WAVE", Lookalike("a WAV recording", media=True)),
    (0, b"ID3", Lookalike("an MP3 recording", media=True)),
    (0, b"OggS", Lookalike("an Ogg recording or video", media=True)),
    (0, b"fLaC", Lookalike("a FLAC recording", media=True)),
    (0, b"\xff\x0a", Lookalike("a JPEG XL picture", media=True, hint="Convert it to JPEG or PNG.")),
    (4, b"JXL ", Lookalike("a JPEG XL picture", media=True, hint="Convert it to JPEG or PNG.")),
    (4, b"jP  ", Lookalike("a JPEG 2000 picture", media=True, hint="Convert it to JPEG or PNG.")),
    (0, b"8BPS", Lookalike("a Photoshop document", media=True, hint="Export it as JPEG or PNG.")),
    (0, b"\0\0\1\0", Lookalike("an icon file (ICO)", media=True, hint="Convert it to PNG.")),
    (0, b"PK\3\4", Lookalike("a ZIP archive or an Office document")),
    (0, b"\x1f\x8b", Lookalike("a gzip file", hint="Unpack it first.")),
)
_USE_BASE64 = Lookalike("Base64 text", hint="Pass it to image_from_base64().")
_TEXTS: tuple[tuple[str, Lookalike], ...] = (
    ("<!doctype html", Lookalike("an HTML page", hint="Check the link or login that it was fetched with.")),
    ("<html", Lookalike("an HTML page", hint="Check the link or login that it was fetched with.")),
    ("<?xml", Lookalike("an XML document")),
    ("{", Lookalike("JSON")),
    ("[", Lookalike("JSON")),
    ("version https://git-lfs", Lookalike("a Git LFS pointer", hint="Fetch the file itself: git lfs pull.")),
    ("data:", Lookalike("the text of a data URL", hint="Pass it to image_from_url().")),
    ("/9j/", _USE_BASE64),
    ("ivborw0kggo", _USE_BASE64),
    ("r0lgod", _USE_BASE64),
    ("uklgr", _USE_BASE64),
)
_PEEK = 1024
_UNDECODABLE = "\ufffd"


def lookalike(data: bytes) -> Lookalike:
    """What the bytes look like, for an error message. It is a guess, so nothing else depends on it."""
    if not data:
        return Lookalike("an empty file")
    for at, mark, found in _BINARY:
        if data[at : at + len(mark)] == mark:
            return found
    text = data[:_PEEK].decode("utf-8", errors="replace").removeprefix("\ufeff").strip()
    lowered = text.lower()
    if "<svg" in lowered and lowered.startswith(("<?xml", "<!--", "<!doctype svg", "<svg")):
        return _SVG
    for opening, found in _TEXTS:
        if lowered.startswith(opening):
            return found
    legible = all(character.isprintable() or character.isspace() for character in text)
    whole = text[:-1] if len(data) > _PEEK else text  # the peek may have cut the last character
    if not legible or _UNDECODABLE in whole:
        return Lookalike("unknown binary data")
    return Lookalike("plain text") if text else Lookalike("blank text")
