"""Captions and the tags found in them: by name, by alias (`sofa` is `couch`), by plural and by verb (`sleeps`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kgen_ext.tags.mentions import CUT, DOUBLES, OTHERWISE, is_verb
from tools.training.cleaning import is_prompt_like, shown_sentences
from tools.training.corpus import GENERAL, Corpus
from tools.training.people import people_of_caption
from tools.training.tagforms import is_people_tag, spell_tag

_FILES = ("unigenbench", "vbench", "iiw", "dpg_bench", "coco_val2017", "coco_30k", "t2i_compbench")
_NAMED = 30  # posts of a tag that a sentence may name
_MOST = 16  # tags taken from one sentence
# Words that are tags of something else than they say, beside those that KGen passes over, too.
_FALSE = OTHERWISE | frozenset(
    "from that this there into near case cast captured saw give gives calling call calls core "
    "failure surrounded strong landing photos ad ads casual faint streaks blending transformation counter next "
    "playing very more most each while them her his its sets make makes get gets take takes use used bottom middle "
    "close for are was off end part type kind way lot filled featuring blends blend blended reveal reveals "
    "revealed amazing fashion support supports warming camera creature canopy piercing model background foreground "
    "clean open surface".split()
)


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """A caption's sentences, the tags found in each, and the people it names."""

    sentences: tuple[str, ...]
    said: tuple[tuple[str, ...], ...]
    people: tuple[str, ...]


class Forms(dict[str, str]):
    """Each way a text may name a tag, to the tag; `verbs`: as what someone does."""

    def __init__(self, names: Mapping[str, str], verbs: Mapping[str, str]) -> None:
        super().__init__(names)
        self.verbs = verbs


def word_forms(known: Iterable[str], aliases: Mapping[str, str]) -> Forms:
    """Map every way a text may say a tag to the tag; the tag's own name always wins."""
    names = dict.fromkeys(known)
    plurals = {plural: tag for tag in names if len(tag) > 2 for plural in _plurals(tag)}
    kept = (name for name, tag in aliases.items() if len(name) > 3 and tag in names and not name.endswith(CUT))
    found = plurals | {name: aliases[name] for name in kept} | {tag: tag for tag in names}
    done = {form: tag for tag in names if tag.endswith("ing") and " " not in tag for form in _verbs(tag[:-3])}
    return Forms(*({form: tag for form, tag in some.items() if form not in _FALSE} for some in (found, done)))


def _verbs(stem: str) -> list[str]:
    """Return the forms of the verb whose participle is `stem` and -ing; `stars` are not staring."""
    bases = [f"{stem}e"] if not stem.endswith("i") else []
    bases += [] if DOUBLES.fullmatch(stem) else [stem]
    bases += [stem[:-1]] if len(stem) > 3 and stem[-1] == stem[-2] else []
    return [form for base in bases for form in (f"{base}s", base) if len(form) > 3]


def _plurals(noun: str) -> tuple[str, ...]:
    if noun.endswith(("s", "x", "ch", "sh")):
        return (f"{noun}es",)
    if noun.endswith("y"):
        return f"{noun}s", f"{noun[:-1]}ies"
    return (f"{noun}s", *(f"{noun.removesuffix(end)}ves" for end in ("f", "fe") if noun.endswith(end)))


def tags_in(text: str, forms: Forms) -> tuple[str, ...]:
    """Find tags among the runs of one to three words of a text, in its order: `red sofa` before `sofa`."""
    words = [word.strip(".,;:!?\"'()").lower() for word in text.split()]
    found = list[str]()
    for start, word in enumerate(words):
        runs = [run for size in (3, 2, 1) if len(run := " ".join(words[start : start + size])) > 2 and run in forms]
        found += [forms[run] for run in runs]
        if word in forms.verbs and word not in runs and is_verb(word, words[start - 1] if start else "", forms):
            found.append(forms.verbs[word])
    return tuple(tag for tag in dict.fromkeys(found) if not is_people_tag(tag))[:_MOST]


def tag_forms(corpus: Corpus) -> Forms:
    """Map every way a text may say a general tag of at least `_NAMED` posts to the tag."""
    known = [
        tag
        for tag, category, posts in corpus.danbooru
        if category == GENERAL and posts >= _NAMED and not is_people_tag(tag)
    ]
    return word_forms(known, corpus.aliases())


def caption_records(corpus: Corpus, forms: Forms) -> list[CaptionRecord]:
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


def _record(sentences: tuple[str, ...], people: tuple[str, ...], forms: Forms) -> CaptionRecord:
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
