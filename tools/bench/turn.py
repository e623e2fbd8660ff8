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
class Turn:
    """A turn: seconds of wall time, and an outcome for each row.

    inside: seconds within the engine. prompt: tokens of prompts that went through it. steps: how often it was called
    for a row after that; without drafting once for each token.
    """

    seconds: float
    outcomes: tuple[Outcome, ...] = ()
    inside: float = 0.0
    prompt: int = 0
    steps: int = 0

    @property
    def written(self) -> int:
        """Tokens drawn and forced."""
        return sum(outcome.fed for outcome in self.outcomes)

    @property
    def rate(self) -> float:
        """Tokens for each second of wall time, prompts included."""
        return (self.prompt + self.written) / self.seconds
