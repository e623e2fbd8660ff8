"""Puts the answer together: the user's own text untouched, what the model added around it, and the counts.

Decides where additions go only by calling `prompt.append` or a template; changes no character of the user's.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from kgen_ext.decoding.row import RowOutput
from kgen_ext.events import By, Expansion, Fields, Finish, Piece, Settings
from kgen_ext.output.formats import fill
from kgen_ext.prompt import append, attention, escape, render
from kgen_ext.protocol.plan import join_tags
from kgen_ext.request import Category
from kgen_ext.service.plan import META, ExpansionPlan, ResolvedRequest, wants_text
from kgen_ext.tags.categories import split_by_category

# Stands for the user's caption inside an addition until the pieces are cut; a private-use character that no model
# vocabulary holds as a token of its own, removed from model text.
_CAPTION = "\ue0f0"
# Weights are read in a time that grows with the square of the bracket depth: no note for longer prompts.
_WEIGHED = 4_000


def build_expansion(
    prepared: ExpansionPlan,
    written: Sequence[RowOutput | None],
    *,
    row: int,
    seed: int,
    model: str,
    engine: str,
    hidden: int,
    seconds: float,
) -> Expansion:
    """Return the expansion of a row from what was written for each of its subjects."""
    done = [one for one in written if one is not None]
    first = next((index for index, one in enumerate(written) if one is not None), 0)
    tags = [_tags(prepared, one, required=index == first) for index, one in enumerate(written)]
    texts = [_texts(one) for one in written]
    caption = prepared.request.text.strip()
    if prepared.template is None:
        pieces, skipped = _append(prepared, tags, texts, caption)
    else:
        pieces, skipped = _fill(prepared, tags, texts, caption), _weighed(prepared)
    added = tuple(tag for one in tags for tag in one)
    text = " ".join(part for one in texts for part in one[-1:])
    return Expansion(
        prompt="".join(piece.text for piece in pieces),
        pieces=pieces,
        source="".join(piece.text for piece in pieces if piece.by is By.USER),
        seed=seed,
        row=row,
        model=model,
        engine=engine,
        fields=_fields(prepared, added, caption, text),
        added_tags=added,
        added_text=text,
        finish=_finish(done),
        decoded_tokens=sum(one.decoded for one in done),
        forced_tokens=sum(one.forced for one in done),
        rewound_tokens=sum(one.rewound for one in done),
        seconds=seconds,
        notes=(*prepared.notes, *_notes(prepared, done, hidden), *skipped),
        settings=_settings(prepared.request),
    )


def _settings(request: ResolvedRequest) -> Settings:
    return Settings(
        tag_length=request.tag_length.value, text_length=request.text_length.value, **asdict(request.sampling)
    )


def _tags(prepared: ExpansionPlan, written: RowOutput | None, *, required: bool) -> tuple[str, ...]:
    if written is None:
        return ()
    values = (value for category in META for value in written.meta.get(category, ()))
    return (*(prepared.required if required else ()), *written.tags, *values)


def _texts(written: RowOutput | None) -> tuple[str, ...]:
    """Return what was written as text, in order, each on one line."""
    return () if written is None else tuple(" ".join(text.split()) for text in written.texts.values() if text)


def _append(
    prepared: ExpansionPlan, tags: Sequence[Sequence[str]], texts: Sequence[Sequence[str]], caption: str
) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    additions = []
    for index, (some, text) in enumerate(zip(tags, texts, strict=True)):
        own = _CAPTION if caption and index == 0 else ""
        sentences = " ".join(part for part in (own, *text[-1:]) if part)
        listed = join_tags(some)
        additions.append(", ".join(part for part in (listed, sentences) if part))  # `append` escapes it
    appended = append(prepared.prompt, additions)
    skipped = tuple(f"segment {number + 1}: no place is safe to add to" for number in appended.skipped)
    return tuple(_cut_caption(appended.pieces, caption)), skipped


def _cut_caption(pieces: Sequence[Piece], caption: str) -> list[Piece]:
    cut = list[Piece]()
    for piece in pieces:
        before, found, after = piece.text.partition(_CAPTION) if piece.by is By.MODEL else (piece.text, "", "")
        for part, by in ((before, piece.by), (caption if found else "", By.USER), (after, piece.by)):
            if part:
                cut.append(Piece(part, by))
    return cut


def _fill(
    prepared: ExpansionPlan, tags: Sequence[Sequence[str]], texts: Sequence[Sequence[str]], caption: str
) -> tuple[Piece, ...]:
    assert prepared.template is not None
    sorted_tags = split_by_category(tag for one in tags for tag in one)
    values: dict[str, tuple[Piece, ...]] = {
        category.value: _model(join_tags(_literal(tag) for tag in sorted_tags[category])) for category in Category
    }
    first = [" ".join(one[0] for one in texts if one), " ".join(one[-1] for one in texts if len(one) > 1)]
    given = (Piece(caption, By.USER),) if caption else ()
    if caption and "generated" not in prepared.template.slots:
        # The user's text, extended: what the model wrote goes on where the caption ends.
        values["extended"] = (*given, *_model(" " + _literal(first[1] or first[0]) if any(first) else ""))
        values["generated"] = ()
    elif caption:
        values["extended"], values["generated"] = given, _model(_literal(first[1] or first[0]))
    else:
        values["extended"], values["generated"] = _model(_literal(first[0])), _model(_literal(first[1]))
    source = render(prepared.prompt)
    values["prompt"] = (Piece(source, By.USER),) if source else ()
    return fill(prepared.template, values)


def _weighed(prepared: ExpansionPlan) -> tuple[str, ...]:
    """Say so when what a template puts behind the user's prompt falls into a bracket that is never closed."""
    assert prepared.template is not None
    source = render(prepared.prompt)
    if not prepared.template.keeps_prompt or len(source) > _WEIGHED:
        return ()
    if attention(source + ", kgen")[-1][1] == 1:
        return ()
    return ("your prompt leaves a bracket open: what this format adds behind it gets its weight (append does not)",)


