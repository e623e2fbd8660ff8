"""Fields a request leaves open: filled from the catalogue's recommendation, never against the user."""
from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from test_service import expander, short

from kgen_ext.errors import BadValue
from kgen_ext.models import Recommended
from kgen_ext.request import DEFAULTS, ExpandRequest, Task, TextLength
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ResolvedRequest, resolve_defaults

TIPO = Recommended(0.5, 80, 0.95, 0.05, "short", "long", prior=1.5)


def used(request: ResolvedRequest) -> dict[str, object]:
    lengths = {"tag_length": request.tag_length, "text_length": request.text_length}
    return {**lengths, "prior": request.prior, **asdict(request.sampling)}


def test_what_is_left_open_is_what_the_model_recommends() -> None:
    recommended = {name: value for name, value in asdict(TIPO).items() if name != "tag_file"}
    assert used(resolve_defaults(ExpandRequest("1girl"), TIPO)) == recommended


@pytest.mark.parametrize(
    ("asked", "recommended", "tag_file"),
    [("", None, "any"), ("", "danbooru", "danbooru"), ("any", "danbooru", "any"), ("tags.csv", "danbooru", "tags.csv"),
     ("danbooru", None, "danbooru")],
)  # fmt: skip
def test_the_tag_file_is_the_users_else_the_models(asked: str, recommended: str | None, tag_file: str) -> None:
    request = ExpandRequest("1girl", tag_file=asked)
    assert resolve_defaults(request, Recommended(tag_file=recommended)).tag_file == tag_file


def test_what_the_user_set_stays_even_where_it_is_the_tables_default() -> None:
    request = ExpandRequest("1girl", **DEFAULTS)
    assert used(resolve_defaults(request, TIPO)) == DEFAULTS


def test_where_nothing_is_recommended_the_table_holds() -> None:
    for recommended in (None, Recommended()):
        resolved = resolve_defaults(ExpandRequest("1girl"), recommended)
        assert used(resolved) == DEFAULTS
        assert resolved == resolve_defaults(ExpandRequest("1girl", **DEFAULTS), recommended)


def test_a_recommended_zero_is_a_number() -> None:
    assert resolve_defaults(ExpandRequest(), Recommended(temperature=0.0)).sampling.temperature == 0


def test_a_task_that_was_asked_for_is_not_given_text_besides() -> None:
    assert resolve_defaults(ExpandRequest(task="tag"), TIPO).text_length is TextLength.NONE
    assert resolve_defaults(ExpandRequest(task=Task.AUTO), TIPO).text_length is TextLength.LONG


def test_a_request_checks_what_is_said_and_takes_what_is_not() -> None:
    with pytest.raises(BadValue, match="min_p"):
        ExpandRequest(min_p=2.0)
    with pytest.raises(BadValue, match="text_length"):
        ExpandRequest(no_tags=True)


def test_an_expander_writes_as_its_model_recommends_and_tells_it() -> None:
    plain = expander()
    context = replace(plain._context, recommended=Recommended(temperature=0.0, tag_length="very_short"))
    suited = Expander(context, model="scripted", checksum="x", rows=4)
    (done,) = suited.expand([ExpandRequest("1girl, shrine", seed=3)])
    (same,) = plain.expand([ExpandRequest("1girl, shrine", seed=3, temperature=0.0, tag_length="very_short")])
    assert done.prompt == same.prompt
    assert (done.settings.temperature, done.settings.tag_length) == (0.0, "very_short")
    assert done.settings == same.settings


def test_saying_what_the_model_recommends_is_the_same_request() -> None:
    served = expander()
    (first,) = served.expand([short(seed=4)])
    steps = list(served.stream([short(seed=4, temperature=1.0, top_k=0, top_p=1.0, text_length="none")]))
    assert len(steps) == 1  # remembered: nothing is decoded
    assert first.settings.min_p == 0.0
