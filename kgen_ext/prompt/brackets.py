"""Attention brackets, as A1111 reads them in a whole string, and the weights that follow.

Comments, networks and wildcards count as text: blank them out first where they should not. Source:
parse_prompt_attention in A1111 1.10.1.

    ( multiplies by 1.1, [ divides by 1.1; `:1.2)` multiplies by its number instead.
    Round and square brackets have a stack each and may cross. An unclosed one reaches to the end; a closer with
    nothing to close is text. A backslash makes ( ) [ ] \\ text and is otherwise dropped.
    BREAK as a whole word is an entry of its own, and takes the white space around it along.
"""
from __future__ import annotations

import re
from typing import NamedTuple

ROUND = 1.1
SQUARE = 1 / 1.1
# Plain text is one token up to the next special character, as in A1111: entries and merging depend on it.
_TOKEN = r"\\[()\[\]\\]?|[(\[]|:\s*([+-]?[.\d]+)\s*\)|[)\]]|:|[^\\()\[\]:]+"
# White space is tried only where it begins, which keeps long runs of it linear.
_BREAK = re.compile(r"(?:(?<!\s)\s+)?\bBREAK\b\s*")


class Bracket(NamedTuple):
    """Text from `start` (the opening character) to `stop` (past the closing one), times `factor`.

    `closer` is the user's closing text, "" for a bracket that nothing closes.
    """

    start: int
    stop: int
    closer: str
    factor: float
    square: bool


def read_brackets(source: str) -> list[Bracket]:
    """Return the brackets in the order in which A1111 applies them."""
    rounds: list[int] = []
    squares: list[int] = []
    found: list[Bracket] = []
    # Only the tokens that matter here; a search skips the rest quickly.
    for match in re.finditer(r"\\[()\[\]\\]?|[(\[\])]|:\s*([+-]?[.\d]+)\s*\)", source):
        text = match.group()
        if text == "(":
            rounds.append(match.start())
        elif text == "[":
            squares.append(match.start())
        elif text == "]" and squares:
            found.append(Bracket(squares.pop(), match.end(), "]", SQUARE, True))
        elif text[0] == ":" and rounds:
            value = _number(match.group(1))
            closer = text if value is not None else ")"
            found.append(Bracket(rounds.pop(), match.end(), closer, ROUND if value is None else value, False))
        elif text == ")" and rounds:
            found.append(Bracket(rounds.pop(), match.end(), ")", ROUND, False))
    end = len(source)
    found += [Bracket(start, end, "", ROUND, False) for start in rounds]
    found += [Bracket(start, end, "", SQUARE, True) for start in squares]
    return found


def attention(prompt: str) -> list[tuple[str, float]]:
    """Return A1111's (text, weight) pairs; BREAK is ("BREAK", -1) times the brackets around it.

    A weight the host cannot read (`(a:1.2.3)`, where it raises) is text here, and its bracket an ordinary one.

    >>> attention("a (b:1.3) [c]")
    [('a ', 1.0), ('b', 1.3), (' ', 1.0), ('c', 0.9090909090909091)]
    """
    texts: list[str] = []
    weights: list[float] = []
    rounds: list[int] = []
    squares: list[int] = []

    def multiply(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    def add(text: str) -> None:
        for i, part in enumerate(_BREAK.split(text) if "BREAK" in text else (text,)):
            if i:
                texts.append("BREAK")
                weights.append(-1)
            texts.append(part)
            weights.append(1.0)

    for match in re.finditer(_TOKEN, prompt):
        text = match.group()
        value = _number(match.group(1)) if match.group(1) else None
        if text[0] == "\\":
            texts.append(text[1:])
            weights.append(1.0)
        elif text == "(":
            rounds.append(len(texts))
        elif text == "[":
            squares.append(len(texts))
        elif value is not None and rounds:
            multiply(rounds.pop(), value)
        elif text == "]" and squares:
            multiply(squares.pop(), SQUARE)
        elif text == ")" and rounds:
            multiply(rounds.pop(), ROUND)
        elif match.group(1) and rounds:
            add(text[:-1])
            multiply(rounds.pop(), ROUND)
        else:
            add(text)
    for start in rounds:
        multiply(start, ROUND)
    for start in squares:
        multiply(start, SQUARE)
    return _merge(texts, weights)


def _merge(texts: list[str], weights: list[float]) -> list[tuple[str, float]]:
    runs: list[tuple[list[str], float]] = []
    for text, weight in zip(texts, weights, strict=True):
        if runs and runs[-1][1] == weight:
            runs[-1][0].append(text)
        else:
            runs.append(([text], weight))
    return [("".join(run), weight) for run, weight in runs] or [("", 1.0)]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
