"""Turns a request into the jobs of its rows: one row a variant, one job a subject of the prompt.

What the model may see is worked out here, once; what it wrote is put back together in `assemble`.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kgen_ext.decoding import row as jobs
from kgen_ext.decoding.row import Job
from kgen_ext.decoding.sampler import derive_seed, mix
from kgen_ext.errors import BadValue
from kgen_ext.output.formats import Template, resolve_format
from kgen_ext.prompt import Prompt, parse, subjects
from kgen_ext.protocol import Plan, Protocol, Subject, dtg, tipo
from kgen_ext.protocol.plan import one_line, trained_tag
from kgen_ext.request import DEFAULTS, FIELDS, MAX_SEED, Category, ExpandRequest, TagLength, Task, TextLength
from kgen_ext.rules import Rejection
from kgen_ext.rules.conditional import parse_rules
from kgen_ext.rules.filter import MetadataFilter, TagFilter, TagRules
from kgen_ext.rules.known import TagFiles
from kgen_ext.rules.patterns import PatternKind, compile_patterns
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.tags.canonical import canonical_name, normalise
from kgen_ext.tags.categories import split_by_category

if TYPE_CHECKING:
    from kgen_ext.engine import Engine
    from kgen_ext.models import Recommended
    from kgen_ext.rules.blocklist import Blocklist

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
    allow: tuple[Category, ...]
    allow_contradictions: bool
    no_tags: bool
    tag_file: str
    seed: int
    count: int
    sampling: Sampling
    width: int
    height: int


def resolve_defaults(request: ExpandRequest, recommended: Recommended | None) -> ResolvedRequest:
    """Return the request with what it leaves open taken from the model's recommendation, else from `DEFAULTS`.

    An explicit task without a text length writes no text, even where the model recommends some.
    """
    values = {name: getattr(request, name) for name in FIELDS if name not in SAMPLING_NAMES}
    if request.text_length is None and request.task is not Task.AUTO:
        values["text_length"] = TextLength.NONE
    for name in ("tag_length", "text_length"):
        if values[name] is None:
            values[name] = FIELDS[name].read(getattr(recommended, name, None)) or DEFAULTS[name]
    return ResolvedRequest(**values, sampling=Sampling.resolve(request, recommended))


# Categories that stand in metadata lines; the others are the tag list.
META = (Category.RATING, Category.QUALITY, Category.META, Category.ARTIST, Category.COPYRIGHTS, Category.CHARACTERS)


@dataclass(frozen=True, slots=True)
class ModelContext:
    """The model a request is prepared for. `n_ctx`: tokens a row may have. `blocklist`: what it never writes."""

    engine: Engine
    protocol: Protocol
    quality_line: bool
    n_ctx: int
    recommended: Recommended | None = None
    blocklist: Blocklist | None = None


@dataclass(frozen=True, slots=True)
class ExpansionPlan:
    """What all rows of a request share. `request` has nothing left open.

    `subjects`: one a segment of the prompt, None where a segment has nothing to expand. `required`: tags to be added
    to the first of them. `notes`: what could not be done, a line each.
    """

    request: ResolvedRequest
    prompt: Prompt
    template: Template | None
    subjects: tuple[Subject | None, ...]
    given: tuple[tuple[str, ...], ...]
    required: tuple[str, ...]
    rules: TagRules
    notes: tuple[str, ...]


def plan_expansion(
    asked: ExpandRequest,
    tag_files: TagFiles,
    recommended: Recommended | None = None,
    blocklist: Blocklist | None = None,
) -> ExpansionPlan:
    """Check everything in a request that can be checked without a model, and find its subjects.

    recommended, blocklist: the model's. What the request requires goes before the second.
    """
    request = resolve_defaults(asked, recommended)
    template = resolve_format(request.format)
    rules = TagRules(
        bans=compile_patterns(request.ban),
        rules=parse_rules(request.rules),
        allow=frozenset(request.allow),
        contradictions=not request.allow_contradictions,
        known=tag_files.load(request.tag_file) if request.tag_file else None,
        blocklist=blocklist and blocklist.sparing(request.require),
    )
    protected = compile_patterns(request.protect)
    prompt = parse(request.prompt)
    seen = subjects(prompt, protect=(lambda tag: protected.match(tag) is not None,) if len(protected) else ())
    found = list[Subject | None]()
    given = list[tuple[str, ...]]()
    empty = all(not one.tags and not one.text for one in seen)
    for index, one in enumerate(seen):
        text = " ".join(part for part in (request.text.strip() if index == 0 else "", one.text.strip()) if part)
        given.append(tuple(one.tags))
        # A segment with nothing to see is left alone, unless there is nothing to see at all.
        if one.tags or text or (empty and index == 0):
            found.append(_subject(one.tags, text, request))
        else:
            found.append(None)
    required, notes = _required(request, rules, given)
    return ExpansionPlan(request, prompt, template, tuple(found), tuple(given), required, rules, notes)


def check_servable(prepared: ExpansionPlan, speaker: ModelContext) -> None:
    """Raise BadValue where the model cannot write what a request asks for, BadPattern where a rule is too slow to ask.

    Costs a plan in text for each subject: no tokens and no jobs.
    """
    timed = [rule for rule in prepared.rules.rules if any(one.kind is PatternKind.REGEX for one in rule.when)]
    for subject, given in _with_required(prepared):
        if subject is None:
            continue
        _plan(prepared.request, speaker, jobs.clip(subject, speaker.n_ctx))
        present = [canonical_name(normalise(tag)) for tag in given] if timed else []
        for rule in timed:
            rule.holds(present)  # asked of the user's own tags here as it is when the first tag is written


def make_jobs(
    prepared: ExpansionPlan, speaker: ModelContext, *, row: int, seed: int
) -> tuple[tuple[Job | None, ...], int]:
    """Return one job a subject for a row, and how many of the user's tags and words the context could not show."""
    request = prepared.request
    made, hidden = list[Job | None](), 0
    for index, (subject, given) in enumerate(_with_required(prepared)):
        if subject is None:
            made.append(None)
            continue
        judge = TagFilter(prepared.rules, given=given)
        fitted = jobs.fit(speaker.engine, partial(_plan, request, speaker), subject, speaker.n_ctx)
        hidden += fitted.hidden
        made.append(
            jobs.make_job(
                speaker.engine,
                fitted,
                row=row,
                subject=index,
                judge=judge,
                given=subject.tags,
                values={one: MetadataFilter(prepared.rules, one, given=given) for one in META},
                censor=partial(_censor, prepared.rules, judge) if prepared.rules.censors else None,
                sampling=request.sampling,
                seed=seed if index == 0 else derive_seed(mix(seed) & MAX_SEED, index),
                n_ctx=speaker.n_ctx,
            )
        )
    return tuple(made), hidden


