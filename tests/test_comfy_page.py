"""The page's part of the ComfyUI nodes, in node with a small fake page: result box, button, list of models."""
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).resolve().parents[1] / "kgen_ext" / "comfy" / "web"
# Elements with children and text; a graph's node with widgets; a server with answers by route.
PAGE = """
class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.listeners = {}; this.attributes = {}; this.own = "";
                     this.classList = {toggle: (name, on) => { this[name] = on; }}; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  set textContent(text) { this.own = text; this.children = []; }
  get textContent() { return this.own + this.children.map((c) => c.textContent ?? c).join(" "); }
  addEventListener(event, call) { this.listeners[event] = call; }
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { delete this.attributes[name]; delete this[name]; }
  querySelectorAll(tag) { return this.find((e) => e.tag === tag); }
  find(match) {
    return this.children.filter((c) => c.find).flatMap((c) => [...(match(c) ? [c] : []), ...c.find(match)]);
  }
  showModal() { this.shown = true; }
  close() { this.shown = false; this.listeners.close?.(); }
  remove() { document.body.children = document.body.children.filter((c) => c !== this); }
}
globalThis.LiteGraph = {NODE_WIDGET_HEIGHT: 20};
globalThis.requestAnimationFrame = (call) => frames.push(call);
export const frames = [];
globalThis.document = {createElement: (tag) => new Element(tag), body: new Element("body"), head: new Element("head")};
export const asked = [], answers = {}, toasts = [];
export let extension;
export const app = {
  graph: {extra: {}, getNodeById: (id) => app.nodes[id] ?? null}, nodes: {}, refreshed: 0,
  registerExtension(given) { extension = given; },
  async refreshComboInNodes() { app.refreshed++; },
  extensionManager: {setting: {get: () => app.locale ?? "en"}, toast: {add: (given) => toasts.push(given)}},
};
export const events = {};
export const api = {addEventListener: (name, call) => { events[name] = call; }, async fetchApi(route, options = {}) {
  asked.push([route, options.method ?? "GET", options.body ?? null, options.headers ?? null]);
  let answer = answers[route];
  if (Array.isArray(answer)) answer = answer.length > 1 ? answer.shift() : answer[0];
  if (answer === undefined) throw new Error("offline");
  const {status = 200, ...body} = answer;
  return {ok: status < 400, status, json: async () => body};
}};
export class Node {
  constructor(names = []) {
    this.widgets = names.map((name) => ({name, value: name + "!", options: {advanced: name.startsWith("top_")}}));
    this.size = [200, 100];
  }
  addWidget(type, name, value, call, options) { return this.put({type, name, value, call, options}); }
  addDOMWidget(name, type, element, options) { return this.put({name, type, element, options}); }
  put(widget) { this.widgets.push(widget); return widget; }
  // As the page does: what is hidden counts for nothing, but the layout asks each widget for its room.
  isWidgetVisible(widget) { return !(widget.advanced && !this.showAdvanced); }
  computeSize() {
    const rooms = this.widgets.filter((w) => w.advanced && this.showAdvanced).map((w) => w.computeSize()[1] + 4);
    return [220, rooms.reduce((sum, room) => sum + room, 300)];
  }
  setSize(size) { this.size = size; }
  toggleAdvanced() {
    this.showAdvanced = !this.showAdvanced;
    this.setSize([this.size[0], Math.max(this.size[1], this.computeSize()[1])]);
  }
  getSlotFromWidget(widget) { return {link: this.links?.[widget.name] ?? null}; }
}
export function nodeType(category = "KGen", names = ["prompt", "model"]) {
  const type = class extends Node { constructor() { super(names); this.onNodeCreated?.(); } };
  extension.beforeRegisterNodeDef(type, {name: "any", category});
  return type;
}
export const tick = () => new Promise((resume) => setTimeout(resume, 20));
export const model = (more = {}) => ({
  id: "big", title: "Big", licence: "MIT", licence_url: "https://x.test/l", notes: "", installed: false,
  files: [{name: "big:F16", shown_size: "406 MB", installed: false}], ...more});
export const tell = (value) => console.log(JSON.stringify(value));
"""
BEFORE = """
import {
  app, api, asked, answers, events, toasts, extension, frames, nodeType, Node, tick, tell, model,
} from "./page.js";
await import("../extensions/kgen/kgen.js");
const {openModels} = await import("../extensions/kgen/models.js");
answers["/kgen/download"] = {download: null};
answers["/kgen/models"] = {models: [model()], folder: "/models/kgen", offline: []};
const dialog = () => document.body.children[0];
const buttons = (word) => dialog().find((e) => e.tag === "button" && e.textContent === word);
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return a function that runs a script beside ours and returns what it passes to `tell`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    shutil.copytree(WEB, tmp_path / "extensions" / "kgen")
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "page.js").write_text(PAGE, "utf-8")
    for name in ("app", "api"):
        (scripts / f"{name}.js").write_text(f'export {{ {name} }} from "./page.js";', "utf-8")

    def run_script(script: str) -> Any:
        (scripts / "main.js").write_text(BEFORE + script, "utf-8")
        done = subprocess.run([node, "main.js"], cwd=scripts, capture_output=True, timeout=60, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run_script


RUN = 'const node = new (nodeType())(); node.onExecuted({kgen: [{prompt: "a, b"}, {prompt: "c"}]});\n'


def test_what_was_written_is_shown_on_the_node(run: Any) -> None:
    assert run(RUN + "tell(node.widgets.at(-1).kgenBox.value);") == "a, b\n\nc"


def test_a_second_run_takes_the_same_box(run: Any) -> None:
    told = run(RUN + """
        node.onExecuted({kgen: [{prompt: "d"}]}); tell([node.widgets.length, node.widgets.at(-1).kgenBox.value]);
    """)
    assert told == [4, "d"]


@pytest.mark.parametrize("place", [-1, -2])
def test_neither_box_nor_button_is_among_the_values_of_a_workflow(run: Any, place: int) -> None:
    assert run(RUN + f"const w = node.widgets.at({place}); tell([w.serialize, w.options.serialize]);") == [False, False]


def test_the_node_grows_by_the_box(run: Any) -> None:
    assert run(RUN + "tell(node.size);") == [220, 300]


def test_a_node_in_the_place_of_a_smaller_one_grows(run: Any) -> None:
    assert run("const node = new (nodeType())(); node.size = [400, 50]; frames[0](); tell(node.size);") == [400, 300]


@pytest.mark.parametrize(("told_before", "told"), [
    ("node.onAdded(node.graph);", 1), ("", 1), ("delete node.graph;", 0),
])  # fmt: skip
def test_a_node_is_told_once_that_it_was_added(run: Any, told_before: str, told: int) -> None:
    made = run(f"""
        const type = nodeType(), made = []; type.prototype.onAdded = (graph) => made.push(graph);
        const node = new type(); node.graph = app.graph; {told_before} frames[0](); tell(made.length);
    """)
    assert made == told


def test_notes_stand_under_the_text_once(run: Any) -> None:
    entries = '[{prompt: "a", notes: ["short"]}, {prompt: "b", notes: ["short"]}]'
    told = run(RUN + f"node.onExecuted({{kgen: {entries}}}); tell(node.widgets.at(-1).kgenNotes.textContent);")
    assert told == "short"


FOLD = """
const node = new (nodeType("KGen", ["prompt", "top_k", "top_p"]))(), [prompt, first, second, toggle] = node.widgets;
const rooms = () => node.widgets.filter((w) => w.computeSize).map((w) => w.computeSize()[1] + 4);
"""


def test_advanced_inputs_are_folded_and_take_no_room(run: Any) -> None:
    told = run(FOLD + "tell([node.widgets.map((w) => node.isWidgetVisible(w)), rooms(), node.size]);")
    assert told == [[True, False, False, True], [0, 0], [200, 300]]


def test_the_button_shows_advanced_inputs_and_folds_them_again(run: Any) -> None:
    told = run(FOLD + """
        node.setSize([200, 350]); const told = [];
        for (let i = 0; i < 2; i++) {
          toggle.call(); told.push([node.showAdvanced, rooms(), node.size[1], toggle.label]);
        }
        tell(told);
    """)
    assert told == [[True, [24, 24], 398, "Hide advanced inputs"], [False, [0, 0], 350, "Show advanced inputs"]]


def test_an_advanced_input_with_a_link_stays_in_sight(run: Any) -> None:
    told = run(FOLD + 'node.links = {top_p: 5}; tell(node.widgets.map((w) => node.isWidgetVisible(w)));')
    assert told == [True, False, True, True]


def test_the_button_is_no_value_of_a_workflow_and_not_in_nodes_2(run: Any) -> None:
    told = run(FOLD + "tell([toggle.name, toggle.serialize, toggle.options]);")
    assert told == ["kgen_advanced", False, {"serialize": False, "hidden": True}]


def test_a_page_is_told_what_a_cached_node_wrote(run: Any) -> None:
    told = run("""
        await extension.init(); const node = new (nodeType())(); app.nodes[5] = node;
        events.kgen_written({detail: {"5": [{prompt: "a"}], "6": [{prompt: "b"}]}});
        tell(node.widgets.at(-1).kgenBox.value);
    """)
    assert told == "a"


def test_other_packs_nodes_are_left_alone(run: Any) -> None:
    told = run('const node = new (nodeType("image"))(); tell([node.widgets.length, Boolean(node.onExecuted)]);')
    assert told == [2, False]


def test_a_node_without_a_model_has_no_button(run: Any) -> None:
    assert run('tell(new (nodeType("KGen", ["format"]))().widgets.length);') == 1


def test_an_images_workflow_shows_what_its_nodes_wrote(run: Any) -> None:
    told = run("""
        const node = new (nodeType())(); app.nodes[5] = node;
        app.graph.extra = {kgen: {"5": [{prompt: "a"}], "6": [{prompt: "b"}]}};
        extension.afterConfigureGraph(); tell(node.widgets.at(-1).kgenBox.value);
    """)
    assert told == "a"


def test_a_node_in_a_subgraph_is_found(run: Any) -> None:
    told = run("""
        const node = new (nodeType())(); app.nodes[3] = {subgraph: {getNodeById: (id) => id === "1" ? node : null}};
        app.graph.extra = {kgen: {"3:1": [{prompt: "a"}]}};
        extension.afterConfigureGraph(); tell(node.widgets.at(-1).kgenBox.value);
    """)
    assert told == "a"


def test_what_was_shown_is_in_no_later_workflow(run: Any) -> None:
    told = run('app.graph.extra = {ds: 1, kgen: {"5": []}}; extension.afterConfigureGraph(); tell(app.graph.extra);')
    assert told == {"ds": 1}


def test_the_list_shows_size_and_licence_before_a_download(run: Any) -> None:
    told = run('await openModels("big"); tell([dialog().textContent, asked.map((a) => a[1])]);')
    assert ("406 MB" in told[0], "MIT" in told[0], set(told[1])) == (True, True, {"GET"})


def test_the_model_of_the_node_is_marked(run: Any) -> None:
    told = run('await openModels("big"); tell(dialog().find((e) => e.tag === "tr").map((e) => e.className ?? ""));')
    assert told == ["", "kgen-chosen"]


def test_a_licence_that_is_no_web_address_is_no_link(run: Any) -> None:
    told = run("""
        answers["/kgen/models"].models = [model({licence_url: "javascript:alert(1)"})];
        await openModels("big"); tell(dialog().find((e) => e.tag === "a").length);
    """)
    assert told == 0


def test_a_click_asks_for_the_file(run: Any) -> None:
    told = run("""
        const end = {state: "done", line: "big is installed", fraction: 1};
        answers["/kgen/download"] = [{download: null}, {download: end}];
        await openModels("big"); buttons("Download")[0].onclick(); await tick();
        tell(asked.find((a) => a[1] === "POST"));
    """)
    assert told == ["/kgen/download", "POST", '{"model":"big:F16"}', {"Content-Type": "application/json"}]


@pytest.mark.parametrize("state", ["failed", "done"])
def test_a_download_that_ends_at_once_says_how(run: Any, state: str) -> None:
    told = run(f"""
        const end = {{state: "{state}", line: "the end", fraction: null}};
        answers["/kgen/download"] = [{{download: null}}, {{download: end}}];
        await openModels("big"); buttons("Download")[0].onclick(); await tick();
        tell([dialog().find((e) => e.className === "kgen-line")[0].textContent, app.refreshed]);
    """)
    assert told == ["the end", 1]


def test_a_download_that_ended_before_is_not_shown_anew(run: Any) -> None:
    told = run("""
        answers["/kgen/download"] = {download: {state: "failed", line: "the end", fraction: null}};
        await openModels("big"); tell(dialog().find((e) => e.className === "kgen-status")[0].hidden);
    """)
    assert told is True


def test_a_refusal_is_shown_with_its_hint(run: Any) -> None:
    told = run("""
        await openModels("big");
        answers["/kgen/download"] = {status: 409, error: {message: "another download is running", hint: "wait for it"}};
        buttons("Download")[0].onclick(); await tick();
        tell(dialog().find((e) => e.className === "kgen-line")[0].textContent);
    """)
    assert told == "another download is running (wait for it)"


def test_a_server_that_is_gone_is_named(run: Any) -> None:
    told = run("""
        delete answers["/kgen/models"]; await openModels("big");
        tell(dialog().find((e) => e.className === "kgen-line")[0].textContent);
    """)
    assert told == "ComfyUI does not answer: offline"


def test_the_lists_of_the_nodes_are_read_anew_after_a_download(run: Any) -> None:
    told = run("""
        const running = {state: "running", line: "big: 5 %", fraction: 0.05};
        const end = {state: "done", line: "big is installed", fraction: 1};
        answers["/kgen/download"] = [{download: running}, {download: end}];
        await openModels("big");
        tell([app.refreshed, dialog().find((e) => e.className === "kgen-line")[0].textContent]);
    """)
    assert told == [1, "big is installed"]


def test_a_download_whose_list_was_closed_tells_its_end(run: Any) -> None:
    told = run("""
        const running = {state: "running", line: "big: 5 %", fraction: 0.05};
        const end = {state: "failed", line: "disk full", fraction: null};
        answers["/kgen/download"] = [{download: running}, {download: end}];
        const opened = openModels("big"); await tick(); dialog().close(); await opened; tell(toasts);
    """)
    assert told == [{"severity": "error", "summary": "KGen", "detail": "disk full", "life": 8000}]


def test_offline_nothing_can_be_downloaded(run: Any) -> None:
    told = run("""
        answers["/kgen/models"].offline = ["HF_HUB_OFFLINE"]; await openModels("big");
        tell([buttons("Download")[0].disabled, dialog().textContent.includes("HF_HUB_OFFLINE")]);
    """)
    assert told == [True, True]


def test_texts_are_in_the_pages_language(run: Any) -> None:
    told = run("""
        app.locale = "ja"; answers["/i18n"] = {ja: {kgen: {download_model: "ダウンロード"}}};
        await extension.init(); tell(new (nodeType())().widgets.at(-1).label);
    """)
    assert told == "ダウンロード"
