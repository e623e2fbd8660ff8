r"""Filling a template: the values go to their places, and what stands between them is made to fit.

Refuses to change a value: only the template's own separators bend (the rules are told in `kgen_ext.output.template`).

An output template read: text with slots, for the user's own prompt and the model's additions.

Refuses to take the user's prompt apart: it stands whole, byte for byte, at one place; around it come additions only.

    <|prompt|>       the user's prompt; without this slot it stands right before the first of the next five
    <|special|> <|characters|> <|copyrights|> <|artist|> <|general|> <|quality|> <|meta|> <|rating|>
                     the tags of a category that the model added
    <|extended|>     the user's text and the model's continuation; where there is none, the text of <|generated|>
    <|generated|>    text the model wrote besides

A template with neither <|prompt|> nor one of `special characters copyrights artist general` leaves the user's tags out:
that is what `text` is for. A slot may stand once; `\n` written as two characters is a line end.

A template is items between separators: a comma, a semicolon, a full stop after a slot, a line end, the words BREAK and
AND, and the white space around them. An item whose slots are all empty goes as a whole (`by <|artist|>`,
`(<|quality|>:0.9)`), and with it a separator: of those that then meet, the weightiest stays. What the user wrote is
never touched: where it brings a comma, full stop or line end of its own, the template's gives way.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from kgen_ext.errors import BadTemplate
from kgen_ext.events import By, Piece

PROMPT, EXTENDED, GENERATED = "prompt", "extended", "generated"
_PLACES = ("special", "characters", "copyrights", "artist", "general")
SLOTS = (PROMPT, *_PLACES, "quality", "meta", "rating", EXTENDED, GENERATED)

MAX_LENGTH = 4_000

_MARK = "\ue000"
_SLOT = re.compile(r"<\|([^<>|]*)\|>")
_KEYWORD = r"(?:BREAK|AND)(?=\s|$)"
_SEPARATOR = re.compile(rf"(?:\s*[,;\n]|\s+{_KEYWORD}|(?<={_MARK})\.(?=\s|$))(?:\s|[,;]|(?<=\s){_KEYWORD})*")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a value; `with_prompt` puts the user's prompt before it, at the same place."""

    name: str
    with_prompt: bool = False


