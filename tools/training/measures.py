"""Measures over generated lists and texts: looks, known tags, repeats, contradictions, mentions, endings, safety."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from kgen_ext.prompt.sentences import ends_sentence
from tools.training.tagforms import is_people_tag
from tools.training.words import WordList

FILLERS = frozenset("scenery house building mountain tree river bridge road".split())
_LISTING = re.compile(
    r"\bThere (?:is|are)\b|\b(?:in the (?:picture|scene)|nearby|around|can be seen)\."
    # The same turned round: `Not far away is a tree.`
    r"|(?:^|[.!?] )(?:Not far away|Nearby|Around|Further back|To (?:one|the) (?:side|left|right)"
    r"|(?:In front|Beside|Behind|Near|In the (?:back|fore)ground)(?: of)?(?: (?:the )?\w+)?) (?:is|are|lies?|stands?) "
)


def parse_tags(answer: str) -> list[str]:
    """Read the tags of a continued `tag:` line: up to the line's end, an unfinished last tag included."""
    return [tag.strip() for tag in answer.split("\n", 1)[0].split(",") if tag.strip()]


def parse_field(text: str, name: str) -> str:
    """Return the content of the line `name:` of a text, or nothing."""
    match = re.search(rf"(?:^|\n){name}:[ ]?([^\n]*)", text)
    return match.group(1).strip() if match else ""


def looks_found(looks: Sequence[str], tags: Collection[str]) -> float:
    """Return the share of a character's listed looks among `tags`."""
    return sum(look in tags for look in looks) / len(looks)


def known_share(lists: Sequence[Sequence[str]], known: Collection[str]) -> float:
    """Return the share of tags that exist."""
    tags = [tag for tags in lists for tag in tags]
    return sum(tag in known for tag in tags) / max(1, len(tags))


def repeat_share(lists: Sequence[Sequence[str]]) -> float:
    """Return the share of tags that stood in their list already."""
    total = sum(map(len, lists))
    return sum(len(tags) - len(set(tags)) for tags in lists) / max(1, total)


def contradiction_share(
    lists: Sequence[tuple[Sequence[str], Sequence[str]]], rivals: Mapping[str, Collection[str]]
) -> float:
    """Return the share of single-subject lists (given, written) where a written tag excludes another one."""
    clashes = []
    for given, written in lists:
        tags = {*given, *written}
        if "solo" in tags or "no humans" in tags:
            crowd = sum(is_people_tag(tag) and tag not in ("solo", "solo focus") for tag in tags) > 1
            clashes.append(crowd or any(not tags.isdisjoint(rivals.get(tag, ())) for tag in written))
    return float(np.mean(clashes)) if clashes else 0.0


def sentences_ended(texts: Sequence[str]) -> float:
    """Return the share of texts that end as a sentence does."""
    return sum(ends_sentence(text) for text in texts) / max(1, len(texts))


def mention_share(pairs: Sequence[tuple[Sequence[str], str]]) -> float:
    """Return the share of given tags (people counts aside) whose last word the text mentions."""
    shares = []
    for tags, text in pairs:
        asked = [tag for tag in tags if not is_people_tag(tag)]
        low = text.lower()
        if asked:
            shares.append(np.mean([re.sub(r" \(.*", "", tag).split()[-1] in low for tag in asked]))
    return float(np.mean(shares)) if shares else 0.0


def named_found(named: Sequence[str], tags: Collection[str]) -> float:
    """Return the share of the tags a sentence names that are among `tags`."""
    return sum(tag in tags for tag in named) / len(named)


def fillers(named: Collection[str], tags: Sequence[str]) -> int:
    """Count the tags of the usual landscape that nobody asked for."""
    return sum(tag in FILLERS and tag not in named for tag in tags)


def repeat_free(texts: Sequence[str], *, run: int = 4) -> float:
    """Return the share of texts that have no run of words twice."""
    split = [re.findall(r"[\w'-]+", text.lower()) for text in texts]
    runs = [[tuple(words[at : at + run]) for at in range(len(words) - run + 1)] for words in split]
    return sum(len(set(found)) == len(found) for found in runs) / max(1, len(runs))


def listing(texts: Sequence[str]) -> float:
    """Return the share of texts with a sentence that is a list in disguise (`There are a house and a tree nearby.`)."""
    return sum(_LISTING.search(text) is not None for text in texts) / max(1, len(texts))


def self_overlap(texts: Sequence[str], *, run: int = 4) -> float:
    """Return the mean share of a text's word runs that another of the texts has too."""
    runs = [
        {tuple(words[at : at + run]) for at in range(len(words) - run + 1)}
        for words in (text.lower().split() for text in texts)
    ]
    counts: Counter[tuple[str, ...]] = Counter()
    for found in runs:
        counts.update(found)
    return float(np.mean([np.mean([counts[part] > 1 for part in found]) for found in runs if found] or [np.float64(0)]))


def unsafe(texts: Sequence[str], requests: Sequence[str], words: WordList) -> list[str]:
    """Return the words of the list in the answers that the request did not have itself, one for each use."""
    hits = []
    for text, request in zip(texts, requests, strict=True):
        asked = set(words.found(request))
        for line in re.split(r"[,\n]", text):
            hits += [word for word in words.found(line) if word not in asked]
    return hits
