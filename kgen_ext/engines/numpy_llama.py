"""The reference engine: LLaMA in NumPy and float32. It needs no other library, and the others are measured by it.

A row's logits are bitwise the same whatever other rows share the batch, whatever was truncated before, and however its
prompt is cut into chunks. Every token goes through each matrix alone (a matrix times a vector), and the shape of its
attention depends on its own position only. In models this small that costs little: such a product reads the weights
once, where a small batched product repacks them first.

One token x at position p, in each layer:
    h = x / sqrt(mean(x^2) + eps) * w;  q, k, v = h Wq, h Wk, h Wv;  q, k rotated by p;  k, v stored
    x += softmax(q K[0..p] / sqrt(d)) V[0..p] Wo;  h = norm(x);  x += (silu(h Wgate) * (h Wup)) Wdown
and at the end logits = norm(x) Wout.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kgen_ext.engines.checkpoint import Dots1Shape, LlamaShape
from kgen_ext.engines.rows import RowLengths
from kgen_ext.engines.weights import open_checkpoint
from kgen_ext.errors import EngineError, ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# Numbers in a block of a matrix: 1.5 MB stay in a core's cache for row after row, and BLAS does not split so small a
# product among threads (OpenBLAS: from 460,800 numbers on), so the bits do not depend on their number.
BLOCK = 3 << 17


class NumpyLlamaEngine:
    """A LLaMA checkpoint in memory."""

    def __init__(self, path: Path, *, n_ctx: int | None = None) -> None:
        self.name = "reference"
        checkpoint = open_checkpoint(path)
        if isinstance(checkpoint.shape, Dots1Shape):
            raise ModelFileError(
                f"{path}: the reference engine has no experts (dots1)", hint="use the llama_cpp or transformers engine"
            )
        self.shape, stored = checkpoint.shape, checkpoint.tensors
        self.n_ctx = min(n_ctx or self.shape.context, self.shape.context)
        self._tokens, self.vocab = checkpoint.tokens, checkpoint.tokens.vocab

        def join(*names: str) -> Floats:
            return np.concatenate([stored[f"{name}.weight"].read() for name in names])

        self.embedding = join("model.embed_tokens")
        self.norm = join("model.norm")
        self.out = self.embedding if self.shape.tied else join("lm_head")
        self.layers = [Layer(join, f"model.layers.{index}", self.shape) for index in range(self.shape.layers)]
        half = np.arange(0, self.shape.head_dim, 2, dtype=np.float32) / np.float32(self.shape.head_dim)
        angle = np.arange(self.n_ctx, dtype=np.float32)[:, None] / np.float32(self.shape.theta) ** half
        self.cos = np.stack((np.cos(angle), np.cos(angle)), axis=1)[:, None]
        self.sin = np.stack((-np.sin(angle), np.sin(angle)), axis=1)[:, None]

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text."""
        return self._tokens.tokenize(text)

    def open_cache(self, rows: int, n_ctx: int) -> NumpyLlamaCache:
        """Return an empty cache."""
        return NumpyLlamaCache(self, rows, n_ctx)

    def close(self) -> None:
        """Free the weights."""
        self.layers = []
        self.embedding = self.norm = self.out = np.empty((0, 0), np.float32)

    def run(
        self, ids: list[int], rows: list[int], positions: list[int], ends: list[int], cache: NumpyLlamaCache
    ) -> Floats:
        """Run the tokens, store their keys and values, and return the logits behind those with the indices `ends`.

        ids, rows, positions: of each token. Logits: (len(ends), vocabulary).
        """
        x, cos, sin = self.embedding[ids], self.cos[positions], self.sin[positions]
        heads, both = self.shape.heads, self.shape.heads + self.shape.kv_heads
        asked = list(range(len(ids)))
        for index, layer in enumerate(self.layers):
            qkv = times(rms(x, layer.norm_attention, self.shape.eps), layer.qkv)
            qkv = qkv.reshape(len(x), -1, self.shape.head_dim)
            rotated = rotate(qkv[:, :both], cos, sin)
            keys, values = cache.keys[index], cache.values[index]
            keys[rows, :, positions] = rotated[:, heads:]
            values[rows, :, positions] = qkv[:, both:]
            if index == len(self.layers) - 1:  # from here on only the tokens whose logits are asked for
                asked, x = ends, x[ends]
            attended = np.empty((len(asked), heads * self.shape.head_dim), np.float32)
            for place, token in enumerate(asked):
                row, upto = rows[token], positions[token] + 1
                attended[place] = attend(rotated[token, :heads], keys[row, :, :upto], values[row, :, :upto])
            x = x + times(attended, layer.o)
            inner = times(rms(x, layer.norm_inner, self.shape.eps), layer.gate_up)
            gate, up = inner[:, : self.shape.inner], inner[:, self.shape.inner :]
            x = x + times(gate / (np.exp(np.minimum(-gate, 80)) + 1) * up, layer.down)
        return times(rms(x, self.norm, self.shape.eps), self.out)


