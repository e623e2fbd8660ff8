"""Helpers of the decoding tests: running requests on a scripted engine, and an oracle of the guarantees.

The oracle reads a result and its request only, and uses nothing of what enforces the guarantees in the decoder.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from scripted_engine import Script, ScriptedEngine

from kgen_ext.decoding.job import Job
from kgen_ext.decoding.loop import BatchDecoder
from kgen_ext.decoding.row import RowOutput
from kgen_ext.decoding.vocabulary import token_table
from kgen_ext.events import Event, Finish, TagRejected
from kgen_ext.prompt.sentences import ends_sentence, split_sentences
from kgen_ext.protocol import Protocol, TagField, TextField
from kgen_ext.request import Category, ExpandRequest
from kgen_ext.rules.blocklist import Blocklist
from kgen_ext.rules.contradictions import Scene
from kgen_ext.rules.known import TagFiles
from kgen_ext.rules.wordlist import WordList
from kgen_ext.service.plan import ExpansionPlan, ModelContext, make_jobs, plan_expansion
from kgen_ext.tags.canonical import fold_text, normalise
from kgen_ext.tags.tag import read_tag

# A hundred tags of no category, people or contradiction, and no words.
NAMES = tuple(f"item {'dgjkmqvwxz'[n // 10]}{'dgjkmqvwxz'[n % 10]}" for n in range(100))


@dataclass
class Ran:
    """One job that was run: its plan, what it wrote, and its events."""

    plan: ExpansionPlan
    job: Job
    given: tuple[str, ...]
    output: RowOutput
    events: list[Event] = field(default_factory=list)
    words: WordList | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(tag.spelling for tag in self.output.tags)

    @property
    def metadata(self) -> dict[Category, tuple[str, ...]]:
        return {category: tuple(tag.spelling for tag in some) for category, some in self.output.metadata.items()}

    @property
    def rejected(self) -> list[tuple[str, str]]:
        return [(event.rule, event.tag) for event in self.events if isinstance(event, TagRejected)]


def model_context(
    engine: ScriptedEngine, *, protocol: Protocol = Protocol.TIPO, n_ctx: int | None = None,
    words: WordList | None = None,
) -> ModelContext:
    load_words = (lambda: words) if words is not None else None
    return ModelContext(engine, protocol, quality_line=True, n_ctx=n_ctx or engine.n_ctx, load_words=load_words)


def make(
    engine: ScriptedEngine, request: ExpandRequest, *, row: int = 0, protocol: Protocol = Protocol.TIPO,
    n_ctx: int | None = None, blocklist: Blocklist | None = None, words: WordList | None = None,
) -> list[tuple[ExpansionPlan, Job, tuple[str, ...]]]:
    """Return the jobs of a request with count 1: one a subject."""
    plan = plan_expansion(request, TagFiles(), blocklist=blocklist)
    context = model_context(engine, protocol=protocol, n_ctx=n_ctx, words=words)
    jobs, _ = make_jobs(plan, context, row=row, seed=request.seed)
    made, required = list[tuple[ExpansionPlan, Job, tuple[str, ...]]](), [tag.spelling for tag in plan.required_tags]
    for job, given in zip(jobs, plan.given, strict=True):
        if job is not None:
            made.append((plan, job, (*(tag.spelling for tag in given), *required)))
            required = []
    return made


def run_all(
    engine: ScriptedEngine, requests: Sequence[ExpandRequest], *, rows: int = 4, protocol: Protocol = Protocol.TIPO,
    n_ctx: int | None = None, decoder: BatchDecoder | None = None, cancelled: Callable[[], bool] = lambda: False,
    blocklist: Blocklist | None = None, words: WordList | None = None,
) -> list[Ran]:
    """Run requests as one batch; one Ran a subject, in order."""
    made = list[tuple[ExpansionPlan, Job, tuple[str, ...]]]()
    for row, request in enumerate(requests):
        made += make(engine, request, row=row, protocol=protocol, n_ctx=n_ctx, blocklist=blocklist, words=words)
    decoder = decoder or open_decoder(engine, rows=rows, n_ctx=n_ctx)
    events = dict[tuple[int, int], list[Event]]()
    done = dict[tuple[int, int], RowOutput]()
    for item in decoder.run([job for _, job, _ in made], cancelled=cancelled):
        if isinstance(item, tuple):
            done[item[0].row, item[0].subject] = item[1]
        else:
            events.setdefault((item.row, getattr(item, "subject", 0)), []).append(item)
    assert len(done) == len(made)
    return [
        Ran(plan, job, given, done[job.row, job.subject], events.get((job.row, job.subject), []), words)
        for plan, job, given in made
    ]


def open_decoder(engine: ScriptedEngine, *, rows: int = 4, n_ctx: int | None = None) -> BatchDecoder:
    return BatchDecoder(engine.open_cache(rows, n_ctx or engine.n_ctx), token_table(engine))


def spell(engine: ScriptedEngine, ids: Iterable[int]) -> str:
    """Return ids as text, special tokens spelled out."""
    names = {index: name for name, index in engine.vocab.special.items()}
    pieces = (names[token].encode() if token in names else engine.vocab.pieces[token] for token in ids)
    return b"".join(pieces).decode("utf-8", "replace")


def force(
    script: Script, request: ExpandRequest, *, pieces: Iterable[str] = (), protocol: Protocol = Protocol.TIPO,
    n_ctx: int = 1024, special: tuple[str, ...] = (), blocklist: Blocklist | None = None,
    words: WordList | None = None,
) -> Ran:
    """Run one request greedily on an engine that prefers `script` as its continuation."""
    from scripted_engine import COMMON_PIECES

    trial = ScriptedEngine.forcing([], n_ctx=n_ctx)
    prompt = spell(trial, make(trial, request, protocol=protocol)[0][1].request[1:])
    engine = ScriptedEngine.forcing({prompt: script}, pieces=(*COMMON_PIECES, *pieces), n_ctx=n_ctx)
    return run_all(engine, [request], protocol=protocol, blocklist=blocklist, words=words)[0]


def greedy(prompt: str = "", **options: object) -> ExpandRequest:
    """Return a greedy request; tags only, very short, unless told otherwise."""
    return ExpandRequest(prompt, **{"temperature": 0.0, "min_p": 0.0, "tag_length": "very_short", **options})  # type: ignore[arg-type]


def violations(ran: Ran) -> list[str]:
    """Return every guarantee that a result breaks, as text."""
    return [*_broken_by_tags(ran), *_broken_by_counts(ran), *_broken_by_texts(ran), *_broken_by_words(ran)]


def _broken_by_tags(ran: Ran) -> Iterable[str]:
    rules = ran.plan.rules
    seen = {normalise(tag) for tag in ran.given}
    values = [(category, value) for category, some in ran.metadata.items() for value in some]
    every = [*((None, tag) for tag in ran.tags), *values]
    for kind, tag in every:
        name = normalise(tag)
        if not tag or not tag.isprintable() or tag != " ".join(tag.split()) or set(tag) & set(",，、\ufffd"):
            yield f"not a clean tag: {tag!r}"
        if name in seen:
            yield f"repeat: {tag!r}"
        seen.add(name)
        if (ban := rules.bans.match(tag)) is not None:
            yield f"banned: {tag!r} by {ban}"
        if rules.blocklist is not None and (word := rules.blocklist.match(tag)) is not None:
            yield f"never written: {word!r} in {tag!r}"
        if rules.known is not None and kind is None and rules.known.resolve(tag) != name:
            yield f"no such tag, or an alias: {tag!r}"
        category = read_tag(tag).category
        allowed = {Category.GENERAL, *((kind,) if kind else (Category.SPECIAL, *rules.allow))}
        if category not in allowed:
            yield f"category: {tag!r} is {category.value}"
        if kind is not None and kind not in rules.allow:
            yield f"metadata nobody allowed: {kind.value}"
    if rules.contradictions:
        subject = ran.plan.subjects[ran.job.subject]
        scene = Scene(user=[normalise(tag) for tag in ran.given], text=subject.text if subject else "")
        for tag in ran.tags:
            if (other := scene.conflict(normalise(tag))) is not None:
                yield f"contradiction: {tag!r} and {other!r}"
            scene.add(normalise(tag))
    own = [normalise(tag) for tag in ran.given]
    added = [normalise(tag) for _, tag in every]
    for rule in rules.rules:
        if rule.holds([*own, *added]):
            judged = added if rule.holds(own) else [*own, *added]
            yield from (f"rule {rule.source!r}: {tag!r}" for tag in judged if rule.ban.match(tag))


def _broken_by_counts(ran: Ran) -> Iterable[str]:
    output = ran.output
    whole = output.finish is Finish.COMPLETE
    for planned in ran.job.fields:
        if not isinstance(planned, TagField):
            continue
        count = planned.given + len(output.tags)
        if count > max(planned.given, planned.band.maximum):
            yield f"{planned.name}: {count} tags, more than {planned.band.maximum}"
        if count < planned.band.minimum and whole and planned.name not in output.short:
            yield f"{planned.name}: {count} tags, fewer than {planned.band.minimum}, and nothing says so"
        if planned.name in output.short and count >= planned.band.minimum:
            yield f"{planned.name}: said to be short at {count} tags"
    if output.finish is Finish.CANCELLED:
        yield "nobody cancelled"


def _broken_by_texts(ran: Ran) -> Iterable[str]:
    output, bans, blocklist = ran.output, ran.plan.rules.bans, ran.plan.rules.blocklist
    fields = {planned.name: planned for planned in ran.job.fields if isinstance(planned, TextField)}
    if not output.texts.keys() <= fields.keys():
        yield f"texts nobody planned: {output.texts.keys()}"
    if output.finish is Finish.COMPLETE and output.texts.keys() != fields.keys():
        yield "a text is missing"
    for name, text in output.texts.items():
        band, lines = fields[name].band, text.split("\n") if text else []
        counts = [len(sentences_of(line)) for line in lines]
        if not all(line and line == line.strip() and line.isprintable() and "\ufffd" not in line for line in lines):
            yield f"{name}: not clean text: {text!r}"
        if not all(map(ends_sentence, [*lines, *(part for line in lines for part in split_sentences(line))])):
            yield f"{name}: half a sentence: {text!r}"
        if len(lines) > band.paragraphs or any(count > band.per_paragraph for count in counts):
            yield f"{name}: paragraphs of {counts} sentences"
        if sum(counts) > band.sentences.maximum:
            yield f"{name}: {sum(counts)} sentences, more than {band.sentences.maximum}"
        whole = output.finish is Finish.COMPLETE and name not in output.short
        if whole and sum(counts) < band.sentences.minimum:
            yield f"{name}: {sum(counts)} sentences, fewer than {band.sentences.minimum}, and nothing says so"
        for shown in (text, " ".join(text.split())):
            if (hit := bans.search_text(shown)) is not None:
                yield f"{name}: banned phrase {shown[hit[0]:hit[1]]!r}"
            if blocklist is not None and (hit := blocklist.search_text(shown)) is not None:
                yield f"{name}: never written: {shown[hit[0]:hit[1]]!r}"


def _broken_by_words(ran: Ran) -> Iterable[str]:
    subject = ran.plan.subjects[ran.job.subject]
    own = [ran.plan.request.text] if ran.job.subject == 0 else []
    user = [spoken(part) for text in (*own, subject.text if subject else "") for part in split_sentences(text)]
    texts = list(ran.output.texts.values())
    yield from nonsense(texts, user=[sentence for sentence in user if sentence])
    if ran.words is not None:
        known = {word for text in (ran.plan.request.prompt, *own, *ran.given, *ran.tags) for word in spoken(text)}
        for word in (word for text in texts for word in spoken(text)):
            if word not in known and not ran.words.knows(word):
                yield f"no such word: {word!r}"


def nonsense(texts: Sequence[str], *, user: Sequence[Sequence[str]] = ()) -> Iterable[str]:
    """Yield what a row's texts say twice, or after the user's sentences, which are given in words."""
    words = [word for text in texts for word in spoken(text)]
    sentences = [spoken(part) for text in texts for line in text.split("\n") for part in split_sentences(line)]
    fours = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    theirs = {tuple(some[at : at + 4]) for some in user for at in range(len(some) - 3)}
    yield from (f"four words twice: {four}" for four in set(fours) if fours.count(four) > 1)
    yield from (f"four words of the user: {four}" for four in set(fours) & theirs)
    for at in range(len(words) - 2):
        if words[at] == words[at + 1] == words[at + 2]:
            yield f"three times running: {words[at]!r}"
    for sentence in sentences:
        for word, following in pairwise(sentence):
            fine = word in "very really so far much many long old big ha".split() or (len(word) == 1 and word != "a")
            if word == following and not fine:
                yield f"twice running: {word!r}"
        if sentences.count(sentence) > 1 or sentence in [list(some) for some in user]:
            yield f"a sentence twice: {sentence}"
    for first in (sentence for text in texts for sentence in [spoken(part) for part in split_sentences(text)][:1]):
        if any(first[: len(some)] == list(some) for some in user):
            yield f"the user's sentence again: {first}"


def spoken(text: str) -> list[str]:
    """Return the words of a text as one hears them."""
    plain = fold_text(text)[0].lower().replace("\u2019", "'")
    return re.findall(r"\d+(?:[.,:]\d+)+|[^\W_]+(?:'[^\W_]+)*", plain)


def sentences_of(text: str) -> list[str]:
    """Return the sentences that say something."""
    return [part for part in split_sentences(text) if any(char.isalnum() for char in part)]


def check(ran: Ran) -> Ran:
    """Assert that a run breaks no guarantee, and return it."""
    assert violations(ran) == []
    return ran
