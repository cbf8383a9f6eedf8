"""Whether a colour profile means something else than sRGB, from the profile's own numbers.

An ICC profile (ICC.1:2022) is a header of 128 bytes and a table of tags.  That of an RGB display holds the XYZ values
of its three primaries and a curve for each; where they are those of sRGB, nothing need be converted.
"""

from __future__ import annotations

import math
import struct

_SIGNATURE = b"acsp"
_HEADER = 128
_MAX_TAGS = 256
_SRGB = {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
"""The primaries of sRGB, adapted to D50 (IEC 61966-2-1, as in ICC's own profiles)."""

_NEAR = 0.02
_MIDDLE = 0.214
"""What the curve of sRGB makes of one half; that of gamma 2.2 makes 0.218."""

_FIXED = 65536.0
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}


def colour_space(profile: bytes) -> str:
    """The colours that a profile is for, such as `RGB`, `GRAY` or `CMYK`; empty for what is no profile."""
    if len(profile) < _HEADER + 4 or profile[36:40] != _SIGNATURE:
        return ""
    return profile[16:20].decode("latin-1").strip()


def differs(profile: bytes) -> bool:
    """Whether an RGB picture with this profile looks wrong where it is taken for sRGB.

    Args:
        profile: The profile, or its beginning.

    Returns:
        `False` also for what is broken or is for other colours, which viewers ignore.  `True` for RGB profiles that
        consist of tables, and for those whose numbers lie behind the given beginning.
    """
    if colour_space(profile) != "RGB":
        return False
    try:
        tags = _tags(profile)
        return not all(_near(profile, tags, name) for name in _SRGB) or not _curve_is_near(profile, tags)
    except (struct.error, OverflowError, ValueError, ZeroDivisionError):
        return True


def _tags(profile: bytes) -> dict[bytes, int]:
    """Where each tag begins."""
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    entries = (
        struct.unpack_from(">4sI", profile, _HEADER + 4 + 12 * number) for number in range(min(count, _MAX_TAGS))
    )
    return dict(entries)


def _near(profile: bytes, tags: dict[bytes, int], name: bytes) -> bool:
    if name not in tags:
        return False
    found = struct.unpack_from(">3i", profile, tags[name] + 8)
    return all(abs(value / _FIXED - wanted) <= _NEAR for value, wanted in zip(found, _SRGB[name], strict=True))


def _curve_is_near(profile: bytes, tags: dict[bytes, int]) -> bool:
    return b"gTRC" not in tags or abs(_at_half(profile, tags[b"gTRC"]) - _MIDDLE) <= _NEAR


def _at_half(profile: bytes, at: int) -> float:
    """What a tone curve (`curv` or `para`, ICC.1 sections 10.6 and 10.18) makes of one half."""
    if profile[at : at + 4] == b"para":
        (kind,) = struct.unpack_from(">H", profile, at + 8)
        values = [value / _FIXED for value in struct.unpack_from(f">{_PARAMETERS.get(kind, 1)}i", profile, at + 12)]
        gamma, a, b = (*values, 1.0, 0.0)[:3]
        return math.pow(a / 2 + b, gamma)
    (count,) = struct.unpack_from(">I", profile, at + 8)
    if count == 0:
        return 0.5
    if count == 1:
        return float(0.5 ** (struct.unpack_from(">H", profile, at + 12)[0] / 256))
    return float(struct.unpack_from(">H", profile, at + 12 + 2 * (count // 2))[0] / 65535)
