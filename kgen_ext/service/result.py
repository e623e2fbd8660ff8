"""Expansion of a row: the user's text untouched, the additions around it, and the counts."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from kgen_ext.decoding.row import RowOutput
from kgen_ext.events import By, Expansion, Fields, Finish, Piece, Settings
from kgen_ext.output.formats import Template, fill
from kgen_ext.prompt import append, attention, escape, render
from kgen_ext.protocol.plan import join_tags
from kgen_ext.request import Category
from kgen_ext.service.plan import META, ExpansionPlan, ResolvedRequest, wants_text
from kgen_ext.tags.tag import Tag, read_tag, split_by_category

# Reading weights takes time that grows with the square of the bracket depth: no note on longer prompts.
_MAX_WEIGHED = 4_000

Tags = Sequence[Tag]


def build_expansion(
    plan: ExpansionPlan,
    outputs: Sequence[RowOutput | None],
    *,
    row: int,
    seed: int,
    model: str,
    engine: str,
    hidden: int,
    seconds: float,
) -> Expansion:
    """Return the expansion of a row. outputs: one for each subject of the plan, None where there was none to expand."""
    done = [output for output in outputs if output is not None]
    first = next((index for index, output in enumerate(outputs) if output is not None), 0)
    tags = [_tags(plan, output, required=index == first) for index, output in enumerate(outputs)]
    texts = [_texts(output) for output in outputs]
    if plan.template is None:
        pieces, notes = _append(plan, tags, texts)
    else:
        pieces, notes = _fill(plan, plan.template, tags, texts), _open_bracket(plan, plan.template)
    added = [tag for some in tags for tag in some]
    text = " ".join(part for some in texts for part in some[-1:])
    return Expansion(
        prompt="".join(piece.text for piece in pieces),
        pieces=pieces,
        source="".join(piece.text for piece in pieces if piece.by is By.USER),
        seed=seed,
        row=row,
        model=model,
        engine=engine,
        fields=_fields(plan, added, text),
        added_tags=tuple(tag.spelling for tag in added),
        added_text=text,
        finish=_finish(done),
        decoded_tokens=sum(output.decoded for output in done),
        forced_tokens=sum(output.forced for output in done),
        rewound_tokens=sum(output.rewound for output in done),
        seconds=seconds,
        notes=(*plan.notes, *_notes(plan, done, hidden), *notes),
        settings=_settings(plan.request),
    )


def _settings(request: ResolvedRequest) -> Settings:
    return Settings(
        tag_length=request.tag_length.value, text_length=request.text_length.value, **asdict(request.sampling)
    )


def _tags(plan: ExpansionPlan, output: RowOutput | None, *, required: bool) -> Tags:
    """Return the tags to add to a subject: required ones, those of the tag lists, then metadata values."""
    if output is None:
        return ()
    values = (value for category in META for value in output.metadata.get(category, ()))
    return (*(map(read_tag, plan.required) if required else ()), *output.tags, *values)


def _texts(output: RowOutput | None) -> tuple[str, ...]:
    """Return the texts written for a subject, in order, each on one line."""
    return () if output is None else tuple(" ".join(text.split()) for text in output.texts.values() if text)


def _append(
    plan: ExpansionPlan, tags: Sequence[Tags], texts: Sequence[Sequence[str]]
) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    """Add tags, the user's own text and the last written one to each segment."""
    own = plan.request.text.strip()
    additions = [
        _addition(some, own if index == 0 else "", written[-1] if written else "")
        for index, (some, written) in enumerate(zip(tags, texts, strict=True))
    ]
    appended = append(plan.prompt, additions)
    return appended.pieces, tuple(f"segment {number + 1}: no place is safe to add to" for number in appended.skipped)


def _addition(tags: Tags, own: str, written: str) -> tuple[Piece, ...]:
    listed, written = escape(_join(tags)), escape(written)
    if not own:
        return _model(", ".join(filter(None, (listed, written))))
    return (*_model(listed and f"{listed}, "), Piece(own, By.USER), *_model(written and f" {written}"))


def _fill(
    plan: ExpansionPlan, template: Template, tags: Sequence[Tags], texts: Sequence[Sequence[str]]
) -> tuple[Piece, ...]:
    """Fill the template with the prompt, the tags of all subjects by category, and the texts."""
    by_category = split_by_category(tag for some in tags for tag in some)
    values: dict[str, tuple[Piece, ...]] = {
        category.value: _model(join_tags(map(escape, by_category[category]))) for category in Category
    }
    first = escape(" ".join(some[0] for some in texts if some))
    second = escape(" ".join(some[-1] for some in texts if len(some) > 1))
    own = plan.request.text.strip()
    if own and "generated" not in template.slots:
        # The user's text, extended: the model's text continues where it ends.
        values["extended"] = (Piece(own, By.USER), *_model(f" {second or first}" if first or second else ""))
        values["generated"] = ()
    elif own:
        values["extended"], values["generated"] = (Piece(own, By.USER),), _model(second or first)
    else:
        values["extended"], values["generated"] = _model(first), _model(second)
    source = render(plan.prompt)
    values["prompt"] = (Piece(source, By.USER),) if source else ()
    return fill(template, values)


def _open_bracket(plan: ExpansionPlan, template: Template) -> tuple[str, ...]:
    """Return a note when what a template puts behind the user's prompt gets the weight of an unclosed bracket."""
    source = render(plan.prompt)
    if not template.keeps_prompt or len(source) > _MAX_WEIGHED:
        return ()
    if attention(source + ", kgen")[-1][1] == 1:
        return ()
    return ("your prompt leaves a bracket open: what this format adds behind it gets its weight (append does not)",)


def _model(text: str) -> tuple[Piece, ...]:
    return (Piece(text, By.MODEL),) if text else ()


def _join(tags: Tags) -> str:
    return join_tags(tag.spelling for tag in tags)


def _fields(plan: ExpansionPlan, added: Tags, text: str) -> Fields:
    found = split_by_category((*(tag for tags in plan.given for tag in tags), *added))
    prose = (subject.text for subject in plan.subjects if subject is not None)
    return Fields(
        **{category.value: found[category] for category in Category},
        text=" ".join(part for part in (*prose, text) if part),
    )


def _finish(done: Sequence[RowOutput]) -> Finish:
    ends = {output.finish for output in done}
    return next((finish for finish in (Finish.CANCELLED, Finish.LENGTH) if finish in ends), Finish.COMPLETE)


def _notes(plan: ExpansionPlan, done: Sequence[RowOutput], hidden: int) -> list[str]:
    notes = list[str]()
    if hidden:
        notes.append(f"the prompt is longer than the model's context: {hidden} tags or words were not shown to it")
    if any(output.finish is Finish.LENGTH for output in done):
        lengths = f"tag_length {plan.request.tag_length.value}"
        if wants_text(plan.request):
            lengths += f" and text_length {plan.request.text_length.value}"
        notes.append(f"{lengths}: the model's context ended before that; what is whole was kept")
    elif any(output.short for output in done):
        names = sorted({name for output in done for name in output.short})
        most = next((output.most_rejected for output in done if output.short and output.most_rejected), "")
        notes.append(
            f"{', '.join(names)}: shorter than asked for, because the rules left the model nothing else to write"
            + (f" (most often: {most})" if most else "")
        )
    if plan.request.count > 1 and plan.request.sampling.temperature == 0:
        notes.append("temperature 0 always writes the likeliest text: all variants are the same")
    if wants_text(plan.request) and not any(output.texts for output in done):
        notes.append("text: this model or task writes tags only")
    return notes
