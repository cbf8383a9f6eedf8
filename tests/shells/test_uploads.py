"""Files that are read while they are sent: what arrives, what cannot, and how much memory it takes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from minicpm_core import Message, _uploads, errors
from minicpm_core._uploads import AsyncUpload, Upload
from minicpm_core.parts import FileBody, ImagePart, TextPart, VideoPart
from minicpm_core.protocol.body import PiecedBody
from tests.shells.support import AsyncShell, Shell, SyncShell, answer, failing, run_script, whole_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from minicpm_core import Completion
    from minicpm_core.parts import Part
    from tests.support.server import Recorded, ScriptedServer

_PIECE = 30
_LARGE = 200_000_000
_CLIP = bytes(range(100))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A file of a hundred bytes."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(_CLIP)
    return path


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that every file has many."""
    monkeypatch.setattr(_uploads, "FILE_PIECE", _PIECE)
    monkeypatch.setattr(_uploads, "BYTES_PIECE", 7)


def _video(path: Path, size: int | None = None) -> VideoPart:
    return VideoPart(FileBody(str(path), path.stat().st_size if size is None else size), "video/mp4")


def _make_sparse(path: Path, size: int) -> None:
    """A file of zeros that takes no room."""
    with path.open("wb") as file:
        file.truncate(size)


async def _send(shell: Shell, *parts: Part, how: str = "whole") -> str:
    messages = [Message("user", (TextPart("Look."), *parts))]
    if isinstance(shell, SyncShell):
        if how == "whole":
            return shell.client.complete(messages).choices[0].text
        return "".join(delta.text for delta in shell.client.stream(messages))
    if how == "whole":
        done: Completion = await shell.client.complete(messages)
        return done.choices[0].text
    return "".join([delta.text async for delta in await shell.client.stream(messages)])


def _received(request: Recorded) -> list[bytes]:
    """The media that arrived, decoded."""
    parts = request.json["messages"][0]["content"][1:]
    return [base64.b64decode(part[part["type"]]["url"].partition(",")[2], validate=True) for part in parts]


