"""One step of a ReAct agent, for models that cannot call tools: a tool is asked for in words, read and called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from llama_index.core.agent.react import ReActChatFormatter, ReActOutputParser
from llama_index.core.agent.react.types import ActionReasoningStep
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.calling import acall_tool_with_selection, call_tool_with_selection

from minicpm_core.errors import MalformedReplyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.base.llms.types import ChatResponse
    from llama_index.core.chat_engine.types import AgentChatResponse
    from llama_index.core.tools import BaseTool, ToolOutput

_EXCERPT = 200
_AGENTS = frozenset({"react_chat_formatter", "output_parser", "tool_retriever", "memory"})
"""Keywords of LlamaIndex's own `predict_and_call` that are not settings of the call."""


class ReactStep:
    """A question with tools, put in words.

    Args:
        tools: What may be called.
        user_msg: Comes after the history.
        chat_history: Not changed.
        given: The keywords of the caller.
    """

    def __init__(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None,
        chat_history: Sequence[ChatMessage] | None,
        given: Mapping[str, Any],
    ) -> None:
        messages = list(chat_history or ())
        if user_msg is not None and user_msg != "":
            messages.append(ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg)
        self._tools = list(tools)
        self._parser = given.get("output_parser") or ReActOutputParser()
        formatter = given.get("react_chat_formatter") or ReActChatFormatter.from_defaults()
        self.messages = _one_system_turn(formatter.format(self._tools, chat_history=messages))
        """What is sent."""
        self.options = {name: value for name, value in given.items() if name not in _AGENTS}
        """The settings of the call."""

    def called(self, response: ChatResponse, *, verbose: bool, **demands: bool) -> AgentChatResponse:
        """Call the tool that the answer names."""
        selection = self._selection(response, **demands)
        if selection is None:
            return _answered(response)
        return _result(call_tool_with_selection(selection, self._tools, verbose=verbose), **demands)

    async def acalled(self, response: ChatResponse, *, verbose: bool, **demands: bool) -> AgentChatResponse:
        """`called`, asynchronously."""
        selection = self._selection(response, **demands)
        if selection is None:
            return _answered(response)
        return _result(await acall_tool_with_selection(selection, self._tools, verbose=verbose), **demands)

    def _selection(self, response: ChatResponse, *, error_on_no_tool_call: bool, **_: bool) -> ToolSelection | None:
        text = response.message.content or ""
        try:
            step = self._parser.parse(text, is_streaming=False)
        except ValueError:
            step = None  # neither a call nor an answer in the form that was asked for
        if not isinstance(step, ActionReasoningStep):
            if error_on_no_tool_call:
                raise ValueError(f"The model called no tool. It wrote: {text[:_EXCERPT]!r}")
            return None
        names = [tool.metadata.get_name() for tool in self._tools]
        if step.action not in names:
            raise MalformedReplyError(
                f"The model called {step.action!r}, which is none of the tools: {', '.join(names)}.",
                body=text[:_EXCERPT],
            )
        return ToolSelection(tool_id=str(uuid4()), tool_name=step.action, tool_kwargs=cast("Any", step).action_input)


def _one_system_turn(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The conversation with the system turns that it begins with in one, as the templates want it."""
    count = next((at for at, message in enumerate(messages) if message.role != MessageRole.SYSTEM), len(messages))
    if count <= 1:
        return list(messages)
    text = "\n\n".join(message.content or "" for message in messages[:count])
    return [ChatMessage(role=MessageRole.SYSTEM, blocks=[TextBlock(text=text)]), *messages[count:]]


def _answered(response: ChatResponse) -> AgentChatResponse:
    from llama_index.core.chat_engine.types import AgentChatResponse

    return AgentChatResponse(response=response.message.content or "", sources=[])


def _result(output: ToolOutput, *, error_on_tool_error: bool, **_: bool) -> AgentChatResponse:
    from llama_index.core.chat_engine.types import AgentChatResponse

    if output.is_error and error_on_tool_error:
        raise ValueError(output.content)
    return AgentChatResponse(response=output.content, sources=[output])
