"""A chain with videos and recordings can be tried on the emulator: both adapters, streamed and not, to the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, TextBlock, VideoBlock

from langchain_minicpm import ChatMiniCPM, audio_block, video_block
from llama_index_minicpm import MiniCPM
from minicpm_core import Message
from minicpm_core.backends import BACKENDS
from minicpm_core.media import resolve_messages
from minicpm_core.parts import AudioSource, Source, VideoSampling, VideoSource
from minicpm_core.protocol.estimate import estimate_prompt
from tests.emulator.clips import SEES, tone, traffic_light

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory

QUESTION = "What is this?"
MODELS = {"modelbest": "MiniCPM-O-4.5-9B", "vllm": "openbmb/MiniCPM-o-4_5", "llamacpp": "openbmb/MiniCPM-o-4_5"}
VIDEOS = {**MODELS, "transformers": "openbmb/MiniCPM-V-4.6"}
HEARD = "A recording of 1.5 seconds at 16000 Hz, loud (-9 dBFS), main pitch about 440 Hz. (emulator, not a model)"


def in_langchain(base_url: str, model: str, block: dict[str, Any], *, stream: bool) -> tuple[str, int]:
    """Text and prompt tokens of an answer."""
    chat = ChatMiniCPM(base_url=base_url, model=model, thinking=False)
    messages: Any = [("human", [block, QUESTION])]
    if not stream:
        answer = chat.invoke(messages)
    else:
        first, *rest = chat.stream(messages)
        answer = sum(rest, start=first)
    assert answer.usage_metadata is not None
    return answer.text, answer.usage_metadata["input_tokens"]


def in_llama_index(base_url: str, model: str, block: Any, *, stream: bool) -> tuple[str, int]:
    """Text and prompt tokens of an answer."""
    llm = MiniCPM(base_url=base_url, model=model, thinking=False)
    messages = [ChatMessage(role="user", blocks=[block, TextBlock(text=QUESTION)])]
    answer: Any = list(llm.stream_chat(messages))[-1] if stream else llm.chat(messages)
    return answer.message.content, answer.additional_kwargs["prompt_tokens"]


def estimated(source: Source, dialect: str, model: str) -> int:
    """What the client counts for a medium before it sends it."""
    (message,) = resolve_messages([Message("user", (source,))], BACKENDS[dialect], model=model)  # type: ignore[index]
    return estimate_prompt([message], model).media


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("adapter", ["langchain", "llama_index"])
@pytest.mark.parametrize("dialect", VIDEOS)
def test_a_video_arrives_and_costs_what_the_client_counted(
    asker_of: AskerFactory, dialect: str, adapter: str, stream: bool
) -> None:
    asker, model, data = asker_of(dialect=dialect), VIDEOS[dialect], traffic_light()
    url = asker.server.base_url
    if adapter == "langchain":
        text, tokens = in_langchain(url, model, video_block(data, fps=5), stream=stream)
    else:
        text, tokens = in_llama_index(url, model, VideoBlock(video=data, fps=5), stream=stream)
    assert text.startswith("A video of 20 frames, 320 x 180 pixels")
    assert SEES in text
    text_only = asker.ask(QUESTION, model=model)["usage"]["prompt_tokens"]
    sampling = VideoSampling(fps=5)
    assert tokens - text_only == estimated(VideoSource("bytes", data, sampling=sampling), dialect, model) > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("adapter", ["langchain", "llama_index"])
@pytest.mark.parametrize("dialect", MODELS)
def test_a_recording_arrives_and_costs_what_the_client_counted(
    asker_of: AskerFactory, dialect: str, adapter: str, stream: bool
) -> None:
    asker, model, data = asker_of(dialect=dialect), MODELS[dialect], tone(rate=44_100, seconds=1.5)
    url = asker.server.base_url
    if adapter == "langchain":
        text, tokens = in_langchain(url, model, audio_block(data), stream=stream)
    else:
        text, tokens = in_llama_index(url, model, AudioBlock(audio=data), stream=stream)
    assert text == HEARD
    text_only = asker.ask(QUESTION, model=model)["usage"]["prompt_tokens"]
    assert tokens - text_only == estimated(AudioSource("bytes", data), dialect, model) == 15


@pytest.mark.parametrize("dialect", VIDEOS)
def test_a_video_sent_as_it_is_is_sampled_by_the_server(asker_of: AskerFactory, dialect: str) -> None:
    block = video_block(traffic_light(), as_is=True)
    text, _ = in_langchain(asker_of(dialect=dialect).server.base_url, VIDEOS[dialect], block, stream=False)
    assert text.startswith("A video of 32 frames, 320 x 180 pixels, about 4.0 seconds")


def test_vllm_is_told_the_sampling_of_a_video_sent_as_it_is(asker_of: AskerFactory) -> None:
    block = video_block(traffic_light(), as_is=True, num_frames=7)
    text, _ = in_langchain(asker_of(dialect="vllm").server.base_url, VIDEOS["vllm"], block, stream=False)
    assert text.startswith("A video of 7 frames")


def test_ollama_gets_a_video_as_pictures_with_their_times(asker_of: AskerFactory) -> None:
    asker, model = asker_of(dialect="ollama"), "openbmb/minicpm-o4.5"
    text, _ = in_langchain(asker.server.base_url, model, video_block(traffic_light()), stream=False)
    assert text.startswith("I received 4 pictures. Picture 1: A plain red landscape rectangle, 320 x 180 pixels.")
