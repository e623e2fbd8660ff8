"""Sampling options: default, bounds and meaning of each, defined once.

The fields of a request, the command, the API's schema, the page's sliders, the presets and the models' recommendations
derive from `Sampling`; `kgen_ext.decoding.sampler` applies it.
"""
from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _option(default: float, *, high: int, help: str) -> Any:
    """Return the field of an option from 0 to `high`; one whose default is an int takes whole numbers only."""
    return field(default=default, metadata={"low": 0, "high": high, "help": help})


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    >>> Sampling(temperature=0.7)
    Sampling(temperature=0.7, top_k=0, top_p=1.0, min_p=0.1)
    """

    temperature: float = _option(1.0, high=5, help="randomness; 0 always takes the most likely token")
    top_k: int = _option(0, high=1_000_000, help="sample from the k most likely tokens; 0 disables")
    top_p: float = _option(
        1.0, high=1, help="nucleus sampling: smallest token set with total probability >= p; 1 disables"
    )
    min_p: float = _option(0.1, high=1, help="drop tokens less likely than this fraction of the likeliest; 0 disables")

    @classmethod
    def resolve(cls, *sources: object) -> Sampling:
        """Return each option from the first source whose attribute of that name is set and not None, else its default.

        >>> Sampling.resolve(ExpandRequest(top_k=5), Recommended(top_k=80, top_p=0.9))
        Sampling(temperature=1.0, top_k=5, top_p=0.9, min_p=0.1)
        """
        given: dict[str, Any] = {}
        for source in reversed(sources):
            values = {name: getattr(source, name, None) for name in SAMPLING_NAMES}
            given |= {name: value for name, value in values.items() if value is not None}
        return cls(**given)


SAMPLING_NAMES = tuple(option.name for option in fields(Sampling))
