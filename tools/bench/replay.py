"""Replay: a model with random weights writes given lists of tags, so that its drafts are right as often as real ones.

All work is done: the engine computes, the constraint masks, the sampler draws. Then the drawn token is replaced by the
list's. Which row and place a draw is for is known from the key of its noise, a pure function of seed and position; so
a list is followed in any batch, and however many tokens are drawn after one call of the engine.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kgen_ext.decoding import sampler
from kgen_ext.decoding.sampler import Draw, draw_key
from kgen_ext.decoding.vocabulary import in_context
from kgen_ext.errors import BadValue
from kgen_ext.protocol.plan import TIPO_TAGS, trained_tag
from tools.bench.queries import Query
from tools.bench.score import plain
from tools.bench.turn import Outcome

if TYPE_CHECKING:
    from kgen_ext.engine import Engine

# Of a post's list, so many tags are the prompt; lists of other lengths are left out.
_GIVEN = 4
_LENGTHS = range(20, 61)
# The share a replaced draw is said to have had: an open choice, so that no more than the tag itself is blocked later.
_SHARE = 0.5


def script(engine: Engine, query: Query) -> dict[int, int]:
    """Return the token of each draw by its key: commas, the tags of `query.replay`, and the end of the text."""
    comma = in_context(engine, ",")
    tags = (token for tag in query.replay for token in (*comma, *in_context(engine, f" {tag}", left="a,")))
    ids = (*tags, engine.vocab.eos) if query.replay else ()
    return {draw_key(query.seed, position): token for position, token in enumerate(ids)}


@contextmanager
def replaying(wanted: Mapping[int, int]) -> Iterator[None]:
    """Replace what the sampler draws by `wanted`, where the constraint permits it."""
    draw = sampler.draw

    def scripted(logits: Any, settings: Any, keys: Sequence[int]) -> list[Draw]:
        drawn = draw(logits, settings, keys)
        for place, key in enumerate(keys):
            token = wanted.get(key)
            if token is not None and np.isfinite(logits[place, token]):
                drawn[place] = Draw(token, _SHARE)
        return drawn

    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("kgen_ext.decoding.") and vars(module).get("draw") is draw
    ]
    for module in modules if wanted else ():
        vars(module)["draw"] = scripted
    try:
        yield
    finally:
        for module in modules:
            vars(module)["draw"] = draw


def fit(query: Query, run: Callable[[Query], Outcome]) -> Query:
    """Return the query without the tags of its list that a row rejects, and with the length that its number has."""
    while True:
        count = len(query.given) + len(query.replay)
        length = next((size for size, band in TIPO_TAGS.items() if count <= band.maximum), None)
        if length is None:
            return fit(replace(query, replay=query.replay[:-1]), run)
        query = replace(query, tag_length=length)
        added = {plain(tag) for tag in run(query).added}
        # A row that rejects a tag leaves the list there, so only the first that is missing counts.
        place = next((place for place, tag in enumerate(query.replay) if plain(tag) not in added), None)
        if place is None:
            return query
        query = replace(query, replay=(*query.replay[:place], *query.replay[place + 1 :]))


def followed(query: Query, outcome: Outcome) -> bool:
    """Return whether a row added its list."""
    return [plain(tag) for tag in query.replay] == [plain(tag) for tag in outcome.added]


def read_posts(path: Path, count: int) -> list[Query]:
    """Return `count` lists out of a file, evenly distributed; a line is a JSON object with `tags`, a list of names."""
    try:
        with path.open(encoding="utf-8") as file:
            lists = [[trained_tag(tag) for tag in json.loads(line)["tags"]] for line in file if line.strip()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValue("posts", str(path), "a file with a JSON object on each line that has a list `tags`") from error
    lists = [tags for tags in lists if len(tags) in _LENGTHS]
    return [
        Query(", ".join(tags[:_GIVEN]), replay=tuple(tags[_GIVEN:]))
        for tags in (lists[place * len(lists) // count] for place in range(min(count, len(lists))))
    ]
