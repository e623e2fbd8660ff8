"""Train the model: `python -m tools.training.train --shards DIR --out DIR --minutes N`; run again to resume.

The learning rate follows the share of the time budget used (not a number of steps), because machines differ: warm-up,
a plateau, then a linear fall to almost nothing. Matrices of the layers are trained with Muon, the tied embedding and
the norms with AdamW. An exponential average of the weights is kept beside them, and it is what gets exported.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.training.batches import stream_batches
from tools.training.export import read_average
from tools.training.loss import soft_cross_entropy
from tools.training.model import Shape, build_model, grow

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """The knobs of a run."""

    minutes: float
    tokens: int  # a micro-batch
    parts: int  # micro-batches a step
    matrix_rate: float
    other_rate: float
    average: float
    warmup: int
    plateau: float
    save_minutes: float
    threads: int
    compiled: bool
    bar: bool


def progress_bar(used: float, seconds: float, tokens: int, *, width: int = 30) -> str:
    """Write `[####......] 40 %  24 of 60 min, 1,300 tokens/s` for the share `used` of the budget."""
    share = min(1.0, used)
    whole = seconds / 60 / share if share else 0.0
    marks = int(share * width)
    bar = f"[{'#' * marks}{'.' * (width - marks)}] {share:.0%}"
    return f"{bar}  {seconds / 60:.0f} of {whole:.0f} min, {tokens / max(seconds, 1e-9):,.0f} tokens/s"


def rate_at(used: float, step: int, *, warmup: int, plateau: float) -> float:
    """Return the learning rate's factor at `used` of the time budget: 1 on the plateau, 0.01 at the end."""
    fall = max(0.0, (used - plateau) / (1 - plateau))
    return min(1.0, (step + 1) / warmup) * max(0.01, 1 - fall)


