"""Expansion of a row: the user's text untouched, the additions around it, and the counts."""
from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from kgen_ext.decoding.row import RowOutput
from kgen_ext.events import By, Expansion, Fields, Finish, Piece, Settings
from kgen_ext.output.formats import Template, fill
from kgen_ext.output.layout import PromptLayout
from kgen_ext.output.sorting import SortedItems, sort_prompt
from kgen_ext.output.template import Value, join_values
from kgen_ext.prompt import SpanKind, append, attention, escape, render
from kgen_ext.prompt.brackets import read_brackets
from kgen_ext.protocol.plan import join_tags
from kgen_ext.request import Category
from kgen_ext.service.notes import row_notes, wants_text
from kgen_ext.service.plan import META, ExpansionPlan, ResolvedRequest
from kgen_ext.tags.tag import Tag, split_by_category

# Reading weights takes time that grows with the square of the bracket depth: no note on longer prompts.
_MAX_WEIGHED = 4_000

_UNSORTED = "format sorted: a comment or an open bracket keeps your own words in one piece"


@dataclass(frozen=True, slots=True)
class Addition:
    """A tag or required entry to add: its spelling, and the tags it stands for.

    `literal`: its text for the prompt where that is known, as of a required entry; None where the model wrote it.
    """

    spelling: str
    tags: tuple[Tag, ...]
    literal: str | None = None

    @property
    def text(self) -> str:
        """Its text for the prompt."""
        return escape(self.spelling) if self.literal is None else self.literal

    @property
    def category(self) -> Category | None:
        """The category of its first tag, None where it has none."""
        return self.tags[0].category if self.tags else None


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
    first = _first_subject(plan)
    additions = [_additions(plan, output, required=index == first) for index, output in enumerate(outputs)]
    texts = [_texts(output) for output in outputs]
    if plan.template is None:
        pieces, notes = _append(plan, additions, texts)
    else:
        pieces, notes = _fill(plan, plan.template, additions, texts)
        notes = (*notes, *_open_bracket(plan, plan.template))
    added = [addition for some in additions for addition in some]
    text = " ".join(part for some in texts for part in some[-1:])
    return Expansion(
        prompt="".join(piece.text for piece in pieces),
        pieces=pieces,
        source=plan.request.prompt,
        seed=seed,
        row=row,
        model=model,
        engine=engine,
        fields=_fields(plan, [tag for addition in added for tag in addition.tags], text),
        added_tags=tuple(addition.spelling for addition in added),
        added_text=text,
        finish=_finish(done),
        decoded_tokens=sum(output.decoded for output in done),
        forced_tokens=sum(output.forced for output in done),
        rewound_tokens=sum(output.rewound for output in done),
        seconds=seconds,
        notes=(*plan.notes, *row_notes(plan, outputs, hidden=hidden), *notes),
        settings=_settings(plan.request),
    )


def _settings(request: ResolvedRequest) -> Settings:
    return Settings(
        tag_length=request.tag_length.value, text_length=request.text_length.value, prior=request.prior,
        **asdict(request.sampling),
    )  # fmt: skip


def _additions(plan: ExpansionPlan, output: RowOutput | None, *, required: bool) -> tuple[Addition, ...]:
    """Return what to add to a subject: what is required, the tags of the lists, then metadata values."""
    if output is None:
        return ()
    values = (value for category in META for value in output.metadata.get(category, ()))
    own = (Addition(entry.spelling, entry.tags, entry.text) for entry in plan.required) if required else ()
    return (*own, *(Addition(tag.spelling, (tag,)) for tag in (*output.tags, *values)))


def _texts(output: RowOutput | None) -> tuple[str, ...]:
    """Return the texts written for a subject, in order, each on one line."""
    return () if output is None else tuple(" ".join(text.split()) for text in output.texts.values() if text)


def _append(
    plan: ExpansionPlan, additions: Sequence[Sequence[Addition]], texts: Sequence[Sequence[str]]
) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    """Add tags, the user's own text and the last written one to each segment."""
    own = plan.request.text.strip()
    if plan.parts:
        return _append_to_parts(plan, additions, texts, own)
    pieces = [
        _pieces(some, own if index == 0 else "", written[-1] if written else "")
        for index, (some, written) in enumerate(zip(additions, texts, strict=True))
    ]
    appended = append(plan.prompt, pieces)
    return appended.pieces, _skipped(plan, appended.skipped)