class Layer:
    """The weights of one layer; matrices with the same input are joined, and queries are scaled beforehand."""

    def __init__(self, join: Callable[..., Floats], name: str, shape: LlamaShape) -> None:
        self.norm_attention = join(f"{name}.input_layernorm")
        self.qkv = join(*(f"{name}.self_attn.{matrix}_proj" for matrix in "qkv"))
        self.qkv[: shape.heads * shape.head_dim] *= np.float32(shape.head_dim**-0.5)
        self.o = join(f"{name}.self_attn.o_proj")
        self.norm_inner = join(f"{name}.post_attention_layernorm")
        self.gate_up = join(f"{name}.mlp.gate_proj", f"{name}.mlp.up_proj")
        self.down = join(f"{name}.mlp.down_proj")


class NumpyLlamaCache:
    """Keys and values, (layers, rows, kv_heads, n_ctx, head_dim)."""

    def __init__(self, engine: NumpyLlamaEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)
        self._engine = engine
        self.exact = self.joins = True
        size = (engine.shape.layers, rows, engine.shape.kv_heads, n_ctx, engine.shape.head_dim)
        self.keys, self.values = np.zeros(size, np.float32), np.zeros(size, np.float32)

    def forward(self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None = None) -> Floats:
        """Append the chunks and return the logits behind the last tokens of each."""
        counts = self._lengths.check_chunks(chunks, behind, n_vocab=self._engine.shape.vocab)
        if not self._engine.layers:
            raise EngineError("the engine is closed", hint="load it again")
        held = self._lengths.held
        ids, rows, positions, ends = list[int](), list[int](), list[int](), list[int]()
        for (row, tokens), count in zip(chunks, counts, strict=True):
            ids += tokens
            rows += [row] * len(tokens)
            positions += range(held[row], held[row] + len(tokens))
            ends += range(len(ids) - count, len(ids))
        logits = self._engine.run(ids, rows, positions, ends, self)
        for row, tokens in chunks:
            held[row] += len(tokens)
        return logits

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        self._lengths.check_row(row)
        return self._lengths.held[row]

    def truncate(self, row: int, length: int) -> None:
        """Drop the row's tokens from `length` on; what is stored of them is never read again."""
        self._lengths.truncate(row, length)

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` keys and values."""
        self._lengths.fork(source, target, length)
        for stored in (self.keys, self.values):
            stored[:, target, :, :length] = stored[:, source, :, :length]

    def close(self) -> None:
        """Free the memory."""
        self._lengths.closed = True
        self.keys = self.values = np.zeros((0, 0, 0, 0, 0), np.float32)


def times(x: Floats, matrix: Floats) -> Floats:
    """Return each row of x times the matrix (outputs, inputs): one row at a time, a block of the matrix at a time."""
    product = np.empty((len(x), len(matrix)), np.float32)
    step = max(1, BLOCK // matrix.shape[1])
    for begin in range(0, len(matrix), step):
        np.matmul(x[:, None], matrix[begin : begin + step].T, out=product[:, None, begin : begin + step])
    return product


def rms(x: Floats, weight: Floats, eps: float) -> Floats:
    """Return x scaled to a mean square of one, then by weight."""
    mean = np.add.reduce(x * x, axis=1, keepdims=True) * np.float32(1 / x.shape[1])
    return x / np.sqrt(mean + np.float32(eps)) * weight


def rotate(x: Floats, cos: Floats, sin: Floats) -> Floats:
    """Rotate each pair (x[i], x[i + half]) by its angle; x is (tokens, heads, head_dim)."""
    halves = x.reshape(x.shape[0], x.shape[1], 2, -1)
    rotated: Floats = (halves * cos + halves[:, :, ::-1] * sin).reshape(x.shape)
    return rotated


def attend(query: Floats, keys: Floats, values: Floats) -> Floats:
    """Return one token's attention: query (heads, d); keys, values (kv_heads, length, d), shared by groups of heads."""
    weights = np.matmul(query.reshape(len(keys), -1, query.shape[1]), keys.swapaxes(1, 2))
    weights -= np.maximum.reduce(weights, axis=2, keepdims=True)
    np.exp(weights, out=weights)
    weights /= np.add.reduce(weights, axis=2, keepdims=True)
    return np.matmul(weights, values).reshape(-1)
