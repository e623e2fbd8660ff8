"""The demo page in headless Chromium: what a visitor sees, and what happens when they leave."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from browser_kit import browser, check_requirements
from demo_kit import FakeModel, built, fake_runner, needs_gradio

needs_gradio()

from kgen_ext.demo.limits import Limits  # noqa: E402
from kgen_ext.demo.page import Service  # noqa: E402
from kgen_ext.demo.server import Address, find_port, require_gradio, serving  # noqa: E402
from kgen_ext.errors import UserError  # noqa: E402

# gradio's server leaves sockets to the garbage collector, which may come at any time.
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.filterwarnings("ignore::UserWarning"),
              pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]  # fmt: skip


@dataclass
class Site:
    """The served page: its address, and the fake model behind it."""

    url: str
    service: Service
    model: FakeModel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    check_requirements()
    require_gradio()
    runner = fake_runner()
    service = Service(runner, Limits(each=1, candidates=3), tmp_path_factory.mktemp("pairs"))
    with serving(built(service), Address(), find_port("127.0.0.1", None)) as (url, _):
        yield Site(url, service, runner.pool.model)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Any]:
    with browser() as context:
        yield context


@dataclass
class Visit:
    """A page in the browser. asked: addresses it fetched. faults: errors of its scripts."""

    page: Any
    asked: list[str]
    faults: list[str]

    def field(self, name: str, kind: str = "textarea, input") -> Any:
        return self.page.locator(f"#kgen_{name} :is({kind})").first

    def press(self, name: str) -> None:
        self.page.locator(f"#kgen_{name}").click()

    @property
    def panel(self) -> str:
        return str(self.page.locator("#kgen_panel").inner_text())

    def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(200):
            if condition():
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"the browser waited in vain for {what}; the panel says {self.panel!r}")

    def shows(self, words: str) -> None:
        self.until(lambda: words in self.panel, repr(words))


@pytest.fixture
def visit(site: Site, chromium: Any) -> Iterator[Callable[..., Visit]]:
    """Return what opens a page with a query."""
    opened: list[Visit] = []

    def open_page(query: str = "") -> Visit:
        asked: list[str] = []
        faults: list[str] = []
        page = chromium.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(site.url + query, wait_until="domcontentloaded")
        page.wait_for_selector("#kgen_prompt textarea")
        found = Visit(page, asked, faults)
        opened.append(found)
        found.until(lambda: bool(found.field("model", "input").input_value()), "the page to be filled")
        return found

    yield open_page
    site.model.gate.set()
    site.model.failure = None
    for found in opened:
        if not found.page.is_closed():
            found.page.close()
    assert [fault for found in opened for fault in found.faults] == []


Open = Callable[..., Visit]


def expand(page: Visit, prompt: str = "cat", seed: str = "3") -> None:
    page.field("prompt").fill(prompt)
    page.page.get_by_text("Format, seed and size").click()
    page.page.wait_for_timeout(200)  # gradio gives a box that was just opened its first value, over what is typed then
    page.field("seed", "input").fill(seed)
    page.press("expand")


def test_a_run_shows_the_prompt_with_what_was_added(visit: Open) -> None:
    page = visit()
    expand(page)
    page.shows("cat, word3")


def test_what_was_added_is_tinted(visit: Open) -> None:
    page = visit()
    expand(page)
    page.shows("word3")
    assert page.page.locator("#kgen_panel .kgen-added").inner_text().strip() == ", word3"


def test_time_tokens_and_calls_are_shown(visit: Open) -> None:
    page = visit()
    expand(page, seed="1001")
    page.shows("7 tokens in 2 calls of the model")


def test_a_link_opens_the_same_run_and_runs_it(visit: Open) -> None:
    page = visit()
    expand(page, "dog", "77")
    page.shows("dog, word77")
    link = page.page.locator("#kgen_panel a.kgen-link").get_attribute("href")
    visit(link.removeprefix("./")).shows("dog, word77")


def test_a_link_with_a_wrong_value_is_told_and_runs_nothing(visit: Open, site: Site) -> None:
    before = len(site.model.asked)
    page = visit("?prompt=cat&seed=x")
    page.shows("The link cannot be used: Seed")
    page.page.wait_for_timeout(500)
    assert len(site.model.asked) == before


def test_an_example_runs_at_a_click(visit: Open) -> None:
    page = visit()
    page.page.get_by_role("button", name="A shrine in autumn").click()
    page.shows("1girl, fox ears, shrine, autumn leaves, word3")


def test_candidates_stand_side_by_side(visit: Open) -> None:
    page = visit("?prompt=cat&seed=3&count=2")
    page.shows("Candidate 2")
    tops = [page.page.locator("#kgen_panel .kgen-card").nth(number).bounding_box()["y"] for number in range(2)]
    assert tops[0] == tops[1]


def test_a_growing_prompt_is_shown(visit: Open, site: Site) -> None:
    site.model.gate.clear()
    page = visit()
    expand(page)
    page.shows("cat, word3")
    assert "Writing" in page.panel


def test_stop_ends_a_run(visit: Open, site: Site) -> None:
    site.model.gate.clear()
    page = visit()
    expand(page)
    page.shows("Writing")
    page.press("stop")
    page.shows("Stopped. What was complete is kept.")


def test_places_in_the_queue_are_shown(visit: Open, site: Site) -> None:
    site.model.gate.clear()
    first, second = visit(), visit()
    expand(first)
    first.shows("Writing")
    expand(second)
    second.shows("Waiting: one run comes before yours.")
    site.model.gate.set()
    second.shows("cat, word3")


def test_a_browser_closed_in_the_middle_lets_the_next_run(visit: Open, site: Site) -> None:
    site.model.gate.clear()
    first, second = visit(), visit()
    expand(first)
    first.shows("Writing")
    expand(second, "dog")
    second.shows("Waiting")
    first.page.close()
    second.shows("dog, word3")


def test_an_error_is_one_line_on_the_page(visit: Open, site: Site) -> None:
    site.model.failure = UserError("ban: no", hint="leave it out")
    page = visit()
    expand(page)
    page.shows("Banned tags: no (leave it out)")


def test_a_failure_shows_no_traceback(visit: Open, site: Site) -> None:
    site.model.failure = RuntimeError("broken")
    page = visit()
    expand(page)
    page.shows("RuntimeError: broken")
    assert "Traceback" not in page.page.content()


def test_a_prompt_of_a_megabyte_is_told_and_the_page_goes_on(visit: Open) -> None:
    page = visit()
    expand(page, "cat, " * 200_000)
    page.shows("1,000,000 characters, and this page takes 20,000")
    page.field("prompt").fill("cat")
    page.press("expand")
    page.shows("cat, word3")


def test_a_dantaggen_has_fields_for_names(visit: Open) -> None:
    page = visit("?model=tags&seed=1&prompt=cat&characters=miku")
    page.shows("miku, cat, word1")
    assert page.field("characters").is_visible()


def test_other_models_have_no_fields_for_names(visit: Open) -> None:
    assert not visit().field("characters").is_visible()


def test_the_page_asks_no_other_machine(visit: Open, site: Site) -> None:
    page = visit()
    expand(page)
    page.shows("word3")
    assert [url for url in page.asked if not url.startswith((site.url, "data:", "blob:"))] == []


def test_closed_routes_are_closed(site: Site) -> None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    with pytest.raises(HTTPError, match="404"):
        urlopen(Request(f"{site.url}gradio_api/upload", data=b"x", method="POST"), timeout=10)


def test_the_page_fits_a_telephone(visit: Open) -> None:
    page = visit("?prompt=cat&seed=3&count=2")
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.shows("Candidate 2")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_signs_in_a_hint_are_shown(visit: Open) -> None:
    page = visit()
    page.page.get_by_text("Tags: banned, required, locked").click()
    hint = page.page.locator("#kgen_ban")
    page.until(lambda: "*_hair, /blue .*/" in hint.inner_text().replace("\u2028", " "), "the hint with its signs")