# --- What arrives ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("size", [0, 1, 2, 3, _PIECE - 1, _PIECE, _PIECE + 1, 10 * _PIECE, 1000])
async def test_a_file_arrives_byte_for_byte(
    server: ScriptedServer, shell: Shell, tmp_path: Path, size: int, how: str
) -> None:
    """With the length said before: the server reads no further than that."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(size))
    server.answers[:] = [answer(how)]
    assert await _send(shell, _video(path), how=how) == "Hello."
    (request,) = server.requests
    assert _received(request) == [path.read_bytes()]
    assert "transfer-encoding" not in request.headers


async def test_files_and_pictures_keep_their_order(server: ScriptedServer, shell: Shell, clip: Path) -> None:
    picture = ImagePart(base64.b64encode(b"picture"), "image/png", 1, 1)
    await _send(shell, _video(clip), picture, _video(clip))
    assert _received(server.requests[0]) == [_CLIP, b"picture", _CLIP]


async def test_a_large_picture_from_memory_arrives(server: ScriptedServer, shell: Shell) -> None:
    data = os.urandom(3_000_001)
    await _send(shell, ImagePart(base64.b64encode(data), "image/jpeg", 1, 1))
    assert _received(server.requests[0]) == [data]


async def test_a_connection_is_used_again_after_a_file(server: ScriptedServer, clip: Path) -> None:
    shell = AsyncShell(base_url=server.base_url)
    for _ in range(3):
        await _send(shell, _video(clip))
    assert server.opened == 1


async def test_a_retry_sends_all_of_it_again(
    server: ScriptedServer, make: Callable[..., Shell], clip: Path, how: str
) -> None:
    server.answers[:] = [failing(503, headers={"retry-after": "0"}), answer(how)]
    assert await _send(make(max_retries=1), _video(clip), how=how) == "Hello."
    first, second = server.requests
    assert first.body == second.body
    assert _received(second) == [_CLIP]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_client_of_the_caller_follows_a_redirect_with_all_of_it(
    server: ScriptedServer, clip: Path, kind: str
) -> None:
    server.answers[:] = [failing(307, headers={"location": f"{server.base_url}/elsewhere"}), whole_answer("Hello.")]
    settings: dict[str, Any] = {"base_url": server.base_url, "max_retries": 0}
    if kind == "sync":
        with httpx.Client(follow_redirects=True) as own:
            assert await _send(SyncShell(http_client=own, **settings), _video(clip)) == "Hello."
    else:
        async with httpx.AsyncClient(follow_redirects=True) as other:
            assert await _send(AsyncShell(http_client=other, **settings), _video(clip)) == "Hello."
    first, second = server.requests
    assert (first.body, second.path) == (second.body, "/v1/elsewhere")
    assert "transfer-encoding" not in first.headers


async def test_an_event_loop_does_not_read_files_itself(
    server: ScriptedServer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: set[int] = set()
    original: Any = Path.open

    def watched(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self == clip:
            readers.add(threading.get_ident())
        opened: Any = original(self, *args, **kwargs)
        return opened

    monkeypatch.setattr(Path, "open", watched)
    await _send(AsyncShell(base_url=server.base_url), _video(clip))
    assert readers
    assert threading.get_ident() not in readers


async def test_an_upload_that_is_cancelled_hangs_up(tmp_path: Path) -> None:
    """However much is left: the server does not get the rest, and nothing goes on reading."""
    path = tmp_path / "clip.mp4"
    _make_sparse(path, _LARGE)
    begun, ended = asyncio.Event(), asyncio.Event()
    received = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        await cancelled.wait()
        with contextlib.suppress(ConnectionError):
            while got := len(await reader.read(2**20)):
                received += got
        writer.close()
        ended.set()

    cancelled = asyncio.Event()
    async with await asyncio.start_server(handle, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        shell = AsyncShell(base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
        task = asyncio.create_task(_send(shell, _video(path)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()
        await asyncio.wait_for(ended.wait(), 10)
    assert received < _LARGE


# --- What cannot be sent ---------------------------------------------------------------------------------------------


def _gone(path: Path) -> None:
    path.unlink()


def _longer(path: Path) -> None:
    path.write_bytes(bytes(101))


def _shorter(path: Path) -> None:
    path.write_bytes(bytes(99))


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_gone, "was gone before it was sent"),
        (_longer, "had 100 bytes when the request was made, and 101 when it was sent"),
        (_shorter, "and 99 when it was sent"),
        (_directory, "is not a regular file"),
        pytest.param(
            _pipe,
            "is not a regular file",
            marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes"),
        ),
    ],
)
async def test_a_file_that_is_not_what_it_was_is_an_error_of_the_medium(
    server: ScriptedServer, make: Callable[..., Shell], clip: Path, how: str, change: Callable[[Path], None], said: str
) -> None:
    """Not tried again, not taken for a broken connection; and the connection, which waits for the rest, is closed."""
    part = _video(clip)
    change(clip)
    shell = make(max_retries=2)
    with pytest.raises(errors.InvalidMediaError, match=said):
        await _send(shell, part, how=how)
    assert server.wait_until_closed()
    assert server.requests == []
    assert await _send(shell) == "Hello."
    assert server.opened == 2


async def test_it_stays_that_error_whatever_a_transport_makes_of_it(clip: Path) -> None:
    """Some say only that the connection failed."""

    class Wrapping(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            try:
                request.read()
            except Exception as error:
                raise httpx.WriteError("Failed to send.") from error
            return httpx.Response(200)

    class AsyncWrapping(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                await request.aread()
            except Exception as error:
                raise httpx.WriteError("Failed to send.") from error
            return httpx.Response(200)

    part = _video(clip)
    _gone(clip)
    with (
        httpx.Client(transport=Wrapping()) as own,
        pytest.raises(errors.InvalidMediaError, match="was gone"),
    ):
        await _send(SyncShell(http_client=own, base_url="http://model.example/v1"), part)
    async with httpx.AsyncClient(transport=AsyncWrapping()) as other:
        with pytest.raises(errors.InvalidMediaError, match="was gone"):
            await _send(AsyncShell(http_client=other, base_url="http://model.example/v1"), part)


def _rewritten(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def _replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(100))
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("change", [_rewritten, _replaced, _shorter, _gone])
async def test_a_file_that_changes_between_two_pieces_is_noticed(clip: Path, change: Callable[[Path], None]) -> None:
    """Else the server would get one half of each."""
    body = PiecedBody((b"[", FileBody(str(clip), 100), b"]"))
    upload, other = Upload(body), AsyncUpload(body)
    pieces: Iterator[bytes] = iter(upload)
    others: AsyncIterator[bytes] = aiter(other)
    begun = [next(pieces), next(pieces)]
    assert [await anext(others), await anext(others)] == begun == [b"[", base64.b64encode(_CLIP[:_PIECE])]
    change(clip)
    with pytest.raises(errors.InvalidMediaError) as caught:
        next(pieces)
    assert upload.error is caught.value
    with pytest.raises(errors.InvalidMediaError) as also:
        await anext(others)
    assert other.error is also.value


def test_a_second_time_begins_anew(clip: Path) -> None:
    """As a retry does; what went wrong the first time does not count."""
    upload = Upload(PiecedBody((FileBody(str(clip), 100),)))
    clip.write_bytes(b"")
    with pytest.raises(errors.InvalidMediaError):
        list(upload)
    clip.write_bytes(_CLIP)
    assert b"".join(upload) == base64.b64encode(_CLIP)
    assert upload.error is None


# --- Memory ----------------------------------------------------------------------------------------------------------

_MOST_MEGABYTES = 32
_ANSWER = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}]}'
_SCRIPT = """
import asyncio, re, sys
from pathlib import Path
from minicpm_core import AsyncMiniCPMClient, Message, MiniCPMClient
from minicpm_core.parts import FileBody, TextPart, VideoPart

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

