"""What is fetched from: a server on loopback, and an internet of names and addresses that leads to it."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minicpm_core.media.fetch import fetch
from tests.support.server import Answer, ScriptedServer, whole

if TYPE_CHECKING:
    import threading

    import pytest

    from minicpm_core.config import Timeouts

MIB = 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1"})
DATA = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
PUBLIC = "93.184.215.14"
OTHER = "151.101.1.140"
SECRET = "s3cr3t"


def content(data: bytes = DATA, **headers: str) -> Answer:
    return whole(data, content_type="image/png", headers={k.replace("_", "-"): v for k, v in headers.items()})


def redirect(to: str, status: int = 302) -> Answer:
    return whole(b"moved", status=status, headers={"location": to})


def get(
    server: ScriptedServer,
    path: str = "/x.png",
    *,
    max_bytes: int = MIB,
    timeouts: Timeouts | None = None,
    seconds: float = 60.0,
    stop: threading.Event | None = None,
    what: str = "image",
) -> bytes:
    """Fetch from the server by its address, which is allowed."""
    url = f"http://127.0.0.1:{server.port}{path}"
    return fetch(url, max_bytes=max_bytes, hosts=LOOPBACK, timeouts=timeouts, seconds=seconds, stop=stop, what=what)


@dataclass
class Internet:
    """Names and public addresses as this process sees them; no packet leaves the machine.

    Attributes:
        names: What each name stands for, look-up by look-up; the last answer repeats.
        routes: The loopback ports behind addresses and ports.
        asked: The names that were looked up.
        tried: The addresses and ports that were to be connected to.
    """

    names: dict[str, list[list[str]]] = field(default_factory=dict[str, list[list[str]]])
    routes: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    asked: list[str] = field(default_factory=list[str])
    tried: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])


def set_up(monkeypatch: pytest.MonkeyPatch) -> Internet:
    """Put an empty one in the place of the real one."""
    net = Internet()
    look_up, connect = socket.getaddrinfo, socket.create_connection

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "127.0.0.1":
            return look_up(host, port, *args, **kwargs)
        net.asked.append(host)
        answers = net.names.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]

    def create_connection(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        net.tried.append(address)
        if address not in net.routes:
            raise ConnectionRefusedError(111, "Connection refused")
        return connect(("127.0.0.1", net.routes[address]), *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", create_connection)
    return net
