"""Errors: in LangChain's classes and in the core's, with everything they know."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core import exceptions as langchain
from langchain_core.callbacks import BaseCallbackHandler

from langchain_minicpm._errors import CLASSES, as_langchain
from minicpm_core import errors
from minicpm_core.types import Choice, Completion
from tests.langchain.conftest import KEY
from tests.support.server import Close, events, sse, whole

if TYPE_CHECKING:
    from langchain_minicpm import ChatMiniCPM
    from tests.support.server import Answer, ScriptedServer

OVERFLOW = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens.",
        "type": "BadRequestError",
        "code": 400,
    }
}


def refusal(status: int, message: str = "No.", **headers: str) -> Answer:
    return whole({"error": {"message": message, "type": "x", "code": status}}, status=status, headers=headers)


CASES: list[tuple[str, Answer, type[Exception], type[Exception], bool]] = [
    ("401", refusal(401), errors.AuthenticationError, langchain.ModelAuthenticationError, False),
    ("403", refusal(403), errors.PermissionDeniedError, langchain.ModelPermissionDeniedError, False),
    ("404", refusal(404), errors.NotFoundError, langchain.ModelNotFoundError, False),
    ("400", refusal(400), errors.InvalidRequestError, langchain.ModelInvalidRequestError, False),
    ("422", refusal(422), errors.InvalidRequestError, langchain.ModelInvalidRequestError, False),
    ("429", refusal(429), errors.RateLimitError, langchain.ModelRateLimitError, True),
    ("402", refusal(402), errors.QuotaExceededError, langchain.ModelRateLimitError, False),
    ("500", refusal(500), errors.ServerError, langchain.ModelAPIError, True),
    ("503", refusal(503), errors.ServerError, langchain.ModelAPIError, True),
    ("418", refusal(418), errors.APIStatusError, langchain.ModelError, False),
    ("overflow", whole(OVERFLOW, status=400), errors.ContextOverflowError, langchain.ContextOverflowError, False),
    ("html", whole(b"<html>", content_type="text/html"), errors.MalformedReplyError, langchain.ModelAPIError, False),
    ("empty", whole(b""), errors.MalformedReplyError, langchain.ModelAPIError, False),
    ("dropped", [Close()], errors.APIConnectionError, langchain.ModelConnectionError, True),
    ("in the body", whole(OVERFLOW), errors.ContextOverflowError, langchain.ContextOverflowError, False),
]


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream", "v3 hook", "async v3 hook"])
@pytest.mark.parametrize(
    ("answer", "core", "theirs", "retryable"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
async def test_every_failure_is_of_both_kinds(
    model: ChatMiniCPM,
    server: ScriptedServer,
    how: str,
    answer: Answer,
    core: type[Exception],
    theirs: type[Exception],
    retryable: bool,
) -> None:
    server.answers[:] = [answer]
    with pytest.raises(core) as caught:
        await call(model, how)
    assert isinstance(caught.value, theirs)
    assert isinstance(caught.value, langchain.ModelError)
    assert caught.value.is_retryable is retryable
    assert KEY not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert (str(again), vars(again)) == (str(caught.value), vars(caught.value))


async def call(model: ChatMiniCPM, how: str) -> None:
    """One of the six ways to ask."""
    from langchain_core.messages import HumanMessage

    messages: list[Any] = [HumanMessage("Hello")]
    if how == "invoke":
        model.invoke(messages)
    elif how == "ainvoke":
        await model.ainvoke(messages)
    elif how == "stream":
        list(model.stream(messages))
    elif how == "astream":
        assert [each async for each in model.astream(messages)]
    elif how == "v3 hook":
        list(model._stream_chat_model_events(messages))
    else:
        assert [each async for each in model._astream_chat_model_events(messages)]


def test_a_timeout_is_of_both_kinds_and_a_timeout_error(model: ChatMiniCPM, server: ScriptedServer) -> None:
    from tests.support.server import Wait

    server.answers[:] = [[Wait()]]
    with pytest.raises(TimeoutError) as caught:
        model.invoke("Hello", timeout=0.05)
    assert isinstance(caught.value, errors.APITimeoutError)
    assert isinstance(caught.value, langchain.ModelTimeoutError)
    assert caught.value.is_retryable is True


def test_what_the_error_knows_survives(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [whole(OVERFLOW, status=400, headers={"x-request-id": "req-9"})]
    with pytest.raises(errors.ContextOverflowError) as caught:
        model.invoke("Hello")
    assert (caught.value.n_ctx, caught.value.status_code, caught.value.request_id) == (8192, 400, "req-9")
    server.answers[:] = [refusal(429, **{"retry-after": "7"})]
    with pytest.raises(errors.RateLimitError) as limited:
        model.invoke("Hello")
    assert limited.value.retry_after == 7


def test_a_model_that_is_not_served_names_those_that_are(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.models = {"object": "list", "data": [{"id": "MiniCPM-V-4.6-Thinking"}]}
    missing = {"error": {"message": "The model `MiniCPM` does not exist.", "type": "NotFoundError", "code": 404}}
    server.answers[:] = [whole(missing, status=404)]
    with pytest.raises(errors.ModelNotFoundError) as caught:
        model.invoke("Hello")
    assert isinstance(caught.value, langchain.ModelNotFoundError)
    assert caught.value.available == ("MiniCPM-V-4.6-Thinking",)


def test_an_error_in_a_stream_keeps_what_came(model: ChatMiniCPM, server: ScriptedServer) -> None:
    from tests.support.server import chunk

    failed = {"error": {"message": "Worker died.", "type": "InternalServerError", "code": 500}}
    server.answers[:] = [events([sse(chunk("Hel")), sse(failed)])]
    with pytest.raises(errors.ServerError) as caught:
        list(model.stream("Hello"))
    assert isinstance(caught.value, langchain.ModelAPIError)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


class Tracer(BaseCallbackHandler):
    """Keeps what a tracer is given of a failure."""

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.shown = kwargs["response"].generations[0][0].message.response_metadata


def test_a_trace_shows_the_answer_without_its_headers(model: ChatMiniCPM, server: ScriptedServer) -> None:
    server.answers[:] = [refusal(429, "Slow down.", **{"set-cookie": "secret-cookie", "x-request-id": "req-9"})]
    tracer = Tracer()
    with pytest.raises(errors.RateLimitError):
        model.invoke("Hello", {"callbacks": [tracer]})
    assert tracer.shown == {
        "body": {"message": "Slow down.", "code": "x"},
        "status_code": 429,
        "request_id": "req-9",
    }


def test_every_class_of_the_core_has_its_counterpart() -> None:
    tree = {
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.MiniCPMError) and found is not errors.MiniCPMError
    }
    assert tree == set(CLASSES)
    for core, ours in CLASSES.items():
        made = as_langchain(core("Oh.", request_id="r"))
        assert type(made) is ours
        assert isinstance(made, core)
        of_an_answer = core is errors.StructuredOutputError
        assert isinstance(made, langchain.OutputParserException if of_an_answer else langchain.ModelError)


def test_an_answer_that_does_not_fit_is_told_as_langchains_parsers_tell_it() -> None:
    made = as_langchain(errors.StructuredOutputError("Oh.", text="No.", problem="Not JSON.", truncated=True))
    assert isinstance(made, errors.StructuredOutputError)
    assert isinstance(made, langchain.OutputParserException)
    assert (made.llm_output, made.observation, made.truncated) == ("No.", "Not JSON.", True)
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), str(again), vars(again)) == (type(made), str(made), vars(made))


def test_an_unknown_subclass_takes_its_parents_counterpart() -> None:
    class OddError(errors.RateLimitError):
        pass

    assert isinstance(as_langchain(OddError("Oh.", retryable=True)), langchain.ModelRateLimitError)
    plain = errors.MiniCPMError("Oh.")
    assert as_langchain(plain) is plain
    once = as_langchain(errors.ServerError("Oh."))
    assert as_langchain(once) is once


def test_notes_cause_and_partial_answer_are_kept() -> None:
    partial = Completion((Choice(text="Hel"),))
    error = errors.StreamInterruptedError("Cut.", partial=partial)
    error.add_note("Seen on Tuesday.")
    made = as_langchain(error)
    assert isinstance(made, errors.StreamInterruptedError)
    assert made.partial is partial
    assert made.__notes__ == ["Seen on Tuesday."]


def test_the_transports_error_is_the_cause(server: ScriptedServer, model: ChatMiniCPM) -> None:
    model.base_url = "http://127.0.0.1:1/v1"
    with pytest.raises(errors.APIConnectionError) as caught:
        model.invoke("Hello")
    assert isinstance(caught.value.__cause__, Exception)
    assert not isinstance(caught.value.__cause__, errors.MiniCPMError)


def test_an_unknown_argument_of_a_call_is_an_error_with_a_suggestion(
    model: ChatMiniCPM, server: ScriptedServer
) -> None:
    with pytest.raises(langchain.ModelInvalidRequestError) as caught:
        model.invoke("Hello", temprature=0)
    assert "'temperature'" in str(caught.value)
    assert "extra_body" in str(caught.value)
    assert not server.requests
