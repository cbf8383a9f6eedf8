"""What each recorded exchange must give, from what was asked.

The model knows its dialogs by heart, so the answer follows from the question, from the colour of the picture that was
really sent and from whether it thought.  Where a limit, a server or the model itself made something else of it,
`_OTHERWISE` says what; `_REFUSALS` has the errors.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import (
    APIStatusError,
    AuthenticationError,
    ContextOverflowError,
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    ServerError,
    UnprocessableMediaError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """A choice.

    Attributes:
        text: The answer.
        reasoning: The thoughts, without tags and without line breaks at either end.
        calls: Names and arguments of the tools called.
        finish_reason: Why it ended.
    """

    text: str
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error.

    Attributes:
        error: Its class, exactly.
        says: A part of the message.
        code: The server's own code.
        attributes: Further attributes of the error.
    """

    error: type[APIStatusError]
    says: str
    code: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _count(last: int) -> str:
    return " ".join(map(str, range(1, last + 1)))


_WEATHER = "get_weather"
_DIALOGS: dict[str, Answer] = {
    "Say hello.": Answer("Hello from the tiny model.", "The user wants a greeting."),
    "Count to ten.": Answer(_count(10), "Counting is easy."),
    "Count to fifty.": Answer(_count(50), "A longer count."),
    "Say it in Chinese.": Answer("你好，世界！🙂👍🏽 café naïve", "用户想要中文。"),
    "Write some code.": Answer('Here:\n\n```python\nprint("a\\nb")\n```\n\nDone.', "A short snippet\nwill do."),
    "Give me a person as JSON.": Answer('{"name": "Ada", "age": 36}', "JSON it is."),
    "What is the weather in Paris?": Answer(
        "", "I need the weather tool.", ((_WEATHER, {"city": "Paris", "days": 1}),), "tool_calls"
    ),
    "What is the weather in Paris and Rome?": Answer(
        "Let me look.",
        "Two calls are needed.",
        ((_WEATHER, {"city": "Paris"}), (_WEATHER, {"city": "Rome"})),
        "tool_calls",
    ),
}
_AFTER_THE_TOOL = Answer("It is 18 degrees in Paris.", "The tool says 18.")

_ADA = _DIALOGS["Give me a person as JSON."].text
_ONE_CALL = _DIALOGS["What is the weather in Paris?"].calls
_TWO_CALLS = _DIALOGS["What is the weather in Paris and Rome?"].calls
# vLLM's grammar allows blanks between the tokens of JSON, and the model went on with them to the limit.
_PADDED = '{"color":    \n "red", "n": 4' + "\n".join(" " * blanks for blanks in (23, 4, 6, 145))

_OTHERWISE: dict[tuple[str, str], dict[str, Any]] = {
    # Limits
    ("*", "length"): {"text": "1 2 3", "finish_reason": "length"},
    ("*", "length_stream"): {"text": "1 2 3", "finish_reason": "length"},
    ("*", "length_in_reasoning"): {"text": "", "reasoning": "The user wants", "finish_reason": "length"},
    ("*", "logprobs_stream"): {"text": "Hello from the tiny model.", "finish_reason": "length"},
    ("*", "stop_string"): {"text": "1 2 3 4 "},
    ("*", "stop_stream"): {"text": "1 2 3 4 "},
    # Formats that the model does not want
    ("*", "json_object_forced"): {"text": _ADA},
    ("llamacpp", "json_schema_forced_stream"): {"text": '{"color": "red", "n": 4 }'},
    ("vllm", "json_schema_forced_stream"): {"text": _PADDED, "finish_reason": "length"},
    # One call where a server holds the model to one
    ("vllm", "tool_parallel_off"): {"calls": _TWO_CALLS[:1]},
    ("llamacpp", "tool_parallel_off"): {"calls": _TWO_CALLS[:1], "text": "Let me look.\n\n"},
    # Line breaks before a call, in streams of servers that do not take them away
    ("vllm", "tool_parallel_stream"): {"text": "Let me look.\n\n"},
    ("llamacpp", "tool_parallel_stream"): {"text": "Let me look.\n\n"},
    # A call that was enforced is not called one
    ("vllm", "tool_named_stream"): {"finish_reason": "stop"},
    # A turn of the assistant that is continued: the rest alone, or all of it
    ("vllm", "continue_final"): {"text": " 4 5 6 7 8 9 10"},
    ("llamacpp", "continue_final"): {"text": _count(10)},
    # Off its list the model says something else that it learnt
    ("*", "history_reasoning_content"): {"text": "Hello from the tiny model."},
    # Calls that come as text do not end an answer in a way of their own
    **{
        (server, f"tool_{kind}{stream}{thinking}"): {"finish_reason": "stop"}
        for server in ("vllm-noparser", "transformers-raw")
        for kind in ("auto", "parallel")
        for stream in ("", "_stream")
        for thinking in ("", "_nothink")
    },
    ("transformers", "err_context"): {
        "text": "The first is blue and the second is blue.",
        "reasoning": "Two calls are needed.",
    },
}

