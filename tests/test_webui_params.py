"""The table of controls: complete, consistent, and every value checked the same way wherever it comes from."""
from __future__ import annotations

import re
from typing import Any

import pytest

from kgen_ext.errors import BadValue
from kgen_ext.request import MAX_SEED
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, Control, Widget, check_value


def test_fields_keys_and_labels_are_each_used_once() -> None:
    for kind in ("field", "key", "label"):
        names = [getattr(param, kind) for param in CONTROLS]
        assert len(set(names)) == len(names)


def test_the_switch_comes_first_and_is_off() -> None:
    assert CONTROLS[0].field == "enabled" and CONTROLS[0].default is False


@pytest.mark.parametrize("param", CONTROLS, ids=lambda param: param.field)
def test_a_row_is_whole(param: Control) -> None:
    assert check_value(param, param.default) == param.default
    assert check_value(param, param.shown_default) == param.default
    assert 10 < len(param.info) < 140
    assert re.fullmatch(r"KGen( [\w \-/]+)?", param.key)  # what the hosts' reader takes for a key
    assert bool(param.choices) is (param.widget in (Widget.CHOICE, Widget.CHOICES))
    if param.widget in (Widget.SLIDER, Widget.NUMBER):
        assert param.low <= param.default <= param.high


@pytest.mark.parametrize("param", [param for param in CONTROLS if param.choices], ids=lambda param: param.field)
def test_values_and_labels_are_both_understood(param: Control) -> None:
    for value, label in param.choices:
        for given in (value, label, label.upper(), f" {value} "):
            got = check_value(param, [given] if param.widget is Widget.CHOICES else given)
            assert got == ((value,) if param.widget is Widget.CHOICES else value)


@pytest.mark.parametrize("field, given, value", [
    ("seed", 3.0, 3), ("seed", -1, -1), ("top_k", 40.0, 40), ("temperature", 1, 1.0), ("text", None, ""),
    ("model", "  ", "default"), ("model", " TIPO ", "TIPO"), ("allow", [], ()), ("allow", "artist,rating", None),
    ("allow", "", ()), ("allow", ["new artists", "artist"], ("artist",)), ("ban", " a ", " a "),
])  # fmt: skip
def test_what_widgets_and_apis_hand_over_is_read(field: str, given: Any, value: Any) -> None:
    expected = ("artist", "rating") if value is None else value
    got = check_value(BY_FIELD[field], given)
    assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize("field, given", [
    ("enabled", "true"), ("enabled", 1), ("seed", -2), ("seed", 1.5), ("seed", True), ("seed", "1"), ("seed", 2**60),
    ("seed", float("nan")), ("temperature", float("inf")), ("top_k", 201), ("tag_length", "huge"), ("tag_length", None),
    ("allow", ["hats"]), ("allow", 3), ("allow", None), ("model", 3), ("model", None), ("ban", 4), ("ban", ["a"]),
])  # fmt: skip
def test_what_is_not_allowed_is_named_with_what_is(field: str, given: Any) -> None:
    with pytest.raises(BadValue) as caught:
        check_value(BY_FIELD[field], given)
    assert BY_FIELD[field].label in str(caught.value) and "use " in str(caught.value)


def test_a_seed_of_the_page_fits_a_request_and_a_browser() -> None:
    assert BY_FIELD["seed"].high <= 2**53 <= MAX_SEED  # a browser's numbers are exact up to there
