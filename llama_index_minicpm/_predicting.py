"""Objects from prompts: `structured_predict` and its kin, in place of LlamaIndex's own.

LlamaIndex's lose the system prompt where they are asynchronous, do not demand the tool where they stream, and write the
schema with doubled braces where the model has no tools.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.instrumentation.events.llm import LLMStructuredPredictEndEvent, LLMStructuredPredictStartEvent
from llama_index.core.types import PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from typing_extensions import override

from llama_index_minicpm._calling import Calling
from llama_index_minicpm._responses import uncalled
from llama_index_minicpm._structured import M, PartialObjects, StructuredRequest, UnfitError, method_for
from minicpm_core.errors import ToolCallError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from llama_index.core.base.llms.types import ChatMessage, ChatResponse
    from llama_index.core.bridge.pydantic import BaseModel
    from llama_index.core.prompts import PromptTemplate

    from llama_index_minicpm._structured_llm import MiniCPMStructuredLLM
    from minicpm_core.backends import Backend

dispatcher = get_dispatcher(__name__)
_LLAMA_INDEX_OWN = frozenset({PydanticProgramMode.OPENAI, PydanticProgramMode.LM_FORMAT_ENFORCER})
"""Modes that are programs of other packages."""


class Predicting(Calling):
    """A model that is asked for objects, over its `chat` family."""

    # -- Objects from prompts ------------------------------------------------------------------------------------------

    @override
    def structured_predict(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> M:
        """An object, asked for by a prompt.

        The server is made to answer with JSON where it can be; the answer is validated with the class in any case, and
        asked for once more, with what is wrong, where it does not fit.

        Args:
            output_cls: The object's class, a Pydantic model.
            prompt: The prompt, of text or of chat messages with pictures.
            llm_kwargs: Settings of the call.
            **prompt_args: Values for the prompt.

        Raises:
            StructuredOutputError: No object that fits was written, or it was cut off; it has the text as written.
        """
        if self.pydantic_program_mode in _LLAMA_INDEX_OWN:
            return cast("M", super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args))
        _began(output_cls, prompt, prompt_args)
        found = self.predict_object(output_cls, prompt.format_messages(llm=self, **prompt_args), llm_kwargs)
        dispatcher.event(LLMStructuredPredictEndEvent(output=found))
        return found

    @override
    async def astructured_predict(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> M:
        """`structured_predict`, asynchronously."""
        if self.pydantic_program_mode in _LLAMA_INDEX_OWN:
            return cast("M", await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args))
        _began(output_cls, prompt, prompt_args)
        found = await self.apredict_object(output_cls, prompt.format_messages(llm=self, **prompt_args), llm_kwargs)
        dispatcher.event(LLMStructuredPredictEndEvent(output=found))
        return found

    @override
    def _structured_stream_call(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> Generator[Any, None, None]:
        """What `stream_structured_predict` gives out."""
        if self.pydantic_program_mode in _LLAMA_INDEX_OWN:
            return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        return self.stream_object(output_cls, prompt.format_messages(llm=self, **prompt_args), llm_kwargs)

    @override
    async def _structured_astream_call(
        self, output_cls: type[M], prompt: PromptTemplate, llm_kwargs: dict[str, Any] | None = None, **prompt_args: Any
    ) -> AsyncGenerator[Any, None]:
        """What `astream_structured_predict` gives out."""
        if self.pydantic_program_mode in _LLAMA_INDEX_OWN:
            return await super()._structured_astream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        return await self.astream_object(output_cls, prompt.format_messages(llm=self, **prompt_args), llm_kwargs)

    @override
    def as_structured_llm(self, output_cls: type[BaseModel], **kwargs: Any) -> MiniCPMStructuredLLM:
        """An LLM that answers with objects of a class, whole and streamed; the object is in each response's `raw`.

        Args:
            output_cls: The class, a Pydantic model.
            **kwargs: Further fields of `StructuredLLM`.
        """
        from llama_index_minicpm._structured_llm import MiniCPMStructuredLLM

        return MiniCPMStructuredLLM(llm=self, output_cls=output_cls, **kwargs)

    # -- Objects from messages -----------------------------------------------------------------------------------------

    def predict_object(
        self, output_cls: type[M], messages: Sequence[ChatMessage], llm_kwargs: Mapping[str, Any] | None = None
    ) -> M:
        """An object, asked for by messages as they are: braces in them are no variables, and media stay.

        Args:
            output_cls: The object's class, a Pydantic model.
            messages: The conversation. Not changed.
            llm_kwargs: Settings of the call.

        Raises:
            StructuredOutputError: No object that fits was written, or it was cut off; it has the text as written.
        """
        request = self._request(output_cls, messages, llm_kwargs, self._sync().backend())
        response = self._answered(request)
        try:
            return request.read(response)
        except UnfitError as problem:
            return self._mended(request.again(response, problem))

    async def apredict_object(
        self, output_cls: type[M], messages: Sequence[ChatMessage], llm_kwargs: Mapping[str, Any] | None = None
    ) -> M:
        """`predict_object`, asynchronously."""
        request = self._request(output_cls, messages, llm_kwargs, await self._async().backend())
        response = await self._aanswered(request)
        try:
            return request.read(response)
        except UnfitError as problem:
            return await self._amended(request.again(response, problem))

    def stream_object(
        self, output_cls: type[M], messages: Sequence[ChatMessage], llm_kwargs: Mapping[str, Any] | None = None
    ) -> Generator[BaseModel, None, None]:
        """`predict_object`, piece by piece: what is known so far whenever it changes, and last the whole object.

        An object is one of `output_cls` as soon as what is there fits it.  Before, it is one of a lenient class with
        the same fields, in which those that are missing are `None`.

        Raises:
            StructuredOutputError: At the end, where no object that fits was written.
        """
        request = self._request(output_cls, messages, llm_kwargs, self._sync().backend())
        return self._objects(request, self.stream_chat(request.messages, **request.options))

    async def astream_object(
        self, output_cls: type[M], messages: Sequence[ChatMessage], llm_kwargs: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[BaseModel, None]:
        """`stream_object`, asynchronously."""
        request = self._request(output_cls, messages, llm_kwargs, await self._async().backend())
        return _AsyncObjects(self, request, await self.astream_chat(request.messages, **request.options))

    def _request(
        self,
        output_cls: type[M],
        messages: Sequence[ChatMessage],
        llm_kwargs: Mapping[str, Any] | None,
        backend: Backend,
    ) -> StructuredRequest[M]:
        tools = self.metadata.is_function_calling_model
        method = method_for(self.pydantic_program_mode, backend, tools=tools)
        return StructuredRequest[M].of(output_cls, self._extend_messages(list(messages)), method, llm_kwargs)

    def _objects(
        self, request: StructuredRequest[M], responses: Generator[ChatResponse, None, None]
    ) -> Generator[BaseModel, None, None]:
        reader = PartialObjects(request.output_cls)
        last: ChatResponse | None = None
        try:
            for last in responses:
                found = reader.feed(last)
                if found is not None:
                    yield found
        except ToolCallError as error:
            last = uncalled(error)
        finally:
            responses.close()
        whole = cast("ChatResponse", last)  # a stream that ends without an answer is an error of the core
        try:
            yield request.read(whole)
        except UnfitError as problem:
            yield self._mended(request.again(whole, problem))

    def _answered(self, request: StructuredRequest[Any]) -> ChatResponse:
        try:
            return self.chat(request.messages, **request.options)
        except ToolCallError as error:
            return uncalled(error)

    async def _aanswered(self, request: StructuredRequest[Any]) -> ChatResponse:
        try:
            return await self.achat(request.messages, **request.options)
        except ToolCallError as error:
            return uncalled(error)

    def _mended(self, request: StructuredRequest[M]) -> M:
        response = self._answered(request)
        try:
            return request.read(response)
        except UnfitError as problem:
            raise request.failure(response, problem) from problem

    async def _amended(self, request: StructuredRequest[M]) -> M:
        response = await self._aanswered(request)
        try:
            return request.read(response)
        except UnfitError as problem:
            raise request.failure(response, problem) from problem


class _AsyncObjects(AsyncGenerator["BaseModel", None]):
    """The objects of a stream. Not an asynchronous generator: see `_release`."""

    def __init__(self, llm: Predicting, request: StructuredRequest[Any], responses: AsyncGenerator[Any, None]) -> None:
        self._llm = llm
        self._request = request
        self._responses = responses
        self._reader = PartialObjects(request.output_cls)
        self._last: Any = None
        self._over = False

    @override
    async def __anext__(self) -> BaseModel:
        while not self._over:
            try:
                self._last = await anext(self._responses)
            except StopAsyncIteration:
                self._over = True
                return await self._whole()
            except ToolCallError as error:
                self._last, self._over = uncalled(error), True
                return await self._whole()
            found = self._reader.feed(self._last)
            if found is not None:
                return found
        raise StopAsyncIteration

    async def _whole(self) -> BaseModel:
        try:
            return cast("BaseModel", self._request.read(self._last))
        except UnfitError as problem:
            return cast("BaseModel", await self._llm._amended(self._request.again(self._last, problem)))  # noqa: SLF001

    @override
    async def asend(self, value: None) -> BaseModel:
        return await anext(self)

    @override
    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> BaseModel:
        await self.aclose()
        raise (val or (typ if isinstance(typ, BaseException) else typ())).with_traceback(tb)

    @override
    async def aclose(self) -> None:
        self._over = True
        await self._responses.aclose()


def _began(output_cls: type[BaseModel], prompt: PromptTemplate, prompt_args: dict[str, Any]) -> None:
    dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))
