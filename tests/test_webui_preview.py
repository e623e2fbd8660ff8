"""The preview: what the page shows while versions are written, cancelled and failing, in the host's queue."""
from __future__ import annotations

import html
import json
import re
import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webui_kit import Stage, positional

from kgen_ext.errors import BadPattern, BadValue, EngineError
from kgen_ext.events import By, Delta, Expansion, Fields, Finish, PartialText, Piece, TagAccepted, TagRejected
from kgen_ext.webui.host import current_host
from kgen_ext.webui.preview import Previews, read_page_state, run_preview, to_int
from kgen_ext.webui.preview_html import card, panel, partial_card
from kgen_ext.webui.token_counter import count_tokens


def page_text(**more: Any) -> str:
    page = {"id": "a", "tab": "txt2img", "prompt": "cat", "width": "512", "height": "768", "seed": "7"}
    return json.dumps({**page, **more})


def views(stage: Stage, text: str | None = None, *, count: Any = 1, again: bool = False,
          previews: Previews | None = None, **values: Any) -> Any:  # fmt: skip
    return run_preview(
        page_text() if text is None else text, count, positional(**values), again=again, host=current_host(),
        session=stage.session, previews=previews or Previews(), counter=lambda prompt: (5, 75),
    )  # fmt: skip


def run(stage: Stage, text: str | None = None, **options: Any) -> list[str]:
    return [view for view in views(stage, text, **options) if view is not None]


def offered(view: str) -> list[dict[str, str]]:
    """Return what the buttons of a panel put into the prompt box, as a browser reads it."""
    return [json.loads(html.unescape(attribute)) for attribute in re.findall(r'data-kgen="([^"]*)"', view)]


def expansion(*pieces: Piece, **more: Any) -> Expansion:
    given: dict[str, Any] = {"seed": 1, "row": 0, "notes": (), "finish": Finish.COMPLETE, **more}
    return Expansion(
        prompt="".join(piece.text for piece in pieces), pieces=pieces,
        source="".join(piece.text for piece in pieces if piece.by is By.USER), model="m", engine="e", fields=Fields(),
        added_tags=(), added_text="", decoded_tokens=0, forced_tokens=0, rewound_tokens=0, seconds=0.0, **given,
    )  # fmt: skip


def test_the_last_view_has_the_version_its_seed_its_tokens_and_the_users_text_plain(stage: Stage) -> None:
    last = run(stage)[-1]
    assert offered(last) == [{"prompt": "cat, word7", "source": "cat"}]
    assert "<span>seed 7</span><span>5 of 75 tokens</span>" in last
    assert '<span>cat</span><span class="kgen-added">, word7</span>' in last


def test_the_request_has_the_pages_size_and_each_version_the_seed_of_an_image_of_a_batch(stage: Stage) -> None:
    last = run(stage, count=3)[-1]
    assert [request.seed for request in stage.requests] == [7, 8, 9]
    assert {(request.width, request.height) for request in stage.requests} == {(512, 768)}
    assert [version["prompt"] for version in offered(last)] == ["cat, word7", "cat, word8", "cat, word9"]


@pytest.mark.parametrize(("asked", "made"), [(0, 1), (99, 8), (None, 1), ("x", 1), (2.0, 2)])
def test_there_are_one_to_eight_versions(stage: Stage, asked: Any, made: int) -> None:
    run(stage, count=asked)
    assert len(stage.requests) == made


def test_a_fixed_seed_goes_before_the_images_and_again_draws_a_new_one(stage: Stage) -> None:
    run(stage, seed=3)
    run(stage, seed=3, again=True)
    first, second = stage.requests
    assert first.seed == 3 != second.seed < 2**53, "a seed must fit the page's box"


def test_an_open_seed_is_drawn_and_shown(stage: Stage) -> None:
    last = run(stage, page_text(seed="-1"))[-1]
    assert f"<span>seed {stage.requests[0].seed}</span>" in last


def test_a_version_that_was_used_is_not_expanded_again(stage: Stage) -> None:
    last = run(stage)[-1]
    used = offered(last)[0]["prompt"]
    assert stage.session.wrote(used)
    assert stage.run(prompt=used).prompts == [used]


@pytest.mark.parametrize("text", ["", "[]", "no json", "5", None])
def test_a_page_that_says_nothing_is_told_what_to_do(stage: Stage, text: Any) -> None:
    (view,) = run(stage, "" if text is None else text)
    assert "kgen-error" in view and "reload the page" in view
    with pytest.raises(BadValue, match="page"):
        read_page_state(text)


def test_odd_parts_of_the_page_fall_to_their_defaults() -> None:
    page = read_page_state(json.dumps({"tab": "<b>", "width": "wide", "height": 1e400, "seed": ""}))
    assert (page.tab, page.prompt, page.width, page.height, page.seed) == ("txt2img", "", 1024, 1024, -1)
    assert to_int(float("nan"), 3) == 3


