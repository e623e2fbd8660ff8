"""Expansion plan of a request, and the decode jobs of its rows: one row a variant, one job a subject of the prompt."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from kgen_ext.decoding.job import Job, clip, fit_plan, make_job
from kgen_ext.decoding.own_prior import JoinedPriors, OwnPrior, RowOwnPrior
from kgen_ext.decoding.prior import RowPrior, TokenPrior
from kgen_ext.decoding.sampler import derive_seed, mix
from kgen_ext.errors import BadValue
from kgen_ext.once import once
from kgen_ext.output.formats import Template, resolve_format
from kgen_ext.prompt import (
    MarkedPart,
    Prompt,
    VisibleSubject,
    find_parts,
    own_items,
    parse,
    read_marks,
    shown_text,
    subjects,
)
from kgen_ext.protocol import Plan, Protocol, Subject, TextField, dtg, tipo
from kgen_ext.protocol.plan import TAG_BANDS, one_line
from kgen_ext.request import DEFAULTS, FIELDS, MAX_SEED, Category, ExpandRequest, TagLength, Task, TextLength
from kgen_ext.rules.conditional import parse_rules
from kgen_ext.rules.entries import read_patterns
from kgen_ext.rules.filter import MetadataFilter, PhraseFilter, RowTags, TagFilter, TagRules
from kgen_ext.rules.known import ANY, DanbooruTags, KnownTags, TagFiles
from kgen_ext.rules.patterns import Pattern, PatternKind, PatternSet, compile_patterns, naming
from kgen_ext.rules.repeats import OwnText, TextHistory, read_own_text
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.service.notes import limit_note
from kgen_ext.service.required import Required, read_entries, read_required, sparing_tags
from kgen_ext.service.scripts import read_given
from kgen_ext.service.segments import View, read_elsewhere, read_parts, search_people, view_segments
from kgen_ext.tags.mentions import find_mentions
from kgen_ext.tags.tag import Tag, read_tag, split_by_category

if TYPE_CHECKING:
    from kgen_ext.decoding.prior import Prior
    from kgen_ext.engine import Engine
    from kgen_ext.models import Recommended
    from kgen_ext.rules.blocklist import Blocklist
    from kgen_ext.rules.wordlist import WordList
    from kgen_ext.tags.pair_table import PairTable


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request with every default filled in: no field is None, and none is a string in place of an enum."""

    prompt: str
    text: str
    tag_length: TagLength
    text_length: TextLength
    task: Task
    format: str
    ban: tuple[str, ...]
    require: tuple[str, ...]
    rules: tuple[str, ...]
    protect: tuple[str, ...]
    context: str
    mark: str
    allow: tuple[Category, ...]
    allow_contradictions: bool
    no_tags: bool
    tag_file: str
    seed: int
    count: int
    sampling: Sampling
    prior: float
    yours: str
    width: int
    height: int


def resolve_defaults(request: ExpandRequest, recommended: Recommended | None) -> ResolvedRequest:
    """Return the request with what it leaves open taken from the model's recommendation, else from `DEFAULTS`.

    An explicit task without a text length writes no text, even where the model recommends some.
    """
    values = {name: getattr(request, name) for name in FIELDS if name not in SAMPLING_NAMES}
    if request.text_length is None and request.task is not Task.AUTO:
        values["text_length"] = TextLength.NONE
    for name in ("tag_length", "text_length", "prior"):
        if values[name] is None:
            values[name] = FIELDS[name].read(getattr(recommended, name, None)) or DEFAULTS[name]
    values["tag_file"] = request.tag_file or getattr(recommended, "tag_file", None) or ANY
    return ResolvedRequest(**values, sampling=Sampling.resolve(request, recommended))


# Categories that metadata lines hold; the others are in the tag list.
META = (Category.RATING, Category.QUALITY, Category.META, Category.ARTIST, Category.COPYRIGHTS, Category.CHARACTERS)


