"""From an append of a client to a unit: read as the backends read it, which is leniently, and measured."""

from __future__ import annotations

import binascii
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.realtime.hearing import level
from minicpm_core.emulator.realtime.mind import Unit
from minicpm_core.emulator.values import as_list, as_object
from minicpm_core.media.tokens import image_grid
from minicpm_core.realtime.samples import F32_BYTES, from_base64, to_floats

if TYPE_CHECKING:
    from minicpm_core.emulator.values import Object

TOKENS_PER_SLICE = 64
_JPEG = b"\xff\xd8\xff"


class BadInput(Exception):  # noqa: N818 - it is an answer to the client, not a failure of the emulator
    """A client said what cannot be. Fatal in the second generation.

    Attributes:
        diagnostic: What the backend says about it; empty where it says nothing.
    """

    def __init__(self, diagnostic: str = "") -> None:
        super().__init__(diagnostic)
        self.diagnostic = diagnostic


def read_unit(given: Object, *, missing: str) -> Unit:
    """A unit.

    Args:
        given: `audio`, and perhaps `video_frames`, `force_listen`, `max_slice_nums`, `hints` and `input_id`.
        missing: What the backend says where there is no audio.

    Raises:
        BadInput: A backend would fail at it.
    """
    text = given.get("audio")
    if not isinstance(text, str) or not text:
        raise BadInput(missing)
    data = _decoded(text)
    if len(data) % F32_BYTES:
        raise BadInput("buffer size must be a multiple of element size")
    samples = to_floats(data)
    measured = level(samples)
    if math.isnan(measured):
        raise BadInput("audio holds samples that are not finite")
    hints = as_object(given.get("hints")) or {}
    frames = _frames(given.get("video_frames"))
    input_id = given.get("input_id")
    return Unit(
        samples=samples,
        level=measured,
        frames=frames,
        force_listen=bool(given.get("force_listen") or hints.get("force_listen")),
        max_slice_nums=_slices(given.get("max_slice_nums", hints.get("max_slice_nums")), len(frames)),
        input_id=input_id if isinstance(input_id, str) else None,
    )


def vision(unit: Unit) -> tuple[int, int]:
    """How many slices the frames of a unit are cut into, and their tokens.

    Raises:
        BadInput: A frame is no picture.
    """
    slices = sum(_cut(frame, unit.max_slice_nums) for frame in unit.frames)
    return slices, slices * TOKENS_PER_SLICE


def samples_of(text: Any) -> int:
    """How many samples a base64 text of float32 holds; 0 where it is none."""
    return len(_decoded(text)) // F32_BYTES if isinstance(text, str) else 0


def _cut(frame: bytes, most: int) -> int:
    if most == 1:
        return 1
    from minicpm_core.emulator.pictures import opened
    from minicpm_core.emulator.refusals import Refusal

    try:
        image, _ = opened(frame)
    except Refusal as refusal:
        raise BadInput(str(refusal)) from None
    grid = image_grid(image.size, max_slices=most)
    return 1 if grid is None else 1 + grid[0] * grid[1]


def _frames(given: Any) -> tuple[bytes, ...]:
    listed = as_list(given) if given is not None else []
    if listed is None or not all(isinstance(frame, str) for frame in listed):
        raise BadInput("video_frames must be a list of base64 texts")
    frames = tuple(map(_decoded, listed))
    if not all(frame.startswith(_JPEG) for frame in frames):
        raise BadInput("video_frames must be JPEG files")
    return frames


def _slices(given: Any, frames: int) -> int:
    listed = as_list(given)
    if listed is not None and len(listed) != frames:
        raise BadInput(f"max_slice_nums has {len(listed)} numbers for {frames} frames")
    numbers = [1 if given is None else given] if listed is None else listed
    if not all(type(number) is int and number > 0 for number in numbers):
        raise BadInput("max_slice_nums must be a positive number or a list of them")
    return max(numbers, default=1)


def _decoded(text: str) -> bytes:
    """As lenient as the backends: what is no base64 is passed over."""
    with suppress(ValueError):
        return from_base64(text)
    try:
        return binascii.a2b_base64(text)
    except ValueError as error:
        raise BadInput(str(error)) from None
