"""The history panel: what it shows and escapes, and what its buttons do."""
from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_kit import Page, build_page
from webui_kit import forget

from kgen_ext.webui.controls import BY_FIELD, CONTROLS
from kgen_ext.webui.history import Entry, History, current_history
from kgen_ext.webui.history_panel import EMPTY, GONE, NO_MATCH, OFF, PAGE, Asked, read_asked

SETTINGS = {"KGen": "0.2.0", "KGen model": "starter", "KGen seed": 7, "KGen ban": "hat"}


@pytest.fixture(params=["fake", "real"])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Page]:
    """A tab, on the fake gradio and on the installed one."""
    yield build_page(monkeypatch, tmp_path, img2img=False, real=request.param == "real")
    forget()


def note(*entries: Entry) -> History:
    current_history().note(entries)
    current_history().wait()
    return current_history()


def press(page: Page, words: str = "", starred: bool = False, **asked: Any) -> list[Any]:
    """Do what the page's script does at a button of the list; return the updates."""
    fn = page.wire("history_act").fn
    assert fn is not None
    return [dict(update) for update in fn(json.dumps(asked), words, starred)]


def shown(page: Page, words: str = "", starred: bool = False, **asked: Any) -> str:
    return str(press(page, words, starred, **{"action": "list", **asked})[0]["value"])


def cards(view: str) -> int:
    return view.count('class="kgen-card"')