@dataclass(frozen=True, slots=True)
class ModelContext:
    """The model a request is planned for. `n_ctx`: tokens a row may have. `blocklist`: what the model never adds.

    `ratings`: its word for a rating, where that is not the user's. `load_words`: returns the words it knows, for texts;
    None where it has no list of them. `load_pairs`: returns the table of its prior. `partial`: the engine knows the
    likeliest tokens only.
    """

    engine: Engine
    protocol: Protocol
    quality_line: bool
    n_ctx: int
    recommended: Recommended | None = None
    blocklist: Blocklist | None = None
    ratings: Mapping[str, str] = field(default_factory=dict)
    load_words: Callable[[], WordList] | None = None
    load_pairs: Callable[[], PairTable] | None = None
    partial: bool = False


@dataclass(frozen=True, slots=True)
class ExpansionPlan:
    """What all rows of a request share.

    `subjects`: one for each segment of the prompt, None where a segment has nothing to expand. `given`: the tags of
    each segment that the model may see. `views`: what each sees of the others. `parts`: the marked parts, where the
    prompt has marks. `required`: what to add to the first subject, which the model sees as if it had been given.
    `notes`: what cannot be done, a line each. `full`: segments whose list has its number of tags already;
    `check_servable` fills it in. `protected`: tags of the prompt that are hidden from the model. `own_text`: returns
    what texts may not repeat.
    """

    request: ResolvedRequest
    prompt: Prompt
    template: Template | None
    subjects: tuple[Subject | None, ...]
    given: tuple[tuple[Tag, ...], ...]
    views: tuple[View, ...]
    parts: tuple[MarkedPart, ...]
    required: tuple[Required, ...]
    rules: TagRules
    protected: PatternSet
    own_text: Callable[[], OwnText]
    notes: tuple[str, ...]
    full: frozenset[int] = frozenset()

    @property
    def required_tags(self) -> tuple[Tag, ...]:
        """The tags of the required entries."""
        return tuple(tag for entry in self.required for tag in entry.tags)


def plan_expansion(
    asked: ExpandRequest,
    tag_files: TagFiles,
    recommended: Recommended | None = None,
    blocklist: Blocklist | None = None,
) -> ExpansionPlan:
    """Check everything in a request that needs no model, and find its subjects.

    recommended, blocklist: the model's. A required tag is exempt from the blocklist.
    """
    request = resolve_defaults(asked, recommended)
    template = resolve_format(request.format)
    entries = read_entries(request.require)
    with naming("protect"):
        protected = compile_patterns(read_patterns(request.protect))
    marked = read_marks(request.prompt, request.mark)
    prompt = parse(marked.text)
    parts = find_parts(prompt, marked.parts)
    hides = (lambda tag: protected.match(tag) is not None,) if len(protected) else ()
    visible = subjects(prompt, protect=hides)
    unwanted = (Pattern.of_tag(tag.spelling) for segment in visible for tag in read_given(segment.unwanted, None))
    with naming("ban"):
        bans = compile_patterns(read_patterns(request.ban))
    with naming("rules"):
        conditional = parse_rules(request.rules)
    rules = TagRules(
        bans=PatternSet((*bans.patterns, *unwanted)),
        rules=conditional,
        allow=frozenset(request.allow),
        contradictions=not request.allow_contradictions,
        known=tag_files.open(request.tag_file),
        blocklist=blocklist and blocklist.sparing(sparing_tags(entries)),
    )
    given = tuple(read_given(segment.tags, rules.known) for segment in visible)
    views = view_segments(
        read_parts(prompt, visible, given, text=request.text),
        read_elsewhere(request.context, hides),
        own=_marked_subjects(prompt, parts, hides, rules.known) if parts else None,
    )
    required, notes = read_required(entries, prompt, bans=rules.bans)
    shown = tuple(tag for entry in required for tag in entry.shown)
    planned = list[Subject | None]()
    empty = not any(segment.tags or segment.text for segment in visible)
    first = parts[0].segment if parts else 0
    for index, (segment, tags, view) in enumerate(zip(visible, given, views, strict=True)):
        text = " ".join(part for part in (request.text.strip() if index == first else "", segment.text.strip()) if part)
        # A segment with nothing to see is left alone, unless it is marked or the whole prompt has nothing to see.
        if view.left or not (tags or text or parts or (empty and index == 0)):
            planned.append(None)
            continue
        own = tags if view.own is None else view.own
        planned.append(_in_view(_subject((*own, *shown), text, request), view, request))
        shown = ()
    # What the model sees as text, and everything as it stands: phrases between commas are the user's, too.
    texts = (request.text, *(segment.text for segment in visible), marked.text)
    own_text = once(partial(read_own_text, (request.prompt, *request.require), texts))
    return ExpansionPlan(
        request, prompt, template, tuple(planned), given, tuple(views), tuple(parts), required, rules, protected,
        own_text, (*marked.notes, *notes),
    )  # fmt: skip


