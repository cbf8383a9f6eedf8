"""Tools: the `chat_with_tools` family, and `predict_and_call` for models with tools and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from llama_index_minicpm._release import AsyncMapped, mapped
from llama_index_minicpm._settings import MiniCPMSettings
from llama_index_minicpm._tools import first_call_only, tool_request, tool_selections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ChatResponseAsyncGen, ChatResponseGen
    from llama_index.core.chat_engine.types import AgentChatResponse
    from llama_index.core.llms.llm import ToolSelection
    from llama_index.core.tools import BaseTool


class Calling(MiniCPMSettings):
    """A model that calls tools, over its `chat` family."""

    @override
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """What the `chat_with_tools` family passes to the `chat` family; the history given is not changed."""
        request = tool_request(
            tools,
            user_msg=user_msg,
            chat_history=chat_history,
            tool_required=tool_required,
            tool_choice=tool_choice,
        )
        return request | kwargs

    @override
    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        """Only the first call, where parallel ones are not allowed."""
        return response if allow_parallel_tool_calls else first_call_only(response)

    @override
    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The tool calls in a response. Of an unfinished one, those that have a name, with arguments so far.

        Args:
            response: From any of the chat calls, whole or a chunk of a stream.
            error_on_no_tool_call: Raise where there is none.
            **kwargs: Not used.

        Raises:
            ValueError: There is no tool call.
            MalformedReplyError: The arguments of a finished call are not a JSON object.
        """
        selections = tool_selections(response.message)
        if error_on_no_tool_call and not selections:
            raise ValueError("The model called no tool. Its answer is in response.message.")
        return selections

    @override
    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """`chat_with_tools`, piece by piece; only the first call, where parallel ones are not allowed."""
        stream = super().stream_chat_with_tools(
            tools, user_msg, chat_history, verbose, allow_parallel_tool_calls, tool_required, **kwargs
        )
        return stream if allow_parallel_tool_calls else mapped(first_call_only, stream)

    @override
    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """`stream_chat_with_tools`, asynchronously."""
        stream = await super().astream_chat_with_tools(
            tools, user_msg, chat_history, verbose, allow_parallel_tool_calls, tool_required, **kwargs
        )
        return stream if allow_parallel_tool_calls else AsyncMapped(first_call_only, stream)

    @override
    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Let the model choose a tool, and call it. A model without tools is asked in words, as ReAct agents do.

        Args:
            tools: The tools.
            user_msg: Comes after the history.
            chat_history: Not changed.
            verbose: Print the call.
            allow_parallel_tool_calls: Call several.
            error_on_no_tool_call: Raise where no tool is called.
            error_on_tool_error: Raise where a tool fails.
            **kwargs: Settings of the call; in words also `react_chat_formatter` and `output_parser`.

        Raises:
            ValueError: No tool was called, or one failed.
            MalformedReplyError: A call cannot be read.
        """
        demands = {"error_on_no_tool_call": error_on_no_tool_call, "error_on_tool_error": error_on_tool_error}
        if self.metadata.is_function_calling_model:
            return super().predict_and_call(
                tools, user_msg, chat_history, verbose, allow_parallel_tool_calls, **demands, **kwargs
            )
        from llama_index_minicpm._react import ReactStep

        step = ReactStep(tools, user_msg, chat_history, kwargs)
        return step.called(self.chat(step.messages, **step.options), verbose=verbose, **demands)

    @override
    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """`predict_and_call`, asynchronously."""
        demands = {"error_on_no_tool_call": error_on_no_tool_call, "error_on_tool_error": error_on_tool_error}
        if self.metadata.is_function_calling_model:
            return await super().apredict_and_call(
                tools, user_msg, chat_history, verbose, allow_parallel_tool_calls, **demands, **kwargs
            )
        from llama_index_minicpm._react import ReactStep

        step = ReactStep(tools, user_msg, chat_history, kwargs)
        return await step.acalled(await self.achat(step.messages, **step.options), verbose=verbose, **demands)
