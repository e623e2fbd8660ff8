"""What the demo page shows of a run: additions tinted, everything escaped, errors in one line."""
from __future__ import annotations

from pathlib import Path

import pytest
from demo_kit import FakeModel, expansion_of, fake_runner, inputs

from kgen_ext.demo.expanding import ExpansionTask, Runner, RunView
from kgen_ext.demo.html import line_html, run_html
from kgen_ext.demo.messages import explain, note_line
from kgen_ext.demo.offers import Offer
from kgen_ext.errors import BadPattern, Download, KGenError, ListModels, ModelFileError, UnknownModel
from kgen_ext.request import ExpandRequest

NASTY = "<script>alert('x')</script> & \"q\""


def view(prompt: str = "cat", *, seconds: float | None = 1.5, calls: int = 3) -> RunView:
    expansion = expansion_of(ExpandRequest(prompt, seed=4), 0, ("hat",))
    return RunView("", False, prompt, ("hat",), (expansion,), seconds, calls)


def test_additions_are_tinted_and_the_users_text_is_not() -> None:
    assert 'cat<span class="kgen-added">, hat</span>' in run_html(view(), ahead=0, query="")


def test_a_growing_prompt_shows_what_is_there() -> None:
    growing = RunView("Writing ...", False, "cat", ("hat, sm",), (None,))
    assert 'cat, <span class="kgen-added">hat, sm</span>' in run_html(growing, ahead=0, query="")


@pytest.mark.parametrize("prompt", [NASTY, "cat\ud800", "\x00"])
def test_a_prompt_puts_no_markup_on_the_page(prompt: str) -> None:
    for shown in (view(prompt), RunView("", False, prompt, (prompt,), (None,))):
        html = run_html(shown, ahead=0, query="?a=1&b=2")
        assert "<script" not in html and html.encode()


def test_an_error_is_escaped() -> None:
    assert "<script" not in line_html(NASTY, failed=True)


def test_a_finished_run_shows_time_tokens_and_calls() -> None:
    assert "fake on none: 7 tokens in 3 calls of the model, 1.50 s" in run_html(view(), ahead=0, query="")


def test_a_run_from_memory_says_so() -> None:
    assert "no call of the model: the same run was made before" in run_html(view(calls=0), ahead=0, query="")


def test_a_card_shows_its_seed_time_and_tokens() -> None:
    html = run_html(view(), ahead=0, query="")
    assert all(f"<span>{part}</span>" in html for part in ("Candidate 1", "seed 4", "0.25 s", "7 tokens"))


def test_a_finished_run_has_its_link() -> None:
    assert 'href="./?prompt=cat&amp;seed=4"' in run_html(view(), ahead=0, query="?prompt=cat&seed=4")


def test_a_run_too_long_for_a_link_says_so() -> None:
    assert "Too long for a link" in run_html(view(), ahead=0, query="")


def test_a_waiting_run_shows_its_place() -> None:
    assert "3 runs come before yours" in run_html(view(seconds=None), ahead=3, query="")


def run_task(task: ExpansionTask) -> RunView:
    task.work()
    return task.view()


def task(runner: Runner, **values: object) -> ExpansionTask:
    return ExpansionTask(inputs(prompt="cat", seed=3, **values), Offer("fake"), runner)


def test_a_run_yields_its_candidates_in_order() -> None:
    done = run_task(task(fake_runner(), count=3))
    assert [expansion.prompt for expansion in done.expansions] == ["cat, word3", "cat, word4", "cat, word5"]


def test_a_run_counts_its_own_calls_only() -> None:
    runner = fake_runner()
    run_task(task(runner))
    assert run_task(task(runner, count=2)).calls == 4


def test_a_seed_is_drawn_where_none_is_set() -> None:
    drawn = ExpansionTask(inputs(prompt="cat"), Offer("fake"), fake_runner())
    assert drawn.inputs.seed == drawn.request.seed >= 0


def test_a_stopped_run_keeps_what_is_complete() -> None:
    stopped = task(fake_runner())
    stopped.cancel()
    assert run_task(stopped).line == "Stopped. What was complete is kept."


@pytest.mark.parametrize("failure, line", [
    (BadPattern("ban: pattern /(/: missing )", hint="write )"), "Banned tags: pattern /(/: missing ) (write ))"),
    (MemoryError(), "out of memory (choose a smaller model, or ask for fewer candidates)"),
    (ModelFileError("/home/me/models/x.gguf: cut off", hint="get it again"), "x.gguf: cut off (get it again)"),
    (FileNotFoundError(2, "No such file or directory", "/home/me/x.gguf"),
     "x.gguf: No such file or directory (choose another model; reload the page to see which there are)"),
    (RuntimeError("odd\nthing"),
     "RuntimeError: odd thing (please report this, with the lines above it in the console)"),
])  # fmt: skip
def test_a_failure_is_one_line_without_folders(failure: BaseException, line: str) -> None:
    runner = fake_runner()
    model: FakeModel = runner.pool.model  # type: ignore[attr-defined]
    model.failure = failure
    shown = run_task(task(runner))
    assert (shown.line, shown.failed) == (line, True)


def test_a_model_removed_while_the_page_is_open_is_told() -> None:
    runner = fake_runner()
    begun = task(runner)
    runner.offers.gone.add("fake")  # type: ignore[attr-defined]
    assert run_task(begun).line == "Model: 'fake' is not installed (choose another)"


@pytest.mark.parametrize("error, words", [
    (UnknownModel("model: x", action=Download("X:Q8_0")), "choose another, or run kgen models download X:Q8_0"),
    (UnknownModel("model: x", action=ListModels("what is")), "choose another; reload the page to see which there are"),
])  # fmt: skip
def test_an_action_is_told_in_the_pages_words(error: KGenError, words: str) -> None:
    assert explain(error) == f"Model: x ({words})"


def test_a_line_is_never_longer_than_300_characters() -> None:
    assert len(explain(RuntimeError("x" * 10_000))) == 300


def test_a_note_names_the_inputs() -> None:
    assert note_line("text_length long: nothing") == "“Text length” long: nothing"


def test_every_selector_of_the_style_is_ours() -> None:
    style = (Path(__file__).parents[1] / "kgen_ext/demo/data/demo.css").read_text("utf-8")
    rules = [line for line in style.splitlines() if "{" in line]
    assert [rule for rule in rules if not all(".kgen-" in part for part in rule.partition("{")[0].split(","))] == []


def test_a_link_is_as_dark_as_its_text() -> None:
    # The theme's own colour of links has a contrast of 4.0 to its background, light and dark; text needs 4.5.
    style = (Path(__file__).parents[1] / "kgen_ext/demo/data/demo.css").read_text("utf-8")
    assert ".kgen-link { color: inherit;" in style
