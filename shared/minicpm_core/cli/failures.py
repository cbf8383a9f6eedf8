"""Errors as a person wants to read them: one line, what to do next, an exit code, and no traceback.

| code | what happened |
| --- | --- |
| 0 | done |
| 1 | the request, or the server, failed |
| 2 | the command line, a setting or an input is wrong; nothing was sent |
| 130 | Ctrl-C |
| 141 | whoever read the output has gone (`minicpm … | head`) |
| 143 | SIGTERM, where a command keeps what it has |
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING

import typer

from minicpm_core import errors
from minicpm_core.cli.screen import Screen, say
from minicpm_core.protocol.request import MiniCPMWarning
from minicpm_core.realtime import errors as realtime

if TYPE_CHECKING:
    from collections.abc import Generator

FAILED = 1
REFUSED = 2
STOPPED = 130
UNREAD = 141
TERMINATED = 143

_HINTS: tuple[tuple[type[Exception], str], ...] = (
    (errors.ModelNotFoundError, "Name the model with --model or MINICPM_MODEL."),
    (errors.StreamInterruptedError, "What had come until then stands above. Try again."),
    (realtime.RealtimeTimeoutError, ""),
    (
        realtime.NotConnectedError,
        "The address is that of --url or MINICPM_REALTIME_URL. Without both the emulator answers.",
    ),
    (realtime.RealtimeError, ""),
    (errors.APITimeoutError, "Give it more time with --timeout SECONDS, or ask for less with --max-tokens."),
    (
        errors.APIConnectionError,
        "The address is that of --base-url or MINICPM_BASE_URL. `minicpm emulate` starts a server to try with.",
    ),
    (
        errors.MalformedReplyError,
        "Is --base-url or MINICPM_BASE_URL right? It should end in the API's version, such as /v1.",
    ),
)
"""What to do next, where the message leaves it open. The first class that fits counts."""


@contextlib.contextmanager
def reported(*, debug: bool) -> Generator[Screen]:
    """Run a command: whatever it raises becomes a line on standard error and an exit code.

    Args:
        debug: Show the traceback as well.

    Raises:
        typer.Exit: With the exit code.
    """
    screen = Screen()
    with warnings.catch_warnings():
        _show_warnings(screen)
        try:
            yield screen
            sys.stdout.flush()
        except KeyboardInterrupt as stop:
            _after_output(screen, "Stopped.")
            raise typer.Exit(TERMINATED if isinstance(stop, Terminated) else STOPPED) from None
        except BrokenPipeError:
            leave_stdout()
            raise typer.Exit(UNREAD) from None
        except Exception as error:  # noqa: BLE001 - the outermost place: a person reads it
            if debug and not isinstance(error, typer.Exit):
                traceback.print_exc()
            raise _exit(error, screen, debug=debug) from None


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextlib.contextmanager
def terminable() -> Generator[None]:
    """SIGTERM ends what runs here as Ctrl-C does, so that it keeps what it has. Elsewhere it ends the process at once.

    Raises:
        Terminated: It came.
    """
    if threading.current_thread() is not threading.main_thread():  # no other thread may handle signals
        yield
        return

    def stop(_signal: int, _frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(error: Exception, screen: Screen, *, debug: bool) -> Exception:
    """The exit for an error, after it was told."""
    if isinstance(error, typer.Exit | typer.BadParameter):
        return error
    if isinstance(error, errors.MiniCPMError):
        hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
        tell(screen, error.message, hint)
        return typer.Exit(FAILED if isinstance(error, errors.APIError) else REFUSED)
    if isinstance(error, ImportError):
        tell(screen, f"{error}.".replace("..", "."), 'Everything at once: pip install "minicpm-integrations[all]"')
        return typer.Exit(REFUSED)
    if isinstance(error, OSError):
        tell(screen, f"{error}.")
        return typer.Exit(REFUSED)
    more = "" if debug else "Run it again with --debug and report what it shows."
    tell(screen, f"This should not happen: {type(error).__name__}: {error}", more)
    return typer.Exit(FAILED)


def tell(screen: Screen, message: str, hint: str = "") -> None:
    """An error on standard error: the message in red, the hint below."""
    _after_output(screen, message, style="red" if screen.err.is_terminal else "")
    if hint:
        screen.note(hint)


def _after_output(screen: Screen, message: str, style: str = "") -> None:
    """Write on standard error, after what is still on its way to standard output."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    say(screen.err, message, style)


def leave_stdout() -> None:
    """Send the rest nowhere, so that the interpreter's last flush does not fail as well."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warnings(screen: Screen) -> None:
    """This library's warnings as notes, without the line of code that they come from."""
    usual = warnings.showwarning

    def shown(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
        if issubclass(category, MiniCPMWarning):
            screen.note(f"Note: {message}")
        else:
            usual(message, category, *place, **more)  # type: ignore[arg-type]  # handed on as it came

    warnings.simplefilter("always", MiniCPMWarning)
    warnings.showwarning = shown
