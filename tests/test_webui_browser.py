"""The page in a browser: what people press, from the click to the prompt box and back."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_kit import BrowserPage, Site, browser, check_requirements, opened_page, served_page

from kgen_ext.errors import UserError
from kgen_ext.webui.history import FILE, current_history

# gradio's server leaves sockets to the garbage collector, which may come at any time.
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"),
              pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    check_requirements()
    folder: Path = tmp_path_factory.mktemp("host")
    with served_page(folder) as served:
        yield served


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(params=["txt2img", "img2img"])
def any_tab(request: pytest.FixtureRequest, page: BrowserPage) -> BrowserPage:
    if request.param != page.tab:
        page.show_tab(request.param)
    page.prompt = "cat"
    return page


@pytest.fixture
def page(site: Site, chromium: Any) -> Iterator[BrowserPage]:
    expander = site.stage.expander
    expander.failure, expander.adds_nothing = None, False
    expander.asked.clear()
    site.gate.reset(open=True)
    with opened_page(chromium, site) as opened:
        opened.prompt = "cat"
        yield opened
    site.gate.open.set()


def preview(page: BrowserPage) -> None:
    page.press("preview")
    page.find("#kgen_{tab}_panel .kgen-use").wait_for()


def expand(page: BrowserPage) -> None:
    page.press("expand")
    page.find("#{tab}_prompt_container .kgen-message").wait_for()


def message(page: BrowserPage) -> str:
    return str(page.find("#{tab}_prompt_container .kgen-message").inner_text())


def test_a_preview_shows_the_prompt_and_what_was_added(any_tab: BrowserPage) -> None:
    preview(any_tab)
    assert any_tab.find("#kgen_{tab}_panel .kgen-text").inner_text() == "cat, word7"


def test_use_this_fills_the_prompt_box(any_tab: BrowserPage) -> None:
    preview(any_tab)
    any_tab.find("#kgen_{tab}_panel .kgen-use").click()
    assert any_tab.prompt == "cat, word7"


def test_what_use_this_did_can_be_undone(any_tab: BrowserPage) -> None:
    preview(any_tab)
    any_tab.find("#kgen_{tab}_panel .kgen-use").click()
    any_tab.find("#{tab}_prompt textarea").press("Control+z")
    assert any_tab.prompt == "cat"


def test_a_preview_that_is_cancelled_ends(page: BrowserPage) -> None:
    page.site.gate.reset(open=False)
    page.press("preview")
    page.until(page.site.gate.reached.is_set, "the preview to begin")
    page.press("cancel")
    page.page.wait_for_timeout(300)
    page.site.gate.open.set()
    page.until(lambda: "Cancelled" in page.find("#kgen_{tab}_panel").inner_text(), "the preview to end")


def test_an_error_of_a_preview_is_shown(page: BrowserPage) -> None:
    page.site.stage.expander.failure = UserError("Banned tags: no", hint="leave it out")
    page.press("preview")
    error = page.find("#kgen_{tab}_panel .kgen-error")
    error.wait_for()
    assert "Banned tags: no" in error.inner_text()


def test_the_button_in_the_tool_row_fills_the_prompt_box(any_tab: BrowserPage) -> None:
    expand(any_tab)
    assert any_tab.prompt == "cat, word7"


def test_what_the_button_in_the_tool_row_did_can_be_undone_by_keys(any_tab: BrowserPage) -> None:
    expand(any_tab)
    any_tab.find("#{tab}_prompt textarea").press("Control+z")
    assert any_tab.prompt == "cat"


def test_what_the_button_in_the_tool_row_did_can_be_undone_by_a_button(page: BrowserPage) -> None:
    expand(page)
    page.find(".kgen-undo").click()
    assert page.prompt == "cat"


def test_a_second_click_expands_the_users_own_prompt_anew(page: BrowserPage) -> None:
    expand(page)
    page.press("expand")
    page.until(lambda: page.prompt != "cat, word7", "another expansion")
    assert [asked[0].prompt for asked in page.site.stage.expander.asked] == ["cat", "cat"]


def shown(page: BrowserPage) -> list[str]:
    """Return which of our two buttons in the tool row are in sight, both at one moment."""
    visible = """(tab) => ["expand", "expand_stop"].filter(
        (name) => document.querySelector(`#kgen_${tab}_${name}`).getClientRects().length)"""
    return list(page.page.evaluate(visible, page.tab))


def test_at_first_the_tool_row_has_the_button_to_expand(any_tab: BrowserPage) -> None:
    assert shown(any_tab) == ["expand"]


def test_while_it_works_the_tool_row_has_the_button_to_stop(any_tab: BrowserPage) -> None:
    any_tab.site.gate.reset(open=False)
    any_tab.press("expand")
    any_tab.until(any_tab.site.gate.reached.is_set, "the expansion to begin")
    assert shown(any_tab) == ["expand_stop"]


def test_when_it_is_done_the_tool_row_is_as_before(page: BrowserPage) -> None:
    expand(page)
    assert shown(page) == ["expand"]


def test_the_button_to_stop_cancels(any_tab: BrowserPage) -> None:
    any_tab.site.gate.reset(open=False)
    any_tab.press("expand")
    any_tab.until(any_tab.site.gate.reached.is_set, "the expansion to begin")
    any_tab.press("expand_stop")
    any_tab.page.wait_for_timeout(300)
    any_tab.site.gate.open.set()
    any_tab.find("#{tab}_prompt_container .kgen-message").wait_for()
    assert (message(any_tab), any_tab.prompt, shown(any_tab)) == ("Cancelled.", "cat", ["expand"])


def test_a_click_on_stop_before_the_server_has_begun_cancels_too(page: BrowserPage) -> None:
    buttons = "['expand', 'expand_stop'].map((name) => document.querySelector('#kgen_txt2img_' + name))"
    page.page.evaluate(f"() => {{ const [start, stop] = {buttons}; start.click(); setTimeout(() => stop.click()); }}")
    page.find("#{tab}_prompt_container .kgen-message").wait_for()
    assert (message(page), page.prompt) == ("Cancelled.", "cat")


def test_a_second_click_on_stop_does_not_wait_for_a_lost_answer(page: BrowserPage) -> None:
    page.site.gate.reset(open=False)
    page.press("expand")
    page.until(page.site.gate.reached.is_set, "the expansion to begin")
    page.press("expand_stop")
    page.press("expand_stop")
    page.until(lambda: shown(page) == ["expand"], "the button to expand")  # gradio 4 runs our script after the click


def test_an_error_of_the_button_in_the_tool_row_is_shown_at_the_prompt(any_tab: BrowserPage) -> None:
    any_tab.site.stage.expander.failure = UserError("Banned tags: no", hint="leave it out")
    expand(any_tab)
    assert message(any_tab) == "Banned tags: no (leave it out)"


def test_a_long_error_begins_beside_its_sign(page: BrowserPage) -> None:
    page.site.stage.expander.failure = UserError(f"Banned tags: {'no ' * 60}", hint="leave it out")
    expand(page)
    top = page.find("#{tab}_prompt_container .kgen-message").evaluate("""(line) => {
        const words = document.createRange();
        words.selectNodeContents(line);
        return words.getClientRects()[0].top - line.getBoundingClientRect().top;
    }""")
    assert top < 16


def test_nothing_added_is_said(page: BrowserPage) -> None:
    page.site.stage.expander.adds_nothing = True
    expand(page)
    assert message(page).startswith("Nothing was added.")


def test_the_line_at_the_prompt_goes_when_the_prompt_is_edited(page: BrowserPage) -> None:
    expand(page)
    page.find("#{tab}_prompt textarea").press("End")
    page.find("#{tab}_prompt textarea").type(", hat")
    assert page.find(".kgen-message").count() == 0


def tick(page: BrowserPage) -> None:
    page.find("#kgen_{tab}_enabled-checkbox input[type=checkbox]").check()


def send(page: BrowserPage) -> None:
    """Send the image to img2img, and wait until the host has copied the controls."""
    page.find("#txt2img_send_to_img2img").click()
    page.tab = "img2img"
    page.until(lambda: page.value("ban", "textarea") == "hat", "the host's copy")


def test_an_image_sent_to_img2img_keeps_the_words_of_its_expansion(page: BrowserPage) -> None:
    tick(page)
    page.fill("ban", "hat")
    first = page.generate()
    send(page)
    page.find("#img2img_seed input").fill("9")  # another image
    assert (first, page.generate()) == ("cat, word7", "cat, word7")


def test_an_image_sent_without_expansion_keeps_the_pages_own_seed(page: BrowserPage) -> None:
    page.fill("ban", "hat")
    page.generate()
    send(page)
    assert page.value("seed") == "-1"


@pytest.fixture
def history(page: BrowserPage) -> BrowserPage:
    """The page with the history open and one expansion in it: of “cat”, with “hat” banned."""
    current_history().clear(favourites=True)
    page.fill("ban", "hat")
    preview(page)
    current_history().wait()
    page.find("#kgen_{tab}_fold_history .label-wrap").click()
    page.find("#kgen_{tab}_history .kgen-card").wait_for()
    return page


def cards(page: BrowserPage) -> list[str]:
    """Return the texts that the history lists."""
    return [str(text) for text in page.page.locator(f"#kgen_{page.tab}_history .kgen-text").all_inner_texts()]


def press_in_history(page: BrowserPage, label: str) -> None:
    """Press a button of the history's list, by its words."""
    page.page.locator(f"#kgen_{page.tab}_history button", has_text=label).first.click()


