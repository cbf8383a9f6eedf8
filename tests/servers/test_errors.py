"""What a real server refuses arrives as the error that says so, whichever way is asked."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache
from typing import Final

import httpx
import pytest

from minicpm_core import (
    AuthenticationError,
    ContextOverflowError,
    InvalidMediaError,
    MiniCPMWarning,
    ModelNotFoundError,
    UnprocessableMediaError,
)
from tests.servers.core import Core
from tests.servers.frontends import FRONTENDS, MODES, ask
from tests.servers.support import CONTEXT, MODEL, Picture, Question, Server, Turn, picture, servers

pytestmark = [pytest.mark.server, pytest.mark.parametrize("frontend", FRONTENDS)]
SERVERS = servers()

HELLO: Final = Question((Turn("user", ("Say hello.",)),))
everywhere = pytest.mark.parametrize("server", SERVERS, ids=str)
in_every_mode = pytest.mark.parametrize("mode", MODES)


@cache
def kind(server: Server) -> str:
    """What a server is, as said or as found out."""
    return server.backend or Core(server).backends().pop()


def only_on(server: Server, *backends: str) -> None:
    """Skip a test of what other servers do not do."""
    if kind(server) not in backends:
        pytest.skip(f"{kind(server)} does not refuse this.")


@everywhere
@in_every_mode
def test_a_wrong_key(server: Server, frontend: str, mode: str) -> None:
    only_on(server, "vllm", "llamacpp")
    with pytest.raises(AuthenticationError) as caught:
        ask(FRONTENDS[frontend](replace(server, key="sk-this-is-not-the-key")), mode, HELLO)
    assert caught.value.status_code == 401
    assert "sk-this-is-not-the-key" not in str(caught.value)


@everywhere
@in_every_mode
def test_an_unknown_model(server: Server, frontend: str, mode: str) -> None:
    """The error names the models that there are, and the nearest."""
    only_on(server, "vllm")
    with pytest.raises(ModelNotFoundError) as caught:
        ask(FRONTENDS[frontend](replace(server, model=f"{MODEL}e")), mode, HELLO)
    assert caught.value.model == f"{MODEL}e"
    assert MODEL in caught.value.available
    assert caught.value.suggestion == MODEL
    assert MODEL in str(caught.value)


@everywhere
@in_every_mode
def test_a_prompt_over_the_context(server: Server, frontend: str, mode: str) -> None:
    """It is doubted before it is sent, since the server said how much fits; its error says how much there was."""
    only_on(server, "vllm", "llamacpp")
    long = Question((Turn("user", ("Count to ten. " * CONTEXT,)),))
    with pytest.warns(MiniCPMWarning, match="may not fit"), pytest.raises(ContextOverflowError) as caught:
        ask(FRONTENDS[frontend](server), mode, long)
    assert caught.value.n_ctx == CONTEXT
    assert caught.value.n_prompt is not None
    assert caught.value.n_prompt > CONTEXT


def damaged() -> bytes:
    """A PNG that is well-formed, but its compressed pixels are nonsense."""
    head, body = picture((220, 30, 30)).split(b"IDAT", 1)
    length = int.from_bytes(head[-4:], "big")
    nonsense = bytes(range(1, length + 1))
    checksum = zlib.crc32(b"IDAT" + nonsense).to_bytes(4, "big")
    return head + b"IDAT" + nonsense + checksum + body[length + 4 :]


@everywhere
@in_every_mode
def test_a_picture_that_cannot_be_decoded(server: Server, frontend: str, mode: str) -> None:
    """What only the server's decoder can find is an error about the picture."""
    only_on(server, "llamacpp")
    question = Question((Turn("user", (Picture(damaged()), "Describe this image.")),))
    with pytest.raises(UnprocessableMediaError):
        ask(FRONTENDS[frontend](server), mode, question)


@everywhere
@in_every_mode
def test_more_pictures_than_are_taken(server: Server, frontend: str, mode: str) -> None:
    only_on(server, "vllm")
    five = [Picture(picture((220, 30, 30)))] * 5
    with pytest.raises(UnprocessableMediaError):
        ask(FRONTENDS[frontend](server), mode, Question((Turn("user", (*five, "What colours?")),)))


@everywhere
@pytest.mark.parametrize("mode", ["invoke", "stream"])
def test_what_is_no_picture_is_not_sent(
    server: Server, frontend: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def record(request: httpx.Request) -> None:
        sent.append(request.method)

    with httpx.Client(event_hooks={"request": [record]}) as http_client:
        settings = {**server.settings, "http_client": http_client}
        monkeypatch.setattr(Server, "settings", settings)
        broken = Question((Turn("user", (Picture(b"this is no picture at all"), "Describe this image.")),))
        with pytest.raises(InvalidMediaError):
            ask(FRONTENDS[frontend](server), mode, broken)
    assert "POST" not in sent
