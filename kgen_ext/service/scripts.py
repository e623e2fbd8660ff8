"""Words in other scripts: translated where a table knows them, else hidden from models that cannot read them."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from unicodedata import normalize

from kgen_ext.engines.readable import is_readable
from kgen_ext.tags.tag import Tag, read_tag
from kgen_ext.tags.words import translate

if TYPE_CHECKING:
    from kgen_ext.engine import Engine
    from kgen_ext.protocol import Subject
    from kgen_ext.rules.known import DanbooruTags, KnownTags
    from kgen_ext.service.plan import ExpansionPlan

_NAMED, _LENGTH = 5, 30  # words a note names, and characters of each
# No context holds more items or words than this: bounds the work on a prompt of 1 MB.
_MOST = 1024


def read_given(items: Iterable[str], known: KnownTags | DanbooruTags | None) -> tuple[Tag, ...]:
    """Return the tags of a prompt's items: what each stands for in the tag file or the word table, else itself."""
    tags = list[Tag]()
    for place, item in enumerate(items):
        tags += _read_item(item, known) if place < _MOST else (read_tag(item),)
    return tuple(tags)


def _read_item(item: str, known: KnownTags | DanbooruTags | None) -> tuple[Tag, ...]:
    tag = read_tag(item)
    if item.isascii():
        return (tag,)
    if known is not None and (name := known.find(tag.written)) not in (None, tag.written):
        return (read_tag(name),)
    return tuple(map(read_tag, translate(item) or ())) or (tag,)


def hide_unreadable(plan: ExpansionPlan, engine: Engine) -> ExpansionPlan:
    """Return the plan without what the model cannot read, and with a note that names it. ASCII costs nothing."""
    if all(subject is None or _is_ascii(subject) for subject in plan.subjects):
        return plan
    hidden = list[str]()
    subjects = [subject and _readable(subject, engine, hidden) for subject in plan.subjects]
    if not hidden:
        return plan
    # As in a prompt that says nothing there: such a segment is left alone, unless no other says anything.
    empty = not any(subject and (subject.tags or subject.meta or subject.text) for subject in subjects)
    subjects = [
        subject if subject and (subject.tags or subject.meta or subject.text or (empty and index == 0)) else None
        for index, subject in enumerate(subjects)
    ]
    return replace(plan, subjects=tuple(subjects), notes=(*plan.notes, _note(hidden)))


def _is_ascii(subject: Subject) -> bool:
    values = (value for _, values in subject.meta for value in values)
    return subject.text.isascii() and all(map(str.isascii, (*subject.tags, *subject.context, *values)))


def _readable(subject: Subject, engine: Engine, hidden: list[str]) -> Subject:
    def keep(values: Sequence[str]) -> tuple[str, ...]:
        # Letters in another width or style (ｈａｔ) are no other script.
        unread = {value for value in values[:_MOST] if not is_readable(engine, normalize("NFKC", value))}
        hidden.extend(value for value in values if value in unread)
        return tuple(value for value in values if value not in unread) if unread else tuple(values)

    meta = [(category, keep(values)) for category, values in subject.meta]
    return replace(
        subject,
        tags=keep(subject.tags),
        context=keep(subject.context),
        meta=tuple((category, values) for category, values in meta if values),
        text=_readable_text(subject.text, engine, hidden),
    )


def _readable_text(text: str, engine: Engine, hidden: list[str]) -> str:
    """Return running text without the words that cannot be read; words in a row are one entry of `hidden`."""
    if text.isascii():
        return text
    kept, run = list[str](), list[str]()
    for place, word in enumerate(text.split(" ")):
        if place >= _MOST or is_readable(engine, word):
            kept.append(word)
            hidden.extend([" ".join(run)] if run else [])
            run = []
        else:
            run.append(word)
    hidden.extend([" ".join(run)] if run else [])
    return " ".join(kept)


def _note(hidden: Sequence[str]) -> str:
    words = list(dict.fromkeys(hidden))
    named = [word if len(word) <= _LENGTH else f"{word[:_LENGTH]}..." for word in words[:_NAMED]]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return f"not understood, hidden from the model: {', '.join(named)}{more}"
