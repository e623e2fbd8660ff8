"""A small LLaMA in torch, with the parameter names and the rotate-half layout of Hugging Face's implementation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model; defaults are the starter's."""

    vocab_size: int = 6144
    hidden_size: int = 256
    num_hidden_layers: int = 8
    num_attention_heads: int = 4
    intermediate_size: int = 576
    max_position_embeddings: int = 512
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        """Return the width of one attention head."""
        return self.hidden_size // self.num_attention_heads


def build_model(shape: Shape, *, seed: int) -> nn.Module:
    """Build a model with random weights drawn from `seed`; call it with ids [B, T] to get logits [B, T, V]."""
    import torch
    from torch import nn
    from torch.nn import functional

    def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-right, left), dim=-1) * sin

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            size = shape.hidden_size
            self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(size, size, bias=False) for _ in range(4))

        def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
            rows, length, size = x.shape
            q, k, v = (
                part(x).view(rows, length, shape.num_attention_heads, shape.head_size).transpose(1, 2)
                for part in (self.q_proj, self.k_proj, self.v_proj)
            )
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            # Rows hold one text each, padded at the end: causal attention alone keeps texts apart.
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, size))

    class Gated(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
            self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
            self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.self_attn, self.mlp = Attention(), Gated()
            self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
            self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)

        def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
            x = x + self.self_attn(self.input_layernorm(x), cos, sin)
            return x + self.mlp(self.post_attention_layernorm(x))

    class Llama(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
            self.layers = nn.ModuleList(Layer() for _ in range(shape.num_hidden_layers))
            self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
            steps = torch.arange(0, shape.head_size, 2).float() / shape.head_size
            angles = torch.outer(torch.arange(shape.max_position_embeddings).float(), shape.rope_theta**-steps)
            angles = torch.cat((angles, angles), dim=-1)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)

        def hidden(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embed_tokens(ids)
            cos, sin = self.cos[: ids.shape[1]].to(x.dtype), self.sin[: ids.shape[1]].to(x.dtype)
            for layer in self.layers:
                x = layer(x, cos, sin)
            return self.norm(x)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return functional.linear(self.hidden(ids), self.embed_tokens.weight)

    torch.manual_seed(seed)
    model = Llama()
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            scale = (
                0.02
                if "embed" in name or not name.endswith(("o_proj.weight", "down_proj.weight"))
                else 0.02 / (2 * shape.num_hidden_layers) ** 0.5
            )
            nn.init.normal_(weight, std=scale if "embed" in name else scale * 1.5)
    return model


def grow(weights: Mapping[str, torch.Tensor], layers: int, wanted: int) -> dict[str, torch.Tensor]:
    """Return weights of a model of `layers` layers as those of one of `wanted` layers that computes the same.

    Copies stand behind what they are copies of, spread evenly, and add nothing until they are trained: their last
    matrices are 0. Raises ValueError if there are more layers than wanted.
    """
    if not layers <= wanted <= 2 * layers:
        raise ValueError(f"{layers} layers cannot be grown to {wanted}: {layers} to {2 * layers} can be")
    grown = {name: value for name, value in weights.items() if not name.startswith("layers.")}
    copied = {(2 * number + 1) * layers // (2 * (wanted - layers)) for number in range(wanted - layers)}
    place = 0
    for layer in range(layers):
        for copy in (False, True)[: 1 + (layer in copied)]:
            for name, value in weights.items():
                if name.startswith(f"layers.{layer}."):
                    silent = copy and name.endswith(("o_proj.weight", "down_proj.weight"))
                    part = name.split(".", 2)[2]
                    grown[f"layers.{place}.{part}"] = value * 0 if silent else value.clone()
            place += 1
    return grown
