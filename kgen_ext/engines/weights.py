"""Model weights, whatever file holds them: opened as shape, tensors and tokenizer; loaded into torch; quantised.

A model is a folder of safetensors or a GGUF file. Opening one reads headers only; a tensor is read when it is asked
for. Pickles, code that comes with a model, and the network are never used.
"""
from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kgen_ext.engines.checkpoint import Dots1Shape, LlamaShape, find_tensors, read_shape
from kgen_ext.engines.gguf import check_gguf, read_gguf
from kgen_ext.engines.llama_cpp_bindings import UPDATE, open_library
from kgen_ext.engines.tokenizer import TextTokens, folder_tokens
from kgen_ext.errors import EngineUnavailable, ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# llama.h: LLAMA_FTYPE_MOSTLY_Q8_0
Q8_0 = 7


class Tensor(Protocol):
    """A tensor in a file."""

    def read(self) -> NDArray[np.float32]:
        """Return it as float32."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened model; tensors have Hugging Face's names."""

    path: Path
    shape: LlamaShape
    tensors: Mapping[str, Tensor]
    tokens: TextTokens

    @property
    def is_gguf(self) -> bool:
        """Return whether it is a GGUF file rather than a folder."""
        return self.path.suffix.lower() == ".gguf"


def open_checkpoint(path: Path) -> Checkpoint:
    """Open the model in a folder or a .gguf file; raises ModelFileError, EngineUnavailable."""
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        model = read_gguf(path)
        return Checkpoint(path, model.shape, model.tensors, model.tokens)
    shape = read_shape(path)
    stored = find_tensors(path, shape)
    return Checkpoint(
        path, shape, stored, folder_tokens(path, n_vocab=shape.vocab, bos=shape.bos, eos=shape.eos)
    )


def load_model(torch: Any, transformers: Any, checkpoint: Checkpoint, *, dtype: Any, options: Mapping[str, str]) -> Any:
    """Return the transformers model on the CPU; lets the library's own errors through."""
    if not checkpoint.is_gguf:
        kind = transformers.LlamaForCausalLM
        return kind.from_pretrained(str(checkpoint.path), local_files_only=True, use_safetensors=True, **options)
    shape = checkpoint.shape
    numbers: dict[str, Any] = dict(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context, rms_norm_eps=shape.eps, rope_theta=shape.theta,
        tie_word_embeddings=shape.tied, bos_token_id=shape.bos, eos_token_id=shape.eos,
        **({} if shape.head_dim * shape.heads == shape.hidden else {"head_dim": shape.head_dim}),
    )  # fmt: skip
    if isinstance(shape, Dots1Shape):
        kind = transformers.Dots1ForCausalLM
        config = transformers.Dots1Config(
            **numbers, sliding_window=None, first_k_dense_replace=shape.dense, n_routed_experts=shape.experts,
            num_experts_per_tok=shape.used, n_shared_experts=shape.shared, moe_intermediate_size=shape.expert_inner,
            norm_topk_prob=shape.norm, routed_scaling_factor=shape.scale, n_group=1, topk_group=1,
        )  # fmt: skip
    else:
        kind, config = transformers.LlamaForCausalLM, transformers.LlamaConfig(**numbers)
    # Only one tensor at a time is in float32.
    weights = {name: torch.from_numpy(tensor.read()).to(dtype) for name, tensor in checkpoint.tensors.items()}
    if shape.tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return kind.from_pretrained(None, config=config, state_dict=weights, **options)


def quantise(source: Path, target: Path, *, threads: int | None = None) -> None:
    """Write an F16 GGUF as Q8_0, with llama.cpp's quantiser: half the size, faster on a CPU, nearly the same weights.

    It cannot be interrupted: `target` should be a temporary file. Raises ModelFileError, EngineUnavailable.
    """
    check_gguf(source)
    library = open_library()
    api = library.api
    if not hasattr(api, "llama_model_quantize"):
        raise EngineUnavailable("this llama-cpp-python cannot quantise", hint=UPDATE)
    settings = api.llama_model_quantize_default_params()
    settings.ftype = Q8_0
    settings.nthread = threads or os.cpu_count() or 1
    library.log.clear()
    code = api.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(settings))
    if code:
        raise ModelFileError(
            f"{source}: llama.cpp cannot quantise it{library.log.reason()}",
            hint="give it an F16 GGUF of a model it knows",
        )
