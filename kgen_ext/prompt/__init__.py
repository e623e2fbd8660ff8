"""A1111 prompt syntax: reads a prompt into spans, shows a model its visible part, and adds to it.

Nothing here changes a span of the user's.
"""
from __future__ import annotations

from kgen_ext.prompt.append import Appended, append, escape
from kgen_ext.prompt.brackets import attention
from kgen_ext.prompt.marked import MarkedPart, MarkedPrompt, find_parts, own_items, read_marks, split_marked
from kgen_ext.prompt.parser import parse
from kgen_ext.prompt.prose import shown_text
from kgen_ext.prompt.spans import Prompt, Segment, Span, SpanKind, Token, render
from kgen_ext.prompt.visible import VisibleSubject, subjects

__all__ = [
    "parse", "render", "subjects", "append", "escape", "attention", "shown_text",
    "read_marks", "find_parts", "own_items", "split_marked", "MarkedPrompt", "MarkedPart",
    "Prompt", "Segment", "Span", "Token", "SpanKind", "VisibleSubject", "Appended",
]
