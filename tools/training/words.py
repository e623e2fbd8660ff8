"""The word list that keeps the starter safe for work: which texts and tags never reach training."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Sections of a word list file are comment lines; these words in a comment mark the milder half.
_MILD = "suggestive"
# Branches of the tag tree whose tags are left out, unless another branch has them too (`tail`, `feet`).
UNSAFE_BRANCHES = (
    "sex",
    "censorship",
    "body/breasts",
    "body/ass",
    "body/penis",
    "body/pussy",
    "body/face/sexual",
    "body/tail/sex",
    "clothes/sexual",
    "clothes/bdsm / bondage",
    "food/sex",
)


@dataclass(frozen=True, slots=True)
class WordList:
    """Two compiled alternations over text in tag form (lower case, words joined by underscores), and whole tags."""

    severe: re.Pattern[str]
    mild: re.Pattern[str]
    tags: frozenset[str] = frozenset()

    def is_severe(self, text: str) -> bool:
        """Say whether a record with this text must be dropped as a whole."""
        return self.severe.search(tag_form(text)) is not None

    def is_flagged(self, text: str) -> bool:
        """Say whether this text or tag has any word of the list, severe or mild."""
        form = tag_form(text)
        return form in self.tags or self.severe.search(form) is not None or self.mild.search(form) is not None

    def found(self, text: str) -> list[str]:
        """Return the words of the list in a text: matches of the patterns, and whole tags between commas."""
        form = tag_form(text)
        words = [match.group(0) for pattern in (self.severe, self.mild) for match in pattern.finditer(form)]
        tags = [tag_form(part.strip()) for part in text.split(",")]
        return words + [tag for tag in tags if tag in self.tags]


def tag_form(text: str) -> str:
    """Bring prose or a tag to the form the patterns are written for: `A Dog-leash.` -> `a_dog-leash_`."""
    return re.sub(r"[\s_,.;:!?\"()\\/]+", "_", text.lower())


def parse_word_list(text: str) -> WordList:
    """Compile a word list: one regular expression a line, `#` comments, sections named in comments."""
    severe: list[str] = []
    mild: list[str] = []
    section = severe
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("#"):
            section = mild if _MILD in line.lower() else severe
        elif line:
            section.append(line)
    return WordList(_compile(severe), _compile(mild))


def load_word_list(path: Path, tree: Path | None = None) -> WordList:
    """Read and compile the word list at `path` (UTF-8), with the unsafe tags of a tag tree (nested JSON) if given."""
    words = parse_word_list(path.read_text(encoding="utf-8"))
    if tree is None:
        return words
    return WordList(words.severe, words.mild, unsafe_tags(json.loads(tree.read_text(encoding="utf-8"))))


def unsafe_tags(tree: dict[str, Any]) -> frozenset[str]:
    """Return, in tag form, the tags that stand in unsafe branches of the tree only."""
    unsafe: set[str] = set()
    safe: set[str] = set()
    for path, tag in _leaves(tree, ""):
        branch = any(f"{path}/".startswith(f"{name}/") for name in UNSAFE_BRANCHES)
        (unsafe if branch else safe).add(tag_form(tag))
    return frozenset(unsafe - safe)


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _leaves(child, f"{path}/{name}" if path else name)
    elif isinstance(node, list):
        yield from ((path, tag) for tag in node)


def _compile(patterns: list[str]) -> re.Pattern[str]:
    # An underscore or a hyphen separates words here, so `bra` is found in `black_bra` and not in `bracelet`.
    body = "|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)"
    return re.compile(rf"(?<![a-z0-9])(?:{body})(?![a-z0-9])")
