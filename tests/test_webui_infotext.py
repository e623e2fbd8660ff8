"""Round trips of an image's infotext through faithful copies of the hosts' writing and reading."""
from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from fake_host import install
from fake_infotext import parse_infotext, write_parameters
from hypothesis import example, given
from hypothesis import strategies as st

from kgen_ext.output.infotext import parse_infotext as parse_own
from kgen_ext.sampling import SAMPLING_NAMES
from kgen_ext.webui import infotext
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, CUSTOM, DEFAULT, Values, Widget, read_named
from kgen_ext.webui.host import Host
from kgen_ext.webui.infotext import (
    PasteMode,
    PerImage,
    Record,
    carried,
    decode,
    encode,
    on_pasted,
    paste_fields,
    write_infotext,
)

PLAIN = read_named({"enabled": True, "timing": "after"})
HOST_LINE = {"Steps": 20, "Sampler": "Euler a", "CFG scale": 7, "Seed": 5, "Size": "512x768"}
NASTY = ("", " ", "512x768", "KGen prompt", '"', '"a"', 'a "b", c', "a\nNegative prompt: b", "Steps: 20, Sampler: x",
         " lead", "trail ", "a\\", "\\", "\x00", "\ud800", "json: x", 'json: "x"', "ａ，ｂ：ｃ", "a\r\nb", "\u2028",
         "٣x٤", "Civitai, FLUX", "True", "a,", ":", "\n", "</s>", "Size: 1x1", "a: \"", "x" * 3000)  # fmt: skip

texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(), max_size=30),
    st.text(st.sampled_from('ab1x ,:"\\\n\t()[]{}<>|#\ud800é漢'), max_size=20),
)


def choose(param: Any) -> st.SearchStrategy[Any]:
    names = [value for value, _ in param.choices]
    match param.widget:
        case Widget.CHECKBOX:
            return st.booleans()
        case Widget.CHOICE:
            return st.sampled_from(names)
        case Widget.CHOICES:
            return st.lists(st.sampled_from(names), unique=True)
        case Widget.LIVE:
            return st.sampled_from((param.default, "TIPO-200M:Q8_0", "my own, one", CUSTOM))
        case Widget.TEXT:
            return texts
    if param.step == 1:
        return st.integers(int(param.low), int(param.high))
    return st.floats(param.low, param.high)


all_values = st.fixed_dictionaries({param.field: choose(param) for param in CONTROLS}).map(read_named)


def carry(entries: dict[str, Any], *, prompt: str = "a cat", civitai_fix: bool = False) -> dict[str, Any]:
    """Let a host write one image's entries and read them back."""
    line = write_parameters({**HOST_LINE, **entries, "Version": "v1.10.1"})
    line.encode("utf-8")  # what goes into a file has no lone surrogates
    assert "\n" not in line
    return parse_infotext(f"{prompt}\nNegative prompt: bad\n{line}", civitai_fix=civitai_fix)


def write(values: Values, *records: Record) -> dict[str, Any]:
    return write_infotext(values, records, version="1.2.3", model="starter")


def paste(params: dict[str, Any], *, mode: PasteMode = PasteMode.ORIGINAL, timing: str = "after") -> dict[str, Any]:
    on_pasted("", params, host=Host(), mode=mode, timing=timing)
    return {field: function(params) for field, function in paste_fields({p.field: p.field for p in CONTROLS})}


@given(texts, st.booleans())
@example("512x768\n", False)
@example("Civitai, FLUX", True)
def test_any_text_survives_the_host(text: str, forge: bool) -> None:
    found = carry({"KGen prompt": encode("KGen prompt", text)}, civitai_fix=forge)
    assert decode(found["KGen prompt"]) == text
    assert found["Steps"] == "20" and found["CFG scale"] == "7" and found["Size-1"] == "512"  # the host's are whole


@given(all_values, texts, texts)
def test_pasting_gives_back_the_controls_and_the_prompts(values: Values, prompt: str, hires: str) -> None:
    values = replace(values, enabled=True, timing="after" if values.timing == DEFAULT else values.timing)
    seed = values.seed if values.seed >= 0 else None
    params = carry(write(values, Record(prompt, "x", hires=hires, seed=seed)))
    shown = paste(params)
    # The model is written by its real name; what has no say is not written: sliders and a template beside "custom"
    # only, the length of what is written only.
    expected = replace(values, model="starter")
    silent = {"template": values.format != CUSTOM, "tag_length": values.add == "text",
              "text_length": values.adds == "tags"}  # fmt: skip
    expected = replace(expected, **{name: BY_FIELD[name].default for name, is_so in silent.items() if is_so})
    if values.creativity != CUSTOM:
        left_alone = {name: shown.pop(name) for name in SAMPLING_NAMES}
        assert set(left_alone.values()) == {None}  # the page shows those of the model and the preset
        expected = replace(expected, **{name: BY_FIELD[name].default for name in SAMPLING_NAMES})
    got = read_named(shown)
    assert replace(got, timing="after" if got.timing == DEFAULT else got.timing) == expected
    assert params["Prompt"] == prompt
    assert params["Hires prompt"] == hires


