"""Makes a model's words literal for A1111, so that they have weight 1 and start nothing.

Refuses to judge the words; it only keeps them from being syntax. What becomes of what:

    ( ) [ ] \\ |     a backslash goes before (a bare bar would make the host give up on every edit of the prompt)
    < before word:  a space goes after, so that it is no network
    { } #           dropped: neither wildcards nor comments have an escape
    __              one underscore, so that it is no wildcard
    AND, BREAK and the region keywords as whole words: lower case
    line breaks, control characters, runs of white space: one space

Text that is escaped already stays as it is: escape(escape(x)) == escape(x).
"""
from __future__ import annotations

import re


def escape(text: str) -> str:
    """Return text as A1111 is to be given it.

    >>> escape("hatsune miku (cosplay), :( BREAK")
    'hatsune miku \\\\(cosplay\\\\), :\\\\( break'
    """
    text = re.sub(r"\\([()\[\]\\|])", r"\1", text)
    text = re.sub(r"[{}#]", "", text)
    text = re.sub(r"__+", "_", text)
    text = re.sub(r"\b(?:AND|BREAK|ADDCOMM|ADDCOL|ADDROW|ADDBASE|ADDP)\b", lambda match: match.group().lower(), text)
    text = re.sub(r"<(?=\w+:)", "< ", text)
    text = " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text).split())
    return re.sub(r"([()\[\]\\|])", r"\\\1", text)
