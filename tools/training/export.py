"""Export checkpoints: `python -m tools.training.export --checkpoint FILE [FILE ...] --tokenizer DIR --out DIR`.

Written are safetensors in Hugging Face's layout and GGUF. Of several checkpoints the mean is exported; without any, a
model with random weights, so that engines can be built before the training is done.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.training.gguf import F16, Q8_0, write_gguf
from tools.training.model import Shape, build_model

NAME = "KGen starter"
FORMS = {"F16": F16, "Q8_0": Q8_0}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_log = logging.getLogger(__name__)


def load_weights(checkpoints: Sequence[Path], shape: Shape) -> tuple[dict[str, NDArray[np.float32]], Shape]:
    """Return weights with Hugging Face's names and the shape: the mean of the checkpoints' averages, or random weights.

    Raises ValueError for checkpoints of different shapes.
    """
    import torch

    if not checkpoints:
        state = build_model(shape, seed=0).state_dict()
    else:
        saved = [torch.load(path, map_location="cpu", weights_only=True) for path in checkpoints]
        shape, *others = dict.fromkeys(Shape(**checkpoint["shape"]) for checkpoint in saved)
        if others:
            raise ValueError(f"checkpoints of different shapes: {shape}, {others[0]}")
        averages = [checkpoint["average"] for checkpoint in saved]
        state = {name: sum(average[name] for average in averages) / len(averages) for name in averages[0]}
    return {f"model.{name}": value.float().numpy() for name, value in state.items()}, shape


def write_safetensors(path: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    """Write fp16 safetensors: u64 header length, JSON header, tensors in the header's order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs, offset = [], 0
    for name, value in sorted(weights.items()):
        blobs.append(value.astype("<f2").tobytes())
        header[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [offset, offset + len(blobs[-1])]}
        offset += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def export(checkpoints: Sequence[Path], tokenizer: Path, out: Path, *, forms: Sequence[str]) -> None:
    """Write the configuration, model.safetensors, the tokenizer's files and a GGUF of each of `forms` to `out`."""
    document = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = len({*document["model"]["vocab"].values(), *(entry["id"] for entry in document["added_tokens"])})
    weights, shape = load_weights(checkpoints, Shape(vocab_size=vocabulary))
    if shape.vocab_size != vocabulary:
        raise ValueError(f"checkpoint has {shape.vocab_size} tokens, the tokenizer {vocabulary}")
    # Both files are written from the rounded weights, so that all engines see the same numbers.
    weights = {name: value.astype(np.float16).astype(np.float32) for name, value in weights.items()}
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / "config.json", shape.config())
    _write_json(out / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "do_sample": True, "min_p": 0.1})
    for name in _TOKENIZER_FILES:
        if (tokenizer / name).resolve() != (out / name).resolve():
            shutil.copyfile(tokenizer / name, out / name)
    write_safetensors(out / "model.safetensors", weights)
    for kind in forms:
        write_gguf(out / f"starter-{kind}.gguf", weights, shape.config(), document, name=NAME, kind=FORMS[kind])
    _log.info("%d parameters written to %s", sum(value.size for value in weights.values()), out)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.export", description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", default=(), metavar="FILE",
        help="checkpoints of train.py, of several the mean (default: random weights)",
    )  # fmt: skip
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--gguf", nargs="*", choices=list(FORMS), default=["Q8_0"], help="forms of GGUF to write (default: Q8_0)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    export(arguments.checkpoint, arguments.tokenizer, arguments.out, forms=arguments.gguf)


if __name__ == "__main__":
    main()
