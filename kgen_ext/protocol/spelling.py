"""How tags, running text and the aspect ratio are spelled in training texts.

One rule for TIPO and DanTagGen; comparing and categorising tags is not known here.
"""
from __future__ import annotations

import re
from collections.abc import Iterable


def trained_tag(tag: str) -> str:
    """Spell a tag as training did: underscores become spaces from four characters on.

    >>> [trained_tag(one) for one in ("long_hair", "^_^", ":d", "o_o")]
    ['long hair', '^_^', ':d', 'o_o']
    """
    return tag.replace("_", " ") if len(tag) >= 4 else tag


def one_line(text: str) -> str:
    """Fold white space and control characters, so that a value cannot start a line or a field of its own."""
    return " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())


def plain(text: str) -> str:
    """Return text on one line that no tokenizer can take for a special token.

    >>> plain("a </s> b <|long|>")
    'a b long'
    """
    before = None
    while before != text:  # what is left may be one again: `<<s>s>`
        before, text = text, re.sub(r"<\||\|>|</?s>|<(?:unk|pad|mask)>", "", text)
    return one_line(text)


def join_tags(tags: Iterable[str]) -> str:
    """Join as training joined: comma and one space."""
    return ", ".join(tags)


def aspect_ratio(width: int, height: int) -> str:
    """Return width / height with one decimal.

    >>> aspect_ratio(832, 1216)
    '0.7'
    """
    return f"{width / height:.1f}"
