"""Failures during a job: the image is made from the user's own prompt, and one line gives the reason."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from webui_kit import Stage, forget, set_stage

from kgen_ext.errors import EngineUnavailable, ModelFileError, UnknownModel
from kgen_ext.webui.infotext import read_infotext_values


@pytest.mark.parametrize("args", [
    [True, "starter", "nonsense"], [{"enabled": True, "colour": 1}], [True] * 99, ["yes"], [{"enabled": 1, "seed": -9}],
    [True, "starter", None], [True, 7],
])  # fmt: skip
def test_wrong_arguments_make_the_image_from_ones_own_prompt_and_say_why(
    stage: Stage, args: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "kgen"):
        done = stage.run(args=args)
    found = stage.host.parse(done.infotexts[0])
    assert done.prompts == ["cat"] and "not allowed" in found["KGen error"]
    assert len(caplog.records) == 1 and not stage.host_errors()


class Colour(Exception):
    pass


class OutOfMemoryError(RuntimeError):
    pass


FAILURES = [
    UnknownModel("model: 'x' is not the name of a model", hint="kgen models list shows the names"),
    ModelFileError("model.gguf: ends in the middle", hint="download it again"),
    EngineUnavailable("llama-cpp-python is not installed", hint="choose the engine auto"),
    MemoryError(),
    OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"),
    Colour("foreign\nand long " + "x" * 1000),
    KeyError("x"),
]


@pytest.mark.parametrize("timing", ["after", "before"])
@pytest.mark.parametrize("where", ["opening", "running"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_whatever_fails_the_image_is_made_and_one_line_says_why(
    stage: Stage, failure: BaseException, where: str, timing: str, caplog: pytest.LogCaptureFixture
) -> None:
    if where == "opening":
        stage.failure = failure
    else:
        stage.expander.failure = failure
    job = stage.job(values={"timing": timing}, n_iter=2, enable_hr=True, hr_prompt="dog")
    with caplog.at_level(logging.WARNING, "kgen"):
        done = stage.host.run(job)
    assert done.prompts == ["cat", "cat"] and done.hr_prompts == ["dog", "dog"] and not job.scripts.errors
    assert len(caplog.records) == 1 and "\n" not in caplog.records[0].getMessage()
    for text in done.infotexts:
        found = stage.host.parse(text)
        assert found["KGen error"] in caplog.records[0].getMessage() and len(found["KGen error"]) <= 300
    stage.failure = stage.expander.failure = None
    assert stage.run().prompts == ["cat, word7"]  # the next job is not the worse for it


def test_a_prompt_that_is_no_text_is_told(stage: Stage) -> None:
    job = stage.job(prompt=5, values={"timing": "before"})
    job.scripts.call("before_process", job)
    assert job.extra_generation_params["KGen error"] == "prompt: 5 is not allowed (use a text)"


def test_an_image_of_a_job_that_failed_is_pasted_as_one_with_expansion(stage: Stage) -> None:
    found = stage.host.parse(stage.run(args=[True, 7]).infotexts[0])
    assert read_infotext_values(found) is not None


def test_a_bad_ban_says_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = set_stage(monkeypatch, tmp_path, real=True)
    done = stage.run(values={"ban": "/(/"})
    assert done.prompts == ["cat"] and "/(/" in stage.host.parse(done.infotexts[0])["KGen error"]
    forget()


def test_a_tag_file_that_is_missing_is_told(stage: Stage) -> None:
    found = stage.host.parse(stage.run(values={"known_only": True}).infotexts[0])
    assert "tag file" in found["KGen error"] and not stage.opened


def test_a_path_in_place_of_a_model_opens_no_file(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "secret.gguf").write_bytes(b"GGUF")
    found = stage.host.parse(stage.run(values={"model": str(tmp_path / "secret.gguf")}).infotexts[0])
    assert "KGen error" in found and not stage.opened


def test_an_empty_answer_is_noted(stage: Stage) -> None:
    stage.expander.adds_nothing = True
    done = stage.run()
    assert done.prompts == ["cat"] and "added nothing" in stage.host.parse(done.infotexts[0])["KGen note"]
    stage.expander.adds_nothing = False
    assert stage.run().prompts == ["cat, word7"]  # the prompt did not become one that is done
