"""`ChatMiniCPM`: MiniCPM-V and MiniCPM-o as a LangChain chat model.

A method translates, calls the core's client, and translates back.  How messages, chunks, events and errors are
translated is in the modules beside this one; how MiniCPM is spoken to is in `minicpm_core`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, Unpack

from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import ConfigDict

from langchain_minicpm._guard import langchain_errors
from langchain_minicpm._model import MiniCPMSettings
from langchain_minicpm._settings import request_options
from minicpm_core.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool
    from langchain_protocol.protocol import MessagesData

    from langchain_minicpm._signature import Settings
    from langchain_minicpm._structured import Method
    from minicpm_core.config import ChatOptions


class ChatMiniCPM(MiniCPMSettings):
    """A MiniCPM model behind any server that speaks Chat Completions.

    It answers about text and pictures, thinks apart from its answer, streams, calls tools, and fills schemas.  The
    settings are the fields of this class.

    Example:
        ```python
        model = ChatMiniCPM(model="MiniCPM-V-4.6-1B", temperature=0)
        question = HumanMessage([{"type": "text", "text": "What is this?"}, image_block(Path("photo.jpg"))])
        print(model.invoke([question]).text)
        ```

    What a call may set besides, as `model.invoke(…, name=value)` or with `bind`: every option of
    `minicpm_core.ChatOptions`, such as `model`, `thinking`, `extra_headers`, `extra_body` and `timeout`.

    Every error is one of `minicpm_core.errors` and one of `langchain_core.exceptions`.
    """

    model_config = ConfigDict(defer_build=False)

    def __init__(self, **settings: Unpack[Settings]) -> None:
        """Check the settings and take from the environment what they leave open. Nothing is opened or sent.

        Args:
            **settings: The fields of this class, and those of `BaseChatModel` such as `rate_limiter` and `callbacks`.

        Raises:
            ConfigurationError: A setting is unknown or cannot be. The message never holds the key.
            pydantic.ValidationError: A setting is of the wrong type.
        """
        super().__init__(**settings)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain hands it over by name
        **kwargs: Any,
    ) -> ChatResult:
        from langchain_minicpm._messages import to_core, to_result

        with langchain_errors():
            options = request_options(self.__dict__, stop, kwargs)
            completion = self._clients().sync.complete(to_core(messages), options)
            return to_result(completion, model=self._asked(options))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain hands it over by name
        **kwargs: Any,
    ) -> ChatResult:
        from langchain_minicpm._messages import to_core, to_result

        with langchain_errors():
            options = request_options(self.__dict__, stop, kwargs)
            completion = await self._clients().aio.complete(to_core(messages), options)
            return to_result(completion, model=self._asked(options))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        from langchain_minicpm._chunks import chunk_writer
        from langchain_minicpm._messages import to_core

        with langchain_errors():
            options = self._stream_options(stop, kwargs)
            write = chunk_writer(v1=self.output_version == "v1", model=self._asked(options))
            with self._clients().sync.stream(to_core(messages), options) as deltas:
                for delta in deltas:
                    chunk = write(delta)
                    if chunk is not None:
                        if run_manager is not None:  # langchain-core calls back itself, unless it hands this over
                            run_manager.on_llm_new_token(chunk.text, chunk=_of_run(chunk, run_manager.run_id))
                        yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        from langchain_minicpm._chunks import chunk_writer
        from langchain_minicpm._messages import to_core

        with langchain_errors():
            options = self._stream_options(stop, kwargs)
            write = chunk_writer(v1=self.output_version == "v1", model=self._asked(options))
            async with await self._clients().aio.stream(to_core(messages), options) as deltas:
                async for delta in deltas:
                    chunk = write(delta)
                    if chunk is not None:
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(chunk.text, chunk=_of_run(chunk, run_manager.run_id))
                        yield chunk

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[MessagesData]:
        from langchain_minicpm._chunks import chunk_writer
        from langchain_minicpm._messages import to_core
        from langchain_minicpm._v3 import EventWriter

        with langchain_errors():
            options = self._stream_options(stop, kwargs)
            events = EventWriter(self._asked(options)).write
            told = run_manager if run_manager is not None and run_manager.handlers else None
            write = chunk_writer(v1=False, model=self._asked(options))
            with self._clients().sync.stream(to_core(messages), options) as deltas:
                for delta in deltas:
                    if told is not None and (chunk := write(delta)) is not None:
                        told.on_llm_new_token(chunk.text, chunk=_of_run(chunk, told.run_id))
                    yield from events(delta)

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[MessagesData]:
        from langchain_minicpm._chunks import chunk_writer
        from langchain_minicpm._messages import to_core
        from langchain_minicpm._v3 import EventWriter

        with langchain_errors():
            options = self._stream_options(stop, kwargs)
            events = EventWriter(self._asked(options)).write
            told = run_manager if run_manager is not None and run_manager.handlers else None
            write = chunk_writer(v1=False, model=self._asked(options))
            async with await self._clients().aio.stream(to_core(messages), options) as deltas:
                async for delta in deltas:
                    if told is not None and (chunk := write(delta)) is not None:
                        await told.on_llm_new_token(chunk.text, chunk=_of_run(chunk, told.run_id))
                    for event in events(delta):
                        yield event

    def _asked(self, options: ChatOptions) -> str:
        return options.get("model") or self.model

    def _stream_options(self, stop: list[str] | None, given: Mapping[str, Any]) -> ChatOptions:
        options = request_options(self.__dict__, stop, given)
        if (options.get("n") or 1) != 1:
            raise UnsupportedFeatureError("A stream has one answer: leave n out, or use invoke or generate.")
        return options

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | Mapping[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: dict[str, Any] | type | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools that it may call.

        Args:
            tools: Tools, functions, Pydantic classes, TypedDicts, JSON schemas with a title, or OpenAI's own form.
                None at all are left out of the request.
            tool_choice: `any` or `required` (some tool), `auto`, `none`, a tool's name, `True` (some tool), or
                OpenAI's own form; `None` leaves it to the model.
            strict: Whether the server should hold arguments to the schemas; `None` leaves it out.
            parallel_tool_calls: Whether several calls in one answer are wanted; `None` leaves it out.
            response_format: A schema for the answer, or OpenAI's own form.
            **kwargs: Further arguments of each call.

        Raises:
            InvalidInputError: `tool_choice` names no tool, or a schema cannot be read.
        """
        from langchain_minicpm._structured import response_format_for
        from langchain_minicpm._tools import openai_tool_choice, openai_tools

        with langchain_errors():
            converted = openai_tools(tools, strict=strict)
            bound = {
                "tools": converted or None,
                "tool_choice": openai_tool_choice(tool_choice, converted) if converted else None,
                "parallel_tool_calls": parallel_tool_calls if converted else None,
                "response_format": response_format_for(response_format) if response_format is not None else None,
            }
        return super().bind(**{name: value for name, value in bound.items() if value is not None}, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """This model, answering in the form of a schema.

        The answer is always checked here. One that does not fit is asked for once more, with what is wrong with it.

        Args:
            schema: A Pydantic class (then answers are its instances), a TypedDict, or a JSON schema with a title.
            method: `json_schema` (the server holds the answer to the schema), `function_calling`, `json_mode` (some
                JSON: your prompt must say which), or `prompt` (the schema is told to the model in words); `None` for
                the strictest that the server does not ignore. `json_schema` becomes `prompt` where it would be ignored.
            include_raw: Whether to give `{"raw", "parsed", "parsing_error"}` instead of raising what goes wrong in
                reading the answer.
            strict: Passed on to the server with the schema; `None` leaves it out.
            **kwargs: Further arguments of each call.

        Returns:
            What raises `StructuredOutputError`, with the raw text, where no answer fits; `stream` gives the object as
            it grows.

        Raises:
            InvalidInputError: The method is unknown, or the schema cannot be read.
        """
        from langchain_minicpm._structured import structured

        with langchain_errors():
            return structured(self, schema, method=method, include_raw=include_raw, strict=strict, kwargs=kwargs)

    def close(self) -> None:
        """Let go of connections. The model can be used again afterwards."""
        if self._shells is not None:
            self._shells.sync.close()

    async def aclose(self) -> None:
        """Let go of the running loop's connections. The model can be used again afterwards."""
        if self._shells is not None:
            await self._shells.aio.aclose()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()


def _of_run(chunk: ChatGenerationChunk, run_id: Any) -> ChatGenerationChunk:
    """The chunk, with the id that langchain-core gives to a run's message."""
    chunk.message.id = f"{LC_ID_PREFIX}-{run_id}"
    return chunk
