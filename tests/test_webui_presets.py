"""The values behind a creativity: the model's, ours, the user's own, or the sliders'."""
from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadValue, UserError
from kgen_ext.models import Recommended
from kgen_ext.request import ExpandRequest
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.webui.controls import BY_FIELD, check_value
from kgen_ext.webui.presets import PRESETS, Preset, parse_presets, preset_names, resolve_sampling


def read(text: str) -> tuple[Preset, ...]:
    """Read presets of which every line is one."""
    errors: list[UserError] = []
    found = parse_presets(text, report=errors.append)
    assert errors == []
    return found


SLIDERS = Sampling(temperature=0.35, top_k=7, top_p=0.5, min_p=0.2)
TIPO = Recommended(temperature=0.5, top_k=80, top_p=0.95, min_p=0.1)


def test_default_is_what_the_model_recommends() -> None:
    assert resolve_sampling("default", SLIDERS, TIPO) == Sampling(0.5, 80, 0.95, 0.1)


def test_what_a_model_does_not_recommend_is_the_tables_default() -> None:
    resolved = resolve_sampling("default", SLIDERS, Recommended(temperature=1.35, top_p=0.95))
    assert resolved == Sampling(1.35, Sampling().top_k, 0.95, Sampling().min_p)


def test_an_unknown_model_has_the_tables_defaults() -> None:
    assert resolve_sampling("default", SLIDERS, None) == Sampling()


def test_a_recommended_zero_is_a_number_and_not_an_absence() -> None:
    assert resolve_sampling("default", SLIDERS, Recommended(temperature=0.0)).temperature == 0


def test_only_custom_reads_the_sliders() -> None:
    assert resolve_sampling("custom", SLIDERS, TIPO) == SLIDERS
    assert all(resolve_sampling(name, SLIDERS, TIPO) != SLIDERS for name in ("default", *PRESETS))


def test_presets_rise_in_temperature() -> None:
    assert [*PRESETS] == ["careful", "balanced", "daring"]
    temperatures = [preset.temperature for preset in PRESETS.values()]
    assert temperatures == sorted(set(temperatures))


@pytest.mark.parametrize("name", [*PRESETS])
def test_presets_lie_within_the_sliders_and_within_a_request(name: str) -> None:
    for field, value in asdict(PRESETS[name]).items():
        assert check_value(BY_FIELD[field], value) == value
    ExpandRequest(**asdict(PRESETS[name]))


def test_the_users_preset_fills_up_from_the_model() -> None:
    own = read("soft: temperature=0.7, min-p=0.2")
    assert resolve_sampling("Soft", SLIDERS, TIPO, own) == Sampling(0.7, 80, 0.95, 0.2)


def test_the_users_preset_goes_before_ours_of_that_name() -> None:
    own = read("daring: temperature=2")
    assert resolve_sampling("daring", SLIDERS, None, own).temperature == 2
    assert preset_names(own) == ("default", "careful", "balanced", "daring", "custom")


def test_names_are_shown_in_order() -> None:
    own = read("b: top_k=1\na: top_k=2")
    assert preset_names(own) == ("default", "careful", "balanced", "daring", "b", "a", "custom")


def test_a_name_nobody_gave_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadValue, match=r"Sampling preset: 'wilder' is not allowed .*careful, balanced, daring, mine"):
        resolve_sampling("wilder", SLIDERS, None, read("mine: top_k=3"))


def test_empty_lines_and_remarks_are_skipped_and_the_later_of_two_counts() -> None:
    text = "\n# my presets\n  \nMy own: temperature = 0.7 , top_k=3,\nmy own: top_p=0.5\n"
    assert read(text) == (Preset("my own", (("top_p", 0.5),)),)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("no colon", "line 2: 'no colon' does not begin with a name"),
        (": temperature=1", "does not begin with a name"),
        ("x: heat=1", "'heat=1' is none of temperature, top_k, top_p, min_p"),
        ("x: temperature", "'temperature' is none of"),
        ("x: temperature=hot", "'hot' is not a number"),
        ("x: temperature=9", "9.0 is not allowed"),
        ("x: top_k=1.5", "1.5 is not allowed"),
        ("x: top_p=nan", "nan is not allowed"),
        ("x:", "x has no numbers"),
        ("default: top_k=1", "'default' is taken"),
        ("Custom: top_k=1", "'Custom' is taken"),
    ],
)
def test_a_line_that_is_no_preset_says_which_and_why(line: str, says: str) -> None:
    errors: list[UserError] = []
    parse_presets(f"fine: top_k=1\n{line}", report=errors.append)
    (error,) = errors
    assert says in str(error) and "preset line 2" in str(error)


def test_a_line_that_is_no_preset_costs_no_other() -> None:
    found = parse_presets("a: top_k=1\nb: heat=2\nc: top_k=3", report=lambda error: None)
    assert [preset.name for preset in found] == ["a", "c"]


def test_a_bad_line_does_not_undo_a_good_one_of_its_name() -> None:
    assert parse_presets("a: top_k=1\na: heat=2", report=lambda error: None) == (Preset("a", (("top_k", 1),)),)


@given(st.text(max_size=200))
def test_any_text_is_presets_and_reports(text: str) -> None:
    found = parse_presets(text, report=lambda error: None)
    for preset in found:
        ExpandRequest(**asdict(resolve_sampling(preset.name, SLIDERS, TIPO, found)))


def test_the_numbers_are_sliders_of_the_table() -> None:
    assert all(name in BY_FIELD for name in SAMPLING_NAMES)
