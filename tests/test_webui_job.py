"""Expansion of one job's prompts: rows, equal prompts, hires prompts, and errors as one line."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from webui_kit import FakeExpander

from kgen_ext.errors import EngineError, ModelFileError
from kgen_ext.events import By, Event, Expansion, Fields, Finish, Finished, Piece
from kgen_ext.request import ExpandRequest
from kgen_ext.webui.job import ALREADY_EXPANDED, CANCELLED, OWN, ExpandedPrompt, ImagePrompt, follow, run_job
from kgen_ext.webui.messages import explain

ROOT = Path(__file__).resolve().parents[1]


def make(prompt: str, seed: int) -> ExpandRequest:
    return ExpandRequest(prompt, seed=seed)


def run(
    *image_prompts: ImagePrompt, hires: str = "follow", expander: FakeExpander | None = None, known: str = ""
) -> list[ExpandedPrompt]:
    expander = expander or FakeExpander()
    return run_job(
        image_prompts, make=make, stream=expander.stream, hires=hires, written_before=lambda prompt: prompt == known
    )


def test_answers_come_in_the_order_of_the_asks_and_equal_ones_are_one_row() -> None:
    expander = FakeExpander()
    image_prompts = [ImagePrompt("b", 2), ImagePrompt("a", 1), ImagePrompt("b", 2), ImagePrompt("b", 3)]
    results = run(*image_prompts, expander=expander)
    assert [result.prompt for result in results] == ["b, word2", "a, word1", "b, word2", "b, word3"]
    assert [result.image_prompt for result in results] == image_prompts
    assert [(request.prompt, request.seed) for request in expander.asked[0]] == [("b", 2), ("a", 1), ("b", 3)]


def test_nothing_to_expand_asks_nobody() -> None:
    expander = FakeExpander()
    assert [result.note for result in run(ImagePrompt("a", 1), expander=expander, known="a")] == [ALREADY_EXPANDED]
    assert run(expander=expander) == [] and not expander.asked


def test_a_hires_prompt_that_is_asked_for_elsewhere_is_one_row_with_it() -> None:
    expander = FakeExpander()
    results = run(ImagePrompt("a", 1, "b"), ImagePrompt("b", 1, "b"), hires="separate", expander=expander)
    assert [(result.prompt, result.hires) for result in results] == [("a, word1", "b, word1"), ("b, word1", "b, word1")]
    assert len(expander.asked[0]) == 2


def test_a_stream_that_ends_early_leaves_the_users_prompts() -> None:
    def stream(requests: Sequence[ExpandRequest]) -> Iterator[Event]:
        return iter(list(FakeExpander().stream(requests))[:2])

    image_prompts = [ImagePrompt("a", 1), ImagePrompt("b", 1, "c")]
    results = run_job(image_prompts, make=make, stream=stream, hires="follow", written_before=lambda prompt: False)
    assert [(result.prompt, result.hires, result.note) for result in results] == [
        ("a, word1", None, ""), ("b", "c", CANCELLED),
    ]  # fmt: skip


def expansion(source: str, *pieces: Piece, tags: tuple[str, ...] = (), text: str = "") -> Expansion:
    return Expansion(
        "".join(piece.text for piece in pieces), pieces, source, 1, 0, "m", "e", Fields(), tags, text, Finish.COMPLETE,
        0, 0, 0, 0.0,
    )  # fmt: skip


def user(text: str) -> Piece:
    return Piece(text, By.USER)


def model(text: str) -> Piece:
    return Piece(text, By.MODEL)


def test_a_result_of_nothing_leaves_the_users_prompts() -> None:
    empty = replace(expansion("cat"), prompt=", ", notes=("this model writes tags only",))
    results = run_job(
        [ImagePrompt("cat", 1, "big cat"), ImagePrompt("", 1)],
        make=make, hires="follow", written_before=lambda _: False,
        stream=lambda requests: iter([Finished(row, empty) for row in range(len(requests))]),
    )  # fmt: skip
    assert (results[0].prompt, results[0].hires) == ("cat", "big cat")
    assert "this model writes tags only" in results[0].note and OWN in results[0].note
    assert results[1].prompt == ", " and OWN not in results[1].note  # there was nothing to keep


def test_another_hires_prompt_gets_the_same_tags_and_sentences_and_the_description() -> None:
    written = expansion("cat", user("cat"), model(", hat (red)"), tags=("hat (red)", "sky"), text="It rains.")
    request = ExpandRequest("cat", text="A cat. ", text_length="short")
    assert follow(request, written, "dog,") == "dog, hat \\(red\\), sky, A cat. It rains."


def test_subjects_of_another_hires_prompt_each_get_what_was_added_to_their_like() -> None:
    written = expansion("cat BREAK dog AND fox", user("cat"), model(", hat \\(red\\)"), user(" BREAK dog AND fox"),
                    model(", sky"), tags=("hat (red)", "sky"))  # fmt: skip
    text = follow(ExpandRequest("cat BREAK dog AND fox"), written, "big cat BREAK big dog AND big fox")
    assert text == "big cat, hat \\(red\\) BREAK big dog AND big fox, sky"
    assert follow(ExpandRequest("cat BREAK dog AND fox"), written, "ape") == "ape, hat \\(red\\), sky"


@pytest.mark.parametrize("error, words", [
    (EngineError("the library\nfailed", hint="try cpu"), "the library failed (try cpu)"),
    (MemoryError(), "out of memory"),
    (KeyError("x"), "KeyError: 'x'"),
    (ValueError("long " * 500), "..."),
    (FileNotFoundError(2, "No such file", str(Path("/home/me/starter"))), "starter: No such file (install"),
    (OSError(5, "Input/output error", 7), "OSError: [Errno 5]"),
    (ModelFileError("/home/me/my models/a/model.safetensors: not a safetensors file"), "model.safetensors: not a"),
    (ModelFileError("C:\\Users\\me\\model.gguf: llama.cpp cannot load it", hint="get it again"), "model.gguf: llama"),
    (ModelFileError("no model in '/home/me/x/models' (see `kgen models list`)"), "no model in 'models' (see"),
])  # fmt: skip
def test_an_error_is_one_line_of_bounded_length(error: BaseException, words: str) -> None:
    line = explain(error)
    assert words in line and "\n" not in line and len(line) <= 300
    assert "/home" not in line


# The starter itself, from the hooks' arguments to the infotext, in a process of its own.
BATCH = """
import sys, pathlib, json
sys.path[:0] = [{tests!r}, {root!r}]
import pytest
from webui_kit import set_stage
patch = pytest.MonkeyPatch()
stage = set_stage(patch, pathlib.Path({tmp!r}), kind={kind!r}, real=True)
done = stage.run(prompt={prompt!r}, seed=1234, n_iter=2, batch_size=2, values={{"tag_length": "short"}}, width=832,
                 height=1216, enable_hr=True)
assert not stage.host_errors(), stage.host_errors()
heavy = [name for name in ("torch", "transformers", "llama_cpp", "gradio") if name in sys.modules]
print(json.dumps([done.prompts, done.hr_prompts, done.infotexts, heavy]))
"""
PROMPT = "1girl, (shrine:1.2), <lora:my_style:0.7> \\(at night\\)"


def batch(tmp_path: Path, kind: str) -> tuple[list[str], list[str], list[str], list[str]]:
    code = textwrap.dedent(BATCH).format(
        tests=str(ROOT / "tests"), root=str(ROOT), tmp=str(tmp_path), kind=kind, prompt=PROMPT
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONHASHSEED": "random"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout.splitlines()[-1]))  # type: ignore[return-value]


def test_a_batch_of_two_by_two_has_four_texts_that_begin_with_the_users_and_come_again(tmp_path: Path) -> None:
    first, again = batch(tmp_path, "a1111"), batch(tmp_path, "forge")
    assert first == again
    prompts, hires, infotexts, heavy = first
    assert len(set(prompts)) == 4 and all(text.startswith(PROMPT) and len(text) > len(PROMPT) + 20 for text in prompts)
    assert hires == prompts and "KGen error" not in "".join(infotexts)
    assert heavy == []