def until_history_says(page: BrowserPage, line: str) -> None:
    page.until(lambda: line in page.find("#kgen_{tab}_history").inner_text(), f"“{line}” in the history")


def add_to_history(page: BrowserPage, prompt: str) -> None:
    """Expand another prompt, and wait until the history lists two."""
    page.prompt = prompt
    page.press("preview")
    page.until(lambda: prompt in page.find("#kgen_{tab}_panel .kgen-text").inner_text(), "the preview")
    current_history().wait()
    press_in_history(page, "Refresh")
    page.until(lambda: len(cards(page)) == 2, "two expansions")


def test_opening_the_history_lists_a_previews_expansion(history: BrowserPage) -> None:
    source, added = history.page.locator("#kgen_txt2img_history .kgen-text span").all_inner_texts()
    assert (source, added.lstrip(", ")) == ("cat", "word7")


def test_on_a_phone_the_buttons_of_a_history_card_are_on_one_line(history: BrowserPage) -> None:
    history.page.set_viewport_size({"width": 390, "height": 844})
    tops = history.page.locator("#kgen_txt2img_history .kgen-card button").evaluate_all(
        "(buttons) => buttons.map((button) => button.getBoundingClientRect().top)"
    )
    assert len(tops) == 3 and len(set(tops)) == 1


