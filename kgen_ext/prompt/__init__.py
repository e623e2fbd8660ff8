"""A1111 prompt syntax as spans: read a prompt, show a model what it may see, add to it without touching it.

Knows no tag, no model and no host; there is no function here that changes a user's span.
"""
from __future__ import annotations

from kgen_ext.prompt.append import Appended, append, escape
from kgen_ext.prompt.brackets import attention
from kgen_ext.prompt.parser import parse
from kgen_ext.prompt.spans import Prompt, Segment, Span, SpanKind, Token, render
from kgen_ext.prompt.visible import VisibleSubject, subjects

__all__ = [
    "parse", "render", "subjects", "append", "escape", "attention",
    "Prompt", "Segment", "Span", "Token", "SpanKind", "VisibleSubject", "Appended",
]
