"""Sentences about videos and recordings, and about media of several kinds, from what was measured."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from minicpm_core.emulator.describe import NOTE, describe, joined, measures, palette, sentence
from minicpm_core.emulator.pictures import Picture
from minicpm_core.emulator.recordings import Recording
from minicpm_core.emulator.videos import Video

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minicpm_core.emulator.intake import Medium

    Table: TypeAlias = tuple[tuple[re.Pattern[str], Callable[[Any], str]], ...]

_NOUNS: dict[type, str] = {Picture: "picture", Video: "video", Recording: "recording"}


def tell(media: Sequence[Medium], question: str) -> str:
    """What can be said of some media, in their order.

    Args:
        media: At least one.
        question: Of videos and recordings, a question that can be answered gets just that answer.
    """
    if all(isinstance(medium, Picture) for medium in media):
        return describe(cast("Sequence[Picture]", media), question)
    if len(media) == 1:
        return f"{_answered(media[0], question)} {NOTE}"
    counts = Counter(_NOUNS[type(medium)] for medium in media)
    said = [f"I received {joined([counted(number, noun) for noun, number in counts.items()])}."]
    said += [f"{name}: {_answered(medium, question)}" for name, medium in numbered(media)]
    return " ".join([*said, NOTE])


def numbered(media: Sequence[Medium]) -> list[tuple[str, Medium]]:
    """Each medium with its name: `Picture 1`, `Video 1`, `Picture 2`."""
    counts: Counter[str] = Counter()
    names: list[tuple[str, Medium]] = []
    for medium in media:
        noun = _NOUNS[type(medium)]
        counts[noun] += 1
        names.append((f"{noun.capitalize()} {counts[noun]}", medium))
    return names


def counted(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def size_of(medium: Medium) -> str:
    """How much of a medium there is, as its price depends on it."""
    if isinstance(medium, Recording):
        return f"{medium.seconds:.1f} seconds"
    pixels = f"{medium.width} x {medium.height} pixels"
    return f"{counted(medium.frames, 'frame')} of {pixels}" if isinstance(medium, Video) else pixels


def facts_of(media: Sequence[Medium]) -> dict[str, Any]:
    """What was measured, under the names by which a JSON schema may ask for it: of the first of each kind."""
    facts: dict[str, Any] = {}
    for medium in reversed(media):
        if isinstance(medium, Recording):
            facts |= _recording_facts(medium)
        elif isinstance(medium, Video):
            facts |= _video_facts(medium)
    facts |= measures([medium for medium in media if isinstance(medium, Picture)])
    if media:
        facts["description"] = " ".join(_sentence(medium) for medium in media)
        facts["caption"] = _sentence(media[0])
        facts["count"] = len(media)
    return facts


def _video_facts(video: Video) -> dict[str, Any]:
    lasts = {} if video.seconds is None else {"seconds": round(video.seconds, 1), "duration": round(video.seconds, 1)}
    colours = list(dict.fromkeys(look.colour for look in video.looks))
    names = ("color", "colour", "dominant color", "main color")
    return {
        "width": video.width,
        "height": video.height,
        "frames": video.frames,
        **lasts,
        **dict.fromkeys(names, video.colour),
        "colors": colours,
        "colours": colours,
    }


def _recording_facts(recording: Recording) -> dict[str, Any]:
    pitch = {} if recording.pitch is None else {"pitch": round(recording.pitch), "frequency": round(recording.pitch)}
    return {
        "format": recording.file_format,
        "seconds": round(recording.seconds, 1),
        "duration": round(recording.seconds, 1),
        "rate": recording.rate,
        "sample rate": recording.rate,
        "loudness": recording.loudness,
        "volume": recording.loudness,
        **pitch,
    }


def _sentence(medium: Medium) -> str:
    if isinstance(medium, Picture):
        return sentence(medium)
    return _video(medium) if isinstance(medium, Video) else _recording(medium)


def _video(video: Video) -> str:
    lasts = "" if video.seconds is None else f", about {video.seconds:.1f} seconds"
    first, middle, last = map(_look, video.looks)
    course = f"it begins {first}, is {middle} in the middle and ends {last}" if video.frames > 1 else f"it is {first}"
    frames = counted(video.frames, "frame")
    return f"A video of {frames}, {video.width} x {video.height} pixels{lasts}; {course}; mainly {video.colour}."


def _look(picture: Picture) -> str:
    colours = picture.colour if picture.kind == "plain" else palette(picture)
    return f"{colours} and {picture.brightness}"


def _recording(recording: Recording) -> str:
    tone = "without a clear tone" if recording.pitch is None else f"main pitch about {recording.pitch:.0f} Hz"
    return f"A recording of {recording.seconds:.1f} seconds at {recording.rate} Hz, {_loud(recording)}, {tone}."


def _loud(recording: Recording) -> str:
    level = f" ({recording.level:.0f} dBFS)" if recording.loudness != "silent" else ""
    return f"{recording.loudness}{level}"


def _pitched(recording: Recording) -> str:
    return "It has no clear tone." if recording.pitch is None else f"It is a tone of about {recording.pitch:.0f} Hz."


def _answered(medium: Medium, question: str) -> str:
    """The answers to what is asked, or all that there is to say."""
    answers = [answer(medium) for pattern, answer in _ANSWERS[type(medium)] if pattern.match(question)]
    return " ".join(answers) or _sentence(medium)


def _asks(*words: str) -> re.Pattern[str]:
    """A text that has a match of each, in any order."""
    return re.compile("".join(rf"(?=.*\b(?:{word})\b)" for word in words), re.IGNORECASE | re.DOTALL)


_HOW_LONG = _asks("how long|durations?|how many seconds")
_COLOUR = "colou?rs?"


def _video_lasts(video: Video) -> str:
    if video.seconds is None:
        return "A list of frames does not say how long it lasts."
    return f"It lasts about {video.seconds:.1f} seconds."


_ANSWERS: dict[type, Table] = {
    Picture: (),
    Video: (
        (_asks("how many frames|number of frames"), lambda video: f"I got {counted(video.frames, 'frame')} of it."),
        (_HOW_LONG, _video_lasts),
        (_asks(_COLOUR, "begin|beginning|begins|first|start"), lambda video: f"It begins {_look(video.looks[0])}."),
        (_asks(_COLOUR, "end|ending|ends|final|last"), lambda video: f"It ends {_look(video.looks[-1])}."),
    ),
    Recording: (
        (_HOW_LONG, lambda recording: f"It lasts {recording.seconds:.1f} seconds."),
        (_asks("how loud|loudness|volume"), lambda recording: f"It is {_loud(recording)}."),
        (_asks("pitch|frequency|tone"), _pitched),
    ),
}
"""Questions that can be answered, and the answers."""