def call(client, name):
    path = Path(name)
    part = VideoPart(FileBody(name, path.stat().st_size), "video/mp4")
    return client.complete([Message("user", (TextPart("Look."), part))])

kind, url, small, large = sys.argv[1:]
settings = dict(base_url=url, backend="vllm", api_key="k", max_retries=0)

async def main():
    client = AsyncMiniCPMClient(**settings)
    await call(client, small)
    before = peak()
    await call(client, large)
    return peak() - before

if kind == "async":
    print(asyncio.run(main()))
else:
    client = MiniCPMClient(**settings)
    call(client, small)
    before = peak()
    call(client, large)
    print(peak() - before)
"""


class _Drain:
    """A server that reads and throws away, one connection after the other.

    Attributes:
        sizes: Bytes of each body.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rb") as stream:
                    while self._exchange(connection, stream):
                        pass

    def _exchange(self, connection: socket.socket, stream: Any) -> bool:
        left = 0
        while (line := stream.readline().lower()) not in {b"", b"\r\n"}:
            if line.startswith(b"content-length:"):
                left = int(line.partition(b":")[2])
        if not line:
            return False
        self.sizes.append(left)
        buffer = bytearray(2**20)
        while left:
            left -= stream.readinto(memoryview(buffer)[: min(left, len(buffer))])
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(_ANSWER) + _ANSWER)
        return True


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the peak of memory")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_two_hundred_megabytes_take_less_than_thirty_two(tmp_path: Path, kind: str) -> None:
    """Of memory, beyond what a small file takes."""
    (tmp_path / "small").write_bytes(bytes(1000))
    _make_sparse(tmp_path / "large", _LARGE)
    with _Drain() as server:
        printed = run_script(_SCRIPT, kind, server.url, str(tmp_path / "small"), str(tmp_path / "large"))
    assert server.sizes[1] - server.sizes[0] == (_LARGE + 2) // 3 * 4 - 1336
    assert float(printed) < _MOST_MEGABYTES
