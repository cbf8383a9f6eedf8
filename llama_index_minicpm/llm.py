"""`MiniCPM`: the eight calls of a LlamaIndex LLM, each translate, call the core, translate back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from llama_index.core.types import BaseOutputParser, PydanticProgramMode
from typing_extensions import override

from llama_index_minicpm._messages import to_core, user_turn
from llama_index_minicpm._predicting import Predicting
from llama_index_minicpm._release import areleasing, held, releasing
from llama_index_minicpm._responses import (
    ChatReader,
    CompletionReader,
    aresponses,
    chat_response,
    completion_response,
    responses,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from llama_index.core.base.llms.types import (
        ChatMessage,
        ChatResponse,
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponse,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
    )
    from llama_index.core.bridge.pydantic import SecretStr
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.llms.llm import CompletionToPromptType, MessagesToPromptType
    from llama_index.core.tools import BaseTool

    from minicpm_core import ChatOptions
    from minicpm_core.config import TimeoutSetting
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.media.settings import FramePolicy, MediaProgress, UrlPolicy
    from minicpm_core.parts import Detail, VideoSampling
    from minicpm_core.types import Message

    F = TypeVar("F", bound=Callable[..., Any])

    def llm_chat_callback() -> Callable[[F], F]:
        """LlamaIndex's, which has no types of its own."""
        ...

    def llm_completion_callback() -> Callable[[F], F]:
        """LlamaIndex's, which has no types of its own."""
        ...
else:
    from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback


