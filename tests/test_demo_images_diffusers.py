"""Pictures from diffusers: which folders are refused, what is asked of the library, and the end of a picture."""
from __future__ import annotations

import json
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from images_kit import RAW, SETTINGS, draw, error_of
from PIL import Image

from kgen_ext.demo.images import ImageError, PictureSettings, Progress, draw_pair, open_diffusers
from kgen_ext.errors import Cancelled

pytest.importorskip("torch")

PARTS = {"unet": ["diffusers", "UNet2DConditionModel"], "text_encoder": ["transformers", "CLIPTextModel"],
         "safety_checker": [None, None]}  # fmt: skip


def folder(tmp_path: Path, **index: object) -> Path:
    """Write the index of a model; return its folder."""
    made = tmp_path / "tiny"
    made.mkdir()
    (made / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **PARTS, **index}))
    return made


class FakeScheduler:
    config = {"steps": 1000}

    @classmethod
    def from_config(cls, config: object) -> FakeScheduler:
        return cls()


class FakeTokenizer:
    """A tokenizer for which a word is a token."""

    model_max_length = 77

    def __call__(self, text: str, **_: object) -> Any:
        return types.SimpleNamespace(input_ids=[0, *range(len(text.split())), 0])


class FakePipeline:
    """A pipeline that records its calls. hold: each step waits for it."""

    asked: dict[str, Any] = {}
    loaded: list[tuple[str, dict[str, Any]]] = []
    hold = threading.Event()
    fail: Exception | None = None
    extra = 0  # steps beyond those asked for

    def __init__(self) -> None:
        self.scheduler: object = FakeScheduler()

    @classmethod
    def from_pretrained(cls, name: str, **options: object) -> FakePipeline:
        cls.loaded.append((name, options))
        return cls()

    def set_progress_bar_config(self, *, disable: bool) -> None: ...

    def to(self, *_: object) -> FakePipeline:
        return self

    tokenizer = FakeTokenizer()

    def __call__(self, *, callback_on_step_end: Callable[..., object], num_inference_steps: int, **asked: Any) -> Any:
        type(self).asked = {**asked, "scheduler": type(self.scheduler).__name__}
        for step in range(num_inference_steps + self.extra):
            if self.fail is not None:
                raise self.fail
            callback_on_step_end(self, step, 0, {})
            self.hold.wait(10)
        return types.SimpleNamespace(images=[Image.new("RGB", (64, 64), "red")])


class EulerAncestralDiscreteScheduler(FakeScheduler): ...


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[FakePipeline]:
    kind = type("Pipeline", (FakePipeline,), {"loaded": [], "hold": threading.Event()})
    kind.hold.set()
    module: Any = types.ModuleType("diffusers")
    module.StableDiffusionPipeline = kind
    module.EulerAncestralDiscreteScheduler = EulerAncestralDiscreteScheduler
    monkeypatch.setitem(sys.modules, "diffusers", module)
    return kind


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"_class_name": "FluxPipeline"}, "its pipeline is FluxPipeline"),
        ({"_class_name": ["pipeline", "Own"]}, "its pipeline is ['pipeline', 'Own']"),
        ({"unet": ["own_unet", "UNet"]}, "unet is code of its own"),
    ],
)
def test_a_folder_with_a_pipeline_of_its_own_is_refused(tmp_path: Path, index: dict[str, Any], words: str) -> None:
    assert words in error_of(lambda: open_diffusers(folder(tmp_path, **index)), ImageError)


def test_a_folder_with_python_files_is_refused(tmp_path: Path) -> None:
    made = folder(tmp_path)
    (made / "unet").mkdir()
    (made / "unet" / "own.py").write_text("")
    assert "it holds Python files" in error_of(lambda: open_diffusers(made), ImageError)


@pytest.mark.parametrize("text", [None, "", "[]", "{", "[" * 100_000])
def test_a_folder_without_a_readable_index_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "model_index.json").write_text(text)
    assert "not a model that can be drawn with" in error_of(lambda: open_diffusers(tmp_path), ImageError)


def test_nothing_is_loaded_before_the_first_picture(tmp_path: Path, library: type[FakePipeline]) -> None:
    open_diffusers(folder(tmp_path))
    assert library.loaded == []


