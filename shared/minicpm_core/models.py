"""What is known of each model, as data: a new model is a row of `CARDS`.

Sources: the vendor's model files (context, thinking, stop ids), its API guide (hosted ids and their older names) and
the Ollama library.  What is not published is `None` here, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

Modality: TypeAlias = Literal["text", "image", "video", "audio"]
TokenFormula: TypeAlias = Literal["v46", "resampler64"]
"""How pictures become tokens: NaViT with 2x2 merging (V 4.6) or a resampler with 64 queries a tile (V 4.5, o 4.5)."""

ToolFormat: TypeAlias = Literal["xml", "json"]
"""How a model writes a call: as XML in Qwen3-Coder's way, or as a JSON object in that of Hermes."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about a model.

    Attributes:
        name: The family name, such as `MiniCPM-V 4.6 Thinking`.
        hosted_id: The id on the vendor's hosted API today; `None` where it is not hosted.
        hosted_aliases: Older hosted ids, still found in guides. Resolved for the hosted backend only.
        hugging_face: Repository ids on Hugging Face.
        ollama: Names in the Ollama library.
        context_window: Tokens that the model was made for; servers often serve less. `None` if not published.
        modalities: What it takes.
        thinks_by_default: What the model's own template does where a request says nothing.
        thinking_default: What this library asks for where the caller says nothing.
        thinking_tag_in_prompt: The template writes `<think>` itself, so that a server without a reasoning parser
            answers with a lone `</think>`.
        tools: Trained to call tools.
        tool_format: How its chat template writes calls.
        stop_token_ids: From `generation_config.json`.
        token_formula: How its pictures become tokens.
        known: `False` on the card that unknown ids get.
    """

    name: str
    hosted_id: str | None = None
    hosted_aliases: tuple[str, ...] = ()
    hugging_face: tuple[str, ...] = ()
    ollama: tuple[str, ...] = ()
    context_window: int | None = None
    modalities: frozenset[Modality] = frozenset({"text", "image"})
    thinks_by_default: bool = False
    thinking_default: bool = False
    thinking_tag_in_prompt: bool = True
    tools: bool = True
    tool_format: ToolFormat = "xml"
    stop_token_ids: tuple[int, ...] = ()
    token_formula: TokenFormula = "v46"
    known: bool = True


_VISION: frozenset[Modality] = frozenset({"text", "image", "video"})
_OMNI: frozenset[Modality] = frozenset({"text", "image", "video", "audio"})
_QWEN35_STOPS = (248044, 248046)
_QWEN3_STOPS = (151643, 151645)

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="MiniCPM-V 4.6 Instruct",
        hosted_id="MiniCPM-V-4.6-1B",
        hosted_aliases=("MiniCPM-V-4.6-Instruct",),
        hugging_face=("openbmb/MiniCPM-V-4.6", "openbmb/MiniCPM-V-4_6"),
        ollama=("minicpm-v4.6", "openbmb/minicpm-v4.6"),
        context_window=262_144,
        modalities=_VISION,
        stop_token_ids=_QWEN35_STOPS,
    ),
    ModelCard(
        name="MiniCPM-V 4.6 Thinking",
        hosted_id="MiniCPM-V-4.6-Thinking",
        hugging_face=("openbmb/MiniCPM-V-4.6-Thinking", "openbmb/MiniCPM-V-4_6-Thinking"),
        ollama=("openbmb/minicpm-v4.6-thinking",),
        context_window=262_144,
        modalities=_VISION,
        thinks_by_default=True,
        thinking_default=True,
        stop_token_ids=_QWEN35_STOPS,
    ),
    ModelCard(
        name="MiniCPM-o 4.5",
        hosted_id="MiniCPM-O-4.5-9B",
        hosted_aliases=("MiniCPM-o-4.5",),
        hugging_face=("openbmb/MiniCPM-o-4_5",),
        ollama=("openbmb/minicpm-o4.5",),
        modalities=_OMNI,
        thinks_by_default=True,  # Qwen3's template thinks unless told not to; the vendor's own chat() tells it not to
        thinking_tag_in_prompt=False,
        tools=False,  # "not trained for direct tool calling" (vendor, MiniCPM-V-CookBook#108)
        tool_format="json",
        stop_token_ids=_QWEN3_STOPS,
        token_formula="resampler64",
    ),
    ModelCard(
        name="MiniCPM-V 4.5",
        hosted_id="MiniCPM-V-4.5-9B",
        hugging_face=("openbmb/MiniCPM-V-4_5",),
        ollama=("openbmb/minicpm-v4.5",),
        context_window=32_768,
        modalities=_VISION,
        thinks_by_default=True,
        thinking_tag_in_prompt=False,
        tools=False,
        tool_format="json",
        stop_token_ids=_QWEN3_STOPS,
        token_formula="resampler64",
    ),
    ModelCard(
        name="MiniCPM-V 4.7",
        hugging_face=("openbmb/MiniCPM-V-4.7", "openbmb/MiniCPM-V-4_7"),
        modalities=_VISION,
    ),
)

UNKNOWN = ModelCard(name="unknown model", thinking_tag_in_prompt=True, known=False)
"""The cautious default for an id that no card names: text and images, thinking off, context not known."""

_UNKNOWN_THINKING = ModelCard(name="unknown thinking model", thinks_by_default=True, thinking_default=True, known=False)


def _names(card: ModelCard) -> tuple[str, ...]:
    hosted = (card.hosted_id,) if card.hosted_id else ()
    return (card.name.replace(" ", "-"), *hosted, *card.hosted_aliases, *card.hugging_face, *card.ollama)


def _key(model: str) -> str:
    """The form in which ids are compared: without owner, tag, revision and case, and with one kind of separator."""
    name = model.rstrip("/").rsplit("/", 1)[-1].split(":", 1)[0].split("@", 1)[0]
    return name.lower().replace("_", ".").replace(" ", "-")


_BY_KEY: dict[str, ModelCard] = {_key(name): card for card in CARDS for name in _names(card)}


@lru_cache(maxsize=256)
def card_for(model: str) -> ModelCard:
    """The card of a model id, under whichever name a server knows it.

    Owner or folder, Ollama tag, revision and upper case make no difference; the longest card name that the id starts
    with wins, so quantised variants (`MiniCPM-V-4.6-AWQ`) are recognised too.  An id that no card names gets a cautious
    default.

    Args:
        model: An id such as `openbmb/MiniCPM-V-4_6-Thinking` or `minicpm-v4.6:latest`.
    """
    key = _key(model)
    found = _BY_KEY.get(key)
    if found is not None:
        return found
    prefixes = [name for name in _BY_KEY if key.startswith((f"{name}-", f"{name}."))]
    if prefixes:
        found = _BY_KEY[max(prefixes, key=len)]
        if "thinking" in key and not found.thinking_default:
            return _UNKNOWN_THINKING
        return found
    return _UNKNOWN_THINKING if "thinking" in key else UNKNOWN


def hosted_id(model: str) -> str:
    """Today's hosted id for an older one, in whichever case it is written; any other id as it is."""
    for card in CARDS:
        if card.hosted_id and model.lower() in {alias.lower() for alias in card.hosted_aliases}:
            return card.hosted_id
    return model


DEFAULT_MODEL = "MiniCPM-V-4.6-1B"
"""What is asked for where neither the caller nor the environment names a model."""
