"""Examples of the demo page: inputs that run at a click."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Example(NamedTuple):
    """An example. values: by field; what is not named is as on a fresh page."""

    label: str
    values: Mapping[str, Any]


EXAMPLES = (
    Example("A shrine in autumn", {"prompt": "1girl, fox ears, shrine, autumn leaves", "seed": 3}),
    Example("A city at night, no people", {"prompt": "no humans, city, night, rain", "ban": "car, text", "seed": 7}),
    Example("Four candidates", {"prompt": "1girl, witch hat, forest", "tag_length": "short", "count": 4, "seed": 11}),
    Example("Weights stay", {"prompt": "(1girl:1.2), [day:night:0.5], <lora:ink:0.8> BREAK garden", "seed": 5}),
    Example("Tags and sentences", {
        "prompt": "1boy, knight, castle", "text": "A knight stands on a bridge at dawn.", "add": "both",
        "text_length": "short", "tag_length": "short", "seed": 21,
    }),
    Example("Hair as you wrote it", {
        "prompt": "1girl, silver hair, library", "lock": ["hair"], "require": "smile, book", "seed": 42,
    }),
)  # fmt: skip
