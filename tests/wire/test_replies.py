"""Whole replies of real servers give the right message, and their errors the right exception."""

from __future__ import annotations

import json

import pytest

from minicpm_core.errors import ServerError
from minicpm_core.protocol.failures import error_for_status
from minicpm_core.protocol.reply import parse_completion
from tests.wire.cases import Case, answered, case_of, load_cases, refused
from tests.wire.check import check_completion, check_error

_WHOLE = [case for case in answered() if not case.is_stream]
_REFUSED = [case for case in refused() if not case.is_stream]


def test_every_recording_is_replayed() -> None:
    """211 exchanges, and every one is an answer or a refusal, streamed or whole."""
    assert len(load_cases()) == 211
    assert len({(case.server, case.name) for case in load_cases()}) == 211
    assert {case.status for case in _WHOLE} == {200}
    assert 200 not in {case.status for case in _REFUSED}


@pytest.mark.parametrize("case", _WHOLE, ids=str)
def test_a_whole_reply_gives_the_right_message(case: Case) -> None:
    check_completion(case, parse_completion(case.status, case.headers, case.body, case.context))


@pytest.mark.parametrize("case", _REFUSED, ids=str)
def test_an_error_reply_gives_the_right_exception(case: Case) -> None:
    error = error_for_status(case.status, case.headers, case.body, case.context)
    check_error(case, error)
    assert error.retryable is isinstance(error, ServerError), "only a failure of the server may pass by itself"


@pytest.mark.parametrize("server", ["vllm", "llamacpp"])
def test_log_probabilities_are_the_servers_own(server: str) -> None:
    case = case_of(server, "logprobs_unicode")
    (choice,) = parse_completion(case.status, case.headers, case.body, case.context).choices
    sent = json.loads(case.body)["choices"][0]["logprobs"]
    assert choice.logprobs == sent
    spelt = b"".join(bytes(token["bytes"]) for token in sent["content"])
    assert spelt.decode().startswith(choice.text)


def test_usage_has_its_details_where_the_server_tells() -> None:
    with_thoughts = case_of("vllm", "text_minimal")
    usage = parse_completion(200, {}, with_thoughts.body, with_thoughts.context).usage
    assert usage is not None
    assert (usage.reasoning_tokens, usage.cached_tokens) == (7, None)
    cached = case_of("llamacpp", "err_unknown_field")
    usage = parse_completion(200, {}, cached.body, cached.context).usage
    assert usage is not None
    assert (usage.reasoning_tokens, usage.cached_tokens) == (None, 11)


def test_what_has_no_place_of_its_own_is_kept() -> None:
    stopped = case_of("vllm", "stop_string")
    completion = parse_completion(200, {}, stopped.body, stopped.context)
    assert completion.choices[0].extras == {"stop_reason": "5"}
    assert completion.extras["system_fingerprint"] == "vllm-0.32.0-cf27119c"
    timed = case_of("llamacpp", "text_minimal")
    assert "timings" in parse_completion(200, {}, timed.body, timed.context).extras
