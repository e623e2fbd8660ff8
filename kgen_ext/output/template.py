r"""Output templates: text with slots for the user's prompt and the model's additions.

    <|prompt|>       the user's prompt, byte for byte; without this slot it goes right before the first of the
                     next five, or where there is none of them, before the first of the three after them
    <|special|> <|characters|> <|copyrights|> <|artist|> <|general|> <|quality|> <|meta|> <|rating|>
                     the tags of a category that the model added
    <|extended|>     the user's text and the model's continuation; where there is none, the text of <|generated|>
    <|generated|>    further text of the model's

A template without any slot for tags leaves the user's tags out: that is what `text` is for. A slot may be used once;
`\n` written as two characters is a line end.

A template is items between separators: a comma, a semicolon, a full stop behind a slot, a line end, the words BREAK and
AND, and the white space around them. An item whose slots are all empty is removed (`by <|artist|>`,
`(<|quality|>:0.9)`), and with it a separator: of those that then meet, the weightiest stays. Values are never changed:
where one brings a comma, full stop or line end of its own, the template's gives way.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from kgen_ext.errors import BadTemplate
from kgen_ext.events import By, Piece

PROMPT, EXTENDED, GENERATED = "prompt", "extended", "generated"
_PLACES = ("special", "characters", "copyrights", "artist", "general")
_QUALITY = ("quality", "meta", "rating")
_TEXTS = (EXTENDED, GENERATED)
SLOTS = (PROMPT, *_PLACES, *_QUALITY, EXTENDED, GENERATED)

MAX_LENGTH = 4_000
# What is read of a prompt's end to tell whether it is a sentence.
_SENTENCE_LENGTH = 300

_SLOT = re.compile(r"<\|([^<>|]*)\|>")
_KEYWORD = r"(?:BREAK|AND)"
# What a separator goes on with; BREAK and AND only as whole words.
_MORE = rf"(?:\s|[,;]|(?<=\s){_KEYWORD}(?=\s|$))*"
# A slot, with the separator that a full stop behind it begins, or another separator.
_TOKEN = re.compile(
    rf"{_SLOT.pattern}(?P<stop>\.(?=\s|$){_MORE})?|(?P<separator>(?:\s*[,;\n]|\s+{_KEYWORD}(?=\s|$)){_MORE})"
)
_ENDS_IN_KEYWORD = re.compile(rf"(?<!\S){_KEYWORD}$")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a value; `with_prompt` puts the user's prompt before it, at the same place."""

    name: str
    with_prompt: bool = False


Item = tuple[Union[str, Slot], ...]
Value = Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template: `separators[i]` is behind `items[i]`; behind the last it may be empty.

    `sorts`: the user's tags are in the values of their categories, and only the rest of the prompt in its own.
    """

    source: str
    items: tuple[Item, ...]
    separators: tuple[str, ...]
    sorts: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of its slots in order, `prompt` only where it is written."""
        return tuple(part.name for item in self.items for part in item if isinstance(part, Slot))

    @property
    def keeps_prompt(self) -> bool:
        """Whether the user's prompt is in the result."""
        return any(name not in _TEXTS for name in self.slots)


def parse_template(text: str, *, sorts: bool = False) -> Template:
    """Read a template; raises BadTemplate with the slots there are."""
    if len(text) > MAX_LENGTH:
        raise BadTemplate(f"format: {len(text)} characters are too many", hint=f"use at most {MAX_LENGTH}")
    source = text.replace("\\n", "\n")
    names = [name.strip().lower() for name in _SLOT.findall(source)]
    _check_slots(names, source)
    places = [name for slots in (_PLACES, _QUALITY) for name in names if name in slots]
    place = None if PROMPT in names else next(iter(places), None)
    items: list[list[str | Slot]] = [[]]
    separators: list[str] = []
    at = 0
    for found in _TOKEN.finditer(source):
        if at < found.start():
            items[-1].append(source[at : found.start()])
        if found[1] is not None:
            name = found[1].strip().lower()
            items[-1].append(Slot(name, with_prompt=name == place))
        separator = found["stop"] or found["separator"]
        if separator:
            separators.append(separator)
            items.append([])
        at = found.end()
    if at < len(source):
        items[-1].append(source[at:])
    if not items[0]:  # a separator before everything separates nothing
        del items[0], separators[0]
    if not items[-1]:
        del items[-1]
    else:
        separators.append("")
    return Template(text, tuple(map(tuple, items)), tuple(separators), sorts)


def _check_slots(names: Sequence[str], source: str) -> None:
    valid = ", ".join(f"<|{name}|>" for name in SLOTS)
    for name in names:
        if name not in SLOTS:
            raise BadTemplate(f"format: there is no slot <|{name[:40]}|>", hint=f"use {valid}")
        if names.count(name) > 1:
            raise BadTemplate(f"format: the slot <|{name}|> is used twice", hint="use each slot once")
    if opened := re.search(r"<\|(?![^<>|]*\|>)", source):
        raise BadTemplate(f"format: a slot is not closed: {source[opened.start() :][:40]!r}", hint=f"use {valid}")
    if not names:
        raise BadTemplate("format: the template has no slot", hint=f"use {valid}")


