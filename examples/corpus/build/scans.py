"""The scans of the corpus: pages of text, a little turned, on grey or yellowed paper, with noise: `python scans.py`.

Names and figures in them are made up.
"""

from __future__ import annotations

import random

from drawing import CORPUS, Sheet
from PIL import Image, ImageChops, ImageFilter

PAGES: dict[str, tuple[str, tuple[int, int], list[str]]] = {
    "bakery_receipt": (
        "#f7f7f4",
        (300, 520),
        [
            "# Bakery Hollins",
            "12 March 2026  08:14",
            "",
            "2 rolls            1.80",
            "1 rye loaf         4.60",
            "1 cinnamon bun     2.90",
            "1 coffee           3.20",
            "",
            "TOTAL           12.50",
            "paid by card",
            "",
            "Thank you, come again!",
        ],
    ),
    "hardware_invoice": (
        "#f4f4f0",
        (560, 720),
        [
            "# INVOICE 2026-0417",
            "Norrby Hardware, 4 Quay Street",
            "To: Elm Lane Workshop",
            "",
            "40  wood screws 5x60        8.00",
            "12  hinges, brass          54.00",
            " 3  oak boards, 2 m       126.00",
            "",
            "Sum                       188.00",
            "Tax 20 %                   37.60",
            "To pay                    225.60",
            "",
            "Due on 30 April 2026",
        ],
    ),
    "letter_to_the_editor": (
        "#efe3c2",
        (560, 720),
        [
            "# Dear Editor,",
            "",
            "your report on the ferry of Saturday last",
            "says that it left at nine. It did not.",
            "I stood on the pier with forty others,",
            "and saw it go at half past eight.",
            "",
            "May I ask that you print the right time,",
            "so that nobody else must row?",
            "",
            "Yours, A. Penhallow",
        ],
    ),
    "apple_cake_recipe": (
        "#fbeec8",
        (480, 640),
        [
            "# Apple cake",
            "",
            "4 apples, sour ones",
            "200 g flour",
            "150 g butter",
            "120 g sugar",
            "3 eggs",
            "",
            "Beat the butter with the sugar, add the",
            "eggs and the flour. Lay the apples on top.",
            "45 minutes at 180 degrees.",
        ],
    ),
    "membership_form": (
        "#dfe7ee",
        (560, 700),
        [
            "# Rowing club: membership",
            "",
            "Name      Ines Okafor",
            "Born      3 June 1991",
            "Street    Lock Road 7",
            "Telephone 555 0142",
            "",
            "[x] adult   [ ] child   [ ] family",
            "[x] I can swim",
            "",
            "Signed    I. Okafor    1 May 2026",
        ],
    ),
    "typed_minutes": (
        "#e8e8e4",
        (560, 720),
        [
            "# Minutes, 14 January 1971",
            "Present: Hall, Iyer, Brandt, Osei",
            "",
            "1. The roof of the mill leaks still.",
            "   Brandt asks three builders for prices.",
            "2. The summer fair is on 11 July.",
            "3. Osei is elected treasurer,",
            "   four votes to none.",
            "",
            "Closed at 21.40.",
        ],
    ),
    "train_ticket": (
        "#f2d7a0",
        (640, 300),
        [
            "# RETURN TICKET   2nd class",
            "Kestwick  to  Harbour Halt",
            "14 August 1983",
            "Price 3.40     No 074512",
        ],
    ),
    "old_newspaper": (
        "#d8c48f",
        (560, 760),
        [
            "# THE HARBOUR POST",
            "Thursday, 2 October 1924",
            "",
            "Lighthouse lit by electricity",
            "",
            "For the first time the lamp on Gull Rock",
            "burned last night without oil. Keeper",
            "Marsh pressed the switch at six.",
            "Ships as far as nineteen miles away",
            "reported the beam.",
            "",
            "Wheat 12s.   Herring 3s. the cran",
        ],
    ),
    "lab_notebook": (
        "#eef3f0",
        (520, 680),
        [
            "# Run 38, 9 Feb 2026",
            "sample B, 2.5 ml, pH 6.8",
            "",
            " t/min    T/C     colour",
            "   0     20.1     clear",
            "   5     34.7     pale",
            "  10     52.3     amber",
            "  15     61.0     brown",
            "",
            "stirrer too slow, repeat on Friday",
        ],
    ),
    "lost_cat_notice": (
        "#fff6a8",
        (460, 620),
        [
            "# LOST: OUR CAT",
            "",
            "He is called Biscuit.",
            "Grey, white paws,",
            "a bell on a red collar.",
            "",
            "Seen last in Mill Lane",
            "on Sunday evening.",
            "",
            "Please ring 555 0177.",
            "Reward!",
        ],
    ),
}
"""Name: colour of the paper, pixels, lines; `#` begins a heading."""


def main() -> None:
    """Draw all."""
    (CORPUS / "scans").mkdir(exist_ok=True)
    for name in PAGES:
        page(name).save(CORPUS / "scans" / f"{name}.jpg", quality=70, optimize=True)


def page(name: str) -> Image.Image:
    """A page of text as a scanner sees it."""
    paper, (width, height), lines = PAGES[name]
    chance = random.Random(name)  # noqa: S311 - the same dust each time
    sheet = Sheet(width, height, paper)
    y = 40.0
    for line in lines:
        size = 26 if line.startswith("# ") else 19
        sheet.write(36, y, line.removeprefix("# "), size=size, ink="#2b2b33")
        y += size * 1.75
    turned = sheet.image.rotate(chance.uniform(-2.5, 2.5), Image.Resampling.BICUBIC, expand=False, fillcolor="#8d8d88")
    dust = Image.frombytes("L", (width // 2, height // 2), chance.randbytes((width // 2) * (height // 2)))
    dust = dust.resize((width, height)).point([value // 12 for value in range(256)])
    return ImageChops.subtract(turned, Image.merge("RGB", [dust] * 3)).filter(ImageFilter.GaussianBlur(0.5))


if __name__ == "__main__":
    main()
