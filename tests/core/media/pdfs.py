"""PDF files for tests, written by hand (ISO 32000-1, section 7.5)."""

from __future__ import annotations

FONT = b"/Resources<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A file of these objects, the first of which is the catalogue."""
    data = b"%PDF-1.7\n"
    offsets: list[int] = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, rows)
    return data + table + b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, len(data))


def stream(content: bytes, head: bytes = b"") -> bytes:
    """A stream object."""
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (head, len(content), content)


def document(
    *contents: bytes, box: bytes = b"0 0 200 300", page: bytes = b"", count: int | None = None, trailer: bytes = b""
) -> bytes:
    """A document with one page for each content, all of one size (in points)."""
    kids = b" ".join(b"%d 0 R" % (3 + 2 * number) for number in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, len(contents) if count is None else count),
    ]
    for number, content in enumerate(contents):
        own = b"/MediaBox[%b]/Contents %d 0 R%b%b" % (box, 4 + 2 * number, FONT, page)
        objects += [b"<</Type/Page/Parent 2 0 R%b>>" % own, stream(content)]
    return pdf(*objects, trailer=trailer)


def text(words: bytes) -> bytes:
    """The content of a page with a line of text."""
    return b"BT /F1 12 Tf 20 150 Td (%b) Tj ET" % words


def form(fill: bytes = b"0 0 1 rg") -> bytes:
    """A blank page of 200 x 300 points with a text field whose look is a filled square in its middle, 100 x 100."""
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]>>>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 300]/Annots[4 0 R]>>",
        b"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/F 4/Rect[50 100 150 200]/AP<</N 5 0 R>>>>",
        stream(b"%b 0 0 100 100 re f" % fill, b"/Type/XObject/Subtype/Form/BBox[0 0 100 100]"),
    )


def encrypted() -> bytes:
    """A document that wants a password: no password fits the /U that it holds."""
    entry = b"/Filter/Standard/V 1/R 2/P -4/O<%b>/U<%b>" % (b"11" * 32, b"22" * 32)
    return document(b"", trailer=b"/ID[<00><00>]/Encrypt<<%b>>" % entry)