def test_a_failure_is_one_line_on_the_page(stage: Stage) -> None:
    stage.failure = EngineError("no memory", hint="use a smaller model")
    last = run(stage)[-1]
    assert offered(last) == [] and "no memory (use a smaller model)" in last and "kgen-error" in last


def test_a_failure_names_its_control_and_leads_to_it(stage: Stage) -> None:
    stage.failure = BadPattern("ban: pattern /(/: missing )", hint="write )")
    last = run(stage)[-1]
    assert "<span>Banned tags: pattern /(/: missing ) (write ))</span>" in last
    assert 'data-kgen-show="ban"' in last


def test_a_failure_of_no_control_leads_nowhere(stage: Stage) -> None:
    stage.failure = EngineError("gone", hint="restart")
    assert "kgen-show" not in run(stage)[-1]


def test_a_missing_model_leads_to_the_models(stage: Stage) -> None:
    assert 'data-kgen-show="fold_models"' in run(stage, model="TIPO-500M-ft")[-1]


def test_of_a_long_prompt_the_middle_is_folded() -> None:
    text = "a" * 120 + "b" * 500 + "c" * 120
    drawn = partial_card(1, text, "hat")
    assert f"<summary>… 500 …</summary><span>{'b' * 500}</span></details><span>{'c' * 120}</span>" in drawn


@pytest.mark.parametrize("length", [0, 240, 599])
def test_a_prompt_of_ordinary_length_is_not_folded(length: int) -> None:
    assert "details" not in partial_card(1, "a" * length, "hat")


@pytest.mark.parametrize(("length", "folded"), [(1200, False), (1201, True)])
def test_long_additions_are_folded(length: int, folded: bool) -> None:
    shown = expansion(Piece("cat", By.USER), Piece("x" * length, By.MODEL))
    assert ("kgen-more" in card(1, shown, source="cat", tokens=None)) is folded


def test_a_failure_half_way_keeps_the_versions_that_are_done(stage: Stage) -> None:
    def fail_later(row: int) -> None:
        stage.expander.failure = EngineError("gone", hint="restart") if row else None

    stage.expander.before_row = fail_later
    last = run(stage, count=3)[-1]
    assert "gone (restart)" in last and len(offered(last)) == 1


def test_a_model_that_is_not_there_is_told_and_not_fetched(stage: Stage) -> None:
    last = run(stage, model="TIPO-500M-ft")[-1]
    assert "kgen-error" in last and "TIPO-500M-ft" in last
    assert stage.opened == []


def test_a_value_that_cannot_be_read_is_told_before_anything_runs(stage: Stage) -> None:
    asked = run_preview(page_text(), 1, ["no checkbox"], again=False, host=current_host(), session=stage.session,
                        previews=Previews(), counter=lambda prompt: None)  # fmt: skip
    assert "no checkbox" in str(list(asked)[-1]) and not stage.requests


def test_a_preview_needs_no_tick_in_the_checkbox(stage: Stage) -> None:
    assert len(offered(run(stage, enabled=False)[-1])) == 1


def test_a_model_that_adds_nothing_is_told(stage: Stage) -> None:
    stage.expander.adds_nothing = True
    assert "added nothing" in run(stage)[-1]


def test_a_note_on_a_card_names_the_controls(stage: Stage) -> None:
    stage.expander.notes = ("tag_length long ends at 54",)
    assert "“Tag length” long ends at 54" in run(stage)[-1]


def test_it_waits_for_the_image_that_is_being_made(stage: Stage) -> None:
    with stage.host.queue_lock:
        asked = views(stage)
        assert "Waiting for the current image" in next(asked)
        assert not stage.requests
    assert offered(list(asked)[-1])


def test_cancel_does_not_wait_for_the_image_that_is_being_made(stage: Stage) -> None:
    previews = Previews()
    with stage.host.queue_lock:
        asked = views(stage, previews=previews)
        next(asked)
        assert previews.cancel("a")
        assert "Cancelled" in list(asked)[-1]
    assert stage.host.queue_lock.acquire(timeout=5), "the thread leaves when its turn comes"
    stage.host.queue_lock.release()
    assert not stage.requests


def test_cancel_stops_it_and_another_pages_preview_goes_on(stage: Stage) -> None:
    previews = Previews()
    reached, go = threading.Event(), threading.Event()

    def wait(row: int) -> None:
        if row:
            reached.set()
            go.wait(5)

    stage.expander.before_row = wait
    found = list[str]()
    thread = threading.Thread(target=lambda: found.extend(run(stage, count=3, previews=previews)))
    thread.start()
    assert reached.wait(5)
    assert not previews.cancel("b")
    assert previews.cancel("a")
    go.set()
    thread.join(10)
    assert "Cancelled. Finished tags and sentences are kept." in found[-1]
    assert len(offered(found[-1])) >= 1
    assert not previews.cancel("a"), "it is over"


