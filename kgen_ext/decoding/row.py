"""One row of a batch: its tokens, the field being written, and what became of every draw.

It turns verdicts of the fields into token ids to feed and positions to go back to; the cache belongs to `lane`, the
order of rows to `batch`, the rules to whoever made the judges.

Turns a plan in text into a job in token ids, cut to the context where it is too long.

The only place where request text meets a tokenizer; knows no cache and no batch.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from kgen_ext.decoding.constraint import ForceTokens, Rollback, Step
from kgen_ext.decoding.metadata import MetadataConstraint
from kgen_ext.decoding.prose import PhraseFilter, ProseConstraint
from kgen_ext.decoding.sampler import Draw, draw_key
from kgen_ext.decoding.tag_list import ItemFilter, TagListConstraint
from kgen_ext.decoding.vocabulary import TokenTable, in_context, utf8_rest
from kgen_ext.events import Delta, Event, Finish, TagAccepted, TagRejected
from kgen_ext.protocol import FieldPlan, MetaField, Plan, Subject, TagField
from kgen_ext.request import Category
from kgen_ext.rules.filter import MetadataFilter, TagFilter
from kgen_ext.sampling import Sampling
from kgen_ext.tags.tag import Tag

if TYPE_CHECKING:
    from kgen_ext.engine import Engine

# Rejections a row may cost in all before every field is closed at the next one.
_PATIENCE = 512

Writer = TagListConstraint | ProseConstraint | MetadataConstraint


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """All a row needs to know before it starts; two jobs are equal only if they are one.

    row, subject: as events name them. request: token ids, BOS included. headers: ids forced before each field.
    keys: ids of each metadata header. judges: one for the tag lists (None key) and one for each metadata category;
    they remember, so a job is run once. dead_ends: token paths of tags that stand already. censor: for texts, if any.
    """

    row: int
    subject: int
    request: tuple[int, ...]
    fields: tuple[FieldPlan, ...]
    headers: tuple[tuple[int, ...], ...]
    keys: Mapping[Category, tuple[int, ...]]
    judges: Mapping[Category | None, ItemFilter]
    dead_ends: tuple[tuple[int, ...], ...]
    censor: PhraseFilter | None
    sampling: Sampling
    seed: int
    n_ctx: int


@dataclass(frozen=True, slots=True)
class RowOutput:
    """What a row wrote: tags of its lists, metadata values, texts by field name, and what it cost."""

    tags: tuple[Tag, ...]
    meta: Mapping[Category, tuple[Tag, ...]]
    texts: Mapping[str, str]
    finish: Finish
    short: tuple[str, ...]  # names of fields that ended below their band
    refused: str  # the rule that took back most, "" when none did
    decoded: int
    forced: int
    rewound: int


class Row:
    """A row in the making.

    `ids` are the tokens the row holds; the first `kept` of them stand in the cache, the rest are to be fed.
    """

    __slots__ = (
        "_closed", "_decoded", "_events", "_field", "_forced", "_half", "_masked", "_refused", "_rejections",
        "_rewound", "_table", "_writer", "finish", "ids", "job", "kept",
    )  # fmt: skip

    def __init__(self, job: Job, table: TokenTable) -> None:
        self.job = job
        self.ids = list(job.request)
        self.kept = 0
        self.finish: Finish | None = None
        self._table = table
        self._masked: dict[int, list[int]] = {}
        self._half = b""  # bytes of a character that is not yet told
        self._refused: dict[tuple[str, str], int] = {}
        self._events = list[Event]()
        self._closed = list[tuple[FieldPlan, Writer]]()
        self._decoded = self._forced = self._rewound = self._rejections = 0
        self._field = -1
        self._writer: Writer | None = None
        self._open_next()

    def bias_index(self) -> int:
        """Return the row of the token table's bias for the next draw."""
        assert self._writer is not None
        return int(self._writer.allow())

    def only(self) -> frozenset[int] | None:
        """Return the ids the next draw is confined to, if it is."""
        return self._writer.only() if isinstance(self._writer, MetadataConstraint) else None

    def masked(self) -> list[int]:
        """Return the ids already tried at this position, and those that lead nowhere new."""
        masked = self._masked.get(len(self.ids), [])
        return [*masked, *self._writer.forbidden()] if isinstance(self._writer, TagListConstraint) else masked

    def key(self) -> int:
        """Return the key of the next draw."""
        return draw_key(self.job.seed, len(self.ids) - len(self.job.request))

    def take(self, drawn: Draw) -> bool:
        """Act on a draw (token -1: nothing is allowed); return True when the same logits must be drawn from again.

        All of `ids` is in the cache when this is called.
        """
        writer, length, token = self._writer, len(self.ids), drawn.token
        assert writer is not None
        before = 0 if isinstance(writer, ProseConstraint) else len(writer.tags)
        verdict: Step = writer.stuck(length) if token < 0 else writer.take(drawn, length)
        if isinstance(verdict, Rollback) and verdict.index < length and self._rejections >= _PATIENCE:
            verdict = writer.give_up()
        if not isinstance(writer, ProseConstraint) and len(writer.tags) > before:
            self._events.append(TagAccepted(self.job.row, writer.tags[-1].spelling, self.job.subject))
        if verdict is None:
            self._decoded += 1
            self.ids.append(token)
            self._tell(token)
        elif isinstance(verdict, ForceTokens):
            self._decoded += 1
            if verdict.cut is not None:
                self._cut(verdict.cut)
            self._feed(verdict.ids)
        elif isinstance(verdict, Rollback):
            if verdict.index == length:
                self._masked.setdefault(length, []).append(token)
                return True
            self._go_back(verdict)
        else:
            self._decoded += token >= 0
            if verdict.cut is not None:
                self._cut(verdict.cut)
            self._masked.clear()
            self._feed(verdict.ids)
            self._end_field()
            self._open_next()
        if self.finish is None and len(self.ids) >= self.job.n_ctx:
            self._stop(Finish.LENGTH)
        if self.finish is None and self.kept == len(self.ids):
            # A field without a header opened: where nothing was taken back, the logits at hand are its first.
            if len(self.ids) == length:
                return True
            self.kept -= 1
        return False

    def cancel(self) -> None:
        """End the row now, keeping what is whole."""
        if self.finish is None:
            self._stop(Finish.CANCELLED)

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def written(self) -> RowOutput:
        """Return what was written; call it when `finish` is set."""
        tags, meta, texts, short = list[Tag](), dict[Category, tuple[Tag, ...]](), dict[str, str](), list[str]()
        for plan, writer in self._closed:
            if isinstance(writer, TagListConstraint):
                tags += writer.tags
            elif isinstance(writer, MetadataConstraint):
                meta.update(writer.values)
            elif not isinstance(plan, MetaField):
                texts[plan.name] = writer.text
            if writer.short and not isinstance(plan, MetaField):
                short.append(plan.name)
        return RowOutput(
            tuple(tags), meta, texts, self.finish or Finish.CANCELLED, tuple(short), self._most_refused(),
            self._decoded, self._forced, self._rewound,
        )  # fmt: skip

    def _most_refused(self) -> str:
        most = max(self._refused, key=lambda why: self._refused[why], default=None)
        return "" if most is None else f"{most[0]} {most[1]!r}, {self._refused[most]} times"

    def _tell(self, token: int) -> None:
        plan = self.job.fields[self._field]
        data = self._half + self._table.pieces[token]
        # Characters are told whole.
        self._half = utf8_rest(b"", data) or b""
        text = data[: len(data) - len(self._half)].decode("utf-8", "replace")
        if text:
            name = "meta" if isinstance(plan, MetaField) else plan.name
            self._events.append(Delta(self.job.row, name, text, self.job.subject))

    def _feed(self, ids: tuple[int, ...]) -> None:
        """Write ids in place of the drawn one; what is more than one was forced."""
        self._forced += max(0, len(ids) - 1)
        self.ids.extend(ids)
        for one in ids:
            self._tell(one)

    def _go_back(self, verdict: Rollback) -> None:
        """Forget tokens and feed the one before them again, for the logits behind it."""
        self._rejections += 1
        why = (verdict.rule, verdict.detail)
        self._refused[why] = self._refused.get(why, 0) + 1
        self._events.append(
            TagRejected(self.job.row, verdict.what, verdict.rule, verdict.detail, self.job.subject)
        )
        first = self.ids[verdict.index]
        self._cut(verdict.index)
        self._masked.setdefault(verdict.index, []).append(first)
        self.kept = len(self.ids) - 1
        self._decoded += 1
        self._rewound += 1

    def _cut(self, length: int) -> None:
        self._rewound += len(self.ids) - length
        del self.ids[length:]
        self.kept = min(self.kept, length)
        self._half = b""
        # What was tried at a later place was tried behind other tokens.
        self._masked = {at: ids for at, ids in self._masked.items() if at <= length}

    def _end_field(self) -> None:
        if self._writer is not None:
            self._closed.append((self.job.fields[self._field], self._writer))
            self._writer = None

    def _open_next(self) -> None:
        """Open the next field that takes anything; finish when there is none."""
        while self.finish is None:
            self._field += 1
            if self._field >= len(self.job.fields):
                self.finish = Finish.COMPLETE
                return
            header = self.job.headers[self._field]
            if len(self.ids) + len(header) + 1 >= self.job.n_ctx:
                self.finish = Finish.LENGTH
                return
            self.ids.extend(header)
            self._forced += len(header)
            self._writer = self._make(self.job.fields[self._field])
            if not self._writer.full:
                break
            self._end_field()
        if isinstance(self._writer, TagListConstraint):
            forced = self._writer.forced(len(self.ids))
            self.ids.extend(forced)
            self._forced += len(forced)
            for one in forced:
                self._tell(one)

    def _make(self, plan: FieldPlan) -> Writer:
        start = len(self.ids)
        if isinstance(plan, TagField):
            judge = self.job.judges[None]
            return TagListConstraint(
                self._table,
                plan.band,
                judge,
                given=plan.given,
                fresh=plan.fresh,
                start=start,
                dead_ends=self.job.dead_ends,
            )
        if isinstance(plan, MetaField):
            wanted = {category: self.job.keys[category] for _, category in plan.keys}
            judges = {category: self.job.judges[category] for category in wanted}
            return MetadataConstraint(self._table, wanted, judges)
        return ProseConstraint(self._table, plan.band, self.job.censor, start=start)

    def _stop(self, why: Finish) -> None:
        if self._writer is not None:
            verdict = self._writer.give_up()
            if verdict.cut is not None:
                self._cut(verdict.cut)
            self._end_field()
        self.finish = why


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
    judge: TagFilter,
    given: Iterable[str],
    values: Mapping[Category, MetadataFilter],
    censor: PhraseFilter | None,
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
    judges: dict[Category | None, ItemFilter] = {None: judge, **dict[Category | None, ItemFilter](values.items())}
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
