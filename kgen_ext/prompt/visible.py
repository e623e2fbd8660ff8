"""Visible subjects: the tags and the text of each segment that a language model may see.

Hidden are networks, comments, dividers, weights, items with an unresolved wildcard or a weight of 0 or less, trigger
words, and whatever a protect pattern matches; they stay where they are in the prompt. Of a sentence only the trigger
words are hidden.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kgen_ext.prompt.items import is_trigger
from kgen_ext.prompt.sentences import ends_sentence
from kgen_ext.prompt.spans import Prompt, Span, SpanKind


@dataclass(frozen=True, slots=True)
class VisibleSubject:
    """A segment as the model may see it: tags as typed, in order, and the sentences joined.

    `unwanted`: the tags that a weight of 0 or less keeps out of the picture.
    """

    tags: tuple[str, ...] = ()
    text: str = ""
    unwanted: tuple[str, ...] = ()


def subjects(prompt: Prompt, protect: Sequence[Callable[[str], bool]] = ()) -> tuple[VisibleSubject, ...]:
    """Return one subject for each of `prompt.segments`, empty ones included.

    protect: functions that return whether to hide an item.

    >>> subjects(parse("very (long:1.3) hair, my_char_v2 BREAK <lora:x:1> fox"))
    (VisibleSubject(tags=('very long hair',), text=''), VisibleSubject(tags=('fox',), text=''))
    """
    return tuple(_subject(segment.items, protect) for segment in prompt.segments)


def _subject(items: Sequence[Span], protect: Sequence[Callable[[str], bool]]) -> VisibleSubject:
    tags: list[str] = []
    unwanted: list[str] = []
    text = ""
    for item in items:
        if item.kind is SpanKind.OPAQUE or any(matches(item.shown) for matches in protect):
            continue
        if not item.wanted:
            unwanted += [item.shown] if item.kind is SpanKind.TAG else item.listed
            continue
        words = item.shown.split(" ")
        if item.kind is SpanKind.PROSE:
            sentence = " ".join(word for word in words if not is_trigger(word.strip(".,;:!?\"'")))
            if sentence:
                text += ("" if not text else " " if ends_sentence(text) else ", ") + sentence
            tags += [tag for tag in item.listed if not any(matches(tag) for matches in protect)]
        elif not any(is_trigger(word) for word in words):
            tags.append(item.shown)
    return VisibleSubject(tuple(tags), text, tuple(unwanted))
