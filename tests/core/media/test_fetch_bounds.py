"""A fetch is bounded in bytes and in time, can be stopped, and tells what went wrong but not what was answered."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from typing import TYPE_CHECKING

import pytest

from minicpm_core.config import Timeouts
from minicpm_core.errors import ConfigurationError, InvalidMediaError
from minicpm_core.media.fetch import fetch
from tests.core.media.internet import DATA, LOOPBACK, MIB, SECRET, content, get
from tests.support.server import Action, Close, Endless, ScriptedServer, Wait, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answers=[content()]) as running:
        yield running


class TestBounds:
    def test_a_declared_size_above_the_limit_is_not_read(self, server: ScriptedServer) -> None:
        server.answers[:] = [[b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", Wait()]]
        with pytest.raises(InvalidMediaError, match="too large: it has more than 1000 bytes"):
            get(server, max_bytes=1000)
        assert server.wait_until_closed()

    def test_exactly_the_limit_passes(self, server: ScriptedServer) -> None:
        assert get(server, max_bytes=len(DATA)) == DATA
        with pytest.raises(InvalidMediaError, match="too large"):
            get(server, max_bytes=len(DATA) - 1)

    @pytest.mark.parametrize("head", [b"", b"content-encoding: gzip\r\n"])
    def test_an_endless_body_is_cut(self, server: ScriptedServer, head: bytes) -> None:
        first = gzip.compress(b"x") if head else b"x"
        server.answers[:] = [[b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + first, Endless(bytes(64 * 1024))]]
        with pytest.raises(InvalidMediaError, match="too large"):
            get(server)
        assert server.wait_until_closed()

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
    def test_what_unpacks_to_too_much_is_cut(self, server: ScriptedServer, encoding: str) -> None:
        pack: Callable[[bytes], bytes] = zlib.compress if encoding == "deflate" else gzip.compress
        server.answers[:] = [content(pack(bytes(64 * MIB)), content_encoding=encoding)]
        with pytest.raises(InvalidMediaError, match="too large"):
            get(server)
        server.answers[:] = [content(pack(DATA), content_encoding=encoding)]
        assert get(server) == DATA

    @pytest.mark.parametrize(
        ("data", "encoding", "message"),
        [
            (DATA, "br", "compressed as it was not asked to"),
            (DATA, "gzip, gzip", "compressed as it was not asked to"),
            (DATA, "gzip", "could not be decompressed"),
            (gzip.compress(DATA)[:-9], "gzip", "ended in the middle"),
        ],
    )
    def test_what_cannot_be_unpacked(self, server: ScriptedServer, data: bytes, encoding: str, message: str) -> None:
        server.answers[:] = [content(data, content_encoding=encoding)]
        with pytest.raises(InvalidMediaError, match=message):
            get(server)

    @pytest.mark.parametrize(
        "answer",
        [
            [Wait()],
            [b"HTTP/1.1 200 OK\r\n", Wait()],
            [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", Wait()],
        ],
    )
    def test_a_server_that_stops_is_not_waited_for(self, server: ScriptedServer, answer: list[Action]) -> None:
        server.answers[:] = [answer]
        with pytest.raises(InvalidMediaError, match="stopped answering"):
            get(server, timeouts=Timeouts(read=0.05))
        with pytest.raises(InvalidMediaError, match=r"within 0\.3 s"):
            get(server, seconds=0.3)
        assert server.wait_until_closed()

    @pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nx-y: "])
    def test_a_server_that_drips_is_not_waited_for(self, server: ScriptedServer, head: bytes) -> None:
        """Each byte comes in good time: in the body, before the answer, inside a header."""
        go = threading.Event()
        drip = b"HTTP/1.1 100 Continue\r\n\r\n" if not head else b"x"
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(head)
                    try:
                        while not go.wait(0.02):
                            connection.sendall(drip)
                    except OSError:
                        return  # the client is gone

            thread = threading.Thread(target=serve)
            thread.start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            try:
                with pytest.raises(InvalidMediaError, match=r"within 0\.5 s"):
                    fetch(url, max_bytes=MIB, hosts=LOOPBACK, seconds=0.5, timeouts=Timeouts(read=30))
            finally:
                go.set()
                thread.join()

    @pytest.mark.parametrize("begun", [False, True])
    def test_it_can_be_stopped(self, server: ScriptedServer, begun: bool) -> None:
        start = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx" if begun else b""
        server.answers[:] = [[start, Wait()]]
        stop = threading.Event()
        raised: list[BaseException] = []

        def run() -> None:
            try:
                get(server, stop=stop)
            except InvalidMediaError as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert server.wait_for_requests(1)
        stop.set()
        thread.join(10)
        assert [str(error) for error in raised] == [
            f"The image at http://127.0.0.1:{server.port} was not fetched to its end: it was stopped."
        ]
        assert server.wait_until_closed()

    def test_one_that_was_stopped_before_does_not_begin(self, server: ScriptedServer) -> None:
        stop = threading.Event()
        stop.set()
        with pytest.raises(InvalidMediaError, match="it was stopped"):
            get(server, stop=stop)
        assert server.opened == 0


class TestFailures:
    @pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 401, 403, 404, 410, 429, 500, 503])
    def test_other_statuses_are_told_without_what_was_said(self, server: ScriptedServer, status: int) -> None:
        body = b"" if status in {204, 304} else SECRET.encode()
        server.answers[:] = [whole(body, status=status)]
        with pytest.raises(InvalidMediaError, match=f"the server answered {status}") as caught:
            get(server, f"/x?key={SECRET}")
        assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ([b"SSH-2.0-OpenSSH_9 s3cr3t\r\n\r\n"], "did not speak HTTP"),
            ([b"HTTP/1.1 200 OK\r\ncontent-length: s3cr3t\r\n\r\n"], "did not speak HTTP"),
            ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ns3cr3t"], "broke off"),
            ([b""], "broke off"),
            ([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], "is empty"),
        ],
    )
    def test_what_is_no_answer_is_told_without_quoting_it(
        self, server: ScriptedServer, answer: list[Action], message: str
    ) -> None:
        server.answers[:] = [[*answer, *([] if message == "is empty" else [Close()])]]
        with pytest.raises(InvalidMediaError, match=message) as caught:
            get(server)
        assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(InvalidMediaError, match=rf"video at http://127\.0\.0\.1:{port} .* no connection"):
            fetch(f"http://127.0.0.1:{port}/?key={SECRET}", max_bytes=MIB, hosts=LOOPBACK, what="video")

    def test_a_wrong_allow_list_is_told(self) -> None:
        with pytest.raises(ConfigurationError, match="cannot be an allowed host"):
            fetch("https://example.com/", max_bytes=MIB, hosts=frozenset({"10.0.0.0/8"}))
