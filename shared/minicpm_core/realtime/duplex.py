"""The settings of the duplex decoder that are known, as a table.

A wrong one ends the session at the server, without a reason that helps; so it is refused here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from minicpm_core.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Setting(NamedTuple):
    """A row of the table.

    Attributes:
        kind: `bool`, `int`, `float` (whole numbers too) or `str`.
        least: The smallest number.
        most: The largest.
        choices: The words, where it is one.
        optional: Whether it may be `None`.
    """

    kind: type
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False


SETTINGS: Mapping[str, Setting] = {
    "generate_audio": Setting(bool),
    "ls_mode": Setting(str, choices=("explicit", "implicit")),
    "force_listen_count": Setting(int, least=0),
    "max_new_speak_tokens_per_chunk": Setting(int, least=1),
    "decode_mode": Setting(str, choices=("sampling", "greedy")),
    "temperature": Setting(float, least=0, most=2),
    "top_k": Setting(int),
    "top_p": Setting(float),
    "text_repetition_penalty": Setting(float, least=1),
    "text_repetition_window_size": Setting(int),
    "length_penalty": Setting(float, least=0.1, most=5),
    "listen_prob_scale": Setting(float),
    "listen_top_k": Setting(int, optional=True),
    "tts_temperature": Setting(float),
    "chunk_ms": Setting(int),
    "sample_rate": Setting(int, least=16_000, most=16_000),
}
"""By name. The meaning of each is the vendor's; others are passed on unchecked."""


def check_config(config: Mapping[str, Any]) -> None:
    """Check the settings that are known.

    Raises:
        InvalidInputError: One of them cannot be. The message names it.
    """
    for name, value in config.items():
        setting = SETTINGS.get(name)
        if setting is not None and not _suits(value, setting):
            raise InvalidInputError(f"config[{name!r}] must be {_wanted(setting)}, not {value!r:.80}.")


def _suits(value: Any, setting: Setting) -> bool:
    if value is None:
        return setting.optional
    if setting.kind in {bool, str}:
        return isinstance(value, setting.kind) and (not setting.choices or value in setting.choices)
    kinds = (int, float) if setting.kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return math.isfinite(value) and setting.least <= cast("float", value) <= setting.most


def _wanted(setting: Setting) -> str:
    if setting.choices:
        return " or ".join(map(repr, setting.choices))
    name = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}[setting.kind]
    bounds = (f" of {setting.least:g} or more" if math.isfinite(setting.least) else "") + (
        f" and at most {setting.most:g}" if math.isfinite(setting.most) else ""
    )
    return name + bounds
