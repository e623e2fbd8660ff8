"""A decode job: one subject's plan in token ids, cut to what the model's context can hold.

The only place where request text meets a tokenizer.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from kgen_ext.decoding.prior import TokenPrior
from kgen_ext.decoding.prose import PhraseSearch
from kgen_ext.decoding.tag_list import ItemFilter
from kgen_ext.decoding.vocabulary import in_context
from kgen_ext.protocol import FieldPlan, MetaField, Plan, Subject, TagField
from kgen_ext.request import Category
from kgen_ext.rules.repeats import TextHistory
from kgen_ext.sampling import Sampling

if TYPE_CHECKING:
    from kgen_ext.engine import Engine

# Tokens to reserve for the answer: a tag and its comma, a sentence.
_PER_TAG, _PER_SENTENCE = 5, 24
# A tag or a word rarely has more characters to a token than this; bounds the work on a prompt of 1 MB.
_CHARS_PER_TOKEN = 16
# Tokenising takes time: of a very long prompt, duplicates of later tags are found when they are complete.
_BLOCKED_TAGS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """All that a row needs to know before it starts. A job is run once, for its filters remember.

    row, subject: as events name them. request: token ids, BOS included. headers: ids forced before each field.
    metadata_keys: ids of each metadata header. filters: of the tag lists (key None) and of each metadata category.
    blocked: token paths of tags that are there already. phrases: the filter of texts, if any. history: their words.
    prior: of the tag list, if there is one.
    """

    row: int
    subject: int
    request: tuple[int, ...]
    fields: tuple[FieldPlan, ...]
    headers: tuple[tuple[int, ...], ...]
    metadata_keys: Mapping[Category, tuple[int, ...]]
    filters: Mapping[Category | None, ItemFilter]
    blocked: tuple[tuple[int, ...], ...]
    phrases: PhraseSearch | None
    history: TextHistory
    sampling: Sampling
    seed: int
    n_ctx: int
    prior: TokenPrior | None = None


@dataclass(frozen=True, slots=True)
class FittedPlan:
    """A plan that fits the context; `hidden` counts the subject's tags and words that had to be left out."""

    plan: Plan
    ids: tuple[int, ...]
    hidden: int


def make_job(
    engine: Engine,
    fitted: FittedPlan,
    *,
    row: int,
    subject: int,
    given: Iterable[str],
    tag_filter: ItemFilter,
    metadata_filters: Mapping[Category, ItemFilter],
    phrases: PhraseSearch | None,
    history: TextHistory,
    sampling: Sampling,
    seed: int,
    n_ctx: int,
    prior: TokenPrior | None = None,
) -> Job:
    """Return the job of a fitted plan; `given` are the tags that are there already, as the model would spell them."""
    fields = fitted.plan.fields
    keys = {
        category: in_context(engine, f"{key}:", left="a\n")
        for field in fields
        if isinstance(field, MetaField)
        for key, category in field.keys
    }
    return Job(
        row=row,
        subject=subject,
        request=fitted.ids,
        fields=fields,
        headers=tuple(() if isinstance(field, MetaField) else in_context(engine, field.header) for field in fields),
        metadata_keys=keys,
        filters={None: tag_filter, **dict[Category | None, ItemFilter](metadata_filters.items())},
        blocked=tuple(in_context(engine, f" {tag}", left="a,") for tag in islice(given, _BLOCKED_TAGS)),
        phrases=phrases,
        history=history,
        sampling=sampling,
        seed=seed,
        n_ctx=n_ctx,
        prior=prior,
    )


def fit_plan(engine: Engine, make: Callable[[Subject], Plan], subject: Subject, n_ctx: int) -> FittedPlan:
    """Plan a subject, showing the model as many of its first tags and words as the context can hold.

    make: plans a subject; it must refuse no part of one that it does not refuse in what `clip` leaves of it.
    """
    clipped = clip(subject, n_ctx)
    dropped = 0 if clipped.meta else sum(len(values) for _, values in subject.meta)
    subject, words = clipped, clipped.text.split(" ")
    limit = n_ctx - _reserve(make(replace(subject, shown=0, text=" ".join(words[:1]))), n_ctx)

    def attempt(tags: int, text: int) -> tuple[Plan, tuple[int, ...]]:
        plan = make(replace(subject, shown=tags, text=" ".join(words[:text])))
        bos = () if engine.vocab.bos is None else (engine.vocab.bos,)
        return plan, (*bos, *engine.tokenize(plan.request))

    def longest(low: int, high: int, fits: Callable[[int], bool]) -> int:
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return low

    if subject.context and len(attempt(0, 1)[1]) > limit // 2:
        subject = replace(subject, context=())  # its own tags come first
    tags = subject.shown if subject.shown is not None else len(subject.tags)
    plan, ids = attempt(tags, len(words))
    text = len(words)
    if len(ids) > limit:
        # At most half the room for text, the rest for the first tags.
        text = longest(1, text, lambda count: len(attempt(0, count)[1]) <= limit // 2)
        tags = longest(0, tags, lambda count: len(attempt(count, text)[1]) <= limit)
        plan, ids = attempt(tags, text)
    return FittedPlan(plan, ids, dropped + len(subject.tags) - tags + len(words) - text)


def clip(subject: Subject, n_ctx: int) -> Subject:
    """Return the most that a context of `n_ctx` tokens could show of a subject, without tokenising anything.

    Metadata is shown in full or, where it would fill the context by itself, not at all.
    """
    # A character is about a quarter of a token: metadata of this length would leave no room for anything else.
    fills = sum(len(value) for _, values in subject.meta for value in values) > n_ctx
    return replace(
        subject,
        shown=min(len(subject.tags), n_ctx),
        meta=() if fills else subject.meta,
        text=subject.text[: n_ctx * _CHARS_PER_TOKEN],
    )


def _reserve(plan: Plan, n_ctx: int) -> int:
    """Return how many tokens the fields' minima are likely to take, at most three quarters of the context."""
    wanted = 16
    for field in plan.fields:
        if isinstance(field, TagField):
            wanted += _PER_TAG * max(4, field.band.minimum - field.given)
        elif not isinstance(field, MetaField):
            wanted += _PER_SENTENCE * field.band.sentences.minimum
    return min(wanted, n_ctx * 3 // 4)
