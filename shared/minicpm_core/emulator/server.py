"""Running the emulator: in a thread for tests, in the foreground for people."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.settings import EmulatorSettings
from minicpm_core.emulator.state import EmulatorState, RecordedRequest
from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from minicpm_core.emulator.dialects import DialectName
    from minicpm_core.emulator.realtime.settings import RealtimeEmulation
    from minicpm_core.emulator.realtime.state import RecordedSession
    from minicpm_core.emulator.uvicorn_server import StoppableServer

_PATIENCE = 10.0
"""Seconds to wait for the thread to start or to end before that is an error."""


class EmulatorServer:
    """An emulator on 127.0.0.1, in a thread of its own.

    with EmulatorServer(dialect="llamacpp") as server:
        MiniCPMClient(base_url=server.base_url).complete([Message("user", "Count to 3.")])
        server.requests[-1].body["messages"]
    """

    def __init__(
        self,
        *,
        dialect: DialectName | str = "modelbest",
        api_key: str | None = None,
        pace: float = 0.0,
        context: int = 32_768,
        models: Sequence[str] | None = None,
        fault: str | None = None,
        max_body_bytes: int = 64 * 1024 * 1024,
        parsers: bool = True,
        realtime: RealtimeEmulation | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Check the settings; nothing is started yet.

        Args:
            dialect: The kind of server to imitate: a row of `DIALECTS`.
            api_key: The key to ask for; `None` takes any, and none.
            pace: Tokens a second of a stream; 0 is as fast as possible.
            context: Tokens that a prompt may have.
            models: The ids to offer; `None` offers the dialect's.
            fault: A fault of every answer, such as `status=503` (see `FAULTS`).
            max_body_bytes: The largest request that is read.
            parsers: `False` behaves as a server that was started without parsers for thoughts and tool calls: both
                arrive in the text, and vLLM refuses `tools`.
            realtime: How it behaves in realtime sessions.
            host: Where to listen.
            port: Where to listen; 0 takes a free one.

        Raises:
            ConfigurationError: A setting cannot be.
        """
        self.settings = EmulatorSettings.create(
            dialect=dialect,
            api_key=api_key,
            pace=pace,
            context=context,
            models=models,
            fault=fault,
            max_body_bytes=max_body_bytes,
            parsers=parsers,
            realtime=realtime,
        )
        self.host = host
        self.port = port
        self._state = EmulatorState(self.settings)
        self._server: StoppableServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """What to give a client: `http://127.0.0.1:<port>/v1`. The port is known once the server was started."""
        return f"http://{self._authority}/v1"

    @property
    def realtime_url(self) -> str:
        """What to give a `RealtimeClient`: `ws://127.0.0.1:<port>/v1/realtime`."""
        return f"ws://{self._authority}/v1/realtime"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def sessions(self) -> list[RecordedSession]:
        """The realtime sessions, the oldest first. Of each the last 64 units are kept, without their sound."""
        return self._state.realtime.sessions

    @property
    def requests(self) -> list[RecordedRequest]:
        """What was received, the oldest first; the largest bodies push out the oldest entries."""
        return self._state.requests

    def inject(self, fault: str, *, times: int = 1) -> None:
        """Give the next answers a fault.

        Args:
            fault: Such as `status=429; retry-after=1` (see `FAULTS`).
            times: How many answers.

        Raises:
            ConfigurationError: The fault is unknown.
        """
        self._state.inject(fault, times)

    def inject_realtime(self, fault: str, *, times: int = 1) -> None:
        """Give the next realtime sessions a fault.

        Args:
            fault: Such as `backend-error; at=3` (see `SESSION_FAULTS`).
            times: How many sessions.

        Raises:
            ConfigurationError: The fault is unknown.
        """
        self._state.realtime.inject(fault, times)

    def reset(self) -> None:
        """Empty the logs and forget the faults that wait."""
        self._state.reset()

    def start(self) -> Self:
        """Start, and return when requests are answered.

        Raises:
            ConfigurationError: The address is taken or cannot be listened on, the server runs already, or the extra
                `[emulator]` is not installed.
        """
        server, listener = self._prepare()
        self._server = server
        self._thread = threading.Thread(target=server.run, args=([listener],), name="minicpm-emulator", daemon=True)
        self._thread.start()
        if not server.ready.wait(_PATIENCE) or not server.started:
            self.stop()
            raise ConfigurationError(f"The emulator did not start on {self.base_url}.")
        return self

    def run(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve in the foreground until Ctrl-C, which ends it quietly, or SIGTERM, which ends the process.

        Args:
            on_ready: Called with the base URL when requests are answered.

        Raises:
            ConfigurationError: As for `start`.
        """
        server, listener = self._prepare()
        if on_ready is not None:
            server.on_ready = lambda: on_ready(self.base_url)
        with contextlib.suppress(KeyboardInterrupt):
            server.run([listener])

    def _prepare(self) -> tuple[StoppableServer, socket.socket]:
        """A server that is not running yet, and the socket it will listen on, bound."""
        if self._server is not None:
            raise ConfigurationError("This emulator runs already.")
        try:
            from minicpm_core.emulator.uvicorn_server import StoppableServer
        except ImportError as error:
            raise ConfigurationError(
                f"The emulator needs {error.name}: pip install 'minicpm-integrations[emulator]'"
            ) from error
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        return StoppableServer(self.settings, self._state), listener

    def stop(self) -> None:
        """Stop, closing open connections; return when the thread has ended. Does nothing where nothing runs."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise RuntimeError("The emulator's thread did not end.")
        self._server = self._thread = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def run(
    host: str = "127.0.0.1",
    port: int = 8765,
    dialect: DialectName | str = "modelbest",
    *,
    on_ready: Callable[[str], None] | None = None,
    **settings: Any,
) -> None:
    """Run an emulator in the foreground until Ctrl-C or SIGTERM.

    Args:
        host: Where to listen.
        port: Where to listen; 0 takes a free one.
        dialect: The kind of server to imitate.
        on_ready: Called with the base URL when the address is bound and requests will be answered.
        **settings: Further settings of `EmulatorServer`: `api_key`, `pace`, `context`, `models`, `fault`,
            `parsers`, `realtime`.

    Raises:
        ConfigurationError: A setting cannot be, the address is taken, or the extra `[emulator]` is not installed.
    """
    EmulatorServer(host=host, port=port, dialect=dialect, **settings).run(on_ready)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches off Nagle's algorithm, which would hold each small answer for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(f"The emulator cannot listen on {host}:{port}: {error}") from error
    return listener