def _with_required(prepared: ExpansionPlan) -> Iterator[tuple[Subject | None, tuple[str, ...]]]:
    """Yield each subject and its given tags, the first with the required ones behind the user's own.

    The model writes on with them in view, as if they had been given.
    """
    required = prepared.required
    for subject, given in zip(prepared.subjects, prepared.given, strict=True):
        if subject is None or not required:
            yield subject, given
            continue
        yield replace(subject, tags=(*subject.tags, *map(trained_tag, required))), (*given, *required)
        required = ()


def _plan(request: ResolvedRequest, speaker: ModelContext, subject: Subject) -> Plan:
    if speaker.protocol is Protocol.DTG:
        if request.no_tags:
            raise BadValue("no_tags", True, "false: this model writes tags only")
        return dtg.plan(subject, tag_length=request.tag_length, quality_line=speaker.quality_line)
    return tipo.plan(
        subject,
        task=request.task,
        tag_length=request.tag_length,
        text_length=request.text_length,
        gen_meta=tuple(category for category in request.allow if category in META),
        write_tags=not request.no_tags,
    )


def _subject(tags: Iterable[str], text: str, request: ResolvedRequest) -> Subject:
    """Spell what is visible as the models were trained to see it; repeats are shown once."""
    once: dict[str, str] = {}
    for tag in tags:
        if spelled := _spelled(tag):
            once.setdefault(normalise(spelled), spelled)
    sorted_tags = split_by_category(once.values())
    return Subject(
        tags=(*sorted_tags[Category.SPECIAL], *sorted_tags[Category.GENERAL]),
        meta=tuple((category, sorted_tags[category]) for category in META if sorted_tags[category]),
        text=one_line(text),
        width=request.width,
        height=request.height,
    )


def _spelled(tag: str) -> str:
    return trained_tag(one_line(tag).replace(",", " ").replace("<|", "").strip())


def _required(
    request: ResolvedRequest, rules: TagRules, given: list[tuple[str, ...]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the required tags that are not there yet and may be added, and a note for each that may not."""
    there = {canonical_name(normalise(tag)) for tags in given for tag in tags}
    wanted, notes = list[str](), list[str]()
    for tag in dict.fromkeys(request.require):
        name = canonical_name(normalise(tag))
        if name in there:
            continue
        banned = rules.bans.match(tag)
        if banned is not None:
            notes.append(f"require: {tag!r} is also banned by {banned!r}; the ban holds, the tag is not added")
            continue
        there.add(name)
        wanted.append(one_line(tag))
    return tuple(wanted), tuple(notes)


def _censor(rules: TagRules, judge: TagFilter, text: str) -> tuple[int, int, Rejection] | None:
    """Find what may not stand in a text: bans, and those of the rules that hold among the row's tags by now."""
    hits = [(*found[:2], Rejection("banned", found[2])) for found in (rules.bans.search_text(text),) if found]
    if rules.blocklist is not None and (blocked := rules.blocklist.search_text(text)) is not None:
        hits.append((*blocked[:2], Rejection("blocklist", rules.blocklist.name)))
    for rule in rules.rules:
        found = rule.ban.search_text(text)
        if found and rule.holds(judge.tags):
            hits.append((*found[:2], Rejection("rule", rule.source)))
    return min(hits, key=lambda hit: hit[0], default=None)


def wants_text(request: ResolvedRequest) -> bool:
    """Return whether text is asked for."""
    return request.text_length is not TextLength.NONE
