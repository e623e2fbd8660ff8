"""Visible subjects: the tags and the text of each segment that a language model may see.

Hidden are networks, comments, dividers, weights, items with an unresolved wildcard, trigger words, and whatever a
protect pattern matches; they stay where they are in the prompt. Of a sentence only the trigger words are hidden.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kgen_ext.prompt.items import is_trigger
from kgen_ext.prompt.spans import Prompt, Span, SpanKind


@dataclass(frozen=True, slots=True)
class VisibleSubject:
    """A segment as the model may see it: tags as typed, in order, and the sentences joined."""

    tags: tuple[str, ...] = ()
    text: str = ""


def subjects(prompt: Prompt, protect: Sequence[Callable[[str], bool]] = ()) -> tuple[VisibleSubject, ...]:
    """Return one subject for each of `prompt.segments`, empty ones included.

    protect: functions that return whether to hide an item.

    >>> subjects(parse("very (long:1.3) hair, my_char_v2 BREAK <lora:x:1> fox"))
    (VisibleSubject(tags=('very long hair',), text=''), VisibleSubject(tags=('fox',), text=''))
    """
    return tuple(_subject(segment.items, protect) for segment in prompt.segments)


def _subject(items: Sequence[Span], protect: Sequence[Callable[[str], bool]]) -> VisibleSubject:
    tags: list[str] = []
    sentences: list[str] = []
    for item in items:
        if item.kind is SpanKind.OPAQUE or any(matches(item.shown) for matches in protect):
            continue
        words = item.shown.split(" ")
        if item.kind is SpanKind.PROSE:
            sentences.append(" ".join(word for word in words if not is_trigger(word.strip(".,;:!?\"'"))))
        elif not any(is_trigger(word) for word in words):
            tags.append(item.shown)
    return VisibleSubject(tuple(tags), " ".join(filter(None, sentences)))