def check_servable(plan: ExpansionPlan, context: ModelContext) -> ExpansionPlan:
    """Return the plan with a note for each list that has its number of tags already.

    Raises BadValue where the model cannot write what a request asks for, BadPattern where a rule is too slow to ask.
    Plans each subject in text; makes no tokens and no jobs.
    """
    sampling = plan.request.sampling
    if context.partial and sampling.temperature and not sampling.min_p and not sampling.top_k:
        allowed = "more than 0, or top_k from 1, with a server: it tells the likeliest tokens only"
        raise BadValue("min_p", sampling.min_p, allowed)
    notes, full = list[str](), set[int]()
    timed = [rule for rule in plan.rules.rules if any(pattern.kind is PatternKind.REGEX for pattern in rule.when)]
    for index, (subject, given) in enumerate(_with_required(plan)):
        if subject is None:
            continue
        fields = _plan_subject(plan.request, context, clip(subject, context.n_ctx)).fields
        if note := limit_note(plan, fields, index, bands=TAG_BANDS[context.protocol]):
            notes.append(note)
            full.add(index)
        for rule in timed:
            rule.holds(given)  # compares what will be compared when the first tag is judged
    return replace(plan, notes=(*plan.notes, *notes), full=frozenset(full)) if notes else plan


def make_jobs(
    plan: ExpansionPlan, context: ModelContext, *, row: int, seed: int, prior: Prior | None = None,
    own: OwnPrior | None = None,
) -> tuple[tuple[Job | None, ...], int]:
    """Return one job for each subject of a row, and how many of the user's tags and words exceed the context."""
    request = plan.request
    made, hidden = list[Job | None](), 0
    for index, (subject, given) in enumerate(_with_required(plan)):
        if subject is None:
            made.append(None)
            continue
        view = plan.views[index]
        row_tags = RowTags(plan.rules, (*view.had, *given), subject.text)
        phrases = PhraseFilter(row_tags).search if plan.rules.apply_to_text else None
        fitted = fit_plan(context.engine, partial(_plan_subject, request, context), subject, context.n_ctx)
        hidden += fitted.hidden
        writes_text = any(isinstance(field, TextField) for field in fitted.plan.fields)
        words = context.load_words() if context.load_words and writes_text else None
        made.append(
            make_job(
                context.engine,
                fitted,
                row=row,
                subject=index,
                given=(*subject.context, *subject.tags),
                tag_filter=TagFilter(row_tags, refuses=view.refuses),
                metadata_filters={category: MetadataFilter(row_tags, category) for category in META},
                phrases=partial(search_people, search=phrases) if view.empty else phrases,
                history=TextHistory(plan.own_text(), words, row_tags.tags) if writes_text else TextHistory(),
                sampling=request.sampling,
                seed=seed if index == 0 else derive_seed(mix(seed) & MAX_SEED, index),
                n_ctx=context.n_ctx,
                prior=_row_prior(prior, own, plan, subject),
            )
        )
    return tuple(made), hidden


