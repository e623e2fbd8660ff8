"""Text formats that TIPO and DanTagGen were trained on: request texts, and plans of the fields to write after them.

A request is, byte for byte, a prefix of a text that the model could have been trained on.
"""
from __future__ import annotations

from kgen_ext.protocol.plan import Band, FieldPlan, MetaField, Plan, Protocol, Subject, TagField, TextBand, TextField
from kgen_ext.protocol.tipo import request_text

__all__ = [
    "Band", "FieldPlan", "MetaField", "Plan", "Protocol", "Subject", "TagField", "TextBand", "TextField",
    "request_text",
]  # fmt: skip
