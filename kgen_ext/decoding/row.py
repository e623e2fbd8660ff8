"""One row of a batch: its tokens, the constraint of its current field, and the steps it takes on every draw."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kgen_ext.decoding.constraint import EndField, FieldConstraint, FieldResult, ForceTokens, Guess, Rollback
from kgen_ext.decoding.drafter import Drafter, Repeats
from kgen_ext.decoding.job import Job
from kgen_ext.decoding.metadata import MetadataConstraint
from kgen_ext.decoding.prose import ProseConstraint
from kgen_ext.decoding.sampler import Bias, Draw, draw_key
from kgen_ext.decoding.tag_list import TagListConstraint
from kgen_ext.decoding.vocabulary import TokenMask, TokenTable, utf8_rest
from kgen_ext.events import Delta, Event, Finish, TagAccepted, TagRejected
from kgen_ext.protocol import FieldPlan, MetaField, TagField
from kgen_ext.request import Category
from kgen_ext.tags.tag import Tag

# Rollbacks in all of a row; from then on the next one ends its field.
MAX_ROLLBACKS = 512


@dataclass(frozen=True, slots=True)
class RowOutput:
    """What a row wrote, and what it cost.

    short: names of the fields that ended below their minimum. most_rejected: the rule that rejected most, "" if none
    did. decoded, forced: tokens drawn, and tokens appended beyond them. rewound: tokens drawn or forced in vain.
    """

    tags: tuple[Tag, ...]
    metadata: Mapping[Category, tuple[Tag, ...]]
    texts: Mapping[str, str]  # by field name
    finish: Finish
    short: tuple[str, ...]
    most_rejected: str
    decoded: int
    forced: int
    rewound: int


class Row:
    """A job in flight: `ids` are the tokens the row holds, of which the first `cached` are in the engine's cache."""

    __slots__ = (
        "_behind", "_constraint", "_decoded", "_drafter", "_end", "_events", "_field", "_forced", "_held", "_partial",
        "_refused", "_rejected", "_repeats", "_results", "_rewound", "_rollbacks", "_table", "cached", "finish", "ids",
        "job",
    )  # fmt: skip

    def __init__(self, job: Job, table: TokenTable, drafter: Drafter | None = None) -> None:
        self.job = job
        self.ids = list(job.request)
        self.cached = 0
        self.finish: Finish | None = None
        self._table = table
        self._drafter = drafter
        self._repeats = Repeats()
        # The cache's tokens of this row, behind how many of them there are logits, and the index behind the last one's.
        self._held: Sequence[int] = ()
        self._behind = self._end = 0
        self._field = -1  # index of the current field
        self._constraint: FieldConstraint | None = None
        self._results = list[tuple[FieldPlan, FieldResult]]()
        self._refused: dict[int, list[int]] = {}  # ids already drawn in vain, by position
        self._rejected: dict[tuple[str, str], int] = {}  # rollbacks by rule and detail
        self._partial = b""  # bytes of a character whose last token is still to come
        self._events = list[Event]()
        self._decoded = self._forced = self._rewound = self._rollbacks = 0
        self._open_next()

    def fed(self, held: Sequence[int], behind: int, end: int) -> None:
        """Take in that the cache holds `held`, and that the logits behind the last `behind` of them end at `end`."""
        self._held, self._behind, self._end = held, behind, end
        self._compare()

    @property
    def ready(self) -> bool:
        """Return whether there are logits to draw the next token from."""
        length = len(self.ids)
        return self.finish is None and self.cached == length and len(self._held) - length < self._behind

    @property
    def place(self) -> int:
        """Return the index of the logits of the next draw."""
        return self._end - 1 - (len(self._held) - len(self.ids))

    def guess(self, room: int) -> Guess | None:
        """Return up to `room` tokens that the row may well go on with, if any come to mind."""
        room = min(room, self.job.n_ctx - len(self.ids))
        if self._drafter is None or self._constraint is None or room < 1:
            return None
        guess = self._constraint.guess(self._drafter, self._repeats, self.ids)
        return Guess(guess.kind, guess.ids[:room]) if guess is not None and guess.ids else None

    def token_mask(self) -> TokenMask:
        """Return the kinds of token that may be drawn next."""
        assert self._constraint is not None
        return self._constraint.token_mask()

    def allowed_tokens(self) -> Collection[int] | None:
        """Return the only ids that may be drawn next, if the field names them."""
        assert self._constraint is not None
        return self._constraint.allowed_tokens()

    def blocked_tokens(self) -> list[int]:
        """Return the ids that may not be drawn: those refused at this position, and those the field blocks."""
        assert self._constraint is not None
        return [*self._refused.get(len(self.ids), ()), *self._constraint.blocked_tokens()]

    def token_bias(self) -> Collection[Bias]:
        """Return what to add to the logits of the next draw."""
        assert self._constraint is not None
        return self._constraint.token_bias()

    def draw_key(self) -> int:
        """Return the key of the next draw's noise."""
        return draw_key(self.job.seed, len(self.ids) - len(self.job.request))

    def consume(self, drawn: Draw) -> None:
        """Act on a draw; its token is -1 where nothing may be drawn. The row must be `ready`."""
        constraint, length = self._constraint, len(self.ids)
        assert constraint is not None
        step = constraint.on_dead_end(length) if drawn.token < 0 else constraint.consume(drawn, length)
        if isinstance(step, Rollback):
            if step.index == length:  # the drawn token is refused, and nothing before it
                self._refused.setdefault(length, []).append(drawn.token)
                return
            if self._rollbacks >= MAX_ROLLBACKS:
                step = constraint.finish_early()
        if step is None:
            self._decoded += 1
            self._append((drawn.token,))
        elif isinstance(step, ForceTokens):
            self._decoded += 1
            self._accept(step.accepted)
            self._cut(step.cut)
            self._append(step.ids)
        elif isinstance(step, Rollback):
            self._decoded += 1
            self._roll_back(step)
        else:
            self._decoded += drawn.token >= 0
            self._accept(step.accepted)
            self._end_field(step)
            self._open_next()
        if self.finish is None and len(self.ids) >= self.job.n_ctx:
            self._stop(Finish.LENGTH)
        self._compare()

    def cancel(self) -> None:
        """End the row now, keeping what is complete."""
        if self.finish is None:
            self._stop(Finish.CANCELLED)

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def output(self) -> RowOutput:
        """Return what was written; call it once `finish` is set."""
        tags, metadata, texts = list[Tag](), dict[Category, tuple[Tag, ...]](), dict[str, str]()
        for plan, result in self._results:
            tags += result.tags
            metadata.update(result.metadata)
            if result.text is not None:
                texts[_name(plan)] = result.text
        return RowOutput(
            tags=tuple(tags),
            metadata=metadata,
            texts=texts,
            finish=self.finish or Finish.CANCELLED,
            short=tuple(_name(plan) for plan, result in self._results if result.short),
            most_rejected=self._most_rejected(),
            decoded=self._decoded,
            forced=self._forced,
            rewound=self._rewound,
        )

    def _open_next(self) -> None:
        """Open the next field that takes anything; finish the row when there is none."""
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
            constraint = self._make_constraint(self.job.fields[self._field])
            if not constraint.full:
                self._constraint = constraint
                forced = constraint.fast_forward(len(self.ids))
                self._forced += len(forced)
                self.ids.extend(forced)
                self._add_delta(forced)
                return
            self._results.append((self.job.fields[self._field], constraint.result()))

    def _make_constraint(self, plan: FieldPlan) -> FieldConstraint:
        job, table, start = self.job, self._table, len(self.ids)
        if isinstance(plan, TagField):
            return TagListConstraint(
                table, plan.band, job.filters[None], given=plan.given, fresh=plan.fresh, start=start,
                blocked=job.blocked, prior=job.prior,
            )  # fmt: skip
        if isinstance(plan, MetaField):
            keys = {category: job.metadata_keys[category] for _, category in plan.keys}
            return MetadataConstraint(table, keys, {category: job.filters[category] for category in keys})
        return ProseConstraint(table, plan.band, job.phrases, job.history, start=start)

    def _end_field(self, end: EndField) -> None:
        """Close the current field; what was refused in it does not count for the next."""
        assert self._constraint is not None
        self._cut(end.cut)
        self._refused.clear()
        self._append(end.ids)
        self._results.append((self.job.fields[self._field], self._constraint.result()))
        self._constraint = None

    def _stop(self, finish: Finish) -> None:
        """Finish the row in the middle of a field."""
        if self._constraint is not None:
            self._end_field(self._constraint.finish_early())
        self.finish = finish

    def _accept(self, tag: Tag | None) -> None:
        if tag is not None:
            self._events.append(TagAccepted(self.job.row, tag.spelling, self.job.subject))

    def _append(self, ids: tuple[int, ...]) -> None:
        """Append ids for one draw: all beyond the first are forced."""
        self._forced += max(0, len(ids) - 1)
        self.ids.extend(ids)
        self._add_delta(ids)

    def _add_delta(self, ids: tuple[int, ...]) -> None:
        """Add the text of new tokens to the events, complete characters only."""
        for token in ids:
            data = self._partial + self._table.pieces[token]
            self._partial = b"" if data.isascii() else utf8_rest(b"", data) or b""
            text = data[: len(data) - len(self._partial)].decode("utf-8", "replace")
            if text:
                field = _name(self.job.fields[self._field])
                self._events.append(Delta(self.job.row, field, text, self.job.subject))

    def _roll_back(self, step: Rollback) -> None:
        """Cut the row back to a position, and exclude the token that was there from its next draw."""
        rule, detail = step.reason.rule, step.reason.detail
        self._rollbacks += 1
        self._rejected[rule, detail] = self._rejected.get((rule, detail), 0) + 1
        self._events.append(TagRejected(self.job.row, step.text, rule, detail, self.job.subject))
        refused = self.ids[step.index]
        self._cut(step.index)
        self._refused.setdefault(step.index, []).append(refused)
        self._rewound += 1  # the drawn token, which was not appended

    def _cut(self, length: int | None) -> None:
        """Forget the tokens from position `length` on."""
        if length is None:
            return
        self._rewound += len(self.ids) - length
        del self.ids[length:]
        self.cached = min(self.cached, length)
        self._partial = b""
        # What was refused at a later position was refused behind other tokens.
        self._refused = {position: ids for position, ids in self._refused.items() if position <= length}

    def _compare(self) -> None:
        """Count the tokens that the cache holds already. Where the logits behind them are gone, feed the last again."""
        ids, held = self.ids, self._held
        cached, upto = self.cached, min(len(ids), len(held))
        while cached < upto and ids[cached] == held[cached]:
            cached += 1
        self.cached = cached
        if cached == len(ids) and not self.ready:
            self.cached -= 1

    def _most_rejected(self) -> str:
        reason = max(self._rejected, key=lambda reason: self._rejected[reason], default=None)
        if reason is None:
            return ""
        rule, detail = reason
        return f"{rule}{f' {detail!r}' if detail else ''}, {self._rejected[reason]} times"


def _name(plan: FieldPlan) -> str:
    """Return the name of a field in events and outputs."""
    return "meta" if isinstance(plan, MetaField) else plan.name
