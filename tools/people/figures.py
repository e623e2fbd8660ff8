"""Figures of what goes wrong in expansions: counts with their shares and examples, from prompts and results alone."""
from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kgen_ext.events import By, Expansion, Piece
from kgen_ext.prompt import Segment, escape, parse, subjects
from kgen_ext.prompt.sentences import split_sentences
from kgen_ext.protocol.plan import TIPO_TAGS, ask_length
from kgen_ext.request import Category, TagLength
from kgen_ext.tags.tag import Tag, read_tag
from tools.people.cases import CHARACTERS

INVENTED_SHARE = 0.15  # of the added tags; from there on a row counts as one of invented tags
MAX_TAG_LETTERS, MAX_TAG_WORDS = 40, 6
PHRASE = 4  # words in a row that make a phrase
SENTENCE = 6  # words between commas that make a prompt a sentence
COMMONEST = 8
_WORD = re.compile(r"\d+(?:[.,:]\d+)+|[^\W_]+(?:['’][^\W_]+)*")
_LISTED = (Category.SPECIAL, Category.GENERAL)  # the categories on a TIPO text's tag line

Exists = Callable[[Tag], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and its expansion; `given` and `added` are the tags of each segment, by the user and by the model."""

    prompt: str
    expansion: Expansion
    given: tuple[tuple[Tag, ...], ...]
    added: tuple[tuple[Tag, ...], ...]

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The added tags of all segments."""
        return tuple(tag for tags in self.added for tag in tags)


@dataclass(frozen=True, slots=True)
class Figure:
    """A count out of `total`, and examples of what was counted."""

    name: str
    count: int
    total: int
    examples: tuple[str, ...] = ()


def read_row(prompt: str, expansion: Expansion) -> Row:
    """Return the row of a prompt and its expansion, which must be in the format append."""
    parsed = parse(prompt)
    given = tuple(tuple(map(read_tag, subject.tags)) for subject in subjects(parsed))
    return Row(prompt, expansion, given, _added_by_segment(expansion, parsed.segments))


def _added_by_segment(expansion: Expansion, segments: Sequence[Segment]) -> tuple[tuple[Tag, ...], ...]:
    """Sort the added tags by segment: they are listed in the order in which the model's pieces hold them."""
    added = [list[Tag]() for _ in segments]
    ends, own = [segment.end for segment in segments], 0
    pieces = list[tuple[int, str]]()
    for piece in expansion.pieces:
        if piece.by is By.USER:
            own += len(piece.text)
        else:
            pieces.append((min(bisect_left(ends, own), len(ends) - 1), piece.text))
    current = place = 0
    for tag in map(read_tag, expansion.added_tags):
        spelled = escape(tag.spelling)
        for index in range(current, len(pieces)):
            begin = place if index == current else 0
            # Before a tag come a comma, spaces, perhaps a bracket: no more.
            found = pieces[index][1].find(spelled, begin, begin + len(spelled) + 8)
            if found >= 0:
                current, place = index, found + len(spelled)
                break
        added[pieces[current][0] if pieces else 0].append(tag)
    return tuple(map(tuple, added))


def figures(rows: Sequence[Row], exists: Exists, vocabulary: frozenset[str] | None = None) -> list[Figure]:
    """Return all figures of a pass. vocabulary: the words that exist; None leaves out the invented ones."""
    return [
        *invented_tags(rows, exists),
        long_tags(rows, exists),
        *text_figures(rows),
        *(invented_words(rows, vocabulary) if vocabulary is not None else ()),
        *unasked_tags(rows),
        *empty_rows(rows),
        changed_prompts(rows),
        repeated_tags(rows),
        rows_outside_band(rows),
        *notes(rows),
    ]


def invented_tags(rows: Sequence[Row], exists: Exists) -> list[Figure]:
    """Count the rows of many added tags that do not exist, and such tags in all, the commonest first."""
    many, every, total = list[str](), Counter[str](), 0
    for row in rows:
        invented = [tag.spelling for tag in row.tags if not exists(tag)]
        every.update(invented)
        total += len(row.tags)
        if len(invented) > INVENTED_SHARE * len(row.tags):
            many.append(_example(row, ", ".join(invented)))
    return [
        Figure(f"rows with over {INVENTED_SHARE:.0%} of the added tags invented", len(many), len(rows), tuple(many)),
        Figure("added tags that do not exist", every.total(), total, _counted(every)),
    ]


def long_tags(rows: Sequence[Row], exists: Exists) -> Figure:
    """Count added tags that are no tags but half sentences."""
    tags = [(row, tag) for row in rows for tag in row.tags]
    found = [
        _example(row, tag.spelling)
        for row, tag in tags
        if (len(tag.written) > MAX_TAG_LETTERS or len(tag.written.split()) > MAX_TAG_WORDS)
        and not exists(tag)
    ]
    name = f"added tags of over {MAX_TAG_LETTERS} letters or {MAX_TAG_WORDS} words"
    return Figure(name, len(found), len(tags), tuple(found))


def text_figures(rows: Sequence[Row]) -> list[Figure]:
    """Count what goes wrong in the texts: repeated words, phrases and sentences, and phrases that are the user's."""
    texts = [row for row in rows if row.expansion.added_text]
    tests: tuple[tuple[str, Callable[[Row], list[str]]], ...] = (
        ("a word three times running", lambda row: _stuttered(words(row.expansion.added_text))),
        (f"{PHRASE} words in a row twice", _repeated_phrases),
        (f"{PHRASE} words in a row of the user's", lambda row: _taken_over(row.prompt, row.expansion.added_text)),
        ("a sentence twice", lambda row: _twice(map(_plain, split_sentences(row.expansion.added_text)))),
    )
    return [_rows_figure(f"texts with {name}", texts, find) for name, find in tests if texts]


def invented_words(rows: Sequence[Row], vocabulary: frozenset[str]) -> list[Figure]:
    """Count words of the texts that are neither in the vocabulary nor in the prompt nor in the added tags."""
    texts = [row for row in rows if row.expansion.added_text]
    total, every, having = 0, Counter[str](), list[str]()
    for row in texts:
        own = {*words(row.prompt), *(word for tag in row.tags for word in words(tag.spelling))}
        written = words(row.expansion.added_text)
        invented = [
            word
            for word in written
            if not word[0].isdigit() and word not in own and not _bases(word) & (vocabulary | own)
        ]
        total += len(written)
        every.update(invented)
        if invented:
            having.append(_example(row, ", ".join(invented)))
    if not texts:
        return []
    return [
        Figure("texts with invented words", len(having), len(texts), tuple(having)),
        Figure("invented words", every.total(), total, _counted(every)),
    ]


def unasked_tags(rows: Sequence[Row], *, commonest: int = COMMONEST) -> list[Figure]:
    """Count the commonest general tags added to sentences that do not hold their words."""
    sentences = [row for row in rows if is_sentence(row.prompt)]
    having: dict[str, list[str]] = {}
    for row in sentences:
        asked = [_singular(word) for word in words(row.prompt)]
        for name in {tag.name for tag in row.tags if tag.category is Category.GENERAL}:
            if not _holds(asked, [_singular(word) for word in words(name)]):
                having.setdefault(name, []).append(_example(row))
    ranked = sorted(having.items(), key=lambda item: (-len(item[1]), item[0]))[:commonest]
    total = len(sentences)
    return [Figure(f"sentences given unasked: {name}", len(found), total, tuple(found)) for name, found in ranked]


def empty_rows(rows: Sequence[Row]) -> list[Figure]:
    """Count rows in which nothing was added, with a note and without."""
    empty = [row for row in rows if not any(_adds(piece) for piece in row.expansion.pieces)]
    noted = [_example(row, "; ".join(row.expansion.notes)) for row in empty if row.expansion.notes]
    silent = [_example(row) for row in empty if not row.expansion.notes]
    return [
        Figure("rows with nothing added, with a note", len(noted), len(rows), tuple(noted)),
        Figure("rows with nothing added, silent", len(silent), len(rows), tuple(silent)),
    ]


def changed_prompts(rows: Sequence[Row]) -> Figure:
    """Count rows whose user's pieces are not the prompt, or whose pieces are not the result (must be 0)."""

    def change(row: Row) -> list[str]:
        pieces = row.expansion.pieces
        if "".join(piece.text for piece in pieces if piece.by is By.USER) != row.prompt:
            return ["the user's pieces"]
        return [] if "".join(piece.text for piece in pieces) == row.expansion.prompt else ["the result"]

    return _rows_figure("rows with the user's bytes changed", rows, change)


def repeated_tags(rows: Sequence[Row]) -> Figure:
    """Count added tags that their segment has already, by comparison form (must be 0)."""
    found, total = list[str](), 0
    for row in rows:
        for given, added in zip(row.given, row.added, strict=True):
            names = {tag.name for tag in given}
            for tag in added:
                if tag.name in names:
                    found.append(_example(row, tag.spelling))
                names.add(tag.name)
            total += len(added)
    return Figure("added tags that the row has", len(found), total, tuple(found))


def rows_outside_band(rows: Sequence[Row]) -> Figure:
    """Count rows with tags added past the maximum, or too few without a note (must be 0). The bands are TIPO's."""

    def outside(row: Row) -> list[str]:
        found = list[str]()
        for given, added in zip(row.given, row.added, strict=True):
            before = len({tag.written for tag in given if tag.category in _LISTED})
            _, band = ask_length(TagLength(row.expansion.settings.tag_length), given=before, bands=TIPO_TAGS)
            count = before + len(added)
            few = (given or added) and count < band.minimum and not row.expansion.notes
            if few or (added and count > band.maximum):
                found.append(f"{count} tags, {len(added)} of them added")
        return found

    return _rows_figure("rows with a number of tags outside the band", rows, outside)


def notes(rows: Sequence[Row]) -> list[Figure]:
    """Count the notes by kind: numbers and quoted words aside."""
    having: dict[str, list[str]] = {}
    for row in rows:
        for note in row.expansion.notes:
            kind = re.sub(r"'[^']*'", "'...'", re.sub(r"\d+", "N", re.sub(r" \(most often: .*\)$", "", note)))
            having.setdefault(kind, []).append(_example(row, note))
    return [Figure(f"note: {kind}", len(found), len(rows), tuple(found)) for kind, found in sorted(having.items())]


def looks_found(name: str, rows: Sequence[Row]) -> Figure:
    """Count the looks of CHARACTERS, in their order, that came back; the examples are what is missing."""
    found, missing = 0, list[str]()
    for row, (_, character, looks) in zip(rows, CHARACTERS, strict=True):
        absent = [look for look in looks if look not in {tag.name for tag in row.tags}]
        found += len(looks) - len(absent)
        if absent:
            missing.append(f"{character}: no {', '.join(absent)}")
    return Figure(f"looks of characters, {name}", found, sum(len(looks) for _, _, looks in CHARACTERS), tuple(missing))


def script_figure(name: str, rows: Sequence[Row], exists: Exists) -> Figure:
    """Count rows of a script with added tags that do not exist; the examples are all added tags, those with a `!`."""
    count, shown = 0, list[str]()
    for row in rows:
        marks = ["" if exists(tag) else "!" for tag in row.tags]
        count += any(marks)
        shown.append(_example(row, ", ".join(mark + tag.spelling for mark, tag in zip(marks, row.tags, strict=True))))
    return Figure(f"rows in {name} with invented tags", count, len(rows), tuple(shown))


def words(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, signs left out; hyphens divide words."""
    return _WORD.findall(text.lower().replace("’", "'"))


def is_sentence(prompt: str) -> bool:
    """Return whether a part of the prompt between commas is too long for a tag."""
    return any(len(words(part)) >= SENTENCE for part in re.split(r"[,\n]", prompt))


def _adds(piece: Piece) -> bool:
    return piece.by is By.MODEL and bool(piece.text.strip(" ,\n"))


def _stuttered(said: Sequence[str]) -> list[str]:
    triples = zip(said, said[1:], said[2:], strict=False)
    return list(dict.fromkeys(first for first, second, third in triples if first == second == third))


def _phrases(said: Sequence[str]) -> list[str]:
    return [" ".join(said[begin : begin + PHRASE]) for begin in range(len(said) - PHRASE + 1)]


def _repeated_phrases(row: Row) -> list[str]:
    """Return the phrases that a text has twice; each segment has a text of its own, at the end of a piece."""
    found, left = list[str](), split_sentences(row.expansion.added_text)
    for piece in row.expansion.pieces:
        text = re.sub(r"\\(.)", r"\1", piece.text).strip(" ,\n") if piece.by is By.MODEL else ""
        count = next((end for end in range(len(left), 0, -1) if text.endswith(" ".join(left[:end]))), 0)
        found += _twice(_phrases(words(" ".join(left[:count]))))
        del left[:count]
    return [*found, *_twice(_phrases(words(" ".join(left))))]


def _twice(items: Iterable[str]) -> list[str]:
    return [item for item, count in Counter(items).items() if item and count > 1]


def _taken_over(prompt: str, text: str) -> list[str]:
    own = {phrase for part in re.split(r"[,\n.;:!?]", prompt) for phrase in _phrases(words(part))}
    return [phrase for phrase in _phrases(words(text)) if phrase in own]


def _plain(sentence: str) -> str:
    return " ".join(words(sentence))


def _bases(word: str) -> set[str]:
    return {word, word.removesuffix("'s"), word.removesuffix("'")}


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > 3 else word


def _holds(said: list[str], phrase: list[str]) -> bool:
    """Return whether the words of a phrase stand in a row; signs alone (`:d`) have none, and are not held."""
    size = len(phrase)
    return size > 0 and any(said[at : at + size] == phrase for at in range(len(said) - size + 1))


def _rows_figure(name: str, rows: Sequence[Row], find: Callable[[Row], list[str]]) -> Figure:
    found = [_example(row, " · ".join(what)) for row in rows if (what := find(row))]
    return Figure(name, len(found), len(rows), tuple(found))


def _example(row: Row, what: str = "") -> str:
    prompt = " ".join(row.prompt.split())
    shown = prompt if len(prompt) <= 60 else f"{prompt[:57]}..."
    return f"{shown} -> {what}" if what else shown


def _counted(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{item} ({count})" for item, count in counts.most_common())