def test_only_local_files_and_safetensors_are_loaded(tmp_path: Path, library: type[FakePipeline]) -> None:
    draw(open_diffusers(folder(tmp_path)))
    assert library.loaded[0][1] == {"local_files_only": True, "use_safetensors": True}


def test_the_model_is_loaded_once(tmp_path: Path, library: type[FakePipeline]) -> None:
    list(draw_pair(open_diffusers(folder(tmp_path)), RAW, RAW + ", solo", SETTINGS))
    assert len(library.loaded) == 1


def test_the_prompt_reaches_the_pipeline_byte_for_byte(tmp_path: Path, library: type[FakePipeline]) -> None:
    draw(open_diffusers(folder(tmp_path)))
    assert library.asked["prompt"] == RAW


def test_the_seed_reaches_the_pipeline(tmp_path: Path, library: type[FakePipeline]) -> None:
    draw(open_diffusers(folder(tmp_path)), settings=PictureSettings(seed=11))
    assert library.asked["generator"].initial_seed() == 11


def test_a_sampler_is_chosen_by_name(tmp_path: Path, library: type[FakePipeline]) -> None:
    draw(open_diffusers(folder(tmp_path)), settings=PictureSettings(sampler="Euler a"))
    assert library.asked["scheduler"] == "EulerAncestralDiscreteScheduler"


def test_the_models_own_sampler_comes_back(tmp_path: Path, library: type[FakePipeline]) -> None:
    server = open_diffusers(folder(tmp_path))
    draw(server, settings=PictureSettings(sampler="Euler a"))
    draw(server)
    assert library.asked["scheduler"] == "FakeScheduler"


def test_an_unknown_sampler_gives_way_to_the_models_own_with_a_note(
    tmp_path: Path, library: type[FakePipeline]
) -> None:
    note = draw(open_diffusers(folder(tmp_path)), settings=PictureSettings(sampler="Foo")).note
    assert "no sampler “Foo”" in note


def test_a_prompt_that_is_cut_is_noted(tmp_path: Path, library: type[FakePipeline]) -> None:
    assert "first 75 tokens" in draw(open_diffusers(folder(tmp_path)), "tag " * 76).note


def test_a_prompt_that_fits_has_no_note(tmp_path: Path, library: type[FakePipeline]) -> None:
    assert draw(open_diffusers(folder(tmp_path)), "tag " * 75).note == ""


def test_a_failure_of_the_library_is_one_line(tmp_path: Path, library: type[FakePipeline]) -> None:
    library.fail = RuntimeError("CUDA out of memory\nTried to allocate")
    message = error_of(lambda: draw(open_diffusers(folder(tmp_path))), ImageError)
    assert message.startswith("diffusers with tiny: CUDA out of memory Tried to allocate (")


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    message = error_of(lambda: draw(open_diffusers(folder(tmp_path))), ImageError)
    assert "pip install diffusers torch transformers" in message


def test_a_cancelled_picture_stops_at_its_next_step(tmp_path: Path, library: type[FakePipeline]) -> None:
    library.hold.clear()
    server, steps = open_diffusers(folder(tmp_path)), []
    with pytest.raises(Cancelled):
        for step in server.draw(RAW, PictureSettings(steps=50), cancelled=lambda: bool(steps)):
            steps.append(step)
    library.hold.set()
    for thread in threading.enumerate():
        if thread.name == "kgen-demo-diffusers":
            thread.join(5)
    assert not any(thread.name == "kgen-demo-diffusers" for thread in threading.enumerate())


def test_a_sampler_that_takes_a_step_more_does_not_pass_100_percent(
    tmp_path: Path, library: type[FakePipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgen_ext.demo.images.diffusers._TICK", 0.01)
    library.extra = 1
    monkeypatch.setattr(library, "hold", types.SimpleNamespace(wait=lambda _: time.sleep(0.1)))
    steps = list(open_diffusers(folder(tmp_path)).draw(RAW, SETTINGS, cancelled=lambda: False))
    assert max(step.share or 0 for step in steps if isinstance(step, Progress)) == 1.0


def test_the_next_picture_is_drawn_after_a_cancelled_one(tmp_path: Path, library: type[FakePipeline]) -> None:
    library.hold.clear()
    server = open_diffusers(folder(tmp_path))
    drawing = server.draw(RAW, SETTINGS, cancelled=lambda: False)
    next(drawing)
    drawing.close()
    library.hold.set()
    assert draw(server).image.size == (64, 64)
