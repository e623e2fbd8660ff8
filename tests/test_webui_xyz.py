"""Axes of the X/Y/Z plot: added once, checked before anything is drawn, and the requests of each cell."""
from __future__ import annotations

import copy
import re
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_host import FakeHost, install
from fake_job import shallow
from webui_kit import forget, set_stage

from kgen_ext.sampling import Sampling
from kgen_ext.webui.controls import BY_FIELD, Values, read_named
from kgen_ext.webui.host import Host
from kgen_ext.webui.xyz import AXES, OVERRIDES, PREFIX, add_axes, apply_overrides, register_axes

# As the hosts keep them.
ScriptData = namedtuple("ScriptData", ["script_class", "path", "basedir", "module"])
RESOLVED = Sampling(0.5, 80, 0.95, 0.15)


class AxisOption:
    """The plot's own class, as far as an axis of ours uses it."""

    def __init__(self, label: str, type: Any, apply: Any, format_value: Any = None, confirm: Any = None,
                 cost: float = 0.0, choices: Any = None, prepare: Any = None) -> None:  # fmt: skip
        self.label, self.type, self.apply, self.confirm = label, type, apply, confirm
        self.cost, self.choices, self.prepare = cost, choices, prepare

    def cells(self, typed: list[str], p: Any) -> list[Any]:
        """Return the jobs the plot makes of what is typed: copies that share what the job holds."""
        read = self.prepare(", ".join(typed)) if self.prepare else typed
        values = [self.type(value) for value in read]
        self.confirm(p, values)
        jobs = []
        for value in values:
            job = copy.copy(p)
            self.apply(job, value, values)
            jobs.append(job)
        return jobs


@dataclass
class Plot:
    fake: FakeHost
    module: Any

    def axis(self, label: str) -> AxisOption:
        (found,) = [option for option in self.module.axis_options if option.label == PREFIX + label]
        return found

    def load(self) -> None:
        """Load the plot's script anew, as a UI reload does."""
        self.module = ModuleType("xyz_grid.py")
        self.module.AxisOption = AxisOption
        self.module.axis_options = [AxisOption("Nothing", str, None), AxisOption("Seed", int, None)]
        self.module.csv_string_to_list_strip = lambda text: [part.strip() for part in text.split(",")]
        self.module.re_range = self.module.re_range_float = re.compile(r"\d+-\d+")
        self.module.re_range_count = self.module.re_range_count_float = re.compile(r"\d+-\d+ \[\d+\]")
        path = "/webui/scripts/xyz_grid.py"
        self.fake.scripts_data += [
            ScriptData(None, "/webui/scripts/loopback.py", "/webui", ModuleType("loopback.py")),
            ScriptData(None, path, "/webui", self.module),
        ]


