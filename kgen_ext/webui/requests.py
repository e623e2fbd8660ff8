"""Makes the request of one prompt from the controls' values; the reverse of nothing, the last step before the service.

Pure: knows the table's values and the service's request, no host, no settings page and no model.
"""
from __future__ import annotations

from typing import Protocol

from kgen_ext.errors import BadValue
from kgen_ext.request import MAX_SEED, ExpandRequest, TextLength
from kgen_ext.webui.params import BY_FIELD, CUSTOM
from kgen_ext.webui.values import Values

NO_TAG_FILE = "put one into the folder “tags” of the models folder, or start with --kgen-tag-file PATH"
# What a request accepts; a job may say less (0 where a host fills it in later) or more.
_SMALLEST, _LARGEST = 16, 16384


class Sampling(Protocol):
    """The numbers that a creativity preset, a model's recommendation or the sliders come down to."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...


def make_request(
    values: Values, prompt: str, *, seed: int, width: int, height: int, sampling: Sampling, tag_file: str
) -> ExpandRequest:
    """Return what is asked of the expander for one prompt. Raises BadValue that names the control.

    tag_file: the file for “Only tags that exist”, "" where none is known.
    """
    if values.format == CUSTOM and not values.template.strip():
        raise BadValue(BY_FIELD["template"].label, "", "one such as <|prompt|>, <|general|>; or choose another Format")
    if values.known_only and not tag_file:
        raise BadValue(BY_FIELD["known_only"].label, True, f"it with a tag file: {NO_TAG_FILE}")
    return ExpandRequest(
        prompt=prompt,
        text=values.text,
        tag_length=values.tag_length,
        text_length=TextLength.NONE if values.add == "tags" else values.text_length,
        no_tags=values.add == "text",
        format=values.format_text,
        ban=values.ban,
        require=values.require,
        rules=values.rules,
        protect=values.protect,
        allow=values.allow,
        allow_contradictions=values.allow_contradictions,
        tag_file=tag_file if values.known_only else "",
        seed=request_seed(seed),
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        width=_size(width),
        height=_size(height),
    )


def request_seed(seed: int) -> int:
    """Return an image's seed as a request takes it: hosts let through negative ones and any length.

    >>> request_seed(123), request_seed(-5) == request_seed(-5) > 0
    (123, True)
    """
    return seed & MAX_SEED


def _size(side: int) -> int:
    return min(max(int(side), _SMALLEST), _LARGEST)
