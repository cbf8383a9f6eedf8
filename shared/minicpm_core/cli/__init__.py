"""The `minicpm` command: a demo, questions about one's own pictures, the emulator, and what a server offers.

typer and rich (extra `[cli]`) are imported when the command runs, and nowhere else in this library.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NEEDED = ("rich", "typer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Those after the command's name; `None` takes them from `sys.argv`.

    Returns:
        The exit code: 0 done, 1 the request failed, 2 the command, a setting or an input is wrong and nothing was sent,
        130 stopped by Ctrl-C, 141 the reader of the output has gone.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f'The minicpm command needs {" and ".join(missing)}: pip install "minicpm-integrations[cli]"\n'
        )
        return 2
    from minicpm_core.cli.app import run

    return run(sys.argv[1:] if arguments is None else arguments)