Item = tuple[Union[str, Slot], ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template: `separators[i]` stands behind `items[i]`; behind the last it may be empty."""

    source: str
    items: tuple[Item, ...]
    separators: tuple[str, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """Return the names of its slots in order, `prompt` only where it is written."""
        return tuple(part.name for item in self.items for part in item if isinstance(part, Slot))

    @property
    def keeps_prompt(self) -> bool:
        """Tell whether the user's prompt is in the result."""
        return PROMPT in self.slots or any(name in _PLACES for name in self.slots)


def parse_template(text: str) -> Template:
    """Read a template; raises BadTemplate that lists the slots there are."""
    if len(text) > MAX_LENGTH:
        raise BadTemplate(f"format: {len(text)} characters are too many", hint=f"use at most {MAX_LENGTH}")
    source = text.replace(_MARK, "").replace("\\n", "\n")
    names = [name.strip().lower() for name in _SLOT.findall(source)]
    # A slot becomes one character that no separator contains, so that no cut can fall inside one.
    plain = _SLOT.sub(_MARK, source)
    _check_slots(names, plain)
    has_prompt = PROMPT in names
    place = next((name for name in names if name in _PLACES and not has_prompt), None)
    slots = iter([Slot(name, name == place) for name in names])
    pieces: list[Item] = []
    separators: list[str] = []
    at = 0
    for found in _SEPARATOR.finditer(plain):
        pieces.append(_item(plain[at : found.start()], slots))
        separators.append(found[0])
        at = found.end()
    pieces.append(_item(plain[at:], slots))
    if not pieces[0]:  # a separator before everything separates nothing
        del pieces[0], separators[0]
    if not pieces[-1]:
        del pieces[-1]
    else:
        separators.append("")
    return Template(text, tuple(pieces), tuple(separators))


def _check_slots(names: list[str], plain: str) -> None:
    valid = ", ".join(f"<|{name}|>" for name in SLOTS)
    for name in names:
        if name not in SLOTS:
            raise BadTemplate(f"format: there is no slot <|{name[:40]}|>", hint=f"use {valid}")
        if names.count(name) > 1:
            raise BadTemplate(f"format: the slot <|{name}|> stands twice", hint="use each slot once")
    if "<|" in plain:
        raise BadTemplate(f"format: a slot is not closed: {plain[plain.index('<|') :][:40]!r}", hint=f"use {valid}")
    if not names:
        raise BadTemplate("format: the template has no slot", hint=f"use {valid}")


def _item(plain: str, slots: Iterator[Slot]) -> Item:
    return tuple(next(slots) if part == _MARK else part for part in re.split(f"({_MARK})", plain) if part)


Value = Sequence[Piece]
_TEXTS = (EXTENDED, GENERATED)
_LAST_KEYWORD = re.compile(r"(?<!\S)(?:BREAK|AND)$")


def fill(template: Template, values: Mapping[str, Value | str]) -> tuple[Piece, ...]:
    """Return the pieces of the final prompt.

    values: slot name -> pieces, or a string (the user's for `prompt`, the model's for all others); absent is empty.
    The pieces joined are the prompt; every piece of a value whose slot the template has is in it, whole.

    >>> from kgen_ext.tags.slots import parse_template
    >>> template = parse_template("<|general|>, by <|artist|>, <|quality|>.")
    >>> "".join(one.text for one in fill(template, {"prompt": "1girl, ", "general": "smile", "quality": "masterpiece"}))
    '1girl, smile, masterpiece.'
    """
    given = {name: _pieces(name, value) for name, value in values.items()}
    if EXTENDED in template.slots and not _text(given.get(EXTENDED, ())).strip():
        given[EXTENDED] = (*given.get(EXTENDED, ()), *given.pop(GENERATED, ()))
    out: list[Piece] = []
    prose = False  # whether text was put last: after its full stop a comma is one too many
    waiting: list[str] = []
    for item, separator in zip(template.items, template.separators, strict=True):
        pieces = _fill_item(item, given)
        if _text(pieces).strip():
            _put(out, _fit(_text(out), _merge(waiting), _text(pieces), prose=prose))
            prose = any(isinstance(part, Slot) and part.name in _TEXTS for part in item)
            waiting = []
        for piece in pieces:
            _put(out, piece.text, piece.by)
        waiting.append(separator)
    if len(waiting) == 1:  # the last item stands, and so does what is behind it
        _put(out, _fit(_text(out), waiting[0], "", prose=prose))
    return tuple(out)


def _fill_item(item: Item, given: Mapping[str, Value]) -> tuple[Piece, ...]:
    """Return the item's pieces; () when it has slots and all are empty; of a blank value the value alone."""
    values = {part: _slot_value(part, given) for part in item if isinstance(part, Slot)}
    together = tuple(piece for value in values.values() for piece in value)
    if values and not _text(together).strip():
        return together
    out: list[Piece] = []
    bare = True  # nothing, or an empty slot, stands before: white space there has lost its purpose
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
    value = tuple(given.get(slot.name, ()))
    prompt = tuple(given.get(PROMPT, ())) if slot.with_prompt else ()
    between = _fit(_text(prompt), ", ", _text(value), prose=False) if value else ""
    return (*prompt, *((Piece(between, By.MODEL),) if between else ()), *value)


def _merge(separators: Sequence[str]) -> str:
    """Join the separators that meet where items went: the first one's punctuation, the weightiest one's layout."""
    if not separators:
        return ""
    parts = [_cut(separator) for separator in separators]
    layout = max((layout for _, layout in parts), key=lambda one: (one.strip() != "", one.count("\n")))
    return parts[0][0] + layout


def _fit(before: str, separator: str, after: str, *, prose: bool) -> str:
    """Return the separator without what its neighbours bring themselves."""
    if not before.strip():
        return ""
    punctuation, layout = _cut(separator)
    if after.lstrip().startswith(","):
        punctuation, layout = "", layout.rstrip(" ")
    end = before.rstrip()
    stopped = end.rstrip("\"'”’)").endswith((".", "!", "?", "…"))
    if "#" in end.rpartition("\n")[2]:
        # Perhaps a comment: what follows must stand on a line of its own, the comma too.
        here = "" if "\n" in before[len(end) :] else "\n"
        return here + (punctuation + layout if punctuation else layout.replace("\n", "", 1) if here else layout)
    if (
        end.endswith((",", ";"))
        or _LAST_KEYWORD.search(end)
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
    """Return punctuation, which belongs to what stands before, and layout."""
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
        raise ValueError(f"no slot of the name {name!r}")
    if isinstance(value, str):
        return (Piece(value, By.USER if name == PROMPT else By.MODEL),) if value else ()
    return tuple(piece for piece in value if piece.text)
