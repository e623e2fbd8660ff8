"""Captions and the tags found in them: by name, by alias (`sofa` is `couch`), by plural and by verb (`sleeps`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tools.training.corpus import Corpus
from tools.training.people import people_of_caption
from tools.training.prose import clean_sentences, is_prompt_like
from tools.training.tagforms import is_people_tag, spell_tag

_FILES = ("unigenbench", "vbench", "iiw", "dpg_bench")
_MOST = 16  # tags taken from one caption
# Words that are tags of something else than they say.
_FALSE = frozenset("with from that this there into over under near back front side like other being".split())


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """A caption's sentences and the tags found in it."""

    sentences: tuple[str, ...]
    tags: tuple[str, ...]
    people: tuple[str, ...]


def word_forms(known: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Map every way a text may say a tag to the tag; the tag's own name always wins."""
    forms: dict[str, str] = {}
    names = list(known)
    for tag in names:
        if tag.endswith("ing") and " " not in tag and len(tag) > 5:
            stem = tag[:-3]
            bases = [stem, f"{stem}e"] + ([stem[:-1]] if len(stem) > 3 and stem[-1] == stem[-2] else [])
            for base in bases:
                forms |= {f"{base}s": tag} | ({base: tag} if len(base) > 3 else {})
        elif not tag.endswith("s") and len(tag) > 2:
            forms[f"{tag}s"] = tag
    forms |= {alias: tag for alias, tag in aliases.items() if len(alias) > 3 and tag in set(names)}
    forms = {form: tag for form, tag in forms.items() if form not in _FALSE}
    return forms | {tag: tag for tag in names if tag not in _FALSE}


def tags_in(text: str, forms: Mapping[str, str]) -> tuple[str, ...]:
    """Find tags among the runs of one to three words of a text, longest first: `red sofa` before `sofa`."""
    words = [word.strip(".,;:!?\"'()").lower() for word in text.split()]
    found = [
        forms[run]
        for size in (3, 2, 1)
        for start in range(len(words) - size + 1)
        if (run := " ".join(words[start : start + size])) in forms and len(run) > 2
    ]
    return tuple(dict.fromkeys(found))[:_MOST]


def caption_records(corpus: Corpus, forms: Mapping[str, str]) -> list[CaptionRecord]:
    """Read every usable caption of the corpus once."""
    known = set(forms.values())
    records: dict[str, CaptionRecord] = {}
    for record in corpus.captions("tag_caption_pairs"):
        sentences = clean_sentences(record["caption"])
        if sentences and not is_prompt_like(sentences[0]):
            listed = [spell_tag(tag) for tag in record["tags"]]
            tags = (*(tag for tag in listed if tag in known), *tags_in(" ".join(sentences), forms))
            people = people_of_caption(record["caption"], listed)
            found = tuple(tag for tag in dict.fromkeys(tags) if not is_people_tag(tag))
            records[sentences[0]] = CaptionRecord(sentences, found[:_MOST], people)
    for name in _FILES:
        for record in corpus.captions(name):
            sentences = clean_sentences(record["caption"])
            if sentences and sentences[0] not in records:
                people = people_of_caption(record["caption"], ())
                tags = tuple(tag for tag in tags_in(" ".join(sentences), forms) if not is_people_tag(tag))
                records[sentences[0]] = CaptionRecord(sentences, tags, people)
    return list(records.values())