def _model(text: str) -> tuple[Piece, ...]:
    return (Piece(text, By.MODEL),) if text else ()


def _literal(text: str) -> str:
    return escape(text.replace(_CAPTION, ""))


def _fields(prepared: ExpansionPlan, added: Sequence[str], caption: str, text: str) -> Fields:
    found = split_by_category((*(tag for tags in prepared.given for tag in tags), *added))
    prose = (subject.text for subject in prepared.subjects if subject is not None)
    return Fields(
        **{category.value: found[category] for category in Category},
        text=" ".join(part for part in (*prose, text) if part),
    )


def _finish(done: Sequence[RowOutput]) -> Finish:
    ends = {one.finish for one in done}
    return next((one for one in (Finish.CANCELLED, Finish.LENGTH) if one in ends), Finish.COMPLETE)


def _notes(prepared: ExpansionPlan, done: Sequence[RowOutput], hidden: int) -> list[str]:
    notes = []
    if hidden:
        notes.append(f"the prompt is longer than the model's context: {hidden} tags or words were not shown to it")
    if any(one.finish is Finish.LENGTH for one in done):
        lengths = f"tag_length {prepared.request.tag_length.value}"
        if wants_text(prepared.request):
            lengths += f" and text_length {prepared.request.text_length.value}"
        notes.append(f"{lengths}: the model's context ended before that; what is whole was kept")
    elif any(one.short for one in done):
        names = sorted({name for one in done for name in one.short})
        most = next((one.refused for one in done if one.short and one.refused), "")
        notes.append(
            f"{', '.join(names)}: shorter than asked for, because the rules left the model nothing else to write"
            + (f" (most often: {most})" if most else "")
        )
    if prepared.request.count > 1 and prepared.request.sampling.temperature == 0:
        notes.append("temperature 0 always writes the likeliest text: all variants are the same")
    if wants_text(prepared.request) and not any(one.texts for one in done):
        notes.append("text: this model or task writes tags only")
    return notes