def test_a_second_preview_of_a_page_ends_the_first_and_is_not_overwritten_by_it(stage: Stage) -> None:
    previews = Previews()
    with stage.host.queue_lock:
        first = views(stage, previews=previews)
        next(first)
        second = views(stage, page_text(seed="50"), previews=previews)
        next(second)
        assert list(first)[-1] is None, "the panel is the second's"
    assert offered(list(second)[-1])[0]["prompt"] == "cat, word50"


def test_a_page_that_goes_away_cancels_its_preview_and_leaves_no_lock(stage: Stage) -> None:
    stage.expander.before_row = lambda row: time.sleep(0.3)
    asked = views(stage, count=8)
    next(asked)
    asked.close()
    assert stage.host.queue_lock.acquire(timeout=5)
    stage.host.queue_lock.release()
    assert sum(len(batch) for batch in stage.expander.asked) <= 8


def test_what_is_written_is_shown_while_it_grows(stage: Stage) -> None:
    stage.expander.before_row = lambda row: time.sleep(0.5 if row else 0)
    seen = run(stage, count=2)
    assert any("cat, word7" in re.sub("<[^>]*>", "", view) and "word8" not in view for view in seen[:-1])


def test_a_version_that_grows_stands_behind_the_prompt() -> None:
    assert '<span>cat</span>, <span class="kgen-added">hat, He sits.</span>' in partial_card(1, "cat", "hat\nHe sits.")
    assert "cat,</span> <span" in partial_card(1, "cat,", "hat")
    assert "kgen-added" not in partial_card(1, "cat", "")


EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>\' & \ud800'


@given(st.text(), st.text(), st.text())
def test_neither_a_prompt_nor_a_model_puts_markup_on_the_page(prompt: str, added: str, note: str) -> None:
    for text in (prompt, EVIL):
        shown = expansion(Piece(text, By.USER), Piece(added + EVIL, By.MODEL), notes=(note + EVIL,))
        drawn = panel([card(1, shown, source=text, tokens=(1, 75), element=EVIL), partial_card(1, text, added + EVIL)],
                      line=note + EVIL)  # fmt: skip
        tags = re.findall(r"<(/?\w+)", drawn)
        names = {"div", "span", "button", "details", "summary"}
        assert set(tags) <= {sign + name for sign in ("", "/") for name in names}
        (use,) = offered(drawn)
        assert use == {"prompt": shown.prompt, "source": text}, "the browser gets back exactly what was written"
        drawn.encode("utf-8")


def test_rejected_tags_vanish_from_the_panel_and_texts_stand_behind_tags() -> None:
    row = PartialText()
    for event in (
        Delta(0, "tag", "hat, ba"), TagAccepted(0, "hat"), TagRejected(0, "bad", "banned", "bad"),
        Delta(0, "tag", ", smile"), TagAccepted(0, "smile"), Delta(0, "long", "A girl stands. She has a cup"),
        TagRejected(0, "She has a cup", "banned", "cup"),
    ):  # fmt: skip
        row.note(event)
    assert "hat, smile, A girl stands.</span>" in partial_card(1, "cat", row.text())


def test_tokens_are_counted_by_the_host_and_left_out_where_it_cannot(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = current_host()
    ui, models = ModuleType("modules.ui"), ModuleType("modules.sd_models")
    assert count_tokens(host, "cat") is None, "a host without a counter"
    ui.update_token_counter = lambda text, steps, styles: "<span>41/75</span>"  # type: ignore[attr-defined]
    models.model_data = SimpleNamespace(sd_model=None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules.ui", ui)
    monkeypatch.setitem(sys.modules, "modules.sd_models", models)
    assert count_tokens(host, "cat") is None, "no checkpoint in memory: asking would load one"
    models.model_data.sd_model = object()
    assert count_tokens(host, "cat") == (41, 75)
    ui.update_token_counter = lambda *_: "?/?"  # type: ignore[attr-defined]
    assert count_tokens(host, "cat") is None
    ui.update_token_counter = lambda *_: 1 / 0  # type: ignore[attr-defined]
    assert count_tokens(host, "cat") is None


def test_the_preview_asks_for_what_a_job_would(stage: Stage) -> None:
    """One maker of requests for both, so that a preview shows what an image will get."""
    run(stage, tag_length="short", ban="hat")
    stage.run(seed=7, prompt="cat", width=512, height=768, values={"tag_length": "short", "ban": "hat"})
    first, second = stage.requests
    assert first == second
