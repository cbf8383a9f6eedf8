"""Sentences about pictures, from what was measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.emulator.pictures import Picture

NOTE = "(emulator, not a model)"
"""What tells a made-up answer from a model's."""

_COMPARES = re.compile(r"\b(compar\w*|differ\w*|same|similar\w*|versus|vs)\b", re.IGNORECASE)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_A_TENTH = 0.1


def describe(pictures: Sequence[Picture], question: str) -> str:
    """What can be said of some pictures, in their order.

    Args:
        pictures: At least one.
        question: Asks for a comparison, if it holds such a word.
    """
    if len(pictures) == 1:
        return f"{sentence(pictures[0])} {NOTE}"
    said = [f"I received {len(pictures)} pictures."]
    if _COMPARES.search(question):
        said.append(_comparison(pictures))
    said += [f"Picture {number}: {sentence(picture)}" for number, picture in enumerate(pictures, 1)]
    return " ".join([*said, NOTE])


def measures(pictures: Sequence[Picture]) -> dict[str, Any]:
    """What was measured, under the names by which a JSON schema may ask for it: the first picture's, and how many."""
    if not pictures:
        return {}
    first = pictures[0]
    colours = [name for name, _ in first.colours]
    return {
        "width": first.width,
        "height": first.height,
        "format": first.file_format,
        "orientation": first.orientation,
        "brightness": first.brightness,
        "kind": first.kind,
        "type": first.kind,
        "color": first.colour,
        "colour": first.colour,
        "dominant color": first.colour,
        "main color": first.colour,
        "colors": colours,
        "colours": colours,
        "dominant colors": colours,
        "description": " ".join(sentence(picture) for picture in pictures),
        "caption": sentence(first),
        "summary": " ".join(sentence(picture) for picture in pictures),
        "count": len(pictures),
        "images": len(pictures),
        "pictures": len(pictures),
    }


def sentence(picture: Picture) -> str:
    """A picture in a sentence or a few."""
    size = f"{picture.width} x {picture.height}"
    if picture.kind == "plain":
        form = "square" if picture.orientation == "square" else f"{picture.orientation} rectangle"
        return f"A plain {picture.colour} {form}, {size} pixels."
    likeness = "what looks like a photo" if picture.kind == "photo" else "a flat graphic"
    said = [f"{likeness.capitalize()}, {picture.orientation}, {size} pixels: {palette(picture)}; {picture.brightness}."]
    if len(set(picture.bands)) > 1:
        said.append("The top is mostly {}, the middle {}, the bottom {}.".format(*picture.bands))
    if picture.transparent:
        said.append("Parts of it are transparent.")
    if picture.exif_orientation != 1:
        said.append(f"It was stored turned (EXIF orientation {picture.exif_orientation}); this is the upright view.")
    return " ".join(said)


def palette(picture: Picture) -> str:
    """The colours of a picture that cover at least a twentieth, with their shares."""
    (main, share), *others = picture.colours
    said = f"mostly {main} ({share:.0%})"
    if others:
        said += " with " + joined([f"{name} ({part:.0%})" for name, part in others])
    return said


def joined(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _ordinal(at: int) -> str:
    return _ORDINALS[at] if at < len(_ORDINALS) else f"{at + 1}th"


def _comparison(pictures: Sequence[Picture]) -> str:
    seen = [f"the {_ordinal(at)} is mostly {picture.colour}" for at, picture in enumerate(pictures)]
    said = [f"{joined(seen)}.".capitalize()]
    sizes = {(picture.width, picture.height) for picture in pictures}
    if len(sizes) == 1:
        said.append("All have the same size.")
    else:
        largest = max(range(len(pictures)), key=lambda at: pictures[at].width * pictures[at].height)
        said.append(f"The {_ordinal(largest)} is the largest.")
    light = [picture.luminance for picture in pictures]
    if max(light) - min(light) < _A_TENTH:
        said.append("All are equally bright.")
    else:
        said.append(f"The {_ordinal(light.index(max(light)))} is the brightest.")
    return " ".join(said)