def _row_prior(
    prior: Prior | None, own: OwnPrior | None, plan: ExpansionPlan, subject: Subject
) -> TokenPrior | None:
    """Return what has a say in a row beside the model: the model's own prior, the user's, or both."""
    found = list[TokenPrior]()
    if prior is not None:
        named = (tag for tag in map(read_tag, find_mentions(subject.text)) if plan.rules.reject(tag) is None)
        unknown = [tag for tag in subject.tags if tag not in prior.index]
        alike = dict.fromkeys(name for tag in unknown for name in find_mentions(tag) if name in prior.index)
        # `oil painting` behind a sentence tells nothing more.
        told = bool(subject.text or alike) and len(unknown) == len(subject.tags)
        found.append(
            RowPrior(
                prior, weight=plan.request.prior, given=subject.tags, alike=alike,
                named=[tag.written for tag in named], told=told, unless_people=not subject.text,
            )
        )  # fmt: skip
    if own is not None:
        found.append(RowOwnPrior(own, subject.tags))
    return JoinedPriors(found) if len(found) > 1 else found[0] if found else None


def _with_required(plan: ExpansionPlan) -> Iterator[tuple[Subject | None, tuple[Tag, ...]]]:
    """Yield each subject and its given tags, the first with the required tags behind the user's own."""
    required = plan.required_tags
    for subject, given in zip(plan.subjects, plan.given, strict=True):
        if subject is None:
            yield subject, given
            continue
        yield subject, (*given, *required)
        required = ()


def _plan_subject(request: ResolvedRequest, context: ModelContext, subject: Subject) -> Plan:
    subject = _in_its_ratings(subject, context.ratings)
    if context.protocol is Protocol.DTG:
        if request.no_tags:
            raise BadValue("no_tags", True, "false: this model writes tags only")
        return dtg.plan(subject, tag_length=request.tag_length, quality_line=context.quality_line)
    return tipo.plan(
        subject,
        task=request.task,
        tag_length=request.tag_length,
        text_length=request.text_length,
        gen_meta=tuple(
            category
            for category in request.allow
            if category in META and (subject.people or category is not Category.CHARACTERS)
        ),
        write_tags=not request.no_tags,
    )


def _in_its_ratings(subject: Subject, ratings: Mapping[str, str]) -> Subject:
    """Show the ratings by the words that the model was trained with."""
    if not ratings or Category.RATING not in dict(subject.meta):
        return subject
    meta = (
        (category, tuple(ratings.get(value, value) for value in values) if category is Category.RATING else values)
        for category, values in subject.meta
    )
    return replace(subject, meta=tuple(meta))


def _subject(given: Iterable[Tag], text: str, request: ResolvedRequest) -> Subject:
    """Spell what is visible as the models were trained to see it; repeats are shown once."""
    shown: dict[str, Tag] = {}
    for tag in given:
        spelling = one_line(tag.shown.replace(",", " ").replace("<|", ""))
        if spelling:
            shown.setdefault(tag.name, tag if spelling == tag.spelling else replace(tag, spelling=spelling))
    tags = split_by_category(shown.values())
    meta = {category: tuple(chain(*(tag.trained_values for tag in map(read_tag, tags[category])))) for category in META}
    return Subject(
        tags=(*tags[Category.SPECIAL], *tags[Category.GENERAL]),
        meta=tuple((category, tuple(dict.fromkeys(values))) for category, values in meta.items() if values),
        text=shown_text(one_line(text)),
        width=request.width,
        height=request.height,
    )


def _marked_subjects(
    prompt: Prompt,
    parts: Sequence[MarkedPart],
    hides: Sequence[Callable[[str], bool]],
    known: KnownTags | DanbooruTags | None,
) -> list[VisibleSubject | None]:
    """Return what of each segment is marked, translated as the whole is, None where nothing is."""
    marked = {part.segment for part in parts}
    seen = [
        replace(subject, tags=tuple(tag.spelling for tag in read_given(subject.tags, known)))
        for subject in subjects(own_items(prompt, parts), protect=hides)
    ]
    return [subject if number in marked else None for number, subject in enumerate(seen)]


def _in_view(subject: Subject, view: View, request: ResolvedRequest) -> Subject:
    """Show a subject what it sees of the other parts: their tags, and the metadata that it has none of itself."""
    if not view.had and view.refuses is None:
        return subject
    seen = _subject(view.shown, "", request)
    own = {category for category, _ in subject.meta}
    meta = (*subject.meta, *(line for line in seen.meta if line[0] not in own))
    return replace(subject, context=seen.tags, meta=meta, people=view.refuses is None)
