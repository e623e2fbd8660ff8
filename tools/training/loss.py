"""The loss: cross entropy of a tied output layer against soft targets that name a few tokens at each position.

The logits of a batch [N, V] are the largest array of a step. They are computed a few hundred positions at a time, small
enough for the processor's cache, and turned into gradients at once, so that they never go through main memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kgen_ext.once import once

if TYPE_CHECKING:
    import torch

_CHUNK = 256  # places at a time: 6 MB of logits


def soft_cross_entropy(
    hidden: torch.Tensor, embedding: torch.Tensor, tokens: torch.Tensor, chances: torch.Tensor
) -> torch.Tensor:
    """Return the mean loss of `hidden` [.., D] with `embedding` [V, D] against `tokens` and `chances` [.., K].

    A place without chances (padding) does not count; a place's chances need not sum to 1 and weigh as they sum.
    """
    hidden, tokens, chances = (part.flatten(0, -2) for part in (hidden, tokens, chances))
    kept = chances.sum(dim=1) > 0
    result: torch.Tensor = _function().apply(hidden[kept], embedding, tokens[kept], chances[kept])
    return result


@once
def _function() -> Any:
    import torch

    class SoftCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(
            ctx: Any, hidden: torch.Tensor, embedding: torch.Tensor, tokens: torch.Tensor, chances: torch.Tensor
        ) -> torch.Tensor:
            weights = chances.sum(dim=1)
            to_hidden, to_embedding = torch.empty_like(hidden), torch.zeros_like(embedding)
            loss = hidden.new_zeros(())
            for low in range(0, len(hidden), _CHUNK):
                part = slice(low, low + _CHUNK)
                scores = hidden[part] @ embedding.t()
                wanted = (scores.gather(1, tokens[part]) * chances[part]).sum()
                most = scores.amax(dim=1, keepdim=True)
                scores.sub_(most).exp_()
                total = scores.sum(dim=1, keepdim=True)
                loss += ((total.log() + most).squeeze(1) * weights[part]).sum() - wanted
                # From here on `scores` is the gradient: what the model gives a token, less what it should have.
                scores.mul_(weights[part, None] / total).scatter_add_(1, tokens[part], -chances[part])
                torch.mm(scores, embedding, out=to_hidden[part])
                to_embedding.addmm_(scores.t(), hidden[part])
            ctx.save_for_backward(to_hidden, to_embedding)
            ctx.total = weights.sum()
            return loss / ctx.total

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
            to_hidden, to_embedding = ctx.saved_tensors
            scale = gradients[0] / ctx.total
            return to_hidden * scale, to_embedding * scale, None, None

    return SoftCrossEntropy
