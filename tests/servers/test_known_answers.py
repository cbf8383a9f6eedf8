"""A real server's answers arrive as the model gave them, whichever way is asked."""

from __future__ import annotations

import pytest

from tests.servers.frontends import FRONTENDS, MODES, ask
from tests.servers.support import Case, Question, Server, Turn, cases, servers

pytestmark = pytest.mark.server
SERVERS = servers()


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_known_answer(server: Server, frontend: str, mode: str, case: Case) -> None:
    """Reasoning, text and tool calls are the model's, to the letter."""
    assert ask(FRONTENDS[frontend](server), mode, case.question).settled == case.answer


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("frontend", FRONTENDS)
def test_the_backend_is_found(server: Server, frontend: str) -> None:
    """Without being told, both sides of every frontend find out what the server is."""
    if server.backend is None:
        pytest.skip("Set MINICPM_TEST_BACKENDS to say what the servers are, such as vllm,llamacpp.")
    assert FRONTENDS[frontend](server).backends() == {server.backend}


@pytest.mark.parametrize("server", SERVERS, ids=str)
@pytest.mark.parametrize("frontend", FRONTENDS)
@pytest.mark.parametrize("thinking", [True, False])
def test_tokens_are_counted(server: Server, frontend: str, thinking: bool) -> None:
    """A stream reports the tokens that a whole answer does, on each server without being told to."""
    question = Question((Turn("user", ("Count to ten.",)),), thinking)
    whole = ask(FRONTENDS[frontend](server), "invoke", question).tokens
    assert whole is not None
    assert min(whole) > 5
    assert ask(FRONTENDS[frontend](server), "stream", question).tokens == whole
