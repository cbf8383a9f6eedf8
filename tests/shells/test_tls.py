"""HTTPS, with a certificate made for the tests."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from minicpm_core import _pools, errors
from tests.shells.support import answer, ask, pieces, streamed
from tests.support.server import ScriptedServer, Wait, events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.shells.support import Shell

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    asked = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*asked, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    return made, key


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[ScriptedServer]:
    """A server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ScriptedServer(tls=context) as running:
        yield running


@pytest.fixture
def _trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says that it is to be trusted, before the first call of the process."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setattr(_pools, "_ssl_context", None)


@pytest.mark.usefixtures("_trusted")
async def test_calls_and_reuse(shell: Shell, server: ScriptedServer, how: str) -> None:
    server.answers[:] = [answer(how)]
    for _ in range(3):
        assert await ask(shell, how) == "Hello."
    assert server.opened == 1


@pytest.mark.usefixtures("_trusted")
async def test_a_server_that_does_not_end_holds_nobody_up(
    shell: Shell, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shell_module in ("_exchange", "_exchange_aio"):
        monkeypatch.setattr(f"minicpm_core.{shell_module}.DRAIN_SECONDS", 0.05)
    server.answers[:] = [[*events(pieces("Hello."), end=False), Wait()]]
    assert [delta.text for delta in await shell.deltas()] == ["Hello.", ""]
    assert await asyncio.to_thread(server.wait_until_closed)


@pytest.mark.usefixtures("_trusted")
async def test_a_left_stream_is_closed(shell: Shell, server: ScriptedServer) -> None:
    server.answers[:] = [events([pieces("Hel")[0], Wait()]), streamed("Hello.")]
    stream = await shell.stream()
    await shell.next(stream)
    await shell.end(stream)
    assert await asyncio.to_thread(server.wait_until_closed)
    assert await ask(shell, "stream") == "Hello."


async def test_a_certificate_that_is_not_trusted(make: Callable[..., Shell], server: ScriptedServer, how: str) -> None:
    with pytest.raises(errors.APIConnectionError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await ask(make(), how)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert server.requests == []


async def test_certificates_that_cannot_be_read(
    make: Callable[..., Shell], how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setattr(_pools, "_ssl_context", None)
    with pytest.raises(errors.ConfigurationError, match="SSL_CERT_FILE"):
        await ask(make(), how)
