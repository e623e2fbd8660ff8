"""Prompt edits and alternations, as A1111 reads them: their branches, and the step at which the first one ends.

Source: the grammar in prompt_parser of A1111 1.10.1.

    node        emphasis ( P ) or ( P : P ) or [ P ]; edit [ P : P : N ] or [ P : N ]; alternation [ P | P | .. ]
    P           text and nodes, in any number; no bare bracket, colon or bar
    N           a number: with a point a share of the steps, else a step
    escape      backslash and any character but a newline
    top level   text, nodes and bare brackets and colons in any order, but no bare bar: with one of those, or with
                a backslash that escapes nothing, the host gives up and takes the whole prompt as text
"""
from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

_NUMBER = r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"


class Edit(NamedTuple):
    """An edit or an alternation: the brackets at `start` and `stop - 1`, the branches as ranges of the source.

    `when` is the number as written for an edit (two branches, the first may be absent: an empty range), None for an
    alternation.
    """

    start: int
    stop: int
    branches: tuple[tuple[int, int], ...]
    when: str | None

    def last_step(self, steps: int) -> int:
        """Return the last step of an edit's first branch."""
        assert self.when is not None
        value = float(self.when) * (steps if "." in self.when else 1)
        return int(max(-1.0, min(float(steps), value)))


class _Open:
    """An open bracket, and what is directly inside it so far."""

    __slots__ = ("char", "start", "marks", "bar", "sound")

    def __init__(self, char: str, start: int) -> None:
        self.char = char
        self.start = start
        self.marks: list[int] | None = None
        self.bar = False
        self.sound = True  # everything inside is text and nodes


def read_edits(source: str) -> tuple[list[Edit], bool]:
    """Return the edits and alternations in order of their end, and whether A1111 accepts the prompt."""
    edits: list[Edit] = []
    stack: list[_Open] = []
    accepted = True
    for match in re.finditer(r"\\[^\n]?|[()\[\]:|]", source):
        char, at = match.group()[0], match.start()
        if char == "\\":
            accepted &= len(match.group()) == 2
            if len(match.group()) == 1:
                stack.clear()
        elif char in "([":
            stack.append(_Open(char, at))
        elif char in ":|":
            if stack:
                if stack[-1].marks is None:
                    stack[-1].marks = []
                stack[-1].marks.append(at)
                stack[-1].bar |= char == "|"
                stack[-1].sound &= not (char == "|" and stack[-1].char == "(")
            if char == "|" and (not stack or stack[-1].char == "("):
                accepted = False
        elif stack and stack[-1].char + char in ("()", "[]"):
            group = stack.pop()
            edit, node = _close(source, group, at)
            if edit:
                edits.append(edit)
            if group.bar and not edit:
                accepted = False
            if stack and not node:
                stack[-1].sound = False
        else:
            # No open bracket can be balanced any more.
            accepted &= not any(group.bar for group in stack)
            stack.clear()
    accepted &= not any(group.bar for group in stack)
    return edits, accepted


def _close(source: str, group: _Open, at: int) -> tuple[Edit | None, bool]:
    """Return the edit that the group is, if it is one, and whether it is a node at all."""
    start, marks = group.start, group.marks or []
    if not group.sound:
        return None, False
    if group.char == "(":
        return None, len(marks) <= 1
    if not marks:
        return None, True
    edges = [start, *marks, at]
    parts = tuple((a + 1, b) for a, b in pairwise(edges))
    if group.bar:
        alternation = all(source[mark] == "|" for mark in marks)
        return (Edit(start, at + 1, parts, None) if alternation else None), alternation
    number = re.compile(_NUMBER).fullmatch(source, *parts[-1]) if len(marks) <= 2 else None
    if number is None:
        return None, False
    branches = parts[:2] if len(marks) == 2 else ((start + 1, start + 1), parts[0])
    return Edit(start, at + 1, branches, number.group(1)), True
