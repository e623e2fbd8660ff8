"""Muon in fp32: steps of a matrix made orthogonal (K. Jordan 2024). torch's own does that in bf16.

A processor without bf16 units multiplies it thirty times slower than fp32, and a step of a model this small would take
longer than all of its gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

_QUINTIC = 3.4445, -4.775, 2.0315
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Muon with Nesterov momentum for matrices [rows, columns]; the numbers mean what they mean in torch's."""

    def __init__(self, matrices: Iterable[torch.Tensor], *, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Take one step."""
        with torch.no_grad():
            for group in self.param_groups:
                for matrix in group["params"]:
                    self._move(matrix, group["lr"], group["momentum"], group["weight_decay"])

    def _move(self, matrix: torch.Tensor, rate: float, momentum: float, decay: float) -> None:
        mean = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
        mean.lerp_(matrix.grad, 1 - momentum)
        update = orthogonal(matrix.grad.lerp(mean, momentum))
        rows, columns = matrix.shape
        matrix.mul_(1 - rate * decay)
        matrix.add_(update, alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix of the same directions whose singular values are all near 1, by Newton and Schulz's iteration."""
    a, b, c = _QUINTIC
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide
