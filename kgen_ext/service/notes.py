"""Notes of an expansion: what could not be done and why, a line each.

Fields are named as the API names them (`tag_length`, `very_long`), which the command and the WebUI put in their words.
A row to which nothing was added has a note that says why.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kgen_ext.decoding.row import RowOutput
from kgen_ext.events import Finish
from kgen_ext.protocol import Band, FieldPlan, TagField
from kgen_ext.request import TagLength, TextLength

if TYPE_CHECKING:
    from kgen_ext.service.plan import ExpansionPlan


def limit_note(
    plan: ExpansionPlan, fields: Sequence[FieldPlan], segment: int, *, bands: Mapping[TagLength, Band]
) -> str:
    """Return the note of a segment that has its number of tags before anything is added, "" where it has not."""
    field = next((field for field in fields if isinstance(field, TagField)), None)
    if field is None or field.given < field.band.maximum:
        return ""
    name = f"segment {segment + 1}" if len(plan.subjects) > 1 else "the prompt"
    length = plan.request.tag_length
    longest, last = max(bands.items(), key=lambda item: item[1].maximum)
    if field.given >= last.maximum:
        which = f"{longest.value}, the longest tag_length," if length is not longest else f"tag_length {longest.value}"
        return f"{name} has {field.given} tags and {which} ends at {last.maximum}: no tags added"
    # Where a length has only a tag or two left, the one behind it is the better choice.
    longer = next(size for size, band in bands.items() if field.given < band.maximum)
    return (
        f"{name} has {field.given} tags and tag_length {length.value} ends at {field.band.maximum}: no tags added; "
        f"choose {longer.value} ({bands[longer].maximum})"
    )


def row_notes(plan: ExpansionPlan, outputs: Sequence[RowOutput | None], *, hidden: int) -> list[str]:
    """Return the notes on what a row's jobs wrote. hidden: how many tags and words did not fit the context."""
    request, notes = plan.request, list[str]()
    done = [output for output in outputs if output is not None]
    if hidden:
        notes.append(f"the prompt is longer than the model's context: {hidden} tags or words were not shown to it")
    if any(output.finish is Finish.LENGTH for output in done):
        lengths = f"tag_length {request.tag_length.value}"
        if wants_text(plan):
            lengths += f" and text_length {request.text_length.value}"
        notes.append(f"{lengths}: the model's context ended before that; what is whole was kept")
    elif short := [output for output in done if output.short and output.finish is not Finish.CANCELLED]:
        names = sorted({name for output in short for name in output.short})
        most = next((output.most_rejected for output in short if output.most_rejected), "")
        notes.append(
            f"{', '.join(names)}: shorter than asked for, because the rules left the model nothing else to write"
            + (f" (most often: {most})" if most else "")
        )
    notes += [note for index, output in enumerate(outputs) if (note := _empty_note(plan, index, output))]
    if request.count > 1 and request.sampling.temperature == 0:
        notes.append("temperature 0 always writes the likeliest text: all variants are the same")
    cancelled = any(output.finish is Finish.CANCELLED for output in done)
    if wants_text(plan) and not cancelled and not any(output.texts for output in done):
        notes.append("text: this model or task writes tags only")
    return notes


def _empty_note(plan: ExpansionPlan, index: int, output: RowOutput | None) -> str:
    """Return why nothing was added to a segment, "" where something was, or where another note says so."""
    if output is None or output.tags or any(output.texts.values()) or any(output.metadata.values()):
        return ""
    if index in plan.full:
        return ""
    name = f"segment {index + 1}: nothing added" if len(plan.subjects) > 1 else "nothing added"
    if output.finish is Finish.CANCELLED:
        return f"{name}: cancelled before a tag or a sentence was complete"
    if output.short or output.finish is Finish.LENGTH:
        return ""
    if output.most_rejected:
        return f"{name}: the rules left the model nothing to write (most often: {output.most_rejected})"
    return f"{name}: the model had nothing more to say"


def wants_text(plan: ExpansionPlan) -> bool:
    """Return whether text is asked for."""
    return plan.request.text_length is not TextLength.NONE
