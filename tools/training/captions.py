"""Captions and the tags found in them: by name, by alias (`sofa` is `couch`), by plural and by verb (`sleeps`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tools.training.cleaning import is_prompt_like, shown_sentences
from tools.training.corpus import GENERAL, Corpus
from tools.training.people import people_of_caption
from tools.training.tagforms import is_people_tag, spell_tag

_FILES = ("unigenbench", "vbench", "iiw", "dpg_bench", "coco_val2017", "coco_30k", "t2i_compbench")
_NAMED = 30  # posts of a tag that a sentence may name
_MOST = 16  # tags taken from one sentence
# Words that are tags of something else than they say.
_FALSE = frozenset(
    "with from that this there into over under near back front side like other being what can case cast cover captured "
    "saw figure giving give gives calling call calls core people failure surrounded heavy strong landing photo photos "
    "picture image painting ad ads casual faint streaks contrast blending transformation expressions text counter next "
    "playing sports one two three some very more most each both while which them they their his her its set sets made "
    "make makes show shows look looks get gets take takes use used top bottom left right middle center close high low "
    "long short all and for are the was out off end part parts type kind way lot several many few filled featuring "
    "blends blend blended reveal reveals revealed amazing fashion support supports warming "
    "camera creature canopy piercing model patch view scene background foreground large small big little young".split()
)
_DOUBLES = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")  # verbs that double their last letter before -ing


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """A caption's sentences, the tags found in each, and the people it names."""

    sentences: tuple[str, ...]
    said: tuple[tuple[str, ...], ...]
    people: tuple[str, ...]


def word_forms(known: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Map every way a text may say a tag to the tag; the tag's own name always wins."""
    forms: dict[str, str] = {}
    names = list(known)
    for tag in names:
        if tag.endswith("ing") and " " not in tag and len(tag) > 5:
            stem = tag[:-3]
            # `stars` are not staring.
            bases = [f"{stem}e"] if _DOUBLES.fullmatch(stem) else [stem, f"{stem}e"]
            bases += [stem[:-1]] if len(stem) > 3 and stem[-1] == stem[-2] else []
            for base in bases:
                forms |= {f"{base}s": tag} | ({base: tag} if len(base) > 3 else {})
        elif len(tag) > 2:
            forms |= dict.fromkeys(_plurals(tag), tag)
    forms |= {alias: tag for alias, tag in aliases.items() if len(alias) > 3 and tag in set(names)}
    forms = {form: tag for form, tag in forms.items() if form not in _FALSE}
    return forms | {tag: tag for tag in names if tag not in _FALSE}


def _plurals(noun: str) -> tuple[str, ...]:
    if noun.endswith(("s", "x", "ch", "sh")):
        return (f"{noun}es",)
    if noun.endswith("y"):
        return f"{noun}s", f"{noun[:-1]}ies"
    return (f"{noun}s", *(f"{noun.removesuffix(end)}ves" for end in ("f", "fe") if noun.endswith(end)))


def tags_in(text: str, forms: Mapping[str, str]) -> tuple[str, ...]:
    """Find tags among the runs of one to three words of a text, in its order: `red sofa` before `sofa`."""
    words = [word.strip(".,;:!?\"'()").lower() for word in text.split()]
    found = [
        forms[run]
        for start in range(len(words))
        for size in (3, 2, 1)
        if (run := " ".join(words[start : start + size])) in forms and len(run) > 2
    ]
    return tuple(tag for tag in dict.fromkeys(found) if not is_people_tag(tag))[:_MOST]


def tag_forms(corpus: Corpus) -> dict[str, str]:
    """Map every way a text may say a general tag of at least `_NAMED` posts to the tag."""
    known = [
        tag
        for tag, category, posts in corpus.danbooru
        if category == GENERAL and posts >= _NAMED and not is_people_tag(tag)
    ]
    return word_forms(known, corpus.aliases())


def caption_records(corpus: Corpus, forms: Mapping[str, str]) -> list[CaptionRecord]:
    """Read every usable caption of the corpus once."""
    records: dict[str, CaptionRecord] = {}
    for record in corpus.captions("tag_caption_pairs"):
        sentences = shown_sentences(record["caption"])
        if sentences and not is_prompt_like(sentences[0]):
            listed = [spell_tag(tag) for tag in record["tags"]]
            people = people_of_caption(record["caption"], listed)
            records[sentences[0]] = _record(sentences, people, forms)
    for name in _FILES:
        for record in corpus.captions(name):
            sentences = shown_sentences(record["caption"])
            if sentences and sentences[0] not in records:
                records[sentences[0]] = _record(sentences, people_of_caption(record["caption"], ()), forms)
    return list(records.values())


def _record(sentences: tuple[str, ...], people: tuple[str, ...], forms: Mapping[str, str]) -> CaptionRecord:
    return CaptionRecord(sentences, tuple(tags_in(sentence, forms) for sentence in sentences), people)


def things_named(records: Iterable[CaptionRecord], forms: Mapping[str, str], *, least: int = 3) -> frozenset[str]:
    """Return the tags that captions name behind an article `least` times: things, not what they are like."""
    counts = Counter[str]()
    for record in records:
        for sentence in record.sentences:
            words = [word.strip(".,;:!?\"'()").lower() for word in sentence.split()]
            for place, word in enumerate(words):
                if word in ("a", "an", "the"):
                    runs = (" ".join(words[place + 1 : place + 1 + size]) for size in (3, 2, 1))
                    counts.update([forms[run] for run in runs if run in forms][:1])
    return frozenset(tag for tag, count in counts.items() if count >= least)
