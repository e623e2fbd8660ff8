"""Weights into a transformers LLaMA: from the folder by the library itself, from a GGUF by our own reader.

Refuses pickles, code that comes with a model, and the network; knows nothing of caches and devices.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgen_ext.engines.weights import Checkpoint


def load_llama(torch: Any, transformers: Any, checkpoint: Checkpoint, *, dtype: Any, options: Mapping[str, str]) -> Any:
    """Return the model on the CPU; what the library raises is the caller's to name."""
    kind = transformers.LlamaForCausalLM
    if not checkpoint.is_gguf:
        return kind.from_pretrained(str(checkpoint.path), local_files_only=True, use_safetensors=True, **options)
    shape = checkpoint.shape
    config = transformers.LlamaConfig(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context, rms_norm_eps=shape.eps, rope_theta=shape.theta,
        tie_word_embeddings=shape.tied, bos_token_id=shape.bos, eos_token_id=shape.eos,
        **({} if shape.head_dim * shape.heads == shape.hidden else {"head_dim": shape.head_dim}),
    )  # fmt: skip
    # One tensor at a time in float32, kept as the model will have it.
    weights = {name: torch.from_numpy(one.read()).to(dtype) for name, one in checkpoint.tensors.items()}
    if shape.tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return kind.from_pretrained(None, config=config, state_dict=weights, **options)
