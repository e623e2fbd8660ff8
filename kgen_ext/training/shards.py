"""Token shards: `python -m kgen_ext.training.shards --corpus DIR --tokenizer DIR --out DIR --count N`.
It draws, renders and tokenises fresh texts, one file per shard, and refuses to know the model.

A shard is an .npz with `ids` (uint16, all texts one after another, each `<s> ... </s>`) and `ends` (int64, where each
text ends). Every shard has its own generator (seed, number), so any of them can be made again alone. Every text is
drawn and rendered anew: a pass over the data never sees the same text twice.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kgen_ext.training.compose import Composer, load_composer
from kgen_ext.training.corpus import load_corpus
from kgen_ext.training.render import render_scene

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BOS, EOS = 1, 2
_log = logging.getLogger(__name__)


def draw_texts(composer: Composer, count: int, *, seed: int, number: int) -> list[str]:
    """Draw and render the texts of shard `number`."""
    rng = np.random.default_rng((seed, number))
    return [render_scene(composer.draw(rng), rng) for _ in range(count)]


def write_shard(path: Path, texts: list[str], engine: Tokenizer, *, context: int) -> int:
    """Tokenise texts and write them as one shard; texts longer than the context are left out. Returns the tokens."""
    rows = [[BOS, *encoding.ids, EOS] for encoding in engine.encode_batch(texts, add_special_tokens=False)]
    rows = [row for row in rows if len(row) <= context]
    ends = np.cumsum([len(row) for row in rows])
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, ids=np.concatenate([np.array(row, dtype=np.uint16) for row in rows]), ends=ends)
    temporary.rename(path)
    return int(ends[-1])


def read_shard(path: Path) -> list[NDArray[np.int64]]:
    """Read the texts of a shard as arrays of token ids."""
    with np.load(path) as data:
        ids, ends = data["ids"].astype(np.int64), data["ends"]
    return [ids[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def shard_path(folder: Path, number: int) -> Path:
    """Name the file of shard `number`."""
    return folder / f"shard_{number:05d}.npz"


def main() -> None:
    """Run the command."""
    from tokenizers import Tokenizer

    parser = argparse.ArgumentParser(prog="python -m kgen_ext.training.shards", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder (layout: corpus.py)")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--count", type=int, default=20, help="shards to write (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=10000, help="texts a shard (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--preview", type=int, default=0, help="also write this many texts of each shard as .txt")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    engine = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    composer = load_composer(load_corpus(arguments.corpus))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.first, arguments.first + arguments.count):
        texts = draw_texts(composer, arguments.texts, seed=arguments.seed, number=number)
        path = shard_path(arguments.out, number)
        tokens = write_shard(path, texts, engine, context=arguments.context)
        if arguments.preview:
            path.with_suffix(".txt").write_text("\n\n".join(texts[: arguments.preview]), encoding="utf-8")
        _log.info("%s: %d tokens", path.name, tokens)


if __name__ == "__main__":
    main()
