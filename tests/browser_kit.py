"""A page like a host's, served by the installed gradio, and headless Chromium to look at it.

    #tabs  txt2img: prompt, tool row, Generate, size, seed, our accordion, the image's infotext, “Send to img2img”
           img2img: the same without “Send to”

Everything the browser sees is real but the host's part: jobs run in the fake host, and no image is made. “Send to
img2img” is connected as the hosts connect it, by the names of paste fields.
"""
from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from matrix import BROWSERS
from page_kit import install_gradio_parts
from webui_kit import Stage, forget, set_stage

from kgen_ext.webui import ui
from kgen_ext.webui.controls import CONTROLS

ROOT = Path(__file__).resolve().parents[1]
TABS = ("txt2img", "img2img")
# Nothing but this machine can be reached. (A route in its place would switch off the browser's cache.)
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # fmt: skip
# What the hosts' own scripts define.
_HOST_SCRIPT = """
window.gradioApp = () => document;
window.selected_gallery_index = () => 0;
window.onUiLoaded = (call) => {};
window.onAfterUiUpdate = (call) => setInterval(call, 100);
"""


@dataclass
class Gate:
    """Holds the fake expander before its rows while it is closed."""

    open: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def wait(self, row: int) -> None:
        self.reached.set()
        self.open.wait(20)

    def reset(self, *, open: bool) -> None:
        self.reached.clear()
        self.open.set()
        if not open:
            self.open.clear()


@dataclass
class Site:
    """The served page: its address, the stage behind it, and the gate of its expander."""

    url: str
    stage: Stage
    gate: Gate


@dataclass
class BrowserPage:
    """The page in a browser; `tab` is the one in front."""

    site: Site
    page: Any
    tab: str = "txt2img"

    def find(self, selector: str) -> Any:
        """Return an element of the tab; {tab} in the selector is its name."""
        return self.page.locator(selector.replace("{tab}", self.tab)).first

    def press(self, name: str) -> None:
        """Press one of our buttons, by the end of its id."""
        self.find(f"#kgen_{{tab}}_{name}").click()

    @property
    def prompt(self) -> str:
        return str(self.find("#{tab}_prompt textarea").input_value())

    @prompt.setter
    def prompt(self, text: str) -> None:
        self.find("#{tab}_prompt textarea").fill(text)

    def value(self, field: str, kind: str = "input") -> str:
        """Return the value of one of our controls."""
        return str(self.find(f"#kgen_{{tab}}_{field} {kind}").input_value())

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, for at most twenty seconds."""
        for _ in range(200):
            if condition():
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"the browser waited in vain for {what}")

    def fill(self, field: str, text: str) -> None:
        """Fill one of our text boxes, in whatever fold it is."""
        box = self.find(f"#kgen_{{tab}}_{field} textarea")
        box.evaluate("(box, text) => {box.value = text; box.dispatchEvent(new Event('input', {bubbles: true}))}", text)

    def generate(self) -> str:
        """Generate an image and return its prompt."""
        info = self.find("#generation_info_{tab} textarea")
        before = info.input_value()
        self.find("#{tab}_generate").click()
        self.until(lambda: info.input_value() != before, "an image")
        return str(json.loads(info.input_value())["infotexts"][0].split("\n")[0])

    def show_tab(self, tab: str) -> None:
        """Bring a tab to the front."""
        self.page.get_by_role("tab", name=tab).or_(self.page.locator(".tab-nav button", has_text=tab)).first.click()
        self.tab = tab


def require(why: str) -> None:
    """Skip the tests, or fail where a browser is required."""
    if os.environ.get("KGEN_REQUIRE_BROWSER"):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def browser() -> Iterator[Any]:
    """Start headless Chromium; yield what opens pages in it."""
    from playwright.sync_api import sync_playwright

    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=[*_OPTIONS])
        yield running.new_context(viewport={"width": 1280, "height": 1000})
        running.close()


def check_requirements() -> None:
    """Skip or fail where gradio, playwright or Chromium is missing."""
    for package in ("gradio", "playwright"):
        if importlib.util.find_spec(package) is None:
            require(f"{package} is not installed")
    if not any(map(shutil.which, BROWSERS)):
        require("no Chromium is installed")


@contextmanager
def served_page(tmp_path: Path) -> Iterator[Site]:
    """Serve the page."""
    with pytest.MonkeyPatch.context() as monkeypatch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gradio's, about its dependencies and its server
        monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        stage = set_stage(monkeypatch, tmp_path)
        gate = Gate()
        stage.expander.before_row = gate.wait
        # In an event loop: without one, gradio creates its own and leaves them open.
        blocks = asyncio.run(_build(monkeypatch, stage))
        with socket.socket() as free:  # gradio's own first choice is where a WebUI runs
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        _, url, _ = blocks.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True,
                                  show_api=False)  # fmt: skip
        try:
            yield Site(url, stage, gate)
        finally:
            blocks.server.force_exit = True  # does not wait for events that a closed page has left behind
            blocks.close(verbose=False)
            forget()


@contextmanager
def opened_page(context: Any, site: Site) -> Iterator[BrowserPage]:
    """Open the page, with our scripts."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(_HOST_SCRIPT)
    page.goto(site.url, wait_until="domcontentloaded")
    page.wait_for_selector("#txt2img_prompt textarea")
    for script in sorted((ROOT / "javascript").glob("*.js")):
        page.add_script_tag(path=str(script))
    try:
        yield BrowserPage(site, page)
    finally:
        page.close()
    assert [error for error in errors if "kgen" in error.lower()] == []


