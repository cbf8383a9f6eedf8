"""A small local server that speaks the Chat Completions protocol, for first runs and tests without key and GPU.

It is not a model and says so.  It answers by rule from what it really received: it decodes each picture and measures
its size, colours and brightness, it repeats, counts, adds and remembers, it fills JSON schemas and calls tools.  Its
`Dialect` decides which kind of server it imitates: names of fields, shapes of streams, bodies of errors.

    with EmulatorServer(dialect="vllm") as server:
        ChatMiniCPM(base_url=server.base_url, api_key="any").invoke("Count to 5.")

Nothing heavy is imported until a server is made, since the pytest plugin of this package is loaded in every test run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core._lazy import lazily

if TYPE_CHECKING:
    from minicpm_core.emulator.dialects import DIALECTS, Dialect
    from minicpm_core.emulator.faults import FAULTS
    from minicpm_core.emulator.realtime.faults import SESSION_FAULTS
    from minicpm_core.emulator.realtime.settings import RealtimeEmulation
    from minicpm_core.emulator.realtime.state import RecordedSession, RecordedUnit
    from minicpm_core.emulator.server import EmulatorServer, run
    from minicpm_core.emulator.settings import EmulatorSettings
    from minicpm_core.emulator.state import RecordedRequest

__all__ = [
    "DIALECTS",
    "FAULTS",
    "SESSION_FAULTS",
    "Dialect",
    "EmulatorServer",
    "EmulatorSettings",
    "RealtimeEmulation",
    "RecordedRequest",
    "RecordedSession",
    "RecordedUnit",
    "run",
]

_HOMES = {
    "DIALECTS": "dialects",
    "FAULTS": "faults",
    "SESSION_FAULTS": "realtime.faults",
    "Dialect": "dialects",
    "EmulatorServer": "server",
    "EmulatorSettings": "settings",
    "RealtimeEmulation": "realtime.settings",
    "RecordedRequest": "state",
    "RecordedSession": "realtime.state",
    "RecordedUnit": "realtime.state",
    "run": "server",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
