"""Train the tokenizer: `python -m tools.training.tokenizer --corpus DIR --out DIR`.

Pieces may span the words of a frequent tag (`_long_hair` is one piece), which makes lists short: about 1.3 tokens a tag
and one for the comma. Prose is cut at spaces for training, so that no vocabulary is spent on its word pairs.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.training.compose import Composer, load_composer
from tools.training.corpus import load_corpus
from tools.training.render import SPECIAL_TOKENS, metadata_lines
from tools.training.scene import Scene
from tools.training.vocabulary import BYTES, CONTROL, SPACE, reachable, tokenizer_json

VOCABULARY = 6144
_LONGEST = 24
_ALONE = re.compile(r"([,:;.!?\"()\[\]{}<>|/\\+*=~@#$%^&_])")
_KEYS = (
    "meta",
    "rating",
    "artist",
    "aspect ratio",
    "characters",
    "quality",
    "copyrights",
    "target",
    "tag",
    "short",
    "long",
)
_log = logging.getLogger(__name__)


def units_of_scene(scene: Scene, rng: np.random.Generator) -> Iterator[str]:
    """Yield the units of one scene that pieces may be learnt in; a space is written as in the vocabulary."""
    for line in metadata_lines(scene):
        key, _, values = line.partition(": ")
        yield key.replace(" ", SPACE)
        for value in values.split(", "):
            yield from _split(SPACE + value.replace(" ", SPACE))
    for tag in (*scene.people, *scene.tags):
        yield from _split(SPACE + tag.replace(" ", SPACE))
    for sentence in scene.sentences:
        for word in sentence.split():
            for part in _split(SPACE + word):
                yield from re.split(r"(\d)", part)
    yield from ("tag", "short", "long", "target", str(rng.choice(_KEYS)).replace(" ", SPACE))


def _split(unit: str) -> Iterator[str]:
    # Punctuation stands alone, so a comma is always one token and no piece crosses it.
    yield from (part for part in _ALONE.split(unit) if part)


def train_pieces(composer: Composer, *, texts: int, seed: int) -> list[str]:
    """Learn pieces from freshly drawn scenes; returns them in order of rank, the single characters last."""
    from tokenizers import Tokenizer, models, trainers

    rng = np.random.default_rng(seed)
    engine = Tokenizer(models.BPE())
    size = VOCABULARY - len(CONTROL) - len(BYTES) - len(SPECIAL_TOKENS)
    trainer = trainers.BpeTrainer(
        vocab_size=size + 900, min_frequency=8, limit_alphabet=160, max_token_length=_LONGEST, show_progress=False
    )
    units = (unit for _ in range(texts) for unit in units_of_scene(composer.draw(rng), rng))
    engine.train_from_iterator(units, trainer)
    ranked = sorted(engine.get_vocab().items(), key=lambda item: item[1])
    learnt = [piece for piece, _ in ranked if len(piece) > 1]
    letters = [piece for piece, _ in ranked if len(piece) == 1]
    sound = [piece for piece in reachable([*learnt, *letters]) if len(piece) > 1]
    for extra in range(50):  # a cut list can lose a few pieces more, so top it up until the size is met
        kept = reachable([*sound[: size - len(letters) + extra], *letters])
        if len(kept) == size:
            return kept
    raise ValueError(f"only {len(kept)} of {size} pieces could be learnt; give more texts")


def write_tokenizer(pieces: list[str], folder: Path) -> None:
    """Write tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(tokenizer_json(pieces), ensure_ascii=False, indent=1)
    (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.tokenizer", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder (layout: corpus.py)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write tokenizer.json to")
    parser.add_argument("--texts", type=int, default=30000, help="scenes to learn from (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pieces = train_pieces(load_composer(load_corpus(arguments.corpus)), texts=arguments.texts, seed=arguments.seed)
    write_tokenizer(pieces, arguments.out)
    _log.info(
        "%d learnt pieces, %d tokens in all", len(pieces), len(CONTROL) + len(BYTES) + len(pieces) + len(SPECIAL_TOKENS)
    )


if __name__ == "__main__":
    main()
