"""Layout of a prompt of several segments: what is filled into each, and what stays around it.

    lead: divider, space    core    tail: space, weight of an AND part

A format fills the core; lead and tail are the user's. A prompt of one segment is all core.
"""
from __future__ import annotations

import re
from collections.abc import Sequence

from kgen_ext.events import By, Piece
from kgen_ext.output.template import Value
from kgen_ext.prompt import Prompt, SpanKind, render

# The host reads it as the weight of an AND part.
_WEIGHT = re.compile(r":\s*[-+]?[.\d]+\s*\Z")


class PromptLayout:
    """The cores of a prompt's segments, and the text around them."""

    def __init__(self, prompt: Prompt) -> None:
        source = render(prompt)
        self.cores: list[str] = []
        self._around: list[tuple[str, str]] = []  # lead and tail of each
        self._weighs = any(token.kind is SpanKind.AND for token in prompt.tokens)
        if len(prompt.segments) == 1:
            self.cores, self._around = [source], [("", "")]
            return
        at = 0
        for segment in prompt.segments:
            body = source[segment.start : segment.tail]
            start = segment.start + len(body) - len(body.lstrip())
            self.cores.append(body.strip())
            stop = start + len(self.cores[-1])
            self._around.append((source[at:start], source[stop : segment.end]))
            at = segment.end

    def join(self, filled: Sequence[Value], *, keeps_prompt: bool) -> tuple[Piece, ...]:
        """Return the whole prompt. filled: what stands for each core.

        With `keeps_prompt` off, a segment for which there is nothing is left out, with the divider before it.
        """
        pieces: list[Piece] = []
        waiting = ""  # the tail of the segment before, whose last white space is needed only if another follows
        for value, (lead, tail) in zip(filled, self._around, strict=True):
            if not keeps_prompt and not _text(value).strip():
                continue
            if pieces or keeps_prompt:
                self._add(pieces, [Piece(waiting + lead, By.USER)])
            self._add(pieces, value)
            if self._weighs and not tail.strip() and _WEIGHT.search(_text(value)):
                self._add(pieces, [Piece(",", By.MODEL)])  # `:3` is no weight here
            waiting = tail
        self._add(pieces, [Piece(waiting if keeps_prompt else waiting.rstrip(), By.USER)])
        return tuple(pieces)

    def _add(self, pieces: list[Piece], more: Value) -> None:
        """Append pieces, with a space where a word of the model's would touch a divider or weight."""
        more = [piece for piece in more if piece.text]
        if pieces and more and By.MODEL in (pieces[-1].by, more[0].by) and pieces[-1].by is not more[0].by:
            touching = pieces[-1].text[-1] + more[0].text[0]
            if not any(map(str.isspace, touching)) and ":" not in touching[1]:
                more.insert(0, Piece(" ", By.MODEL))
        for piece in more:
            if pieces and pieces[-1].by is piece.by:
                pieces[-1] = Piece(pieces[-1].text + piece.text, piece.by)
            else:
                pieces.append(piece)


def _text(value: Value) -> str:
    return "".join(piece.text for piece in value)