class MiniCPM(Predicting):
    """A MiniCPM model that LlamaIndex can talk to: text and media in, text, reasoning and tool calls out.

    Example:
        ```python
        llm = MiniCPM(temperature=0.2)
        llm.complete("What is on the table?", image_documents=[ImageBlock(path="photo.jpg")])
        ```

    Settings come from arguments, then the environment (`MINICPM_API_KEY`, `MINICPM_BASE_URL`, `MINICPM_MODEL`,
    `MINICPM_BACKEND`), then defaults.  All but the connection's can be given for one call too, as keywords:
    `llm.chat(messages, temperature=0, thinking=True)`, where `None` leaves one out.  Setting an attribute takes
    effect at the next call.

    The key and the headers are in no representation, dictionary or pickle; a copy keeps them, and the process that
    loads a pickle reads the key from its own environment.

    Args:
        model: The model's id, `MiniCPM-V-4.6-1B` by default.
        api_key: The key; servers of one's own may need none.
        base_url: Of the API (alias `api_base`), the vendor's hosted API by default.
        backend: The kind of server: `auto`, `modelbest`, `vllm`, `sglang`, `llamacpp`, `ollama`, `transformers` or
            `generic`.
        timeout: Seconds for each step, `minicpm_core.config.Timeouts` or an `httpx.Timeout`.
        max_retries: How often a failed request is made again.
        default_headers: Sent with each request.
        tool_calling: `native` puts tools into the request, `prompted` into the system turn, for servers that take none;
            `auto`, the default, tries the first and remembers where a server refuses it.
        http_client: An `httpx.Client` of one's own for the synchronous calls.
        async_http_client: An `httpx.AsyncClient` of one's own for the asynchronous ones.
        image_detail: How much of a picture is sent: `auto` (9 tiles, no more than the model looks at), `low` (one
            tile), `high` (an overview and cut-outs) or `original`. An `ImageBlock`'s own `detail` wins.
        image_quality: Of JPEG, where a picture has to be encoded; 90 by default.
        image_frames: Of an animation or a TIFF of several pages: the `first`, by default, or `all`.
        media_urls: What is done with http(s) URLs: `fetch` here, by default, with addresses checked; `pass` to servers
            that fetch themselves; `refuse`.
        media_hosts: Hosts that may be fetched from although their addresses are private.
        media_limits: Bounds on each medium.
        video_sampling: Which frames of videos are sent; one a second, up to 32, by default. A `VideoBlock`'s own `fps`
            wins, and its `detail="original"` sends the file as it is.
        document_pages: The most pages of one document; 20 by default.
        media_progress: Called with what is prepared, such as `video`, and how much of it is done, from 0 to 1.
        temperature, top_p, max_tokens, stop, seed, presence_penalty, frequency_penalty, logprobs, top_logprobs: As in
            the Chat Completions API.
        thinking: Whether to think before answering; `None` leaves it to the model.
        stream_usage: Whether to ask for token counts in streams; `None` asks where the server takes it.
        extra_body: Further fields of the request, such as `top_k`.
        context_window: Tokens that fit into the prompt and the answer; 32,768 by default, or less where the model was
            made for less. LlamaIndex packs prompts by it.
        is_function_calling: Whether agents and structured output may use tools; by default what the model's card says.
        callback_manager, system_prompt, messages_to_prompt, completion_to_prompt, pydantic_program_mode,
            output_parser: As for every LlamaIndex LLM.

    Raises:
        ConfigurationError: A setting is unknown or cannot be.

    Every call raises the errors of `minicpm_core.errors`.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        api_key: str | SecretStr | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        backend: str | None = None,
        timeout: TimeoutSetting = None,
        max_retries: int = 2,
        default_headers: Mapping[str, str] | None = None,
        tool_calling: str | None = None,
        http_client: Any = None,
        async_http_client: Any = None,
        image_detail: Detail | None = None,
        image_quality: int | None = None,
        image_frames: FramePolicy | None = None,
        media_urls: UrlPolicy | None = None,
        media_hosts: Iterable[str] | None = None,
        media_limits: MediaLimits | None = None,
        video_sampling: VideoSampling | None = None,
        document_pages: int | None = None,
        media_progress: MediaProgress | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | list[str] | None = None,
        seed: int | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        thinking: bool | None = None,
        stream_usage: bool | None = None,
        extra_body: Mapping[str, Any] | None = None,
        context_window: int | None = None,
        is_function_calling: bool | None = None,
        callback_manager: CallbackManager | None = None,
        system_prompt: str | None = None,
        messages_to_prompt: MessagesToPromptType | None = None,
        completion_to_prompt: CompletionToPromptType | None = None,
        pydantic_program_mode: PydanticProgramMode = PydanticProgramMode.DEFAULT,
        output_parser: BaseOutputParser | None = None,
        **more: Any,
    ) -> None:
        settings = {name: value for name, value in locals().items() if name not in {"self", "more", "__class__"}}
        super().__init__(**settings, **more)

    @classmethod
    @override
    def class_name(cls) -> str:
        """The name in serialised form; it says `multi_modal`, which LlamaIndex's multimodal engines look for."""
        return "minicpm_multi_modal_llm"

    # -- Chat ----------------------------------------------------------------------------------------------------------

    @llm_chat_callback()
    @override
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation.

        Args:
            messages: With text and `ImageBlock`s. They are not changed.
            **kwargs: Settings for this call (`minicpm_core.ChatOptions`).
        """
        completion = self._sync().complete(to_core(messages), _options(kwargs))
        return chat_response(completion)

    @releasing
    @llm_chat_callback()
    @override
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation, piece by piece. The request is made, and its errors raised, by the call itself.

        Thoughts come in `additional_kwargs["thinking_delta"]`; the last response has the whole message, and the usage
        in `raw`. Closing or dropping the generator closes the connection.
        """
        stream = self._sync().stream(to_core(messages), _options(kwargs))
        return responses(held(stream), ChatReader())

    @llm_chat_callback()
    @override
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat`, asynchronously."""
        completion = await self._async().complete(to_core(messages), _options(kwargs))
        return chat_response(completion)

    @areleasing
    @llm_chat_callback()
    @override
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """`stream_chat`, asynchronously."""
        stream = await self._async().stream(to_core(messages), _options(kwargs))
        return aresponses(held(stream), ChatReader())

    def count_tokens(self, messages: Sequence[ChatMessage], tools: Sequence[BaseTool] = ()) -> int:
        """About how many tokens a conversation has as a prompt: rather too many than too few. Nothing is fetched.

        Args:
            messages: The conversation; its pictures are counted by the model's own rule, other media as the most that
                they will be.
            tools: Tools that may be called.

        Raises:
            InvalidInputError: A message or a medium cannot be sent.
        """
        from minicpm_core.media.count import count_prompt

        declared = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
        return count_prompt(to_core(messages), self.model, settings=self._config().media, tools=declared)

    # -- Complete ------------------------------------------------------------------------------------------------------

    @llm_completion_callback()
    @override
    def complete(
        self, prompt: str, formatted: bool = False, *, image_documents: Sequence[Any] | None = None, **kwargs: Any
    ) -> CompletionResponse:
        """Answer a prompt, sent as one user message.

        Args:
            prompt: The text; `completion_to_prompt` is applied unless it is `formatted`.
            formatted: The prompt is ready.
            image_documents: Pictures beside it: `ImageBlock`, `ImageDocument`, `ImageNode`, or any node or document
                with an `image_resource`.
            **kwargs: Settings for this call (`minicpm_core.ChatOptions`).
        """
        completion = self._sync().complete(self._turn(prompt, image_documents, formatted=formatted), _options(kwargs))
        return completion_response(completion)

    @releasing
    @llm_completion_callback()
    @override
    def stream_complete(
        self, prompt: str, formatted: bool = False, *, image_documents: Sequence[Any] | None = None, **kwargs: Any
    ) -> CompletionResponseGen:
        """Answer a prompt, piece by piece, as `stream_chat` does."""
        stream = self._sync().stream(self._turn(prompt, image_documents, formatted=formatted), _options(kwargs))
        return responses(held(stream), CompletionReader())

    @llm_completion_callback()
    @override
    async def acomplete(
        self, prompt: str, formatted: bool = False, *, image_documents: Sequence[Any] | None = None, **kwargs: Any
    ) -> CompletionResponse:
        """`complete`, asynchronously."""
        completion = await self._async().complete(
            self._turn(prompt, image_documents, formatted=formatted), _options(kwargs)
        )
        return completion_response(completion)

    @areleasing
    @llm_completion_callback()
    @override
    async def astream_complete(
        self, prompt: str, formatted: bool = False, *, image_documents: Sequence[Any] | None = None, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """`stream_complete`, asynchronously."""
        stream = await self._async().stream(self._turn(prompt, image_documents, formatted=formatted), _options(kwargs))
        return aresponses(held(stream), CompletionReader())

    def _turn(self, prompt: str, images: Sequence[Any] | None, *, formatted: bool) -> list[Message]:
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        return user_turn(prompt, images)


def _options(kwargs: dict[str, Any]) -> ChatOptions:
    """The settings of one call. The core checks them and refuses those that it does not know."""
    return cast("ChatOptions", kwargs)
