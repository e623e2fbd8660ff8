r"""An output template read: text with slots, for the user's own prompt and the model's additions.

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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from kgen_ext.errors import BadTemplate

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
