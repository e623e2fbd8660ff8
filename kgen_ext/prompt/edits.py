"""Which `[..]` A1111 reads as prompt editing or alternation, and what the prompt is at each step.

Knows the host's grammar and nothing of weights. Facts: the grammar of A1111 1.10.1's prompt_parser.

    node        emphasis ( P ) or ( P : P ) or [ P ]; edit [ P : P : N ] or [ P : N ]; alternation [ P | P | .. ]
    P           text and nodes, in any number; no bare bracket, colon or bar
    N           a number: with a point a share of the steps, else a step
    escape      backslash and any character but a newline
    top level   text, nodes and bare brackets and colons in any order, but no bare bar: one of those, or a
                backslash that escapes nothing, makes the host give up on the whole prompt and take it as it stands
"""
from __future__ import annotations

import re
from bisect import bisect_left
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
    """A bracket not yet closed, and what stands directly inside it so far."""

    __slots__ = ("char", "start", "marks", "bar", "sound")

    def __init__(self, char: str, start: int) -> None:
        self.char = char
        self.start = start
        self.marks: list[int] | None = None
        self.bar = False
        self.sound = True  # everything inside is text and nodes


def read_edits(source: str) -> tuple[list[Edit], bool]:
    """Return the edits and alternations in order of their end, and whether the host accepts the prompt."""
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
            # Nothing that is open can be balanced any more.
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


def schedule(prompt: str, steps: int) -> list[tuple[int, str]]:
    """Return A1111's prompt editing schedule: (last step, prompt) pairs, the last of them at `steps`.

    >>> schedule("a [b:c:0.5]", 10)
    [(5, 'a b'), (10, 'a c')]
    """
    edits, accepted = read_edits(prompt)
    if not accepted:
        return [(steps, prompt)]
    ends = {steps}
    for edit in edits:
        if edit.when is None:
            ends.update(range(1, steps + 1))
        elif edit.last_step(steps) >= 1:
            ends.add(edit.last_step(steps))
    return [(step, _at_step(prompt, edits, step, steps)) for step in sorted(ends)]


def _at_step(prompt: str, edits: list[Edit], step: int, steps: int) -> str:
    """Copy the prompt, jumping over the branches that do not rule at this step."""
    jumps: dict[int, int] = {}
    for edit in edits:
        if edit.when is None:
            branch = edit.branches[(step - 1) % len(edit.branches)]
        else:
            branch = edit.branches[step > edit.last_step(steps)]
        jumps[edit.start] = branch[0] if branch[0] < branch[1] else edit.stop
        if branch[0] < branch[1]:
            jumps[branch[1]] = edit.stop
    stops = sorted(jumps)
    out: list[str] = []
    at = i = 0
    while i < len(stops):
        out.append(prompt[at : stops[i]])
        at = jumps[stops[i]]
        i = bisect_left(stops, at, i + 1)
    return "".join(out) + prompt[at:]
