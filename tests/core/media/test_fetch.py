"""URLs are fetched from where the guard looked, and nothing is told to anybody."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import _pools
from minicpm_core.config import Timeouts
from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media.fetch import fetch
from tests.core.media.internet import (
    DATA,
    LOOPBACK,
    MIB,
    OTHER,
    PUBLIC,
    SECRET,
    Internet,
    content,
    get,
    redirect,
    set_up,
)
from tests.support.server import ScriptedServer, events, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answers=[content()]) as running:
        yield running


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    return set_up(monkeypatch)


class TestPlain:
    def test_the_bytes_come_back(self, server: ScriptedServer) -> None:
        assert get(server, "/a%20b.png?x=1") == DATA
        assert server.requests[0].path == "/a%20b.png?x=1"
        assert server.wait_until_closed()

    def test_chunks_are_put_together(self, server: ScriptedServer) -> None:
        server.answers[:] = [events([DATA[:1], DATA[1:7], DATA[7:]])]
        assert get(server) == DATA

    def test_nothing_is_told_but_what_is_wanted(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        server.answers[:] = [
            whole(b"", status=302, headers={"location": "/b.png", "set-cookie": "a=b; Path=/"}),
            content(),
        ]
        get(server, "/a.png")
        for request in server.requests:
            assert set(request.headers) == {"host", "accept", "accept-encoding", "user-agent", "connection"}
            assert request.headers["host"] == f"127.0.0.1:{server.port}"
            assert request.headers["accept"].startswith("image/*")
            assert request.headers["user-agent"].startswith("minicpm-integrations/")

    def test_other_media_are_asked_for_by_their_kind(self, server: ScriptedServer) -> None:
        for what, accept in [
            ("video", "video/*"),
            ("audio", "audio/*"),
            ("document", "application/pdf"),
            ("file", "*"),
        ]:
            get(server, what=what)
            assert server.requests[-1].headers["accept"].startswith(accept)

    def test_no_proxy_of_the_environment(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        with ScriptedServer() as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            assert get(server) == DATA
            assert proxy.opened == 0


class TestAddresses:
    def test_loopback_is_not_connected_to(self, server: ScriptedServer) -> None:
        for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"):
            with pytest.raises(UnsupportedContentError, match="public address"):
                fetch(f"http://{host}:{server.port}/", max_bytes=MIB)
        assert server.opened == 0

    def test_a_name_is_fetched_from_the_address_that_was_checked(
        self, server: ScriptedServer, internet: Internet
    ) -> None:
        internet.names["pictures.example"] = [[PUBLIC]]
        internet.routes[PUBLIC, 80] = server.port
        assert fetch("http://Pictures.Example./x.png", max_bytes=MIB) == DATA
        assert server.requests[0].headers["host"] == "pictures.example"
        assert internet.asked == ["pictures.example"]
        assert internet.tried == [(PUBLIC, 80)]

    def test_a_name_that_changes_after_the_check_gains_nothing(
        self, server: ScriptedServer, internet: Internet
    ) -> None:
        internet.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
        internet.routes["127.0.0.1", server.port] = server.port
        with pytest.raises(InvalidMediaError, match="no connection"):
            fetch(f"http://rebind.example:{server.port}/", max_bytes=MIB)
        assert internet.tried == [(PUBLIC, server.port)]
        assert internet.asked == ["rebind.example"]
        with pytest.raises(UnsupportedContentError, match="public address"):
            fetch(f"http://rebind.example:{server.port}/", max_bytes=MIB)
        assert server.opened == 0

    def test_a_name_that_changes_before_a_redirect_is_checked_again(
        self, server: ScriptedServer, internet: Internet
    ) -> None:
        internet.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
        with ScriptedServer(answers=[redirect("/y.png")]) as public:
            internet.routes[PUBLIC, server.port] = public.port
            internet.routes["127.0.0.1", server.port] = server.port
            with pytest.raises(UnsupportedContentError, match="public address"):
                fetch(f"http://rebind.example:{server.port}/", max_bytes=MIB)
            assert len(public.requests) == 1
        assert server.opened == 0

    @pytest.mark.parametrize(
        "found",
        [
            ["127.0.0.1"],
            [PUBLIC, "127.0.0.1"],
            [PUBLIC, "10.0.0.1", OTHER],
            ["169.254.169.254"],
            ["2606:4700::1111", "::1"],
            ["fe80::1%2"],
            ["::ffff:127.0.0.1"],
            ["64:ff9b::7f00:1"],
            ["2002:7f00:1::"],
            ["0.0.0.0"],
            ["::"],
        ],
    )
    @pytest.mark.parametrize("host", ["127.0.0.1.nip.io", "localhost", "metadata.google.internal", "example.com"])
    def test_one_private_address_is_enough_to_refuse(self, internet: Internet, found: list[str], host: str) -> None:
        internet.names[host] = [found]
        with pytest.raises(UnsupportedContentError, match="not at a public address") as caught:
            fetch(f"https://{host}/x?key={SECRET}", max_bytes=MIB)
        assert internet.tried == []
        assert f"https://{host} " in str(caught.value)
        assert SECRET not in str(caught.value)

    def test_an_allowed_name_may_be_private(self, server: ScriptedServer, internet: Internet) -> None:
        internet.names["files.intranet"] = [["10.1.2.3"]]
        internet.routes["10.1.2.3", 80] = server.port
        assert fetch("http://files.intranet/x.png", max_bytes=MIB, hosts=frozenset({".intranet"})) == DATA
        with pytest.raises(UnsupportedContentError):
            fetch("http://files.intranet/x.png", max_bytes=MIB, hosts=frozenset({"intranet", "10.1.2.3"}))

    def test_the_next_address_is_tried(self, server: ScriptedServer, internet: Internet) -> None:
        internet.names["pictures.example"] = [["2606:4700::1111", OTHER, PUBLIC, PUBLIC]]
        internet.routes[PUBLIC, 8080] = server.port
        assert fetch("http://pictures.example:8080/", max_bytes=MIB) == DATA
        assert internet.tried == [("2606:4700::1111", 8080), (OTHER, 8080), (PUBLIC, 8080)]
        assert server.requests[0].headers["host"] == "pictures.example:8080"

    def test_a_host_that_cannot_be_found(self, internet: Internet) -> None:
        with pytest.raises(InvalidMediaError, match=r"image at https://nowhere\.example could not .* found"):
            fetch("https://nowhere.example/", max_bytes=MIB)

    def test_a_resolver_that_does_not_answer_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        go = threading.Event()

        def getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
            go.wait(60)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        try:
            with pytest.raises(InvalidMediaError, match="its host could not be found"):
                fetch("https://slow.example/", max_bytes=MIB, timeouts=Timeouts(connect=0.05))
            with pytest.raises(InvalidMediaError, match=r"could not be fetched within 0\.05 s"):
                fetch("https://slow.example/", max_bytes=MIB, seconds=0.05)
        finally:
            go.set()


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_they_are_followed(self, server: ScriptedServer, status: int) -> None:
        server.answers[:] = [redirect("../b.png?x=1", status), content()]
        assert get(server, "/a/a.png") == DATA
        assert [request.path for request in server.requests] == ["/a/a.png", "/b.png?x=1"]

    def test_five_of_them_and_no_more(self, server: ScriptedServer) -> None:
        server.answers[:] = [*(redirect(f"/{number}") for number in range(5)), content()]
        assert get(server) == DATA
        server.requests.clear()
        server.answers[:] = [redirect("/again")]
        with pytest.raises(InvalidMediaError, match="more than 5 redirects"):
            get(server)
        assert len(server.requests) == 6

    @pytest.mark.parametrize(
        "to",
        [
            "http://127.0.0.1:{port}/",
            "http://2130706433:{port}/",
            "http://[::ffff:7f00:1]:{port}/",
            "http://localhost.example:{port}/",
            "http://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
            "http://user:s3cr3t@pictures.example/",
            "http://pictures.example\\@127.0.0.1:{port}/",
            "http://pictures.example:6379/",
        ],
    )
    def test_each_is_checked(self, server: ScriptedServer, internet: Internet, to: str) -> None:
        internet.names["pictures.example"] = [[PUBLIC]]
        internet.names["localhost.example"] = [["127.0.0.1"]]
        internet.routes["127.0.0.1", server.port] = server.port
        with ScriptedServer(answers=[redirect(to.format(port=server.port))]) as public:
            internet.routes[PUBLIC, 80] = public.port
            with pytest.raises(UnsupportedContentError) as caught:
                fetch("http://pictures.example/", max_bytes=MIB)
        assert internet.tried == [(PUBLIC, 80)]
        assert server.opened == 0
        assert SECRET not in str(caught.value)

    def test_one_without_a_target_is_an_error(self, server: ScriptedServer) -> None:
        server.answers[:] = [whole(b"", status=302)]
        with pytest.raises(InvalidMediaError, match="answered 302"):
            get(server)

    def test_one_with_an_odd_target_is_an_error(self, server: ScriptedServer) -> None:
        server.answers[:] = [[b"HTTP/1.1 302 Found\r\nlocation: http://\xff\xfe/\r\ncontent-length: 0\r\n\r\n"]]
        with pytest.raises(InvalidMediaError, match="malformed"):
            get(server)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
class TestTLS:
    @pytest.fixture(scope="class")
    @staticmethod
    def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
        """A certificate for a name that signed itself, and its key."""
        folder = tmp_path_factory.mktemp("tls")
        made, key = folder / "certificate.pem", folder / "key.pem"
        subject = ["-subj", "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"]
        asked = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
        subprocess.run([*asked, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
        return made, key

    @pytest.fixture
    @staticmethod
    def secure(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
        """A server with that certificate, which is trusted."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        monkeypatch.setattr(_pools, "_ssl_context", None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        with ScriptedServer(answers=[content()], tls=context) as running:
            yield running

    def test_it_is_verified_against_the_name(self, secure: ScriptedServer, internet: Internet) -> None:
        for host in ("pictures.example", "other.example"):
            internet.names[host] = [[PUBLIC]]
        internet.routes[PUBLIC, 443] = secure.port
        assert fetch("https://pictures.example/x.png", max_bytes=MIB) == DATA
        assert secure.requests[0].headers["host"] == "pictures.example"
        for host in ("other.example", PUBLIC):
            with pytest.raises(InvalidMediaError, match="CERTIFICATE_VERIFY_FAILED"):
                fetch(f"https://{host}/x.png", max_bytes=MIB)
        assert len(secure.requests) == 1

    def test_no_redirect_leaves_it(self, secure: ScriptedServer, server: ScriptedServer, internet: Internet) -> None:
        internet.names["pictures.example"] = [[PUBLIC]]
        internet.routes.update({(PUBLIC, 443): secure.port, (PUBLIC, 80): server.port})
        secure.answers[:] = [redirect("http://pictures.example/x.png")]
        with pytest.raises(UnsupportedContentError, match="from https to http"):
            fetch("https://pictures.example/", max_bytes=MIB)
        assert server.opened == 0
        server.answers[:] = [redirect("https://pictures.example/x.png")]
        secure.answers[:] = [content()]
        assert fetch("http://pictures.example/", max_bytes=MIB) == DATA

    def test_a_greeting_that_stops_is_not_waited_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
            with pytest.raises(InvalidMediaError, match="no connection in time"):
                fetch(url, max_bytes=MIB, hosts=LOOPBACK, timeouts=Timeouts(connect=0.05))