def fill(template: Template, values: Mapping[str, Value | str], *, behind_prompt: Value = ()) -> tuple[Piece, ...]:
    """Return the pieces of the final prompt.

    values: slot name -> pieces, or a string (the user's for `prompt`, the model's for all others); absent is empty.
    behind_prompt: tags that the template has no slot for, to go right behind the user's prompt. The pieces joined are
    the prompt, which contains the value of every slot of the template unchanged.

    >>> template = parse_template("<|general|>, by <|artist|>, <|quality|>.")
    >>> values = {"prompt": "1girl, ", "general": "smile", "quality": "masterpiece"}
    >>> "".join(piece.text for piece in fill(template, values))
    '1girl, smile, masterpiece.'
    """
    given = {name: _pieces(name, value) for name, value in values.items()}
    given[PROMPT] = join_values([given.get(PROMPT, ()), behind_prompt])
    if EXTENDED in template.slots and not _text(given.get(EXTENDED, ())).strip():
        given[EXTENDED] = (*given.get(EXTENDED, ()), *given.pop(GENERATED, ()))
    out: list[Piece] = []
    prose = False  # the last item was a text: behind its full stop a comma is one too many
    waiting: list[str] = []
    for item, separator in zip(template.items, template.separators, strict=True):
        pieces = _fill_item(item, given)
        if _text(pieces).strip():
            _put(out, _fit(_text(out), _merge(waiting), _text(pieces), prose=prose))
            prose = any(isinstance(part, Slot) and part.name in _TEXTS for part in item) or (
                pieces[-1].by is By.USER and ends_in_sentence(pieces[-1].text)
            )
            waiting = []
        for piece in pieces:
            _put(out, piece.text, piece.by)
        waiting.append(separator)
    if len(waiting) == 1:  # the last item was filled, so what is behind it is kept
        _put(out, _fit(_text(out), waiting[0], "", prose=prose))
    return tuple(out)


def _fill_item(item: Item, given: Mapping[str, Value]) -> tuple[Piece, ...]:
    """Return the item's pieces: none when all its slots are empty, the values alone when they are blank."""
    values = {part: _slot_value(part, given) for part in item if isinstance(part, Slot)}
    together = tuple(piece for value in values.values() for piece in value)
    if values and not _text(together).strip():
        return together
    out: list[Piece] = []
    bare = True  # nothing, or an empty slot, comes before: white space there separates nothing
    for part in item:
        if isinstance(part, Slot):
            for piece in values[part]:
                _put(out, piece.text, piece.by)
            bare = not values[part] and (bare or _text(out)[-1:].isspace())
        else:
            _put(out, part.lstrip() if bare else part)
            bare = False
    if isinstance(item[-1], Slot) and bare and len(out) > 1 and out[-1].by is By.MODEL:
        out[-1] = Piece(out[-1].text.rstrip(), By.MODEL)
    return tuple(out)


def _slot_value(slot: Slot, given: Mapping[str, Value]) -> tuple[Piece, ...]:
    return tuple(join_values([given.get(PROMPT, ()) if slot.with_prompt else (), given.get(slot.name, ())]))


def join_values(values: Iterable[Value]) -> Value:
    """Join lists of tags with commas, where they do not bring their own; empty ones add nothing."""
    joined: list[Piece] = []
    for value in values:
        if joined and value:
            before = _text(joined)
            _put(joined, _fit(before, ", ", _text(value), prose=ends_in_sentence(before)))
        joined.extend(value)
    return joined


def ends_in_sentence(text: str) -> bool:
    """Return whether a prompt ends in a sentence, rather than in a tag with a full stop."""
    # Imported here: the page's table of formats needs no grammar.
    from kgen_ext.prompt.prose import MANY, is_prose
    from kgen_ext.prompt.sentences import is_finished

    end = text.rstrip()[-_SENTENCE_LENGTH:].rpartition("\n")[2]
    return is_finished(end) and is_prose(end, others=lambda: MANY)


def _merge(separators: Sequence[str]) -> str:
    """Join the separators that meet where items are gone: the first one's punctuation, the weightiest one's layout."""
    if not separators:
        return ""
    parts = [_cut(separator) for separator in separators]
    layout = max((layout for _, layout in parts), key=lambda text: (text.strip() != "", text.count("\n")))
    return parts[0][0] + layout


def _fit(before: str, separator: str, after: str, *, prose: bool) -> str:
    """Return the separator without what the texts around it bring themselves."""
    if not before.strip():
        return ""
    punctuation, layout = _cut(separator)
    if after.lstrip().startswith(","):
        punctuation, layout = "", layout.rstrip(" ")
    end = before.rstrip()
    stopped = end.rstrip("\"'”’)").endswith((".", "!", "?", "…"))
    if "#" in end.rpartition("\n")[2]:
        # Perhaps a comment: what follows needs a line of its own, the comma too.
        here = "" if "\n" in before[len(end) :] else "\n"
        return here + (punctuation + layout if punctuation else layout.replace("\n", "", 1) if here else layout)
    if (
        end.endswith((",", ";"))
        or _ENDS_IN_KEYWORD.search(end)
        or (stopped and (prose or punctuation.startswith(".")))
    ):
        punctuation = ""
    space_before = "" if punctuation else before[len(end) :]
    space_after = after[: len(after) - len(after.lstrip())]
    if layout.strip():
        layout = layout.lstrip() if space_before else layout
        layout = layout.rstrip() if space_after else layout
    elif there := space_before + space_after:
        layout = "\n" * (layout.count("\n") - there.count("\n"))
    return punctuation + layout


def _cut(separator: str) -> tuple[str, str]:
    """Return a separator's punctuation, which belongs to the text before it, and its layout."""
    layout = separator.lstrip(",;.")
    return separator[: len(separator) - len(layout)], layout


def _put(out: list[Piece], text: str, by: By = By.MODEL) -> None:
    if text and out and out[-1].by is by:
        out[-1] = Piece(out[-1].text + text, by)
    elif text:
        out.append(Piece(text, by))


def _text(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def _pieces(name: str, value: Value | str) -> Value:
    if name not in SLOTS:
        raise ValueError(f"no slot is called {name!r}")
    if isinstance(value, str):
        return (Piece(value, By.USER if name == PROMPT else By.MODEL),) if value else ()
    return tuple(piece for piece in value if piece.text)
