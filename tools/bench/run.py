"""A whole run: the models, the cases, the amount of each, and the processes they run in."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kgen_ext.engines.weights import quantise
from tools.bench.ceiling import open_bare
from tools.bench.child import Child
from tools.bench.ours import open_ours
from tools.bench.promises import run_promises
from tools.bench.report import ModelResult
from tools.bench.rounds import CASES, SIZES, Case, Sides, run_case, run_steps
from tools.bench.shape import write_shape200m
from tools.bench.tipo_kgen import open_tipo_kgen

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Extent:
    """Extent of a run. steps: tokens for each prompt with weights whose texts never end."""

    cases: tuple[Case, ...] = CASES
    sizes: tuple[int, ...] = SIZES
    rounds: int = 3
    prompts: int = 32
    many: int = 1000
    steps: int = 96
    random_weights: bool = True

    @staticmethod
    def quick() -> Extent:
        """Return the extent that takes about a minute."""
        return Extent(CASES[-1:], (1, 16), rounds=1, prompts=8, many=100, random_weights=False)

    @staticmethod
    def full() -> Extent:
        """Return the full extent, with more rounds."""
        return Extent(rounds=5, steps=128)

    def with_rounds(self, rounds: int) -> Extent:
        """Return the same with another number of rounds."""
        return replace(self, rounds=rounds)


def run(
    model: Path, *, threads: int, extent: Extent, only: str | None, starter: Path, tell: Tell
) -> tuple[ModelResult, ...]:
    """Measure the model, and random weights of TIPO-200M's shape; `starter` is the folder with its tokenizer."""
    results = list[ModelResult]()
    if only != "shape200m":
        results.append(_with_model(model, threads, extent, tell))
    if only == "shape200m" or (only is None and extent.random_weights):
        with TemporaryDirectory() as folder:
            tell("writing random weights of TIPO-200M's shape")
            full, half = Path(folder) / "shape200m-F16.gguf", Path(folder) / "shape200m-Q8_0.gguf"
            write_shape200m(full, starter / "tokenizer.json")
            quantise(full, half, threads=threads)
            results += [_with_shape(path, threads, extent, tell) for path in (full, half)]
    return tuple(results)


def _with_model(model: Path, threads: int, extent: Extent, tell: Tell) -> ModelResult:
    with _sides(model, threads, tell) as sides:
        cases = [
            run_case(
                sides, case, sizes=extent.sizes, rounds=extent.rounds, prompts=extent.prompts,
                queue=case is CASES[-1], tell=tell,
            )
            for case in extent.cases
        ]  # fmt: skip
        with Child(open_ours, str(model), threads) as fresh:
            promises = run_promises(fresh, sides.theirs, many=extent.many, prompts=extent.prompts, tell=tell)
    return ModelResult(model.stem, tuple(cases), promises)


def _with_shape(path: Path, threads: int, extent: Extent, tell: Tell) -> ModelResult:
    with _sides(path, threads, tell) as sides:
        case = run_steps(
            sides, f"{extent.steps} tokens each", sizes=extent.sizes, rounds=extent.rounds, length=extent.steps,
            prompts=4, tell=tell,
        )  # fmt: skip
    return ModelResult(f"random weights, TIPO-200M's shape, {path.stem.partition('-')[2]}", (case,), None)


@contextmanager
def _sides(model: Path, threads: int, tell: Tell) -> Iterator[Sides]:
    tell(f"loading {model.name} on each side")
    with ExitStack() as stack:
        makes = (open_ours, open_tipo_kgen, open_bare)
        yield Sides(*(stack.enter_context(Child(make, str(model), threads)) for make in makes))
