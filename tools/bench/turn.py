"""Results of one turn of a runtime: its time, its output for each prompt, and its work.

Plain values that can be sent between processes.
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """One result.

    tags: people counts and general tags of the result, the user's included, in order. added: what of all its tags the
    user did not give. text: what the model wrote as text. calls: generations it took. drawn: tokens drawn by sampling,
    those thrown away included. fed: drawn tokens and tokens put in by force. kept: tokens of the result that the user
    did not give, by the model's own tokenizer. error: why there is no result, or "".
    """

    tags: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    text: str = ""
    calls: int = 0
    drawn: int = 0
    fed: int = 0
    kept: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """What went through the model: forward calls, (row, tokens) chunks in them, tokens, and seconds inside."""

    calls: int = 0
    chunks: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn: seconds of wall time, an outcome for each row, and the work done."""

    seconds: float
    outcomes: tuple[Outcome, ...]
    work: Work

    @property
    def rate(self) -> float:
        """Tokens through the model for each second of wall time, prefill and decode alike."""
        return self.work.tokens / self.seconds