async def _build(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> Any:
    import gradio as gr

    install_gradio_parts(monkeypatch, gr, shown=True)
    fields: dict[str, list[tuple[Any, Any]]] = {}
    style = (ROOT / "style.css").read_text(encoding="utf-8")
    with gr.Blocks(analytics_enabled=False, css=style) as blocks, gr.Tabs(elem_id="tabs") as tabs:
        for tab in TABS:
            with gr.TabItem(tab, id=tab):
                script = stage.script if tab == TABS[0] else type(stage.script)()
                script.is_img2img = tab != TABS[0]
                fields[tab] = _build_tab(gr, stage, script, tab)
        names = ["Prompt", *stage.script.paste_field_names]
        send = gr.Button("Send to img2img", elem_id="txt2img_send_to_img2img")
        # As the hosts do: the controls whose entry is equal to a name, from the one tab to the other.
        send.click(fn=lambda *values: values,
                   inputs=[component for component, name in fields["txt2img"] if name in names],
                   outputs=[component for component, name in fields["img2img"] if name in names])  # fmt: skip
        update = getattr(gr.Tabs, "update", None) or gr.Tabs
        send.click(fn=lambda: update(selected="img2img"), inputs=[], outputs=[tabs])
    # As the hosts do: gradio 3 runs one event at a time unless told otherwise.
    return blocks.queue(concurrency_count=64) if gr.__version__.startswith("3.") else blocks.queue()


def _build_tab(gr: Any, stage: Stage, script: Any, tab: str) -> list[tuple[Any, Any]]:
    with gr.Column(elem_id=f"{tab}_prompt_container"):
        prompt = gr.Textbox(value="", lines=3, elem_id=f"{tab}_prompt")
    script.show(script.is_img2img)
    with gr.Row(elem_id=f"{tab}_tools"):
        gr.Button("style", elem_id=f"{tab}_style_apply")
        script.component_built(f"{tab}_style_apply")
    generate = gr.Button("Generate", elem_id=f"{tab}_generate")
    for side in ("width", "height"):
        gr.Slider(value=512, minimum=64, maximum=2048, elem_id=f"{tab}_{side}")
    seed = gr.Number(value=7, precision=0, elem_id=f"{tab}_seed")
    controls = ui.build(script, script.is_img2img)
    info = gr.Textbox(value="", elem_id=f"generation_info_{tab}")
    make = stage.host.img2img if script.is_img2img else stage.host.txt2img

    def run(text: str, number: Any, *values: Any) -> str:
        done = stage.host.run(make(script, args=values, prompt=text, seed=number))
        return json.dumps({"infotexts": done.infotexts})

    generate.click(fn=run, inputs=[prompt, seed, *controls], outputs=[info])
    assert len(controls) == len(CONTROLS)
    return [(prompt, "Prompt"), (seed, "Seed"), *script.infotext_fields]
