"""What TIPO and DanTagGen were trained on: request text in, a plan of the fields they then write out.

The rule that matters: a request is, byte for byte, a prefix of a text the model could have been trained on.
"""
from __future__ import annotations

from kgen_ext.protocol.plan import Band, FieldPlan, MetaField, Plan, Protocol, Subject, TagField, TextBand, TextField
from kgen_ext.protocol.tipo import request_text

__all__ = [
    "Band", "FieldPlan", "MetaField", "Plan", "Protocol", "Subject", "TagField", "TextBand", "TextField",
    "request_text",
]  # fmt: skip
