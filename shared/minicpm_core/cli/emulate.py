"""`minicpm emulate`: the emulator in the foreground, for trying things out and for other programs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from minicpm_core.cli.screen import QUIET, say
from minicpm_core.config import BASE_URL_VARIABLE, KEY_VARIABLES

if TYPE_CHECKING:
    from minicpm_core.cli.screen import Screen

REALTIME_URL_VARIABLE = "MINICPM_REALTIME_URL"
"""Where `minicpm talk` finds a gateway."""

NOT_A_MODEL = "It is not a model: it measures pictures and answers by rule."


def emulate(*, api_key: str | None, screen: Screen, **settings: Any) -> None:
    """Serve until Ctrl-C.

    Args:
        api_key: The made-up key that it asks for; `None` takes any, and none.
        screen: Where to write.
        **settings: Those of `emulator.run`.

    Raises:
        ConfigurationError: A setting cannot be, or the address is taken.
    """
    from minicpm_core.emulator import run
    from minicpm_core.emulator.app import REALTIME_EXTRA, has_realtime

    def ready(base_url: str) -> None:
        say(screen.err, f"The emulator answers at {base_url}. {NOT_A_MODEL}")
        say(screen.err, "Ctrl-C stops it. In another terminal:", QUIET)
        exports = {BASE_URL_VARIABLE: base_url} | ({KEY_VARIABLES[0]: api_key} if api_key else {})
        if has_realtime():
            exports[REALTIME_URL_VARIABLE] = f"{base_url.replace('http', 'ws', 1)}/realtime"
        else:
            say(screen.err, f"It serves no realtime sessions; for these: {REALTIME_EXTRA}", QUIET)
        for name, value in exports.items():
            screen.out.out(f"export {name}={shlex.quote(value)}", highlight=False)

    run(api_key=api_key, on_ready=ready, **settings)
    say(screen.err, "\nStopped.", QUIET)
