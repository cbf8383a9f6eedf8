"""The embedded default: where neither a key nor a server is set, the emulator answers, and that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core.cli.connection import Connection
from minicpm_core.cli.emulate import NOT_A_MODEL
from minicpm_core.cli.screen import NOTICE, say

if TYPE_CHECKING:
    from contextlib import ExitStack

    from minicpm_core.cli.screen import Screen


def or_emulated(connection: Connection, stack: ExitStack, *, emulator: bool, screen: Screen) -> tuple[Connection, bool]:
    """The server to ask, and whether it is an emulator that was started for this.

    Args:
        connection: As the options and the environment say.
        stack: What stops the emulator when it is closed.
        emulator: Use it, whatever is set.
        screen: Where it is said.

    Raises:
        ConfigurationError: The emulator is needed, and what it needs is not installed.
    """
    if connection.is_set and not emulator:
        return connection, False
    from minicpm_core.emulator import EmulatorServer

    why = "" if connection.is_set else "No key and no server is set, so the"
    say(screen.err, f"{why or 'The'} emulator answers. {NOT_A_MODEL} Nothing leaves this machine.", NOTICE)
    server = stack.enter_context(EmulatorServer(dialect="vllm", pace=0.0))
    return Connection(connection.model, server.base_url, "vllm", connection.timeout), True