_MEDIA = UnprocessableMediaError
_BAD = "invalid_request_error"
_NO_DETAIL = Refusal(ServerError, "Internal Server Error")
_REFUSALS: dict[tuple[str, str], Refusal] = {
    ("vllm", "err_audio"): Refusal(_MEDIA, "At most 0 audio(s)", "BadRequestError"),
    ("vllm", "err_context"): Refusal(
        ContextOverflowError,
        "maximum context length is 2048 tokens",
        "BadRequestError",
        attributes={"n_ctx": 2048, "n_prompt": 2049},
    ),
    ("vllm", "err_image_base64"): Refusal(_MEDIA, "Non-base64 digit found", "BadRequestError"),
    ("vllm", "err_image_bytes"): Refusal(_MEDIA, "cannot identify image file", "BadRequestError"),
    ("vllm", "err_image_http"): Refusal(_MEDIA, "Cannot connect to host", "InternalServerError"),
    ("vllm", "err_image_noscheme"): Refusal(_MEDIA, "must be either a HTTP, data or file URL", "BadRequestError"),
    ("vllm", "err_image_string"): Refusal(_MEDIA, "image_url Input should be a valid dictionary", "BadRequestError"),
    ("vllm", "err_image_too_many"): Refusal(_MEDIA, "At most 4 image(s)", "BadRequestError"),
    ("vllm", "err_image_truncated"): Refusal(_MEDIA, "image file is truncated", "BadRequestError"),
    ("vllm", "err_json"): Refusal(InvalidRequestError, "JSON decode error", "Bad Request"),
    ("vllm", "err_json_notobject"): Refusal(InvalidRequestError, "valid dictionary or object", "Bad Request"),
    ("vllm", "err_key_missing"): Refusal(AuthenticationError, "api_key", "Unauthorized"),
    ("vllm", "err_key_wrong"): Refusal(AuthenticationError, "api_key", "Unauthorized"),
    ("vllm", "err_max_tokens_huge"): Refusal(
        InvalidRequestError, "max_tokens=1000000 cannot be greater", "BadRequestError"
    ),
    ("vllm", "err_max_tokens_neg"): Refusal(InvalidRequestError, "must be at least 1, got -1", "BadRequestError"),
    ("vllm", "err_messages_missing"): Refusal(InvalidRequestError, "Field required", "Bad Request"),
    ("vllm", "err_method"): Refusal(NotFoundError, "Method Not Allowed"),
    ("vllm", "err_path"): Refusal(NotFoundError, "Check base_url"),
    ("vllm", "err_stream_options_nostream"): Refusal(
        InvalidRequestError, "Stream options can only be defined", "BadRequestError"
    ),
    ("vllm", "err_type_model"): Refusal(InvalidRequestError, "valid string", "Bad Request"),
    ("vllm", "n2"): Refusal(InvalidRequestError, "n must be 1 when using greedy sampling", "BadRequestError"),
    ("vllm-noparser", "err_tools_auto"): Refusal(
        InvalidRequestError, "requires --enable-auto-tool-choice and --tool-call-parser", "BadRequestError"
    ),
    ("vllm-noparser", "err_tools_required_stream"): Refusal(
        InvalidRequestError, "requires --tool-call-parser to be set", "BadRequestError"
    ),
    ("llamacpp", "err_audio"): Refusal(_MEDIA, "audio input is not supported", "server_error"),
    ("llamacpp", "err_context"): Refusal(
        ContextOverflowError,
        "exceeds the available context size (2048 tokens)",
        "exceed_context_size_error",
        attributes={"n_ctx": 2048, "n_prompt": 18010},
    ),
    ("llamacpp", "err_image_base64"): Refusal(_MEDIA, "Failed to load image", _BAD),
    ("llamacpp", "err_image_bytes"): Refusal(_MEDIA, "Failed to load image", _BAD),
    ("llamacpp", "err_image_http"): Refusal(_MEDIA, "cannot make GET request", "server_error"),
    ("llamacpp", "err_image_noscheme"): Refusal(_MEDIA, "Failed to load image", _BAD),
    ("llamacpp", "err_image_string"): Refusal(_MEDIA, "Invalid base64 value", "server_error"),
    ("llamacpp", "err_image_truncated"): Refusal(_MEDIA, "Failed to load image", _BAD),
    ("llamacpp", "err_json"): Refusal(InvalidRequestError, "parse error at line 1", "server_error"),
    ("llamacpp", "err_json_notobject"): Refusal(InvalidRequestError, "'messages' is required", _BAD),
    ("llamacpp", "err_key_missing"): Refusal(AuthenticationError, "Invalid API Key", "authentication_error"),
    ("llamacpp", "err_key_wrong"): Refusal(AuthenticationError, "Invalid API Key", "authentication_error"),
    ("llamacpp", "err_messages_missing"): Refusal(InvalidRequestError, "'messages' is required", _BAD),
    ("llamacpp", "err_method"): Refusal(NotFoundError, "File Not Found", "not_found_error"),
    ("llamacpp", "err_path"): Refusal(NotFoundError, "Check base_url", "not_found_error"),
    ("llamacpp", "n2"): Refusal(InvalidRequestError, "Field 'n'", _BAD),
    ("llamacpp", "n2_sampled"): Refusal(InvalidRequestError, "Field 'n'", _BAD),
    ("llamacpp", "n2_sampled_stream"): Refusal(InvalidRequestError, "Field 'n'", _BAD),
    ("transformers", "continue_final"): Refusal(InvalidRequestError, "Unexpected fields in the request"),
    ("transformers", "developer_role"): _NO_DETAIL,
    ("transformers", "err_audio"): _NO_DETAIL,
    ("transformers", "err_image_base64"): _NO_DETAIL,
    ("transformers", "err_image_bytes"): _NO_DETAIL,
    ("transformers", "err_image_http"): _NO_DETAIL,
    ("transformers", "err_image_noscheme"): _NO_DETAIL,
    ("transformers", "err_image_string"): _NO_DETAIL,
    ("transformers", "err_image_truncated"): _NO_DETAIL,
    ("transformers", "err_json"): Refusal(InvalidRequestError, "body.28: JSON decode error"),
    ("transformers", "err_json_notobject"): Refusal(InvalidRequestError, "body: Input should be a valid dictionary"),
    ("transformers", "err_max_tokens_neg"): _NO_DETAIL,
    ("transformers", "err_messages_missing"): _NO_DETAIL,
    ("transformers", "err_method"): Refusal(NotFoundError, "Method Not Allowed"),
    ("transformers", "err_path"): Refusal(NotFoundError, "Check base_url"),
    ("transformers", "err_type_model"): Refusal(
        ModelNotFoundError, "Server is pinned to 'MiniCPM-V-4.6-Thinking'", attributes={"model": "asked-for"}
    ),
    ("transformers", "err_unknown_field"): Refusal(InvalidRequestError, "Unexpected fields in the request: {'banana'}"),
    ("transformers", "logit_bias"): _NO_DETAIL,
    ("transformers", "stop_string"): _NO_DETAIL,
    ("transformers", "stop_stream"): Refusal(APIStatusError, "object has no attribute 'get_vocab'"),
}


