"""Samples as bytes: float32 in little-endian order and 16-bit PCM; checked, converted, and as base64."""

from __future__ import annotations

import binascii
import math
import sys
from array import array
from functools import cache, partial
from typing import TYPE_CHECKING

from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime.arithmetic import arithmetic

if TYPE_CHECKING:
    from collections.abc import Callable

F32_BYTES = 4
PCM16_BYTES = 2

_SWAPPED = sys.byteorder == "big"


def to_floats(data: bytes) -> array[float]:
    """Float32 bytes as an array of numbers."""
    floats = array("f", data)
    if _SWAPPED:
        floats.byteswap()
    return floats


def to_bytes(floats: array[float]) -> bytes:
    """An array of numbers as float32 bytes."""
    if _SWAPPED:
        floats = floats[:]
        floats.byteswap()
    return floats.tobytes()


def are_finite(floats: array[float]) -> bool:
    """Whether no sample is a NaN or infinite."""
    return math.isfinite(arithmetic().peak(floats))


def check_floats(floats: array[float], *, label: str = "audio") -> None:
    """Check that samples are finite and between -1 and 1.

    Raises:
        InvalidInputError: They are not.
    """
    peak = arithmetic().peak(floats)
    if not math.isfinite(peak):
        raise InvalidInputError(f"The {label} holds samples that are NaN or infinite.")
    if peak > 1.0:
        raise InvalidInputError(
            f"The {label} reaches {peak:g}, but float samples lie between -1 and 1. Divide 16-bit values by 32768."
        )


def check_f32(data: bytes, *, label: str = "audio") -> None:
    """Check that bytes are float32 samples, finite and between -1 and 1.

    Raises:
        InvalidInputError: They are not.
    """
    if len(data) % F32_BYTES:
        raise InvalidInputError(f"The {label} has {len(data)} bytes, which is no whole number of float32 samples.")
    check_floats(to_floats(data), label=label)


def floats_of_pcm16(data: bytes) -> array[float]:
    """16-bit PCM in little-endian order as numbers: a sample divided by 32768, which is exact."""
    return arithmetic().from_pcm16(data)


def pcm16_to_f32(data: bytes) -> bytes:
    """16-bit PCM as float32, both in little-endian order.

    Args:
        data: An even number of bytes.

    Raises:
        InvalidInputError: An odd number.
    """
    if len(data) % PCM16_BYTES:
        raise InvalidInputError(f"The audio has {len(data)} bytes, which is no whole number of 16-bit samples.")
    return to_bytes(floats_of_pcm16(data))


def f32_to_pcm16(data: bytes) -> bytes:
    """Float32 as 16-bit PCM, both in little-endian order: times 32768, rounded, kept within 16 bits.

    The opposite of `pcm16_to_f32`: what was PCM comes back bit by bit.

    Args:
        data: Whole samples.

    Raises:
        InvalidInputError: A sample is cut off, NaN or infinite.
    """
    if len(data) % F32_BYTES:
        raise InvalidInputError(f"The audio has {len(data)} bytes, which is no whole number of float32 samples.")
    floats = to_floats(data)
    if not are_finite(floats):
        raise InvalidInputError("The audio holds samples that are NaN or infinite.")
    return arithmetic().to_pcm16(floats)


class Base64(str):
    """A text of base64, in which there is nothing to escape."""

    __slots__ = ()


def base64_text(data: bytes) -> Base64:
    """Bytes as base64."""
    encode, _ = _codecs()
    return Base64(encode(data), "ascii")


def from_base64(text: str) -> bytes:
    """Base64 as bytes, strictly: servers that cut a text must not pass for servers that speak.

    Raises:
        ValueError: It is not base64.
    """
    _, decode = _codecs()
    return decode(text.encode("ascii")) if text else b""


@cache
def _codecs() -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """What encodes and decodes: pybase64 where it is installed, which takes a tenth of the time."""
    try:
        from pybase64 import b64decode, b64encode
    except ImportError:
        return partial(binascii.b2a_base64, newline=False), partial(binascii.a2b_base64, strict_mode=True)
    return b64encode, partial(b64decode, validate=True)
