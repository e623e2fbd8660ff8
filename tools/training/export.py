"""Export checkpoints: `python -m tools.training.export --checkpoint FILE [FILE ...] --tokenizer DIR --out FILE.gguf`.

A checkpoint may be a GGUF, too. Of several the mean is exported; without any, a model with random weights, so that
engines can be built before the training is done.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tools.training.gguf import F16, Q8_0, read_tokenizer, read_weights, write_gguf
from tools.training.model import Shape, build_model, grow

if TYPE_CHECKING:
    import torch

NAME = "KGen starter"
FORMS = {"F16": F16, "Q8_0": Q8_0}
_log = logging.getLogger(__name__)


def read_average(path: Path) -> tuple[dict[str, torch.Tensor], Shape]:
    """Return the averaged weights of a checkpoint of train.py, or the weights of an exported GGUF, and the shape."""
    import torch

    if path.suffix == ".gguf":
        weights, shape = read_weights(path)
        return {name.removeprefix("model."): torch.tensor(value) for name, value in weights.items()}, shape
    saved = torch.load(path, map_location="cpu", weights_only=True)
    return saved["average"], Shape(**saved["shape"])


def load_weights(checkpoints: Sequence[Path], shape: Shape) -> tuple[dict[str, NDArray[np.float32]], Shape]:
    """Return weights with Hugging Face's names and the shape: the mean of the checkpoints' averages, or random weights.

    Those of fewer layers are grown. Raises ValueError for checkpoints of different shapes.
    """
    if not checkpoints:
        state = build_model(shape, seed=0).state_dict()
    else:
        averages, shapes = zip(*map(read_average, checkpoints), strict=True)
        counts = [found.num_hidden_layers for found in shapes]
        shape, *others = dict.fromkeys(replace(found, num_hidden_layers=max(counts)) for found in shapes)
        if others:
            raise ValueError(f"checkpoints of different shapes: {shape}, {others[0]}")
        grown = [grow(average, count, max(counts)) for average, count in zip(averages, counts, strict=True)]
        state = {name: sum(weights[name] for weights in grown) / len(grown) for name in grown[0]}
    return {f"model.{name}": value.float().numpy() for name, value in state.items()}, shape


def export(checkpoints: Sequence[Path], tokenizer: Path, out: Path, *, form: str) -> None:
    """Write a GGUF of the form `form`, with the tokenizer of a folder or of another GGUF."""
    document = read_tokenizer(tokenizer)
    vocabulary = len({*document["model"]["vocab"].values(), *(entry["id"] for entry in document["added_tokens"])})
    weights, shape = load_weights(checkpoints, Shape(vocab_size=vocabulary))
    if shape.vocab_size != vocabulary:
        raise ValueError(f"checkpoint has {shape.vocab_size} tokens, the tokenizer {vocabulary}")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".tmp")  # `out` may be the file whose tokenizer was read
    write_gguf(temporary, weights, shape, document, name=NAME, kind=FORMS[form])
    temporary.replace(out)
    _log.info("%d parameters written to %s", sum(value.size for value in weights.values()), out)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.export", description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", default=(), metavar="FILE",
        help="checkpoints of train.py or GGUFs, of several the mean (default: random weights)",
    )  # fmt: skip
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json, or a GGUF")
    parser.add_argument("--out", type=Path, required=True, help="GGUF to write")
    parser.add_argument("--form", choices=list(FORMS), default="Q8_0", help="of its matrices (default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    export(arguments.checkpoint, arguments.tokenizer, arguments.out, form=arguments.form)


if __name__ == "__main__":
    main()
