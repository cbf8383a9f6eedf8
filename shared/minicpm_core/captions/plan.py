"""How a caption is asked for and read, without sending anything: a flow that the captioners drive."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from minicpm_core.captions.prompts import CAPTION_PROMPT, CAPTION_SCHEMA, STRUCTURED_PROMPT, Caption
from minicpm_core.captions.sources import MediaPage, Picture
from minicpm_core.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidInputError,
    InvalidMediaError,
    MalformedReplyError,
    ModelNotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    StructuredOutputError,
    TruncatedReplyError,
)
from minicpm_core.parts import TextPart
from minicpm_core.structured import best_method, repair_message
from minicpm_core.types import Message

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from minicpm_core.backends import Backend
    from minicpm_core.config import ChatOptions, ClientConfig
    from minicpm_core.errors import MiniCPMError
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.types import Completion

Captionable: TypeAlias = "MediaPage | Picture | os.PathLike[str] | bytes"
"""What can be captioned: a page that was found, a picture's file, or the bytes of one."""

OnError: TypeAlias = Literal["raise", "skip"]
"""What becomes of a picture that gets no caption: its error is raised, or it is kept without one."""

FATAL: tuple[type[MiniCPMError], ...] = (
    AuthenticationError,
    ConfigurationError,
    ModelNotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
)
"""Errors that every further picture would meet, so that they are raised under either policy."""

_DECIDE = (
    "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias",
    "thinking", "extra_body",
)  # fmt: skip
"""Options that decide what a model answers. `max_tokens` is none: a caption is kept where it ended by itself, and would
have ended so under any higher limit."""
_PREPARE = ("image_detail", "image_quality", "image_frames")
_FORMAT = 1
_SCHEMA_TOLD = "\n\nAnswer with one JSON object that fits this JSON Schema, and with nothing else:\n"


@dataclass(frozen=True, slots=True)
class Captioned:
    """What became of one picture.

    Attributes:
        source: What was given. Not shown, since it may be the picture's bytes.
        sha256: Of the bytes that the model was to be shown; `None` where they could not be read.
        caption: What the model wrote; `None` where it did not.
        error: Why there is no caption.
        cached: The caption was kept from before, and nothing was asked.
    """

    source: Captionable = field(repr=False)
    sha256: str | None
    caption: Caption | None
    error: MiniCPMError | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionPlan:
    """What is asked of which model. Made by `CaptionPlan.of`.

    Attributes:
        model: The model's id.
        prompt: The words beside the picture.
        structured: The answer is to have the fields of `CAPTION_SCHEMA`.
        options: What else the request asks for.
        decides: All that the answer depends on, beside the picture. Never written anywhere: it may hold what is in
            `extra_body`.
    """

    model: str
    prompt: str
    structured: bool
    options: ChatOptions = field(repr=False)
    decides: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(
        cls,
        config: ClientConfig,
        *,
        prompt: str | None = None,
        structured: bool = False,
        options: ChatOptions | None = None,
    ) -> CaptionPlan:
        """The plan for a client.

        Args:
            config: The client's settings.
            prompt: `None` for the one of this library.
            structured: Ask for the fields of `CAPTION_SCHEMA` instead of prose.
            options: What each request asks for, over the client's own options.

        Raises:
            ConfigurationError: The prompt is empty.
        """
        if prompt is not None and not prompt.strip():
            raise ConfigurationError("The prompt for captions is empty: leave it out for the default one.")
        asked = prompt or (STRUCTURED_PROMPT if structured else CAPTION_PROMPT)
        given: dict[str, Any] = {**config.options, **(options or {})}
        model = given.get("model") or config.model
        decides = {name: given[name] for name in _DECIDE if given.get(name) is not None}
        decides |= {name: getattr(config.media, name) for name in _PREPARE}
        return cls(
            model=model,
            prompt=asked,
            structured=structured,
            options=cast("ChatOptions", dict(options or {})),
            decides=decides,
        )

    def key(self, sha256: str) -> str:
        """The name under which a caption is kept: a hash of the picture and of all that the answer depends on.

        The server's address is not among it: the same model is expected to say the same anywhere.

        Args:
            sha256: Of the picture's bytes.
        """
        schema = CAPTION_SCHEMA if self.structured else None
        named = [_FORMAT, sha256, self.model, self.prompt, schema, self.decides]
        text = json.dumps(named, sort_keys=True, ensure_ascii=True, default=repr)
        return hashlib.sha256(text.encode()).hexdigest()

    def flow(self, picture: Picture, backend: Backend) -> Generator[CaptionRequest, Completion, Caption]:
        """What to send, and the caption that comes of it: yields a request, is sent its answer.

        An answer that lacks a field is asked for once more.

        Args:
            picture: What the model is shown.
            backend: The server.

        Raises:
            MalformedReplyError: The answer is empty.
            TruncatedReplyError: It was cut off at the limit of tokens.
            StructuredOutputError: The answer is not of the fields that were asked for.
        """
        request = self._request(picture, backend)
        completion = yield request
        try:
            return self._read(completion)
        except StructuredOutputError as error:
            if error.truncated:
                raise
            said = Message("assistant", completion.choices[0].text)
            told = Message("user", repair_message(error.problem))
        return self._read((yield CaptionRequest([*request.messages, said, told], request.options)))

    def _request(self, picture: Picture, backend: Backend) -> CaptionRequest:
        options: dict[str, Any] = dict(self.options)
        prompt = self.prompt
        if self.structured:
            if best_method(backend) == "json_schema":
                wrapped = {"name": "caption", "schema": dict(CAPTION_SCHEMA), "strict": True}
                options["response_format"] = {"type": "json_schema", "json_schema": wrapped}
            else:
                prompt += _SCHEMA_TOLD + json.dumps(CAPTION_SCHEMA)
        message = Message("user", (picture.source(), TextPart(prompt)))
        return CaptionRequest([message], cast("ChatOptions", options))

    def _read(self, completion: Completion) -> Caption:
        if not self.structured:
            return plain_caption(completion)
        choice = completion.choices[0]
        try:
            return Caption.from_answer(choice.text)
        except StructuredOutputError as error:
            error.truncated = choice.finish_reason == "length"
            raise


