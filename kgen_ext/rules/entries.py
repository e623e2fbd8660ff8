r"""Entries of the option lists, in the prompt's syntax: which tags a banned, hidden or required entry names.

    plain     long_hair   saber (fate)   saber \(fate\)   :(   (^o^)/   *_hair   /blue .*/   category:artist
    syntax    (hat, scarf:1.2)   [hat]   <lora:x:1>   [a:b:0.5]   {a|b}   __x__   lowres BREAK blurry   my_char_v2

A plain entry is one tag or pattern, whatever signs it has: a name with brackets behind it is not weighted, and neither
are a face or another tag that exists. Any other is read as a prompt: its tags are what is left without weights and
escapes; networks, comments, dividers and wildcards name none.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from kgen_ext.prompt import Prompt, SpanKind, parse
from kgen_ext.prompt.items import is_trigger
from kgen_ext.rules.patterns import MAX_LENGTH
from kgen_ext.tags.tag import read_tag

_SYNTAX = frozenset((
    SpanKind.EMPHASIS, SpanKind.DEEMPHASIS, SpanKind.EDIT, SpanKind.ALTERNATION, SpanKind.CHOICE, SpanKind.NETWORK,
    SpanKind.WILDCARD, SpanKind.COMMENT, SpanKind.SLOT, SpanKind.AND, SpanKind.BREAK, SpanKind.REGION, SpanKind.SEP,
))  # fmt: skip
# Without any of these an entry is plain; most are.
_SUSPECT = re.compile(r"[()\[\]{}<>#,，、\n]|__|\b(?:AND|BREAK|ADD[A-Z]+)\b")
_PLAIN = r"[^()\[\]{}<>|\\,，、\n]"
# `rem (re:zero)` and the like; no number behind a colon at the end of a bracket.
_NAME = re.compile(rf"(?!.*:\s*[-+]?[.\d]+\s*\)){_PLAIN}*[^\s()\[\]{{}}<>|\\,](?:[\s_]\({_PLAIN}+\))+")


class Entry(NamedTuple):
    """An entry as written, and the tags it names; `prompt`: how it reads, None where it is plain."""

    source: str
    tags: tuple[str, ...]
    prompt: Prompt | None = None


def read_entry(text: str) -> Entry:
    r"""Read an entry of a list.

    >>> [read_entry(text).tags for text in ("(hat, scarf:1.2)", "saber (fate)", "<lora:x:1>", "very (long:1.3) hair")]
    [('hat', 'scarf'), ('saber (fate)',), (), ('very long hair',)]
    """
    source = text.strip()
    trigger = "_" in source and any(map(is_trigger, source.split()))
    if not trigger and (_SUSPECT.search(source) is None or _is_name(source)):
        return Entry(source, (source,))
    prompt = parse(source)
    items = [item for segment in prompt.segments for item in segment.items]
    syntax = any(span.kind in _SYNTAX for span in prompt.spans)
    if not (syntax or trigger) and len(items) == 1 and ", " not in items[0].shown:
        return Entry(source, (source,))
    # A sentence may hold commas; a list that ends in a full stop reads as one.
    shown = (part.strip() for item in items for part in item.shown.split(", "))
    return Entry(source, tuple(filter(None, shown)), prompt)


def read_patterns(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns that entries stand for: of those with syntax, their tags.

    >>> read_patterns(["(worst quality, low quality:1.4)", "* hair", "<lora:x:1>", "BREAK", "bad hands."])
    ('worst quality', 'low quality', '* hair', 'bad hands')
    """
    return tuple(pattern for text in texts for pattern in _patterns(text))


def _patterns(text: str) -> Iterable[str]:
    source = text.strip()
    if source[:1] == "/" or (("*" in source or "?" in source) and source[:1] not in "([{<" and "," not in source):
        return (text,)  # an expression or a glob, whose brackets and bars are its own
    return map(_without_stop, read_entry(source).tags) if source else (text,)


def _without_stop(tag: str) -> str:
    """Return a tag without the full stop that ends a pasted line; a name that ends in one keeps it."""
    if not tag.endswith(".") or tag.endswith(".."):
        return tag
    read = read_tag(tag)
    return tag[:-1] if read.name == read.folded[:-1] else tag


def _is_name(source: str) -> bool:
    """Return whether brackets belong to the name: they are behind it, or a tag with these brackets exists."""
    if len(source) > MAX_LENGTH:
        return False
    if _NAME.fullmatch(source):
        return True
    return source[:1] in "([{<" and "," not in source and read_tag(source).name == read_tag(source).folded
