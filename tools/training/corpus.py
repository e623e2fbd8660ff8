"""The corpus folder as typed records: tags, characters, pair counts, captions, filtered for safety on the way in.

    blocklist.txt                      word list, see words.py
    tags/tag_tree.json                 tags in nested groups; only the unsafe branches are used
    tags/danbooru.csv                  name,category,posts,"alias,alias"
    tags/{prompt,post}_tags.csv        `# lists,N`, then name,count: of prompts, of posts
    tags/{prompt,post}_pairs.parquet   tag_a, tag_b, count, each pair once
    tags/cooccurrence.parquet          tag_a, tag_b, count
    tags/wildcards/*__NAME.txt         phrases for slots, one a line (phrases.py names the files)
    tags/characters.jsonl              {"tags": [name, series, 1girl|1boy|.., looks...]}
    tags/novelai_prompts.jsonl         {"tags": [...]}
    tags/posts_permissive.jsonl        {"tags": [...]} of real posts
    tags/overlap_tags.json             {tag: [special cases of it]}
    captions/*.jsonl                   {"caption": ..., "image_id"?: ...}
    captions/tag_caption_pairs.jsonl   {"src", "id", "tags", "caption"}
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.training.tagforms import spell_tag
from tools.training.words import WordList, load_word_list

GENERAL, ARTIST, CHARACTER = 0, 1, 4
# Tags that say something about the file or the site, or that only make sense for comics and doll parts.
_DULL = frozenset(
    (
        "text;speech bubble;artist name;signature;watermark;web address;twitter username;patreon username;dated;"
        "translated;username;english text;character name;copyright name;logo;breasts;medium breasts;"
        "small breasts;nipples;armpits;navel;midriff;crop top;stomach;thighhighs pull;tan;tanlines;"
        "collarbone bite;virtual youtuber;alternate costume;official alternate costume;letterboxed;pillarboxed;"
        "zoom layer;breast expansion;barcode;sweat;steaming body"
    ).split(";")
)
# Kinds of tag lists that were counted; their counts are added.
_COUNTED = ("prompt", "post")
HELD_OUT_IMAGES = 500
HELD_OUT_CHARACTERS = 0.05


@dataclass(frozen=True, slots=True)
class Character:
    """One character: model-spelt name and series, its people tag, its looks, and how many posts show it."""

    name: str
    series: str
    person: str
    looks: tuple[str, ...]
    posts: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus folder, its word list, and its safe tags as (spelt for the model, category, posts)."""

    root: Path
    words: WordList
    danbooru: tuple[tuple[str, int, int], ...]

    def tag_counts(self) -> tuple[float, dict[str, float]]:
        """Return how many prompts and posts were counted, and how many have each safe tag, most frequent first."""
        total, counts = 0.0, defaultdict[str, float](float)
        for kind in _COUNTED:
            with (self.root / f"tags/{kind}_tags.csv").open(encoding="utf-8", newline="") as file:
                for name, count in csv.reader(file):
                    if name == "# lists":
                        total += float(count)
                    elif self.is_usable(spell_tag(name)):
                        counts[spell_tag(name)] += float(count)
        return total, dict(sorted(counts.items(), key=lambda item: -item[1]))

    def pair_counts(self) -> Iterator[tuple[str, str, float]]:
        """Yield pairs of tags and how many prompts or posts have both; counts of a pair that comes twice add up."""
        for kind in _COUNTED:
            yield from zip(*self.pairs(f"{kind}_pairs"), strict=True)

    def aliases(self) -> dict[str, str]:
        """Map the other names of general tags to the tag, all spelt for the model."""
        names: dict[str, str] = {}
        with (self.root / "tags/danbooru.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if len(row) > 3 and int(row[1]) == GENERAL and self.is_usable(tag := spell_tag(row[0])):
                    others = (spell_tag(alias) for alias in row[3].split(",") if alias)
                    names |= {alias: tag for alias in others if alias not in names and not self.words.is_flagged(alias)}
        return names

    def pairs(self, name: str) -> tuple[list[str], list[str], list[float]]:
        """Return the columns of a pairs file (such as `cooccurrence`), tags spelt for the model."""
        import pyarrow.parquet as parquet

        table = parquet.read_table(self.root / f"tags/{name}.parquet")
        left, right, count = (table.column(column).to_pylist() for column in ("tag_a", "tag_b", "count"))
        return [spell_tag(tag) for tag in left], [spell_tag(tag) for tag in right], [float(value) for value in count]

    def characters(self) -> list[Character]:
        """Return all safe characters, most popular first; looks are unique and in the file's order."""
        posts = {tag: count for tag, category, count in self.danbooru if category == CHARACTER}
        found: dict[str, Character] = {}
        for record in read_jsonl(self.root / "tags/characters.jsonl"):
            tags = [spell_tag(tag) for tag in record["tags"]]
            if len(tags) < 4 or any(self.words.is_severe(tag) for tag in tags):
                continue
            name, series, person = tags[:3]
            looks = tuple(dict.fromkeys(tag for tag in tags[3:] if self.is_usable(tag) and tag not in (name, series)))
            if looks and name not in found and not self.words.is_flagged(name):
                found[name] = Character(name, series, person, looks, posts.get(name, 20))
        return sorted(found.values(), key=lambda character: -character.posts)

    def tag_lists(self) -> list[list[str]]:
        """Return the hand-made tag prompts that are safe."""
        lists = []
        for record in read_jsonl(self.root / "tags/novelai_prompts.jsonl"):
            tags = [spell_tag(tag) for tag in record["tags"]]
            if not any(self.words.is_severe(tag) for tag in tags):
                lists.append(list(dict.fromkeys(tag for tag in tags if self.is_usable(tag) and len(tag) < 40)))
        return [tags for tags in lists if len(tags) >= 3]

    def posts(self) -> list[list[str]]:
        """Return the tag lists of real posts that are safe: their general tags, in the file's order."""
        known = {tag for tag, category, _ in self.danbooru if category == GENERAL}
        lists = []
        for record in read_jsonl(self.root / "tags/posts_permissive.jsonl"):
            tags = [spell_tag(tag) for tag in record["tags"]]
            if not any(self.words.is_severe(tag) for tag in tags):
                lists.append([tag for tag in dict.fromkeys(tags) if tag in known])
        return [tags for tags in lists if len(tags) >= 6]

    def captions(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the safe records of one caption file, without the images held out for evaluation."""
        held_out = self.held_out_images()
        for record in read_jsonl(self.root / f"captions/{name}.jsonl"):
            source = record.get("src", name)
            image = record.get("image_id", record.get("id", "")) if source.startswith("coco") else ""
            if image != "" and int(image) in held_out:
                continue
            if not self.words.is_flagged(record["caption"]):
                yield record

    def held_out_images(self) -> frozenset[int]:
        """Return the ids of the COCO images kept for perplexity: the lowest 500 by hash of the id."""
        ids = {int(record["image_id"]) for record in read_jsonl(self.root / "captions/coco_val2017.jsonl")}
        return frozenset(sorted(ids, key=lambda image: _digest(str(image)))[:HELD_OUT_IMAGES])

    def is_usable(self, tag: str) -> bool:
        """Say whether a tag may be taught."""
        return _is_usable(tag, self.words)


def is_held_out(name: str) -> bool:
    """Say whether the character `name` is in the 5 % that training never sees."""
    return int(_digest(name)[:8], 16) / 0xFFFFFFFF < HELD_OUT_CHARACTERS


def load_corpus(root: Path) -> Corpus:
    """Open the corpus folder at `root`."""
    tree = root / "tags/tag_tree.json"
    words = load_word_list(root / "blocklist.txt", tree if tree.exists() else None)
    with (root / "tags/danbooru.csv").open(encoding="utf-8", newline="") as file:
        rows = [(spell_tag(row[0]), int(row[1]), int(row[2])) for row in csv.reader(file)]
    return Corpus(root, words, tuple(row for row in rows if _is_usable(row[0], words)))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _is_usable(tag: str, words: WordList) -> bool:
    # Safe, not dull, not a bare year, no comma or line break in it.
    year = tag.isdigit() and len(tag) == 4
    return not (year or tag in _DULL or "," in tag or "\n" in tag or words.is_flagged(tag))


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()