def buttons(view: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the buttons as a browser reads them: the label, and what the button stands for."""
    found = re.findall(r'data-kgen-history="([^"]*)"[^>]*>([^<]*)<', view)
    return [(html.unescape(label), json.loads(html.unescape(asks))) for asks, label in found]


def button(view: str, label: str) -> dict[str, Any]:
    return next(asks for name, asks in buttons(view) if name.startswith(label))


def test_nothing_is_read_before_the_panel_is_opened(page: Page) -> None:
    assert page.part("history").value == ""


def test_an_empty_history_says_so(page: Page) -> None:
    assert EMPTY in shown(page)


def test_what_was_added_is_coloured(page: Page) -> None:
    note(Entry("cat", "cat, hat", SETTINGS))
    assert '<span>cat</span><span class="kgen-added">, hat</span>' in shown(page)


def test_a_result_that_does_not_begin_with_its_prompt_shows_both(page: Page) -> None:
    note(Entry("cat", "hat, cat", SETTINGS))
    assert 'hat, cat<span class="kgen-note">from: cat</span>' in shown(page)


def test_a_card_tells_the_model_the_seed_and_what_was_set(page: Page) -> None:
    note(Entry("cat", "cat, hat", SETTINGS))
    view = shown(page)
    assert all(f"<span>{fact}</span>" in view for fact in ("starter", "seed 7", "ban: hat"))


@pytest.mark.parametrize(("key", "value", "fact"), [
    ("KGen tag length", "very_short", "tag length: very short"),
    ("KGen allow", "artist, meta", "allow: new artists, meta tags"),
    ("KGen ban", "text, both", "ban: text, both"),
    ("KGen tag length", 7, "tag length: 7"),
])  # fmt: skip
def test_a_card_shows_a_choice_as_its_control_does(page: Page, key: str, value: object, fact: str) -> None:
    note(Entry("cat", "cat, hat", {key: value}))
    assert f"<span>{fact}</span>" in shown(page)


@pytest.mark.parametrize("text", [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onclick='alert(1)", "&lt;b&gt; & <b>",
    "</div></div><h1>x", "${alert(1)}", "<!--", "\u2028<b>",
])  # fmt: skip
@pytest.mark.parametrize("place", ["source", "added", "result", "settings", "setting's name"])
def test_no_text_becomes_markup(page: Page, text: str, place: str) -> None:
    source, result = {
        "source": (text, f"{text}, hat"), "added": ("cat", f"cat, {text}"), "result": (text, f"hat, {text}")
    }.get(place, ("cat", "cat, hat"))  # fmt: skip
    settings = {"KGen ban": text} if place == "settings" else {text: "x"} if place == "setting's name" else {}
    note(Entry(source, result, settings))
    view = shown(page)
    tags = set(re.findall(r"<([^\s>]+)", view))
    assert tags == {"div", "/div", "span", "/span", "button", "/button", "details", "/details", "summary", "/summary"}
    known = {"class", "role", "type", "title", "aria-label", "data-kgen-history"}
    assert all(set(re.findall(r'\s([\w-]+)="[^"]*"', tag)) <= known for tag in re.findall(r"<[a-z]+[^>]*>", view))


@pytest.mark.parametrize("text", ['“cat” "quoted"', "<b>&amp;", "a\nb", "🦊 \\ '", "\u2028"])
def test_a_button_gives_back_the_very_text(page: Page, text: str) -> None:
    note(Entry(text, f"{text}, hat", {}))
    view = shown(page)
    assert (button(view, "Use again")["text"], button(view, "Use result")["text"]) == (text, f"{text}, hat")


def test_a_search_narrows_the_list(page: Page) -> None:
    note(Entry("cat", "cat, hat", {}), Entry("dog", "dog, hat", {}))
    assert cards(shown(page, "dog")) == 1


@pytest.mark.parametrize("name", ["history_search", "history_starred"])
def test_typing_and_ticking_search_at_once(page: Page, name: str) -> None:
    note(Entry("cat", "cat, hat", {}), Entry("dog", "dog, hat", {}))
    fn = page.wire(name, "change").fn
    assert fn is not None
    assert cards(dict(fn("dog", False))["value"]) == 1


def test_a_search_without_a_match_says_so(page: Page) -> None:
    note(Entry("cat", "cat, hat", {}))
    assert NO_MATCH in shown(page, "zebra")


def test_more_is_shown_page_by_page(page: Page) -> None:
    note(*(Entry(f"cat {number}", f"cat {number}, hat", {}) for number in range(PAGE + 5)))
    view = shown(page)
    assert cards(view) == PAGE
    assert cards(shown(page, **button(view, "Show more (5)"))) == PAGE + 5


def test_all_shown_there_is_no_more(page: Page) -> None:
    note(Entry("cat", "cat, hat", {}))
    assert "Show more" not in shown(page)


def test_the_star_makes_a_favourite_and_an_ordinary_one_again(page: Page) -> None:
    history = note(Entry("cat", "cat, hat", {}))
    view = press(page, **button(shown(page), "☆"))[0]["value"]
    assert history.find().favourites == 1
    press(page, **button(view, "★"))
    assert history.find().favourites == 0


def test_favourites_alone_are_shown_on_demand(page: Page) -> None:
    note(Entry("cat", "cat, hat", {}), Entry("dog", "dog, hat", {}))
    press(page, **button(shown(page, "cat"), "☆"))
    view = shown(page, starred=True)
    assert (cards(view), "dog" in view) == (1, False)


def test_use_again_sets_the_controls_as_they_were(page: Page) -> None:
    note(Entry("cat", "cat, hat", {**SETTINGS, "KGen add": "both", "KGen allow": "artist"}))
    updates = press(page, **button(shown(page), "Use again"))[1:]
    values = {control.field: update.get("value") for control, update in zip(CONTROLS, updates, strict=True)}
    assert {name: values[name] for name in ("enabled", "model", "seed", "ban", "add", "allow", "require")} == {
        "enabled": True, "model": "starter", "seed": 7, "ban": "hat", "add": "both",
        "allow": ["new artists"], "require": "",
    }  # fmt: skip


def test_sliders_that_follow_the_model_go_on_following_it(page: Page) -> None:
    note(Entry("cat", "cat, hat", SETTINGS))
    updates = press(page, **button(shown(page), "Use again"))[1:]
    values = {control.field: update for control, update in zip(CONTROLS, updates, strict=True)}
    assert "value" not in values["temperature"]


def test_sliders_that_were_moved_are_as_they_were(page: Page) -> None:
    note(Entry("cat", "cat, hat", {**SETTINGS, "KGen creativity": "custom", "KGen temperature": 0.3}))
    updates = press(page, **button(shown(page), "Use again"))[1:]
    values = {control.field: update.get("value") for control, update in zip(CONTROLS, updates, strict=True)}
    assert values["temperature"] == 0.3


def test_the_settings_timing_is_not_pinned(page: Page) -> None:
    note(Entry("cat", "cat, hat", SETTINGS))
    updates = press(page, **button(shown(page), "Use again"))[1:]
    field = [control.field for control in CONTROLS].index("timing")
    assert updates[field]["value"] == "as in Settings"


def test_use_result_changes_no_control(page: Page) -> None:
    note(Entry("cat", "cat, hat", SETTINGS))
    updates = press(page, **button(shown(page), "Use result"))[1:]
    assert all("value" not in update for update in updates)


def test_a_result_that_is_used_is_not_expanded_again(page: Page) -> None:
    note(Entry("cat", "cat, hat", SETTINGS))
    press(page, **button(shown(page), "Use result"))
    assert page.stage.session.wrote("cat, hat")


def test_settings_edited_by_hand_fall_to_the_defaults(page: Page) -> None:
    note(Entry("cat", "cat, hat", {"KGen": "9", "KGen seed": [], "KGen add": {"a": 1}, "KGen hires": 5, "other": 1}))
    updates = press(page, **button(shown(page), "Use again"))[1:]
    values = {control.field: update.get("value") for control, update in zip(CONTROLS, updates, strict=True)}
    names = ("seed", "add", "hires")
    assert [values[name] for name in names] == [BY_FIELD[name].shown_default for name in names]


@pytest.mark.parametrize("action", ["star", "restore", "result"])
def test_an_expansion_that_is_gone_is_told(page: Page, action: str) -> None:
    note(Entry("cat", "cat, hat", {}))
    assert GONE in shown(page, action=action, id=99)


def test_clearing_asks_first(page: Page) -> None:
    history = note(Entry("cat", "cat, hat", {}), Entry("dog", "dog, hat", {}))
    view = press(page, **button(shown(page), "Clear history"))[0]["value"]
    assert history.find().kept == 2
    press(page, **button(view, "Delete 2 expansions"))
    assert history.find().kept == 0


def test_clearing_asks_anew_if_there_is_more_by_now(page: Page) -> None:
    history = note(Entry("cat", "cat, hat", {}))
    view = press(page, **button(shown(page), "Clear history"))[0]["value"]
    note(Entry("dog", "dog, hat", {}))
    press(page, **button(view, "Delete 1 expansion"))
    assert history.find().kept == 2


def test_clearing_deletes_favourites_where_nothing_else_is_left(page: Page) -> None:
    history = note(Entry("cat", "cat, hat", {}), Entry("dog", "dog, hat", {}))
    press(page, **button(shown(page, "cat"), "☆"))
    for label in ("Delete 1 expansion", "Delete 1 favourite"):
        view = press(page, **button(shown(page), "Clear history"))[0]["value"]
        press(page, **button(view, label))
    assert history.find().kept == 0


def test_switched_off_it_says_so_and_shows_what_there_is(page: Page) -> None:
    note(Entry("cat", "cat, hat", {}))
    page.stage.host.opts.kgen_history = False
    view = shown(page)
    assert (cards(view), OFF in view) == (1, True)


def test_a_file_that_cannot_be_read_is_told_without_its_folders(page: Page) -> None:
    current_history().path.mkdir()
    view = shown(page)
    assert "kgen-error" in view
    assert str(page.stage.host.root) not in view


@pytest.mark.parametrize("sent", [
    "", "null", "[]", "7", "x" * 5000, '{"action": "drop"}', '{"action": []}', '{"action": "list", "id": -1}',
    '{"action": "list", "id": 1e99, "limit": true}', '{"action": "list", "limit": "20"}', None, "[" * 900,
    '{"action": "list", "sure": 3}',
])  # fmt: skip
def test_anything_else_than_a_buttons_data_lists(sent: Any) -> None:
    assert read_asked(sent) == Asked()


def test_a_buttons_data_is_read() -> None:
    assert read_asked('{"action": "clear", "id": 3, "limit": 40, "sure": "2"}') == Asked("clear", 3, 40, "2")