def _append_to_parts(
    plan: ExpansionPlan, additions: Sequence[Sequence[Addition]], texts: Sequence[Sequence[str]], own: str
) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    """Deal the tags of each segment to its marked parts, in order; sentences go behind the last one."""
    pieces = list[tuple[Piece, ...]]()
    for number, group in groupby(part.segment for part in plan.parts):
        count, written = len(list(group)), texts[number][-1] if texts[number] else ""
        some = additions[number]
        bounds = [len(some) * place // count for place in range(count + 1)]
        for place in range(count):
            last = place == count - 1
            shown = own if last and number == plan.parts[0].segment else ""
            pieces.append(_pieces(some[bounds[place] : bounds[place + 1]], shown, written if last else ""))
    appended = append(plan.prompt, pieces, plan.parts)
    return appended.pieces, _skipped(plan, tuple({plan.parts[index].segment: None for index in appended.skipped}))


def _skipped(plan: ExpansionPlan, numbers: Sequence[int]) -> tuple[str, ...]:
    """Return a note for each segment without a place to add to, and for the required entries that are lost by it."""
    notes = [f"segment {number + 1}: no place is safe to add to" for number in numbers]
    if _first_subject(plan) in numbers:
        notes += (f"require: {entry.spelling!r} is not in the result for that reason" for entry in plan.required)
    return tuple(notes)


def _pieces(additions: Sequence[Addition], own: str, written: str) -> tuple[Piece, ...]:
    required = [addition.literal for addition in additions if addition.literal is not None]
    # Escaped as one text, which is quicker than tag by tag.
    words = escape(join_tags(addition.spelling for addition in additions if addition.literal is None))
    listed, written = join_tags(filter(None, (*required, words))), escape(written)
    if not own:
        return _model(", ".join(filter(None, (listed, written))))
    return (*_model(listed and f"{listed}, "), Piece(own, By.USER), *_model(written and f" {written}"))


def _fill(
    plan: ExpansionPlan,
    template: Template,
    additions: Sequence[Sequence[Addition]],
    texts: Sequence[Sequence[str]],
) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    """Fill the template for each segment; dividers, weights of AND parts and the space around them stay."""
    layout, notes = PromptLayout(plan.prompt), list[str]()
    own = _sort(plan) if template.sorts else ()
    filled = list[tuple[Piece, ...]]()
    for index, (subject, some, written) in enumerate(zip(plan.subjects, additions, texts, strict=True)):
        core = layout.cores[index]
        if subject is None:  # nothing to expand: as it is, or left out
            filled.append(_user(core) if template.keeps_prompt else ())
            continue
        values, behind = _values(plan, template, some, written, index=index, core=core)
        if template.sorts:  # content, as far as anyone can tell
            values["general"], behind = join_values([values["general"], behind]), ()
        if own and (arranged := own[index]) is not None:
            values["prompt"] = _user(arranged.front)
            for category in Category:
                values[category.value] = join_values([arranged.pieces(category), values[category.value]])
        elif own:
            notes.append(_UNSORTED if len(own) == 1 else f"segment {index + 1}: {_UNSORTED}")
        filled.append(fill(template, values, behind_prompt=behind))
    notes += _format_notes(plan, template, filled, anything=any(additions) or any(texts))
    return layout.join(filled, keeps_prompt=template.keeps_prompt), tuple(notes)


def _values(
    plan: ExpansionPlan, template: Template, additions: Sequence[Addition], texts: Sequence[str], *, index: int,
    core: str,
) -> tuple[dict[str, Value], Value]:  # fmt: skip
    """Return the values of the slots for a segment, and the required entries that no slot takes."""
    by_category: dict[str, list[str]] = {category.value: [] for category in Category}
    unplaced = list[str]()
    for addition in additions:
        category = addition.category
        if addition.literal is not None and (category is None or category.value not in template.slots):
            unplaced.append(addition.text)
        elif category is not None:
            by_category[category.value].append(addition.text)
    values: dict[str, Value] = {name: _model(join_tags(texts)) for name, texts in by_category.items()}
    values["prompt"] = _user(core)
    values["extended"], values["generated"] = _slot_texts(plan, template, texts, index=index)
    return values, _model(join_tags(unplaced))


def _slot_texts(plan: ExpansionPlan, template: Template, texts: Sequence[str], *, index: int) -> tuple[Value, Value]:
    """Return the values of `extended` and `generated`: the user's text goes on with the model's."""
    first, second = (escape(texts[0]) if texts else ""), (escape(texts[-1]) if len(texts) > 1 else "")
    own = [plan.request.text.strip()] if index == 0 else []
    if not template.keeps_prompt:  # the sentences of the prompt are in no other slot
        source, items = plan.request.prompt, plan.prompt.segments[index].items
        own += [source[item.start : item.end] for item in items if item.kind is SpanKind.PROSE]
    if not (text := " ".join(filter(None, own))):
        return _model(first), _model(second)
    if "generated" in template.slots:
        return _user(text), _model(second or first)
    return (*_user(text), *_model(f" {second or first}" if first or second else "")), ()


def _sort(plan: ExpansionPlan) -> tuple[SortedItems | None, ...]:
    protected = plan.protected
    return sort_prompt(plan.prompt, hidden=lambda tag: protected.match(tag) is not None)


def _format_notes(
    plan: ExpansionPlan, template: Template, filled: Sequence[Sequence[Piece]], *, anything: bool
) -> Iterator[str]:
    """Yield what a format leaves out of the result although the user gave it, or although nothing else is added.

    anything: something was to be added.
    """
    if not template.keeps_prompt:
        for entry in plan.required:
            yield f"require: this format leaves tags out, so {entry.spelling!r} is not in the result"
    if plan.request.text.strip() and not {"extended", "generated"} & set(template.slots):
        yield "text: this format has no place for your description (<|extended|>), which only guides the choice of tags"
    written = any(piece.by is By.MODEL and piece.text.strip(" ,\n") for some in filled for piece in some)
    if not written and not template.keeps_prompt and not wants_text(plan):
        yield "format: this format shows sentences alone, and text_length none writes none: nothing added"
    elif not written and anything:
        yield "format: it has no slot for what the model wrote: nothing added"


def _open_bracket(plan: ExpansionPlan, template: Template) -> tuple[str, ...]:
    """Return a note when what a template puts behind a segment of the user's gets the weight of a bracket there."""
    source = render(plan.prompt)
    if not template.keeps_prompt or len(source) > _MAX_WEIGHED:
        return ()
    ends = [segment.tail for segment in plan.prompt.segments[:-1]]
    crosses = ends and any(
        bisect_right(ends, bracket.start) != bisect_left(ends, bracket.stop) for bracket in read_brackets(source)
    )
    if attention(source + ", kgen")[-1][1] == 1 and not crosses:
        return ()
    where = "before a divider" if crosses else "behind it"
    return (f"your prompt leaves a bracket open: what this format adds {where} gets its weight (append does not)",)


def _model(text: str) -> tuple[Piece, ...]:
    return (Piece(text, By.MODEL),) if text else ()


def _user(text: str) -> tuple[Piece, ...]:
    return (Piece(text, By.USER),) if text else ()


def _first_subject(plan: ExpansionPlan) -> int:
    """Return the segment that required entries go to."""
    return next((index for index, subject in enumerate(plan.subjects) if subject is not None), 0)


def _fields(plan: ExpansionPlan, added: Sequence[Tag], text: str) -> Fields:
    found = split_by_category((*(tag for tags in plan.given for tag in tags), *added))
    prose = (subject.text for subject in plan.subjects if subject is not None)
    return Fields(
        **{category.value: found[category] for category in Category},
        text=" ".join(part for part in (*prose, text) if part),
    )


def _finish(done: Sequence[RowOutput]) -> Finish:
    ends = {output.finish for output in done}
    return next((finish for finish in (Finish.CANCELLED, Finish.LENGTH) if finish in ends), Finish.COMPLETE)