def plain_caption(completion: Completion) -> Caption:
    """A caption in prose, if it was written to its end.

    Args:
        completion: What the model answered.

    Raises:
        MalformedReplyError: It is empty.
        TruncatedReplyError: It was cut off at the limit of tokens: a search would miss what is not there.
    """
    choice = completion.choices[0]
    if choice.finish_reason == "length":
        raise TruncatedReplyError(
            "The model's caption was cut off at the limit of tokens: raise max_tokens. The error's `partial` has it.",
            partial=completion,
        )
    text = choice.text.strip()
    if not text:
        raise MalformedReplyError("The model's caption is empty.", status_code=200)
    return Caption(text=text)


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """What is to be sent.

    Attributes:
        messages: The conversation.
        options: What the request asks for.
    """

    messages: list[Message]
    options: ChatOptions


def picture_of(source: Captionable, limits: MediaLimits) -> Picture:
    """The bytes that the model is shown. Blocks while it reads.

    Args:
        source: What was given.
        limits: Bounds on bytes and pixels.

    Raises:
        InvalidMediaError: It cannot be read.
        InvalidInputError: It is nothing that can be captioned.
        ConfigurationError: A library that is needed is not installed.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, bytes):
        return Picture.of(source)
    try:
        if isinstance(source, os.PathLike):
            return MediaPage(Path(source)).read(limits=limits)
        if isinstance(source, MediaPage):  # pyright: ignore[reportUnnecessaryIsInstance]
            return source.read(limits=limits)
    except OSError as error:  # a disk or a share that is gone is an affair of its own pictures
        raise InvalidMediaError(f"The picture cannot be read: {error}.") from error
    raise InvalidInputError(
        f"A {type(source).__name__} cannot be captioned: give a pathlib.Path, a MediaPage of find_media() or bytes."
    )


def name_of(source: Captionable) -> str:
    """How to call it in an error: data is never shown."""
    if isinstance(source, MediaPage):
        return source.label
    return str(source) if isinstance(source, os.PathLike) else "a picture in memory"


def passed_over(error: MiniCPMError, source: Captionable, on_error: OnError) -> bool:
    """Whether a picture is kept without a caption; if not, the error learns which picture it was about."""
    if on_error == "skip" and not isinstance(error, FATAL):
        return True
    error.add_note(f"While captioning {name_of(source)}.")
    return False