@given(texts)
def test_the_expanded_road_gives_the_very_text_of_the_image(text: str) -> None:
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return  # no host can write such a prompt into its own line
    params = carry(write(PLAIN, Record("cat", text)), prompt=text)
    shown = paste(params, mode=PasteMode.EXPANDED)
    assert params["Prompt"] == text
    assert shown.pop("enabled") is False
    assert set(shown.values()) == {None}  # all else is left as the page has it


@given(texts)
def test_only_a_prompt_that_its_own_line_cannot_hold_is_written_twice(text: str) -> None:
    found = parse_infotext(f"{text}\nNegative prompt: bad\n{write_parameters(HOST_LINE)}")
    if carried(text):
        assert found["Prompt"] == text
    assert ("KGen result" in write(PLAIN, Record("cat", text))) is not carried(text)


@pytest.mark.parametrize("prompt", ["a cat, hat", "line\nline", "", "Negative prompt", "a: b", "(x:1.2)"])
def test_an_ordinary_prompt_is_not_written_twice(prompt: str) -> None:
    assert carried(prompt)


def test_an_ordinary_image_says_little_and_reads_plainly() -> None:
    values = replace(PLAIN, ban="hat, *_hair", tag_length="short", allow=("artist", "rating"))
    line = write_parameters(write(values, Record("1girl, shrine", "1girl, shrine, sky")))
    assert line == (
        'KGen: 1.2.3, KGen prompt: "1girl, shrine", KGen model: starter, KGen tag length: short, '
        'KGen ban: "hat, *_hair", KGen allow: "artist, rating"'
    )


@pytest.mark.parametrize(("add", "keys"), [
    ("tags", {"KGen tag length"}), ("text", {"KGen text length"}), ("both", {"KGen tag length", "KGen text length"}),
])  # fmt: skip
def test_the_length_of_what_is_not_written_is_not_told(add: str, keys: set[str]) -> None:
    values = replace(PLAIN, add=add, tag_length="short", text_length="long", template="<|prompt|>")
    told = write(values, Record("cat", "cat, hat"))
    assert {key for key in told if "length" in key} == keys
    assert "KGen template" not in told


def test_pasting_an_image_without_expansion_switches_it_off_and_leaves_the_rest() -> None:
    shown = paste(carry({}))
    assert shown.pop("enabled") is False
    assert set(shown.values()) == {None}


def test_an_image_that_was_not_expanded_again_says_so_and_pastes_as_it_is() -> None:
    entries = write(PLAIN, Record("x", "x", note="already expanded", expanded=False))
    assert entries == {"KGen note": "already expanded"}
    assert paste(carry(entries))["enabled"] is False


def test_an_image_made_after_styles_is_not_pasted_as_one_made_before_them() -> None:
    assert paste(carry(write(PLAIN, Record("a", "b"))), timing="before")["timing"] == "after wildcards and styles"
    assert paste(carry(write(PLAIN, Record("a", "b"))), timing="after")["timing"] == "as in Settings"


@pytest.mark.parametrize("key, value", [("KGen tag length", "gigantic"), ("KGen seed", "x"), ("KGen top-k", "-4"),
                                        ("KGen temperature", "nan"), ("KGen seed", "9" * 400)])  # fmt: skip
def test_what_was_written_by_hand_and_is_not_allowed_is_at_its_default(key: str, value: str) -> None:
    params = carry({"KGen": "9", "KGen creativity": "custom", key: value})
    param = next(control for control in CONTROLS if control.key == key)
    assert paste(params)[param.field] == param.shown_default


def test_a_style_behind_which_the_words_stood_is_found_in_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    host = install(monkeypatch)
    host.styles.styles["film"] = ("film grain", "")
    text = "cat, film grain, hat"
    line = write_parameters({**HOST_LINE, **write(PLAIN, Record("cat, film grain", text, hires="dog, film grain"))})
    params = host.parse(f"{text}\nNegative prompt: bad\n{line}")
    paste(params)
    assert params["Prompt"] == "cat" and params["Styles array"] == ["film"] and params["Hires prompt"] == "dog"


def test_a_style_found_so_stands_behind_those_the_host_found_and_takes_its_negative_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch).styles.styles["film"] = ("film grain", "blurry")
    params = {**carry(write(PLAIN, Record("cat, film grain", "x"))), "Styles array": ["noir"],
              "Negative prompt": "bad, blurry"}  # fmt: skip
    paste(params)
    assert (params["Styles array"], params["Negative prompt"]) == (["noir", "film"], "bad")


def test_a_page_without_hires_prompt_gets_none() -> None:
    params = carry(write(PLAIN, Record("a", "b", hires="c")))
    del params["Hires prompt"]
    paste(params)
    assert "Hires prompt" not in params


LONG = ("a " * 60_000, 'aa: "' * 40_000, "\\" * 120_000, ' aa: "\\",' * 30_000, "aa:" * 60_000)


