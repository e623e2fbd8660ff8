"""Limits of the demo page: what a visitor may ask for, and how many may wait.

As an option: `each=2,characters=5000`; what is not named keeps its default.
"""
from __future__ import annotations

from dataclasses import dataclass, fields

from kgen_ext.errors import BadValue, UserError


@dataclass(frozen=True, slots=True)
class Limits:
    """waiting: runs in a queue. each: runs of one visitor in it. minute: runs that a visitor starts within one.

    characters: of all texts of a run together. candidates: of a run. steps, side: of a picture.
    """

    waiting: int = 50
    each: int = 2
    minute: int = 30
    characters: int = 20_000
    candidates: int = 4
    steps: int = 50
    side: int = 1024

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Read an option's value. Raises BadValue, UserError for a name that is none.

        >>> Limits.parse("each=1, steps=20").steps
        20
        """
        highest = {"candidates": 8, "steps": 100, "side": 2048}
        names = [field.name for field in fields(cls)]
        given: dict[str, int] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in names:
                raise UserError(f"--limits: {part!r:.80} names no limit", hint=f"use NAME=N of {', '.join(names)}")
            high = highest.get(name, 1_000_000)
            if not (value.isascii() and value.isdigit()) or not 1 <= int(value[:9]) <= high:
                raise BadValue(f"--limits {name}", value, f"1 to {high}")
            given[name] = int(value)
        return cls(**given)

    def check_texts(self, texts: tuple[str, ...]) -> None:
        """Raise UserError where a run's texts are longer than is allowed."""
        length = sum(map(len, texts))
        if length > self.characters:
            raise UserError(f"your texts have {length:,} characters, and this page takes {self.characters:,}",
                            hint="shorten them, or use the command kgen expand")  # fmt: skip
