"""Turns a plan in text into a job in token ids, cut to the context where it is too long.

The only place where request text meets a tokenizer; knows no cache and no batch.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from kgen_ext.decoding.judges import TagJudge, ValueJudge
from kgen_ext.decoding.row import Job
from kgen_ext.decoding.sampler import Sampling
from kgen_ext.decoding.tag_writer import Judge
from kgen_ext.decoding.text_writer import Censor
from kgen_ext.decoding.tokens import in_context
from kgen_ext.protocol import MetaField, Plan, Subject, TagField
from kgen_ext.request import Category

if TYPE_CHECKING:
    from kgen_ext.engines.base import Engine

# Tokens to leave for the answer: a tag and its comma, a sentence.
_PER_TAG, _PER_SENTENCE = 5, 24
# A tag or a word is rarely shorter in characters than this many to a token; bounds the work on a 1 MB prompt.
_CHARS_PER_TOKEN = 16
# Tokenising takes time: of a very long prompt, repeats of later tags are found when they are whole.
_DEAD_ENDS = 64


@dataclass(frozen=True, slots=True)
class Fitted:
    """A plan that fits the context; `hidden` says how many of the subject's tags or words it had to leave out."""

    plan: Plan
    ids: tuple[int, ...]
    hidden: int


def fit(engine: Engine, make: Callable[[Subject], Plan], subject: Subject, n_ctx: int) -> Fitted:
    """Plan a subject, showing the model as many of its first tags and words as the context can hold.

    `make` refuses no part of a subject if it does not refuse what `clip` leaves of it.
    """
    clipped = clip(subject, n_ctx)
    dropped = 0 if clipped.meta else sum(len(values) for _, values in subject.meta)
    subject, words = clipped, clipped.text.split(" ")
    limit = n_ctx - _room(make(replace(subject, shown=0, text=" ".join(words[:1]))), n_ctx)

    def attempt(tags: int, text: int) -> tuple[Plan, tuple[int, ...]]:
        plan = make(replace(subject, shown=tags, text=" ".join(words[:text])))
        bos = () if engine.vocab.bos is None else (engine.vocab.bos,)
        return plan, (*bos, *engine.tokenize(plan.request))

    def longest(low: int, high: int, fits: Callable[[int], bool]) -> int:
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return low

    tags = subject.shown if subject.shown is not None else len(subject.tags)
    plan, ids = attempt(tags, len(words))
    text = len(words)
    if len(ids) > limit:
        # Half the room for text at least, the rest for the oldest tags.
        text = longest(1, text, lambda count: len(attempt(0, count)[1]) <= limit // 2)
        tags = longest(0, tags, lambda count: len(attempt(count, text)[1]) <= limit)
        plan, ids = attempt(tags, text)
    return Fitted(plan, ids, dropped + len(subject.tags) - tags + len(words) - text)


def clip(subject: Subject, n_ctx: int) -> Subject:
    """Return what a context of so many tokens could show of a subject at the very most; tokenises nothing.

    Metadata is shown whole or, where it would fill the context by itself, not at all.
    """
    # A character is a quarter of a token or so: metadata this long would leave no room for anything else.
    fills = sum(len(one) for _, values in subject.meta for one in values) > n_ctx
    return replace(
        subject,
        shown=min(len(subject.tags), n_ctx),
        meta=() if fills else subject.meta,
        text=subject.text[: n_ctx * _CHARS_PER_TOKEN],
    )


def _room(plan: Plan, n_ctx: int) -> int:
    """Return how many tokens the fields' minima are likely to take, at most three quarters of the context."""
    wanted = 16
    for field in plan.fields:
        if isinstance(field, TagField):
            wanted += _PER_TAG * max(4, field.band.minimum - field.given)
        elif not isinstance(field, MetaField):
            wanted += _PER_SENTENCE * field.band.sentences.minimum
    return min(wanted, n_ctx * 3 // 4)


def make_job(
    engine: Engine,
    fitted: Fitted,
    *,
    row: int,
    subject: int,
    judge: TagJudge,
    given: Iterable[str],
    values: Mapping[Category, ValueJudge],
    censor: Censor | None,
    sampling: Sampling,
    seed: int,
    n_ctx: int,
) -> Job:
    """Return the job of a fitted plan; `given` are the tags that stand already, as the model would spell them."""
    fields = fitted.plan.fields
    keys = {
        category: in_context(engine, f"{key}:", left="a\n")
        for field in fields
        if isinstance(field, MetaField)
        for key, category in field.keys
    }
    judges: dict[Category | None, Judge] = {None: judge, **dict[Category | None, Judge](values.items())}
    return Job(
        row=row,
        subject=subject,
        request=fitted.ids,
        fields=fields,
        headers=tuple(() if isinstance(field, MetaField) else in_context(engine, field.header) for field in fields),
        keys=keys,
        judges=judges,
        dead_ends=tuple(in_context(engine, f" {tag}", left="a,") for tag in islice(given, _DEAD_ENDS)),
        censor=censor,
        sampling=sampling,
        seed=seed,
        n_ctx=n_ctx,
    )
