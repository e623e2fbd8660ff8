"""Named output formats, and the template that a name or a text stands for."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kgen_ext.errors import BadValue
from kgen_ext.output.template import SLOTS, Template, fill, parse_template

__all__ = ["APPEND", "NAMED_FORMATS", "SLOTS", "NamedFormat", "Template", "fill", "parse_template", "resolve_format"]

APPEND = "append"


@dataclass(frozen=True, slots=True)
class NamedFormat:
    """A format with a label for people; without a template, additions are appended to the prompt.

    `sorts`: the user's own tags go to the slots of their categories, too.
    """

    label: str
    template: str | None
    sorts: bool = False


_TAGS = "<|special|>, <|characters|>, <|copyrights|>, <|artist|>, <|general|>"
_REST = "<|quality|>, <|meta|>, <|rating|>"

NAMED_FORMATS: Mapping[str, NamedFormat] = {
    APPEND: NamedFormat("Append, nothing moved", None),
    "tags": NamedFormat("Tags only (as DanTagGen)", f"{_TAGS}, {_REST}"),
    "text": NamedFormat("Text only (without your tags)", "<|extended|>"),
    "tags_then_text": NamedFormat("Tags, then text", f"{_TAGS},\n\n<|extended|>\n\n{_REST}"),
    "text_then_tags": NamedFormat("Text, then tags", f"<|extended|>\n\n{_TAGS},\n\n{_REST}"),
    "tags_text_generated": NamedFormat(
        "Tags, text, generated text", f"{_TAGS},\n\n<|extended|>\n\n<|generated|>\n\n{_REST}"
    ),
    "sorted": NamedFormat("Tags sorted by kind, yours too", f"{_TAGS}, {_REST}, <|extended|>", sorts=True),
}


def resolve_format(name_or_template: str) -> Template | None:
    """Return the template of a named format, or of a template's text; None means that additions are appended.

    Raises BadTemplate for an unknown slot, BadValue for what is neither a name nor holds a slot.
    """
    named = NAMED_FORMATS.get(name_or_template.strip().lower())
    if named is not None:
        return None if named.template is None else parse_template(named.template, sorts=named.sorts)
    if "<|" not in name_or_template:
        raise BadValue(
            "format", name_or_template, f"{', '.join(NAMED_FORMATS)}, or a template with slots such as <|general|>"
        )
    return parse_template(name_or_template)
