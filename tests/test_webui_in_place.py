"""An expansion in the prompt's own box: the answers to the page's script, cancelling, errors, and the queue."""
from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from webui_kit import Stage, positional, stage

from kgen_ext.errors import UserError
from kgen_ext.webui.host import current_host
from kgen_ext.webui.in_place import expand_in_place
from kgen_ext.webui.preview import Previews

__all__ = ["stage"]


def request(**given: Any) -> str:
    return json.dumps({"id": "x", "tab": "txt2img", "prompt": "cat", "seed": "7", "run": 3, **given})


def ask(stage: Stage, page: str, *, previews: Previews | None = None, **values: Any) -> Iterator[str | None]:
    """Ask for an expansion; the controls are at their defaults or as `values` says."""
    return expand_in_place(page, positional(**values), host=current_host(), session=stage.session,
                           previews=previews or Previews())  # fmt: skip


def answer(told: Iterator[str | None]) -> Any:
    """Return the answer, which comes last, within some seconds."""
    return json.loads([text for text in itertools.islice(told, 100) if text is not None][-1])


def test_the_answer_has_the_prompt_and_what_it_was_made_from(stage: Stage) -> None:
    assert answer(ask(stage, request())) == {
        "run": 3, "prompt": "cat, word7", "source": "cat", "seed": 7, "added": True, "notes": [],
    }  # fmt: skip


def test_the_pages_own_expansion_seed_goes_before_the_images(stage: Stage) -> None:
    assert answer(ask(stage, request(), seed=5))["prompt"] == "cat, word5"


def test_an_expansion_that_is_asked_for_again_draws_a_seed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda end: 11)
    assert answer(ask(stage, request(again=True), seed=5))["seed"] == 11


def test_a_page_without_a_seed_draws_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda end: 12)
    assert answer(ask(stage, request(seed="-1")))["seed"] == 12


def test_a_prompt_expanded_in_its_box_is_not_expanded_again_for_its_image(stage: Stage) -> None:
    prompt = answer(ask(stage, request()))["prompt"]
    stage.run(prompt=prompt)
    assert stage.last.all_prompts == [prompt]


def test_the_checkbox_need_not_be_ticked(stage: Stage) -> None:
    assert answer(ask(stage, request(), enabled=False))["prompt"] == "cat, word7"


def test_an_error_is_the_answer(stage: Stage) -> None:
    stage.expander.failure = UserError("Banned tags: no", hint="leave it out")
    told = answer(ask(stage, request()))
    assert (told["run"], told["error"]) == (3, "Banned tags: no (leave it out)")


def test_a_wrong_value_of_a_control_is_named(stage: Stage) -> None:
    page = request()
    values = positional()
    values[2] = "colours"
    told = expand_in_place(page, values, host=current_host(), session=stage.session, previews=Previews())
    assert "What to add: 'colours'" in answer(told)["error"]


@pytest.mark.parametrize("page", ["", "x", "[]", '{"run": "three"}'])
def test_a_request_that_is_none_is_an_error_and_no_more(stage: Stage, page: str) -> None:
    assert answer(ask(stage, page))["error"]


def test_nothing_added_says_why(stage: Stage) -> None:
    stage.expander.adds_nothing = True
    told = answer(ask(stage, request()))
    assert (told["added"], len(told["notes"])) == (False, 1)


def test_a_page_cancels_its_own(stage: Stage) -> None:
    previews, reached, go_on = Previews(), threading.Event(), threading.Event()

    def wait(row: int) -> None:
        reached.set()
        go_on.wait(10)

    stage.expander.before_row = wait
    first = ask(stage, request(), previews=previews)
    assert next(first) is None
    assert reached.wait(10)
    previews.cancel("x")
    go_on.set()
    assert answer(first) == {"run": 3, "cancelled": True}


def test_a_cancelled_one_does_not_wait_for_the_hosts_queue(stage: Stage) -> None:
    previews = Previews()
    with stage.host.queue_lock:
        first = ask(stage, request(), previews=previews)
        assert next(first) is None
        previews.cancel("x")
        assert answer(first) == {"run": 3, "cancelled": True}
    assert stage.expander.asked == []


def test_a_browser_that_disconnects_stops_it(stage: Stage) -> None:
    reached, go_on = threading.Event(), threading.Event()
    finishes: list[bool] = []

    def wait(row: int) -> None:
        reached.set()
        go_on.wait(10)

    stage.expander.before_row = wait
    expand = stage.expander.expansion
    stage.expander.expansion = lambda request, row, stopped: finishes.append(stopped) or expand(request, row, stopped)
    told: Any = ask(stage, request())
    next(told)
    assert reached.wait(10)
    told.close()
    go_on.set()
    with stage.host.queue_lock:  # the thread has left it
        pass
    assert finishes == [True]


def test_an_expansion_in_its_box_is_in_the_history(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr("kgen_ext.webui.in_place.note_previews",
                        lambda values, expansions, host: kept.extend(each.prompt for each in expansions))  # fmt: skip
    answer(ask(stage, request()))
    assert kept == ["cat, word7"]