def expected_of(server: str, name: str, request: dict[str, Any], *, thinking: bool) -> tuple[Answer, ...] | Refusal:
    """What a case must give.

    Args:
        server: The folder.
        name: The case.
        request: The body that was sent.
        thinking: Whether the model thought.
    """
    refusal = _REFUSALS.get((server, name))
    if refusal is not None:
        return refusal
    answer = _dialog(request["messages"])
    if not thinking:
        answer = replace(answer, reasoning="")
    otherwise = _OTHERWISE.get((server, name)) or _OTHERWISE.get(("*", name)) or {}
    answers = request.get("n", 1) if server == "vllm" else 1  # the others give one, whatever is asked
    return (replace(answer, **otherwise),) * answers


def _dialog(messages: list[dict[str, Any]]) -> Answer:
    last = messages[-1]
    if last["role"] == "tool" or str(last["content"]).startswith("<tool_response>"):
        return _AFTER_THE_TOOL
    (question,) = (message for message in messages[-2:] if message["role"] == "user")
    content = question["content"]
    if isinstance(content, str):
        return _DIALOGS.get(content, Answer(""))
    colour = _colour(next(part["image_url"]["url"] for part in content if part["type"] == "image_url"))
    return Answer(f"A plain {colour} square.", f"I see {colour}.")


def _colour(data_url: str) -> str:
    """The strongest colour of the first pixel of the PNG that was sent."""
    data = base64.b64decode(data_url.partition(",")[2])
    position, pixels = 8, b""
    while position < len(data):
        length = int.from_bytes(data[position : position + 4])
        if data[position + 4 : position + 8] == b"IDAT":
            pixels += data[position + 8 : position + 8 + length]
        position += length + 12
    red, green, blue = zlib.decompress(pixels)[1:4]
    return max((red, "red"), (green, "green"), (blue, "blue"))[1]