@pytest.mark.parametrize("line", LONG, ids=range(len(LONG)))
def test_a_pasted_text_of_any_shape_is_read_in_linear_time(line: str) -> None:
    began = time.process_time()
    parse_own(f"a cat\n{line}")
    assert time.process_time() - began < 2


def test_what_is_no_entry_costs_no_other() -> None:
    assert parse_own("cat\nSteps: 1, ?, KGen ban: hat, Size: 8x8")["KGen ban"] == "hat"


def test_where_no_callback_came_first_the_controls_are_read_all_the_same() -> None:
    params = carry(write(replace(PLAIN, ban="hat"), Record("a", "b")))
    fields = dict(paste_fields({param.field: param.field for param in CONTROLS}))
    assert (fields["enabled"](params), fields["ban"](params)) == (True, "hat")


def copied(source: list[tuple[Any, Any]], target: list[tuple[Any, Any]], names: list[str]) -> dict[Any, Any]:
    """Copy a tab's controls as the hosts' “Send to” buttons do: those whose entry is equal to a name."""
    inputs = [component for component, name in source if name in names]
    outputs = [component for component, name in target if name in names]
    return dict(zip(outputs, inputs, strict=True))


def test_send_to_copies_every_control_to_its_counterpart() -> None:
    source, target = (paste_fields({param.field: f"{tab} {param.field}" for param in CONTROLS}) for tab in ("a", "b"))
    done = copied(source, target, [param.key for param in CONTROLS])
    assert done == {f"b {param.field}": f"a {param.field}" for param in CONTROLS}


def test_a_key_can_be_looked_up_like_any_text() -> None:
    """Hosts keep the keys in sets and dictionaries, and SD.Next takes their lower case."""
    (_, key), *_ = paste_fields({"ban": "component"})
    assert {key: 1} == {"KGen ban": 1} and key.lower() == "kgen ban"


def test_pasted_values_keep_the_type_of_the_widget() -> None:
    shown = paste(carry(write(replace(PLAIN, creativity=CUSTOM, top_k=7), Record("a", "b", seed=2**53))))
    for param in CONTROLS:
        assert isinstance(shown[param.field], type(param.shown_default)), param.field


class Job:
    batch_size = 2
    iteration = 0
    all_prompts = ("a", "b", "c", "d")


def test_a_value_of_each_image_is_right_however_the_host_asks() -> None:
    each = PerImage((10, 11, 12, 13))
    job = Job()
    for index in range(4):
        assert each(p=job, index=index, all_prompts=list(job.all_prompts), key="x") == 10 + index
        job.iteration = index // 2
        batch = job.all_prompts[job.iteration * 2 : job.iteration * 2 + 2]
        assert each(p=job, index=index % 2, all_prompts=batch) == 10 + index
    assert each(p=job, index=0, all_prompts=("c", "d"), use_main_prompt=True) == 10
    assert each(p=job, index=7, all_prompts=("c", "d")) is None


def test_images_that_differ_say_so_each_and_shared_values_are_plain() -> None:
    entries = write(PLAIN, Record("a", "a1"), Record("b", "b1", seed=4))
    assert callable(entries["KGen prompt"]) and entries["KGen"] == "1.2.3"
    assert entries["KGen seed"].values == (None, 4)


@given(texts)
def test_our_own_reader_agrees_with_the_host(text: str) -> None:
    line = write_parameters({**HOST_LINE, "KGen prompt": encode("KGen prompt", text)})
    whole = f"a cat\n in a hat\nNegative prompt: bad\n{line}"
    ours, host = parse_own(whole), parse_infotext(whole)
    assert (ours["Prompt"], ours["KGen prompt"]) == (host["Prompt"], host["KGen prompt"])


@pytest.mark.parametrize("last", ["Steps: 1, Seed: 2", "Steps: 1, Seed: 2, Size: 3", "Steps: , Seed: 2, Size: 3",
                                  'Steps: ", Seed: 2, Size: 3'])  # fmt: skip
def test_our_own_reader_takes_the_same_lines_for_entries_as_the_host(last: str) -> None:
    ours, host = parse_own(f"cat\n{last}"), parse_infotext(f"cat\n{last}")
    assert (ours["Prompt"], ours.get("Seed")) == (host["Prompt"], host.get("Seed"))


@pytest.mark.parametrize("params, seed", [({"Seed": "5"}, 5), ({"Seed": "5", "KGen seed": "7"}, 7), ({}, None),
                                          ({"Seed": "x"}, None)])  # fmt: skip
def test_the_seed_of_the_words_is_the_recorded_one_or_the_images(params: dict[str, str], seed: int | None) -> None:
    assert infotext.seed_of(params) == seed


def test_keys_are_the_tables_and_none_is_written_twice() -> None:
    keys = [param.key for param in CONTROLS] + [infotext.PROMPT, infotext.HIRES, infotext.RESULT, infotext.NOTE]
    keys.append(infotext.ERROR)
    assert len(keys) == len(set(keys))
    assert all(key.startswith("KGen") for key in keys)
