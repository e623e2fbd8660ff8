"""Build the starter's prior: `python -m tools.training.prior --corpus CORPUS --out STARTER/prior.bin`.

The table has the tags of the pair model and all others with enough posts. A row is the pair model's regression where
prompts and posts say enough of its tag; where they say little, what the wide table says takes its place: the share of
the tag's posts that have the other one, beyond what all posts have. Tags that prompts and posts have together far less
often than by chance are rare pairs; of people tags there are none, as a row does not say how many people it is of.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kgen_ext.tags.pair_table import PairTable, make_pair_table, pack_pair_table
from tools.training.corpus import GENERAL, Corpus, load_corpus
from tools.training.pairs import SMOOTHING, PairModel, build_pair_model, count_pairs
from tools.training.tagforms import is_people_tag

_POSTS = 500  # of a tag that the pair model lacks
_ALL_POSTS = 9.5e6  # behind danbooru.csv and the wide table, roughly
_WIDE = 20.0  # lists with a tag at which they weigh as much as the wide table
_WIDE_WEIGHT = 0.6
_BASE = 0.245  # popularity of the most popular tag in the pair model's base, as far as it comes from posts
_LETTERS = 40
_KEEP, _LEAST, _MOST = 64, 0.004, 1.0  # entries of a row, and what an entry says at least and at most
_EXPECTED, _RARE, _RAREST = 4.0, 0.6, 0.05  # lists that a pair should be in by chance, and what share of them it is in
_RIVALS = 128  # rare pairs of a row


def build_prior(corpus: Corpus, model: PairModel) -> PairTable:
    """Return the table: of the pair model, widened."""
    posts = {tag: count for tag, category, count in corpus.danbooru if category == GENERAL}
    rare = [
        tag for tag, count in posts.items() if count >= _POSTS and tag not in model.index and len(tag) <= _LETTERS
    ]
    tags = (*model.tags, *rare)
    index = {tag: place for place, tag in enumerate(tags)}
    counted = np.array([posts.get(tag, 0) for tag in tags])
    popularity = np.concatenate((model.base, counted[len(model.tags) :] * _BASE / max(posts.values()) + 1e-6))
    wide = np.zeros((len(tags), len(tags)), np.float32)
    for left, right, count in zip(*corpus.pairs("cooccurrence"), strict=True):
        if left in index and right in index and posts.get(left) and posts.get(right):
            one, other = index[left], index[right]
            wide[one, other], wide[other, one] = count / posts[left], count / posts[right]
    wide = np.where(wide > 0, np.maximum(wide - (counted / _ALL_POSTS).astype(np.float32), 0), 0)
    counts = corpus.tag_counts()[1]
    known = np.zeros(len(tags))
    known[: len(model.tags)] = [counts[tag] for tag in model.tags]
    share = (_WIDE / (_WIDE + known)).astype(np.float32)[:, None]
    weights = wide * np.float32(_WIDE_WEIGHT) * share
    weights[: len(model.tags), : len(model.tags)] += model.weights * (1 - share[: len(model.tags)])
    np.fill_diagonal(weights, 0)
    weights = np.clip(weights, -_MOST, _MOST)  # of tags that nearly always come together the regression is no share
    rarities = np.zeros_like(weights)
    rarities[: len(model.tags), : len(model.tags)] = _rarities(corpus, model)
    return make_pair_table(tags, popularity.astype(np.float32), weights, rarities, keep=_KEEP, least=_LEAST)


def _rarities(corpus: Corpus, model: PairModel) -> NDArray[np.float32]:
    """Return how much rarer than by chance each pair of the model's tags is [V, V], 0 where it is not rare."""
    together, expected, _ = count_pairs(corpus, model.index)
    shares = (together + SMOOTHING) / (expected + SMOOTHING)
    rare = (expected >= _EXPECTED) & (shares < _RARE)
    people = [place for tag, place in model.index.items() if is_people_tag(tag)]
    rare[people], rare[:, people] = False, False
    np.fill_diagonal(rare, False)
    found = np.where(rare, -np.log(np.maximum(shares, _RAREST)), 0).astype(np.float32)
    telling = found * expected  # which of them cost the most if they are left out
    if len(telling) > _RIVALS:
        found[telling < -np.partition(-telling, _RIVALS, axis=1)[:, _RIVALS, None]] = 0
    return found


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.prior", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder (layout: corpus.py)")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    given = parser.parse_args()
    corpus = load_corpus(given.corpus)
    table = build_prior(corpus, build_pair_model(corpus))
    given.out.write_bytes(pack_pair_table(table))
    size = given.out.stat().st_size
    sys.stdout.write(f"{given.out}: {len(table.tags)} tags, {len(table.columns)} pairs, {size} bytes\n")


if __name__ == "__main__":
    main()