def test_the_history_is_kept_in_the_hosts_folder(history: BrowserPage) -> None:
    assert (history.site.stage.host.root / FILE).is_file()


def test_use_result_in_the_history_fills_the_prompt_box(history: BrowserPage) -> None:
    press_in_history(history, "Use result")
    until_history_says(history, "The expanded prompt is in the prompt box.")
    assert history.prompt == "cat, word7"


def test_what_use_result_in_the_history_did_can_be_undone(history: BrowserPage) -> None:
    press_in_history(history, "Use result")
    history.until(lambda: history.prompt == "cat, word7", "the expanded prompt")
    history.find("#{tab}_prompt textarea").press("Control+z")
    assert history.prompt == "cat"


def test_use_again_in_the_history_brings_the_prompt_and_the_controls_back(history: BrowserPage) -> None:
    history.prompt = "dog"
    history.fill("ban", "")
    press_in_history(history, "Use again")
    until_history_says(history, "The prompt and the settings are as they were.")
    history.until(lambda: history.value("ban", "textarea") == "hat", "the banned tags")
    assert (history.prompt, history.value("seed")) == ("cat", "7")


def test_a_search_of_the_history_hides_the_rest(history: BrowserPage) -> None:
    add_to_history(history, "dog")
    history.find("#kgen_{tab}_history_search").locator("input, textarea").first.fill("dog")
    history.until(lambda: cards(history) == ["dog, word7"], "the match alone")


def test_favourites_only_shows_what_has_a_star_in_the_history(history: BrowserPage) -> None:
    press_in_history(history, "☆")
    history.page.locator("#kgen_txt2img_history .kgen-starred").wait_for()
    add_to_history(history, "dog")
    history.find("#kgen_{tab}_history_starred input").check()
    history.until(lambda: cards(history) == ["cat, word7"], "the favourite alone")


def test_the_first_press_on_clear_history_deletes_nothing(history: BrowserPage) -> None:
    press_in_history(history, "Clear history")
    until_history_says(history, "Delete 1 expansion")
    assert cards(history) == ["cat, word7"]


def test_the_second_press_on_clear_history_keeps_favourites(history: BrowserPage) -> None:
    press_in_history(history, "☆")
    history.page.locator("#kgen_txt2img_history .kgen-starred").wait_for()
    add_to_history(history, "dog")
    press_in_history(history, "Clear history")
    until_history_says(history, "Delete 1 expansion")
    press_in_history(history, "Delete 1 expansion")
    until_history_says(history, "Deleted: 1.")
    assert cards(history) == ["cat, word7"]
