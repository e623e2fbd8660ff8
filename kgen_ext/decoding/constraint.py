"""The contract between a row and the constraint of the field it is writing.

A constraint is an automaton over tokens. It sees what is drawn for its own field and nothing else: no logits, no cache,
no other field. The row calls it

    fast_forward                                  once, when the field opens: tokens that come before any draw
    guess                                         before the row is fed: what is likely to be drawn next
    token_mask, allowed_tokens, blocked_tokens    before each draw: what may be drawn
    token_bias                                    before each draw: what to add to the logits
    consume                                       after each draw: what to do with the token
    on_dead_end                                   where every token is excluded
    finish_early                                  where the row has to stop: on cancel, or at the end of the context
    result                                        once the field has ended
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Union

from kgen_ext.decoding.drafter import Drafter, Repeats
from kgen_ext.decoding.sampler import Bias, Draw
from kgen_ext.decoding.vocabulary import TokenMask
from kgen_ext.request import Category
from kgen_ext.rules import Rejection
from kgen_ext.tags.tag import Tag

# A token that cannot be text where it was drawn: invalid UTF-8, an unprintable character, two spaces.
GARBLED = Rejection("garbled")


@dataclass(frozen=True, slots=True)
class ForceTokens:
    """Append `ids` instead of the drawn token; `cut` is the length the row is first truncated to, if it is.

    accepted: the tag that this draw completed.
    """

    ids: tuple[int, ...]
    cut: int | None = None
    accepted: Tag | None = None


@dataclass(frozen=True, slots=True)
class Rollback:
    """Truncate the row to `index` tokens and draw that position again, without the token that was there.

    text: the rejected tag or phrase, "" where a token was refused before it became one.
    """

    index: int
    reason: Rejection
    text: str = ""


@dataclass(frozen=True, slots=True)
class EndField:
    """Truncate the row to `cut` tokens if given, append `ids`, and open the next field.

    accepted: the tag that this draw completed.
    """

    ids: tuple[int, ...] = ()
    cut: int | None = None
    accepted: Tag | None = None


Step = Union[ForceTokens, Rollback, EndField]


@dataclass(frozen=True, slots=True)
class Guess:
    """Tokens that are likely to come next. kind: guesses of one kind are right about equally often."""

    kind: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FieldResult:
    """What a field holds when it has ended: tags, metadata values or text, each by the kind of field.

    short: the field ended below its minimum length.
    """

    tags: tuple[Tag, ...] = ()
    metadata: Mapping[Category, tuple[Tag, ...]] = field(default_factory=dict)
    text: str | None = None
    short: bool = False


class FieldConstraint(Protocol):
    """Controls what a row writes into one field.

    `length`, where it is asked for, is the number of tokens the row holds, the drawn one not included; it places the
    field's tokens in the row, so that steps can name positions of the row.
    """

    @property
    def full(self) -> bool:
        """Return whether the field can take nothing more; a field that opens full is skipped."""
        ...

    def fast_forward(self, length: int) -> tuple[int, ...]:
        """Return the ids that open the field whatever the model would draw."""
        ...

    def guess(self, drafter: Drafter, repeats: Repeats, ids: Sequence[int]) -> Guess | None:
        """Return tokens that are likely to be drawn next. repeats: the row's own. ids: the tokens of the row."""
        ...

    def token_mask(self) -> TokenMask:
        """Return the kinds of token that may be drawn next."""
        ...

    def allowed_tokens(self) -> Collection[int] | None:
        """Return the only ids that may be drawn next, whatever the mask says; None leaves it to the mask."""
        ...

    def blocked_tokens(self) -> Collection[int]:
        """Return the ids that may not be drawn next although the mask permits them."""
        ...

    def token_bias(self) -> Collection[Bias]:
        """Return what to add to the logits of the next draw."""
        ...

    def consume(self, drawn: Draw, length: int) -> Step | None:
        """Take in a drawn token and return what the row does; None appends the token as it is."""
        ...

    def on_dead_end(self, length: int) -> Step:
        """Return the way on where no token may be drawn."""
        ...

    def finish_early(self) -> EndField:
        """End the field now, keeping what is complete."""
        ...

    def result(self) -> FieldResult:
        """Return what the field holds."""
        ...