@pytest.fixture
def plot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plot:
    for name in ("HF_HOME", "KGEN_MODELS_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    made = Plot(install(monkeypatch, tmp_path), None)
    made.load()
    register_axes(Host())
    for call in made.fake.callbacks["on_before_ui"]:
        call()
    return made


def cell(job: Any, **values: Any) -> Values:
    return apply_overrides(read_named(values), getattr(job, OVERRIDES), resolve=lambda values: RESOLVED)


def test_every_axis_is_there_behind_the_plots_own(plot: Plot) -> None:
    labels = [option.label for option in plot.module.axis_options]
    assert labels == ["Nothing", "Seed", *(PREFIX + axis.label for axis in AXES)]
    assert {axis.field for axis in AXES} == {
        "model", "seed", "tag_length", "text_length", "temperature", "format", "enabled", "yours",
    }  # fmt: skip


def test_no_axis_is_there_twice_whoever_asks_how_often(plot: Plot) -> None:
    count = len(plot.module.axis_options)
    assert add_axes(Host()) == 0
    plot.fake.reload_ui()
    plot.load()
    register_axes(Host())
    for call in plot.fake.callbacks["on_before_ui"]:
        call()
    assert len(plot.module.axis_options) == count


def test_a_host_without_the_plot_has_no_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert add_axes(Host()) == 0
    install(monkeypatch, kind="bare")
    assert add_axes(Host()) == 0


@pytest.mark.parametrize("axis", [axis for axis in AXES if axis.field not in ("model", "seed", "temperature", "yours")])
def test_what_an_axis_offers_it_takes(axis: Any, plot: Plot) -> None:
    option = plot.axis(axis.label)
    offered = option.choices()
    seen = [getattr(cell(job), axis.field) for job in option.cells(offered, SimpleNamespace())]
    assert len(set(seen)) == len(offered) >= 2


def test_labels_of_the_page_are_the_choices(plot: Plot) -> None:
    assert plot.axis("Tag length").choices() == [label for _, label in BY_FIELD["tag_length"].choices]
    assert "Custom template" not in plot.axis("Format").choices()


def test_seeds_and_temperatures_are_numbers(plot: Plot) -> None:
    assert [cell(job).seed for job in plot.axis("Seed").cells(["1", "-1", "99"], SimpleNamespace())] == [1, -1, 99]
    hot = plot.axis("Temperature").cells(["0.25", "1.5"], SimpleNamespace())
    assert [cell(job).temperature for job in hot] == [0.25, 1.5]


def test_a_temperature_keeps_the_other_numbers_of_the_creativity(plot: Plot) -> None:
    (job,) = plot.axis("Temperature").cells(["1.5"], SimpleNamespace())
    made = cell(job, creativity="careful", top_k=7)
    assert (made.creativity, made.temperature, made.top_k, made.top_p, made.min_p) == ("custom", 1.5, 80, 0.95, 0.15)
    own = cell(job, creativity="custom", top_k=7)
    assert (own.creativity, own.temperature, own.top_k) == ("custom", 1.5, 7)


def test_a_text_length_asks_for_text(plot: Plot) -> None:
    (job,) = plot.axis("Text length").cells(["long"], SimpleNamespace())
    assert cell(job, add="tags").add == "both"
    assert cell(job, add="text").add == "text"


def test_an_axis_turns_expansion_on_unless_another_turns_it_off(plot: Plot) -> None:
    (job,) = plot.axis("Seed").cells(["1"], SimpleNamespace())
    assert cell(job, enabled=False).enabled
    for first, second in (("Seed", "Expansion"), ("Expansion", "Seed")):
        typed = {"Seed": ["1"], "Expansion": ["off"]}
        (job,) = plot.axis(first).cells(typed[first], SimpleNamespace())
        (job,) = plot.axis(second).cells(typed[second], job)
        assert not cell(job, enabled=True).enabled
        assert cell(job).seed == 1


def test_cells_do_not_share_what_is_set(plot: Plot) -> None:
    p = SimpleNamespace()
    jobs = plot.axis("Seed").cells(["1", "2"], p)
    plot.axis("Temperature").cells(["2"], jobs[0])
    assert [getattr(job, OVERRIDES) for job in jobs] == [{"enabled": True, "seed": 1}, {"enabled": True, "seed": 2}]
    assert not hasattr(p, OVERRIDES)


@pytest.mark.parametrize(
    ("label", "typed", "says"),
    [("Tag length", "huge", "Tag length: 'huge'"), ("Text length", "", "Text length"), ("Format", "<|x|>", "Format"),
     ("Temperature", "9", "Temperature: 9.0"), ("Temperature", "nan", "Temperature"), ("Seed", "-2", "Expansion seed"),
     ("Seed", "abc", "Expansion seed: 'abc' is not allowed"), ("Seed", "1.5", "Expansion seed: '1.5'"),
     ("Temperature", "hot", "Temperature: 'hot' is not allowed (use a number from 0 to 2)"),
     ("Expansion", "perhaps", "[KGen] Expansion: 'perhaps' is not allowed (use on or off)"),
     ("Model", "/etc/passwd", "not the name of a model"), ("Model", "TIPO-500M", "is not installed")],
)  # fmt: skip
def test_a_value_that_cannot_be_stops_the_plot_before_it_begins(
    label: str, typed: str, says: str, plot: Plot
) -> None:
    comments = list[str]()
    assert plot.axis(label).cells([typed], SimpleNamespace(comment=comments.append)) == []
    (comment,) = comments
    assert comment.startswith("X/Y/Z plot: ") and says in comment


def test_one_bad_value_ends_the_whole_plot(plot: Plot) -> None:
    assert plot.axis("Seed").cells(["1", "abc", "3"], SimpleNamespace()) == []


def test_what_was_wrong_once_is_forgotten(plot: Plot) -> None:
    axis = plot.axis("Seed")
    axis.cells(["abc"], SimpleNamespace())
    assert len(axis.cells(["1", "2"], SimpleNamespace())) == 2


@pytest.mark.parametrize("typed", ["1-5", "1-10 [5]"])
def test_the_plots_ranges_are_left_to_it(typed: str, plot: Plot) -> None:
    assert plot.axis("Seed").prepare(typed) == [typed]


def test_a_plot_that_reads_numbers_in_another_way_is_left_alone(plot: Plot) -> None:
    plot.load()
    del plot.module.re_range_count
    add_axes(Host())
    assert plot.axis("Seed").prepare is None


def test_the_models_are_those_installed(plot: Plot) -> None:
    assert plot.axis("Model").choices() == ["starter"]
    jobs = plot.axis("Model").cells(["starter", "default"], SimpleNamespace())
    assert [cell(job).model for job in jobs] == ["starter", "default"]


def test_a_plot_of_temperatures_through_the_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = set_stage(monkeypatch, tmp_path)
    made = Plot(stage.host, None)
    made.load()
    for call in stage.host.callbacks["on_before_ui"]:
        call()
    job = stage.job(values={"enabled": False, "creativity": "careful"}, prompt="cat")
    texts = []
    for cell in made.axis("Temperature").cells(["0.25", "1.5"], shallow(job)):
        texts.append(stage.host.parse(stage.host.run(cell).infotexts[0]))
    assert [(request.temperature, request.top_p) for request in stage.requests] == [(0.25, 0.95), (1.5, 0.95)]
    assert [text["KGen temperature"] for text in texts] == ["0.25", "1.5"]
    assert {text["KGen creativity"] for text in texts} == {"custom"}
    forget()