class Run:
    """A training run: model, optimisers, averaged weights, counters; saved to and resumed from one file."""

    def __init__(self, shape: Shape, options: Options, folder: Path, *, seed: int) -> None:
        import torch

        from tools.training.muon import Muon

        self.shape, self.options, self.folder = shape, options, folder
        self.model = build_model(shape, seed=seed)
        matrices = [value for name, value in self.model.named_parameters() if value.dim() == 2 and "embed" not in name]
        others = [value for name, value in self.model.named_parameters() if value.dim() != 2 or "embed" in name]
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=options.matrix_rate, momentum=0.95, weight_decay=0.01),
            torch.optim.AdamW(others, lr=options.other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        self.average = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.step, self.tokens, self.seconds, self.shard = 0, 0, 0.0, 0
        if self.path.exists():
            self._resume()

    @property
    def path(self) -> Path:
        """Return where the checkpoint is."""
        return self.folder / "checkpoint.pt"

    @property
    def used(self) -> float:
        """Return the share of the time budget used so far."""
        return self.seconds / (self.options.minutes * 60)

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the old one whole."""
        import torch

        temporary = self.path.with_suffix(".tmp")
        torch.save(
            {
                "model": self.model.state_dict(), "average": self.average, "shape": asdict(self.shape),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "counters": [self.step, self.tokens, self.seconds, self.shard],
            },
            temporary,
        )  # fmt: skip
        temporary.replace(self.path)

    def begin_from(self, checkpoint: Path) -> None:
        """Take the averaged weights of another run's checkpoint, or an exported GGUF's; the rest begins anew.

        Weights of fewer layers are grown. Raises ValueError for those of another shape.
        """
        average, shape = read_average(checkpoint)
        if replace(shape, num_hidden_layers=self.shape.num_hidden_layers) != self.shape:
            raise ValueError(f"{checkpoint}: {shape}, the run has {self.shape}")
        self.model.load_state_dict(grow(average, shape.num_hidden_layers, self.shape.num_hidden_layers))
        self.average = {name: value.detach().clone() for name, value in self.model.named_parameters()}

    def _resume(self) -> None:
        import torch

        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.average = saved["average"]
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step, self.tokens, self.seconds, self.shard = saved["counters"]

    def update(self, factor: float) -> None:
        """Take one optimiser step with the learning rates scaled by `factor`, and move the average."""
        import torch

        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rates = (self.options.matrix_rate, self.options.other_rate)
        for optimiser, rate in zip(self.optimisers, rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        decay = min(self.options.average, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                self.average[name].lerp_(value, 1 - decay)


def train(run: Run, shards: Path, *, seed: int) -> None:
    """Train until the time budget is used up, logging a line of losses to `losses.jsonl` as it goes."""
    import torch

    options = run.options
    torch.set_num_threads(options.threads)
    # In fp32: most processors multiply bf16 slower than that, and none of them needs the memory for a model this small.
    hidden = torch.compile(run.model.hidden, dynamic=False) if options.compiled else run.model.hidden
    rng = np.random.default_rng((seed, run.step))
    stream = stream_batches(shards, options.tokens, rng, first=run.shard)
    recent: list[float] = []
    saved = reported = time.monotonic()
    before = run.tokens
    while run.used < 1.0:
        begun = time.monotonic()
        for _ in range(options.parts):
            batch = next(stream)
            run.shard = batch.shard
            inputs, *targets = (torch.from_numpy(part) for part in (batch.inputs, batch.tokens, batch.chances))
            loss = soft_cross_entropy(hidden(inputs), run.model.embed_tokens.weight, *targets)
            (loss / options.parts).backward()
            recent.append(float(loss.detach()))
            run.tokens += batch.count
        run.update(rate_at(run.used, run.step, warmup=options.warmup, plateau=options.plateau))
        run.step += 1
        now = time.monotonic()
        run.seconds += now - begun
        if options.bar:
            sys.stderr.write(f"\r{progress_bar(run.used, run.seconds, run.tokens)}")
            sys.stderr.flush()
        if now - reported > 20:
            line = {
                "step": run.step,
                "tokens": run.tokens,
                "seconds": round(run.seconds),
                "loss": round(float(np.mean(recent)), 4),
                "rate": round((run.tokens - before) / (now - reported)),
                "shard": run.shard,
            }
            with (run.folder / "losses.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            _log.info(
                ("\n" if options.bar else "") + "%3.0f %% step %d, %.2fM tokens, loss %.4f, %d tokens/s",
                100 * run.used,
                run.step,
                run.tokens / 1e6,
                line["loss"],
                line["rate"],
            )
            recent, reported, before = [], now, run.tokens
        if now - saved > options.save_minutes * 60:
            run.save()
            saved = now
    run.save()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.train", description=__doc__)
    parser.add_argument("--shards", type=Path, required=True, help="folder of shards.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt and losses.jsonl")
    parser.add_argument(
        "--minutes", type=float, default=90, help="time budget, earlier runs included (default: %(default)s)"
    )
    parser.add_argument(
        "--weights", type=Path, help="checkpoint of another run, or a GGUF, to begin from; fewer layers are grown"
    )
    parser.add_argument("--vocabulary", type=int, default=6144)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--gated", type=int, default=576, help="width of the gated layer (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens a micro-batch (default: %(default)s)")
    parser.add_argument("--parts", type=int, default=2, help="micro-batches a step (default: %(default)s)")
    parser.add_argument("--matrix-rate", type=float, default=0.01)
    parser.add_argument("--other-rate", type=float, default=0.003)
    parser.add_argument(
        "--average", type=float, default=0.995, help="decay of the averaged weights (default: %(default)s)"
    )
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument(
        "--plateau", type=float, default=0.45, help="share of the budget at full rate (default: %(default)s)"
    )
    parser.add_argument("--save-minutes", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eager", action="store_true", help="do not compile (slower; needs no C++ compiler)")
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given.out.mkdir(parents=True, exist_ok=True)
    shape = Shape(given.vocabulary, given.hidden, given.layers, given.heads, given.gated)
    options = Options(
        given.minutes, given.tokens, given.parts, given.matrix_rate, given.other_rate, given.average,
        given.warmup, given.plateau, given.save_minutes, given.threads, not given.eager, sys.stderr.isatty(),
    )  # fmt: skip
    run = Run(shape, options, given.out, seed=given.seed)
    if given.weights and not run.step:
        run.begin_from(given.weights)
    _log.info("%d parameters, from step %d", sum(value.numel() for value in run.model.parameters()), run.step)
    train(run, given.shards, seed=given.seed)


if __name__ == "__main__":
    main()
