"""The PDFs of the corpus: `python papers.py`, after the pictures.  Two hold scans, one charts, two are written text.

Written by hand, since a PDF library would add a date and an identifier, and no two runs would give the same file.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from drawing import CORPUS
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable

A5 = (420, 595)
"""Points."""

TEXTS = {
    "boiler_manual": (
        (0.83, 0.9, 1.0),
        [
            ["Kestrel 200 boiler", "", "Manual for the owner", "Keep it beside the boiler."],
            [
                "Pressure",
                "",
                "The needle should stand between 1.0 and 1.5 bar.",
                "Below 0.8 bar the burner stops.",
                "Open the blue tap until it stands at 1.2 bar.",
            ],
            [
                "Faults",
                "",
                "E1  no water: fill up",
                "E4  no flame: check the gas",
                "E7  fan: call the service",
                "",
                "Service: 555 0199",
            ],
        ],
    ),
    "bird_counts": (
        (0.86, 1.0, 0.83),
        [
            ["Birds of the estuary", "", "Count of 18 January 2026"],
            ["Waders", "", "Curlew         214", "Redshank       340", "Oystercatcher  1,105", "Knot           2,650"],
            ["Ducks", "", "Wigeon         860", "Teal           412", "Pintail        38"],
        ],
    ),
}
"""Name: colour of the ground (red, green, blue, of 1), and lines page by page; the first is the heading."""

PICTURES = {
    "annual_report": ("charts/solar_output.png", "charts/energy_mix.png", "charts/night_trains.png"),
    "club_papers": ("scans/membership_form.jpg", "scans/typed_minutes.jpg"),
    "press_cuttings": ("scans/old_newspaper.jpg", "scans/letter_to_the_editor.jpg"),
}
"""Name: the picture on each page."""


def main() -> None:
    """Write all."""
    folder = CORPUS / "papers"
    folder.mkdir(exist_ok=True)
    for name, (ground, pages) in TEXTS.items():
        (folder / f"{name}.pdf").write_bytes(_pdf([_text_page(lines, ground) for lines in pages]))
    for name, files in PICTURES.items():
        (folder / f"{name}.pdf").write_bytes(_pdf([_picture_page(file) for file in files]))


def _text_page(lines: list[str], ground: tuple[float, float, float]) -> tuple[str, bytes, bytes]:
    """Resources, content and picture of a page of text."""
    red, green, blue = ground
    drawn = [f"{red} {green} {blue} rg 0 0 {A5[0]} {A5[1]} re f 0 g"]
    for at, line in enumerate(lines):
        size = 24 if at == 0 else 13
        drawn.append(f"BT /F1 {size} Tf 40 {A5[1] - 80 - 24 * at} Td ({line}) Tj ET")
    font = "/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
    return font, "\n".join(drawn).encode("ascii"), b""


def _picture_page(file: str) -> tuple[str, bytes, bytes]:
    """Resources, content and picture of a page that is one picture."""
    with Image.open(CORPUS / file) as opened:
        picture = opened.convert("RGB")
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=75)
    scale = min(A5[0] / picture.width, A5[1] / picture.height)
    width, height = picture.width * scale, picture.height * scale
    x, y = (A5[0] - width) / 2, (A5[1] - height) / 2
    drawn = f"q {width:.2f} 0 0 {height:.2f} {x:.2f} {y:.2f} cm /P Do Q"
    header = (
        f"<< /Type /XObject /Subtype /Image /Width {picture.width} /Height {picture.height} /ColorSpace /DeviceRGB "
        f"/BitsPerComponent 8 /Filter /DCTDecode /Length {stored.tell()} >>\nstream\n"
    )
    return (
        "/XObject << /P {} 0 R >>",
        drawn.encode("ascii"),
        header.encode("ascii") + stored.getvalue() + b"\nendstream",
    )


def _pdf(pages: Iterable[tuple[str, bytes, bytes]]) -> bytes:
    """A file of pages."""
    bodies = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids: list[int] = []
    for resources, content, picture in pages:
        bodies.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content))
        drawn = len(bodies)
        if picture:
            bodies.append(picture)
        used = resources.format(len(bodies)) if picture else resources
        kids.append(len(bodies) + 1)
        bodies.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {A5[0]} {A5[1]}] /Resources << {used} >> "
            f"/Contents {drawn} 0 R >>".encode("ascii")
        )
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    bodies[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{listed}] >>".encode("ascii")
    out = bytearray(b"%PDF-1.7\n")
    places: list[int] = []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    out += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}".encode("ascii")
    out += f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode("ascii")
    return bytes(out)


if __name__ == "__main__":
    main()
