"""Filling a template: the values go to their places, and what stands between them is made to fit.

Refuses to change a value: only the template's own separators bend (the rules are told in `kgen_ext.tags.slots`).
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from kgen_ext.events import By, Piece
from kgen_ext.tags.slots import EXTENDED, GENERATED, PROMPT, SLOTS, Item, Slot, Template

Value = Sequence[Piece]
_TEXTS = (EXTENDED, GENERATED)
_KEYWORD = re.compile(r"(?<!\S)(?:BREAK|AND)$")


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
        or _KEYWORD.search(end)
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
