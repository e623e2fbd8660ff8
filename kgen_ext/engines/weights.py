"""A LLaMA on disk, whatever holds it: a folder of safetensors or a GGUF file, as shape, tensors and tokenizer.

Refuses to compute. Only headers are read here; a tensor is read when it is asked for.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kgen_ext.engines.checkpoint import LlamaShape, find_tensors, read_shape
from kgen_ext.engines.gguf_weights import read_gguf
from kgen_ext.engines.tokens import TextTokens, folder_tokens, piece_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Tensor(Protocol):
    """A tensor that lies in a file."""

    def read(self) -> NDArray[np.float32]:
        """Return it as float32."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that can be loaded; tensors have Hugging Face's names."""

    path: Path
    shape: LlamaShape
    tensors: Mapping[str, Tensor]
    tokens: TextTokens

    @property
    def is_gguf(self) -> bool:
        """Tell whether it is a GGUF file rather than a folder."""
        return self.path.suffix.lower() == ".gguf"


def open_checkpoint(path: Path) -> Checkpoint:
    """Return the model in a folder or a .gguf file; raises ModelFileError, EngineUnavailable."""
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        model = read_gguf(path)
        shape = model.shape
        tokens = piece_tokens(
            model.pieces, path=path, prefix=model.prefix, n_vocab=shape.vocab, bos=shape.bos, eos=shape.eos
        )
        return Checkpoint(path, shape, model.tensors, tokens)
    shape = read_shape(path)
    stored = find_tensors(path, shape)
    return Checkpoint(
        path, shape, stored, folder_tokens(path, n_vocab=shape.vocab, bos=shape.bos, eos=shape.eos)
    )
