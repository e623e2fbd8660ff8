"""Token shards: `python -m tools.training.shards --corpus DIR --tokenizer DIR --out DIR --count N`.

A shard is an .npz with `ids` (uint16, all texts one after another, each `<s> ... </s>`), `ends` (int64, where each
text ends), the teacher's `places`, `tokens` and `chances`, and `given` (int64, places that are read and not learnt).
Every shard has its own generator (seed, number), so any of them can be made again alone. Every text is drawn and
rendered anew: a pass over the data never sees the same text twice.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.training.compose import Composer, load_composer
from tools.training.corpus import load_corpus
from tools.training.gguf import open_tokenizer
from tools.training.render import render_scene
from tools.training.scene import Scene
from tools.training.teacher import Lesson, Teacher
from tools.training.vocabulary import BOS, EOS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taught:
    """One text: its token ids, the soft targets of some of its places, and the places that are no targets."""

    ids: NDArray[np.int64]
    lesson: Lesson
    given: NDArray[np.int64]


def draw_scenes(composer: Composer, count: int, *, seed: int, number: int) -> list[tuple[Scene, str]]:
    """Draw and render the texts of shard `number`, each with its scene."""
    rng = np.random.default_rng((seed, number))
    scenes = [composer.draw(rng) for _ in range(count)]
    return [(scene, render_scene(scene, rng)) for scene in scenes]


def write_shard(path: Path, drawn: list[tuple[Scene, str]], teacher: Teacher, *, context: int) -> int:
    """Tokenise texts, teach them and write them as one shard; texts over the context are left out. Returns the tokens.

    ids [N] and ends [texts] of the texts; places [M] in ids whose soft targets are tokens and chances [M, KEPT]; given
    [G] in ids.
    """
    encoded = teacher.engine.encode_batch([text for _, text in drawn], add_special_tokens=False)
    rows, lessons, given, ends = [], [], [], []
    total = 0
    for (scene, text), encoding in zip(drawn, encoded, strict=True):
        row = [BOS, *encoding.ids, EOS]
        if len(row) <= context:
            lesson = teacher.teach(scene, text, row)
            lessons.append(replace(lesson, places=lesson.places + total))
            rows.append(np.array(row, dtype=np.uint16))
            given.append(given_places(scene, text, encoding.offsets) + total)
            total += len(row)
            ends.append(total)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary, ids=np.concatenate(rows), ends=np.array(ends),
        places=np.concatenate([lesson.places for lesson in lessons]),
        tokens=np.concatenate([lesson.tokens for lesson in lessons]),
        chances=np.concatenate([lesson.chances for lesson in lessons]),
        given=np.concatenate(given),
    )  # fmt: skip
    temporary.rename(path)
    return total


def given_places(scene: Scene, text: str, offsets: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Return the places of a text's ids (`<s>` is place 0) that users write and nobody wants to read.

    Those of the metadata and the target, and what `typed` changed of the description behind them: small letters, the
    full stop that is not there, words about quality. offsets: of its tokens in `text`.
    """
    target = text.index("target: ")
    begin = text.index("\n", target) + 1
    wanted = np.ones(len(text) + 1, dtype=bool)
    wanted[:begin] = False
    name, _, line = text[begin:].partition("\n")[0].partition(": ")
    begin += len(name) + 2
    if name != "tag":
        wanted[begin : begin + len(line) + 1] = _as_written(scene, line)
    kept = [bool(wanted[low:high].all()) for low, high in offsets]
    # `</s>` stands where the text ends.
    return np.flatnonzero(~np.array([True, *kept, bool(wanted[len(text)])]))


def _as_written(scene: Scene, line: str) -> NDArray[np.bool_]:
    """Say which characters of a typed description, and whether its end, are as the scene has them: [len(line) + 1]."""
    low = line.lower()
    texts = (" ".join(scene.sentences[:count]) for count in range(len(scene.sentences), 0, -1))
    clean = next(text for text in texts if text.rstrip(".").lower() in low)
    core = clean.rstrip(".")
    at = low.index(core.lower())
    same = np.zeros(len(line) + 1, dtype=bool)
    same[at : at + len(core)] = [typed == letter for typed, letter in zip(line[at:], core, strict=False)]
    if line[at:].lower() == clean.lower():
        same[at + len(core) :] = True
    return same


def read_shard(path: Path) -> list[Taught]:
    """Read the texts of a shard."""
    with np.load(path) as data:
        ids, ends, places = data["ids"].astype(np.int64), data["ends"], data["places"]
        tokens, chances, given = data["tokens"], data["chances"], data["given"]
    texts = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        low, high = np.searchsorted(places, (start, end))
        lesson = Lesson(places[low:high] - start, tokens[low:high], chances[low:high])
        unlearnt = given[slice(*np.searchsorted(given, (start, end)))] - start
        texts.append(Taught(ids[start:end], lesson, unlearnt))
    return texts


def shard_path(folder: Path, number: int) -> Path:
    """Name the file of shard `number`."""
    return folder / f"shard_{number:05d}.npz"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.shards", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder (layout: corpus.py)")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json, or a GGUF")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--count", type=int, default=20, help="shards to write (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=10000, help="texts a shard (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--preview", type=int, default=0, help="also write this many texts of each shard as .txt")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    composer = load_composer(load_corpus(arguments.corpus))
    teacher = Teacher(composer, open_tokenizer(arguments.tokenizer))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.first, arguments.first + arguments.count):
        drawn = draw_scenes(composer, arguments.texts, seed=arguments.seed, number=number)
        path = shard_path(arguments.out, number)
        tokens = write_shard(path, drawn, teacher, context=arguments.context)
        if arguments.preview:
            texts = "\n\n".join(text for _, text in drawn[: arguments.preview])
            path.with_suffix(".txt").write_text(texts, encoding="utf-8")
        _log.info("%s: %d tokens", path.name, tokens)


if __name__ == "__main__":
    main()
