"""The preview: what the page is shown while it is written, cancelled or fails, in the host's queue; no markup."""
from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from webui_kit import Stage, positional

from kgen_ext.errors import BadValue, EngineError
from kgen_ext.events import By, Delta, Expansion, Fields, Finish, Piece, TagAccepted, TagRejected
from kgen_ext.webui.host import current_host
from kgen_ext.webui.preview import Previews, View, read_page, run_preview
from kgen_ext.webui.preview_html import Growing, card, panel
from kgen_ext.webui.tokens import count_tokens


def page_text(**more: Any) -> str:
    return json.dumps({"id": "a", "prompt": "cat", "width": "512", "height": "768", "seed": "7", **more})


def run(stage: Stage, text: str | None = None, *, count: Any = 1, again: bool = False, previews: Previews | None = None,
        **values: Any) -> list[View]:  # fmt: skip
    return list(run_preview(
        page_text() if text is None else text, count, positional(**values), again=again, host=current_host(),
        session=stage.session, previews=previews or Previews(), counter=lambda prompt: (5, 75),
    ))  # fmt: skip




def test_the_last_view_holds_the_version_with_its_seed_its_tokens_and_the_users_text_plain(stage: Stage) -> None:
    last = run(stage)[-1]
    assert last.results is not None and last.results[0].prompt == "cat, word7"
    assert "seed 7 · 5 of 75 tokens" in last.html
    assert "<span>cat</span><span class=kgen-added>, word7</span>" in last.html


def test_the_request_has_the_pages_size_and_each_version_a_seed_of_its_own(stage: Stage) -> None:
    last = run(stage, count=3)[-1]
    assert [one.seed for one in stage.requests] == [7, 8, 9]
    assert {(one.width, one.height) for one in stage.requests} == {(512, 768)}
    assert last.results is not None and len(last.results) == 3


def test_a_fixed_seed_goes_before_the_images_and_again_draws_a_new_one(stage: Stage) -> None:
    run(stage, seed=3)
    run(stage, seed=3, again=True)
    first, second = stage.requests
    assert first.seed == 3 != second.seed < 2**53, "a seed must fit the page's box"


def test_a_version_that_was_used_is_not_expanded_again(stage: Stage) -> None:
    last = run(stage)[-1]
    assert last.results is not None
    assert stage.session.wrote(last.results[0].prompt)
    assert stage.run(prompt="cat, word7").prompts == ["cat, word7"]


@pytest.mark.parametrize("text", ["", "[]", "no json", "5"])
def test_a_page_that_says_nothing_is_told_what_to_do(stage: Stage, text: str) -> None:
    (view,) = run(stage, text)
    assert "kgen-error" in view.html and "reload the page" in view.html
    with pytest.raises(BadValue, match="page"):
        read_page(text)


def test_odd_numbers_of_the_page_fall_to_their_defaults() -> None:
    page = read_page(json.dumps({"prompt": None, "width": "wide", "height": 1e400, "seed": ""}))
    assert (page.width, page.height, page.seed) == (1024, 1024, -1)


def test_a_failure_is_one_line_on_the_page(stage: Stage) -> None:
    stage.failure = EngineError("no memory", hint="use a smaller model")
    last = run(stage)[-1]
    assert last.results == () and "no memory (use a smaller model)" in last.html and "kgen-error" in last.html


def test_a_value_out_of_bounds_is_told_before_anything_runs(stage: Stage) -> None:
    last = run(stage, temperature=9)[-1]
    assert "Temperature: 9 is not allowed" in last.html and not stage.requests


def test_it_waits_for_the_image_that_is_being_made(stage: Stage) -> None:
    lock = stage.host.queue_lock
    with lock:
        views = run_preview(page_text(), 1, positional(), again=False, host=current_host(), session=stage.session,
                            previews=Previews(), counter=lambda prompt: None)  # fmt: skip
        assert "waiting for the image" in next(views).html
        assert not stage.requests
    assert list(views)[-1].results


def test_cancel_stops_it_and_another_pages_preview_goes_on(stage: Stage) -> None:
    previews = Previews()
    reached, go = threading.Event(), threading.Event()

    def wait(row: int) -> None:
        reached.set()
        go.wait(5)

    stage.expander.before_row = wait
    found = list[View]()
    thread = threading.Thread(target=lambda: found.extend(run(stage, count=2, previews=previews)))
    thread.start()
    assert reached.wait(5)
    assert not previews.cancel("b")
    assert previews.cancel("a")
    go.set()
    thread.join(10)
    assert "cancelled" in found[-1].html
    assert not previews.cancel("a"), "it is over"


def test_a_page_that_goes_away_cancels_its_preview_and_leaves_no_lock(stage: Stage) -> None:
    stage.expander.before_row = lambda row: time.sleep(0.3)
    views = run_preview(page_text(), 8, positional(), again=False, host=current_host(), session=stage.session,
                        previews=Previews(), counter=lambda prompt: None)  # fmt: skip
    next(views)
    views.close()
    assert stage.host.queue_lock.acquire(timeout=5)
    stage.host.queue_lock.release()
    assert sum(len(asked) for asked in stage.expander.asked) <= 8


def test_what_is_rejected_goes_again_and_texts_stand_behind_the_tags() -> None:
    row = Growing()
    for event in (
        TagAccepted(0, "hat"), TagRejected(0, "bad", "banned", "bad"), TagAccepted(0, "smile"),
        Delta(0, "long", "A girl stands. She has a cup"), TagRejected(0, "She has a cup", "banned", "cup"),
    ):  # fmt: skip
        row.note(event)
    assert row.text() == "hat, smile, A girl stands."


def test_neither_a_prompt_nor_a_model_puts_markup_on_the_page() -> None:
    evil = '<img src=x onerror="alert(1)">'
    pieces = (Piece(evil, By.USER), Piece(evil, By.MODEL))
    expansion = Expansion(
        prompt=evil * 2, pieces=pieces, source=evil, seed=1, row=0, model="m", engine="e", fields=Fields(),
        added_tags=(), added_text="", finish=Finish.COMPLETE, decoded_tokens=0, forced_tokens=0, rewound_tokens=0,
        seconds=0.0, notes=(evil,),
    )  # fmt: skip
    assert "<img" not in panel([card(1, expansion, tokens=None)], line=evil)


def test_tokens_are_counted_by_the_host_and_left_out_where_it_cannot(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = current_host()
    parts: dict[str, Any] = {"modules.ui.update_token_counter": lambda text, steps, styles: "<span>41/75</span>"}
    monkeypatch.setattr(type(host), "part", lambda self, name: parts.get(name))
    assert count_tokens(host, "cat") is None, "no checkpoint in memory: asking would load one"
    parts["modules.sd_models.model_data.sd_model"] = object()
    assert count_tokens(host, "cat") == (41, 75)
    parts["modules.ui.update_token_counter"] = lambda *_: 1 / 0
    assert count_tokens(host, "cat") is None


def test_the_preview_asks_for_what_a_job_would(stage: Stage) -> None:
    """One maker of requests for both, so that a preview shows what an image will get."""
    run(stage, tag_length="short", ban="hat")
    stage.run(seed=7, prompt="cat", width=512, height=768, values={"tag_length": "short", "ban": "hat"})
    first, second = stage.requests
    assert first == second
