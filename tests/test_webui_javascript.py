"""The page's script in node, with a minimal fake browser; and the rules of the style sheet."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kgen_ext.webui.infotext import SEED, encode

ROOT = Path(__file__).resolve().parents[1]
# Elements by selector, an asker, and a text box whose undo takes what was typed.
BROWSER = """
const elements = {}, asked = [];
let answer = true;
const heard = {};  // by event: what listens on the document
const box = (value) => ({value: value, focus(how) { focused.push(how); }, blur() {}, setSelectionRange() {},
                         dispatchEvent() {}, addEventListener() {}});
globalThis.window = globalThis;
const focused = [], scrolled = [];
let cards = [];
globalThis.scrollBy = (way) => scrolled.push(way);
globalThis.matchMedia = () => ({matches: false});
globalThis.document = {
  addEventListener(event, call) { (heard[event] = heard[event] || []).push(call); },
  removeEventListener(event, call) { heard[event] = heard[event].filter((each) => each !== call); },
  execCommand(name, _, text) { elements["#txt2img_prompt textarea"].value = text; return name === "insertText"; },
};
globalThis.Event = class {};
globalThis.confirm = (text) => { asked.push(text); return answer; };
globalThis.gradioApp = () => ({querySelector: (selector) => elements[selector] || null,
                               querySelectorAll: (selector) => selector.endsWith(".kgen-use") ? cards : []});
// A card's button, with the classes of its card.
function card(prompt) {
  const set = new Set(), attributes = {};
  return {dataset: {kgen: JSON.stringify({prompt: prompt, source: "cat"})}, textContent: "Use this", set: set,
          getAttribute: (name) => attributes[name] || null,
          setAttribute(name, value) { attributes[name] = value; },
          closest: () => ({classList: {toggle(name, on) { on ? set.add(name) : set.delete(name); }}})};
}
globalThis.selected_gallery_index = () => selected;
let selected = -1;
"""


def run(script: str, *, files: Sequence[str] = ("kgen.js", "kgen_tools.js"), before: str = "") -> Any:
    """Return what a script passes to `tell`, run behind ours."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    source = "\n".join((ROOT / "javascript" / name).read_text(encoding="utf-8") for name in files)
    code = f"{BROWSER}{before}{source}\nconst tell = (value) => console.log(JSON.stringify(value));\n{script}"
    done = subprocess.run([node, "-"], input=code, capture_output=True, text=True, timeout=60, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_preview_gets_the_prompt_box_the_size_and_the_seed() -> None:
    told, *rest = run("""
        elements["#txt2img_prompt textarea"] = box("cat");
        elements["#txt2img_width input[type=number]"] = box("512");
        elements["#txt2img_seed input"] = box("-1");
        tell(kgen.page("txt2img", ["", 3, "default"]));
    """)
    page = json.loads(told)
    assert rest == [3, "default"]
    assert page.pop("id").endswith("-txt2img")
    assert page == {"tab": "txt2img", "prompt": "cat", "width": "512", "seed": "-1"}


def test_a_prompt_put_in_by_us_is_expanded_anew_from_its_source() -> None:
    told = run("""
        elements["#txt2img_prompt textarea"] = box("cat");
        kgen.use("txt2img", {prompt: "cat, hat", source: "cat"});
        tell([elements["#txt2img_prompt textarea"].value, kgen.page("txt2img", [""])[0], asked]);
    """)
    assert (told[0], json.loads(told[1])["prompt"], told[2]) == ("cat, hat", "cat", [])


@pytest.mark.parametrize("agreed", [True, False])
def test_a_prompt_edited_meanwhile_is_replaced_only_after_a_question(agreed: bool) -> None:
    value, asked = run(f"""
        answer = {json.dumps(agreed)};
        elements["#txt2img_prompt textarea"] = box("dog");
        kgen.use("txt2img", {{prompt: "cat, hat", source: "cat"}});
        tell([elements["#txt2img_prompt textarea"].value, asked.length]);
    """)
    assert (value, asked) == ("cat, hat" if agreed else "dog", 1)


def test_another_version_takes_the_place_of_one_of_ours_without_a_question() -> None:
    told = run("""
        elements["#txt2img_prompt textarea"] = box("cat");
        kgen.use("txt2img", {prompt: "cat, hat", source: "cat"});
        kgen.use("txt2img", {prompt: "cat, sun", source: "cat"});
        tell([elements["#txt2img_prompt textarea"].value, asked]);
    """)
    assert told == ["cat, sun", []]


def test_the_seed_comes_from_the_selected_image_its_own_one_first() -> None:
    plain = "cat\nSteps: 1, Seed: 5, Size: 64x64"
    texts = [plain, f'a, Seed: 1\nSteps: 1, Seed: 5, KGen prompt: "Seed: 9, a", {SEED}: 77']
    script = f"""
        elements["#generation_info_txt2img textarea"] = box({json.dumps(json.dumps({"infotexts": texts}))});
        const found = [];
        for (selected of [-1, 0, 1]) found.push(kgen.reuseSeed("txt2img", [-1])[0]);
        elements["#generation_info_txt2img textarea"].value = "";
        found.push(kgen.reuseSeed("txt2img", [3])[0]);
        tell(found);
    """
    assert run(script) == [5, 5, 77, 3]


@pytest.mark.parametrize(("infotext", "seed"), [
    ("cat, hat\nSteps: 1, Seed: 5, KGen: 1", "5"), ("cat, hat\nSteps: 1, Seed: 5, KGen: 1, KGen seed: 77", "77"),
    ("cat\nSteps: 1, Seed: 5, Size: 64x64", "-1"),
])  # fmt: skip
def test_an_image_that_is_sent_takes_along_the_seed_of_its_words(infotext: str, seed: str) -> None:
    script = f"""
        elements["#generation_info_txt2img textarea"] = box({json.dumps(json.dumps({"infotexts": [infotext]}))});
        elements["#kgen_txt2img_seed input"] = box("-1");
        elements["#kgen_img2img_seed input"] = box("3");
        kgenTools.sendSeed();
        tell(elements["#kgen_img2img_seed input"].value);
    """
    assert run(script) == seed


def test_the_button_in_the_tool_row_sends_the_page_and_the_number_of_its_run() -> None:
    told, *rest = run("""
        elements["#txt2img_prompt textarea"] = box("cat");
        kgenTools.expand("txt2img", ["", 3]);
        tell(kgenTools.expand("txt2img", ["", 3]));
    """)
    request = json.loads(told)
    assert (request["prompt"], request["run"], request["again"], rest) == ("cat", 2, False, [3])


def test_the_button_in_the_tool_row_draws_a_seed_for_a_prompt_that_it_has_expanded() -> None:
    told = run("""
        elements["#txt2img_prompt textarea"] = box("cat");
        kgenTools.expand("txt2img", [""]);
        kgenTools.show("txt2img", [JSON.stringify({run: 1, prompt: "cat, hat", source: "cat", added: 1, notes: []})]);
        tell(kgenTools.expand("txt2img", [""])[0]);
    """)
    assert (json.loads(told)["prompt"], json.loads(told)["again"]) == ("cat", True)


def test_the_answer_of_an_earlier_run_does_not_touch_the_prompt_box() -> None:
    told = run("""
        elements["#txt2img_prompt textarea"] = box("cat");
        kgenTools.expand("txt2img", [""]);
        kgenTools.expand("txt2img", [""]);
        kgenTools.show("txt2img", [JSON.stringify({run: 1, prompt: "cat, hat", source: "cat", added: 1, notes: []})]);
        tell(elements["#txt2img_prompt textarea"].value);
    """)
    assert told == "cat"


def test_a_run_is_cancelled_under_the_name_it_was_started_with() -> None:
    started, stopped = run("""
        elements["#txt2img_prompt textarea"] = box("cat");
        tell([kgenTools.expand("txt2img", [""])[0], kgenTools.stop("txt2img")[0]]);
    """)
    assert json.loads(started)["id"] == json.loads(stopped)["id"]


@pytest.mark.parametrize("line", ["no model", 'a "quoted", one: two', "512x768", "{a}\nb", "ü…"])
def test_what_an_infotext_says_is_read_as_it_was_written(line: str) -> None:
    written = encode("KGen error", line)
    quoted = json.dumps(written, ensure_ascii=False) if re.search("[,:\n]", written) else written
    infotext = f"cat\nSteps: 1, KGen error: {quoted}, Version: 1"
    assert run(f'tell(kgen.entries({json.dumps(infotext)})["KGen error"]);') == line


USED = """
    elements["#txt2img_prompt textarea"] = box("cat");
    cards = [card("cat, hat"), card("cat, bow")];
    kgen.use("txt2img", {prompt: "cat, hat", source: "cat"});
"""


def test_using_a_version_does_not_scroll_to_the_box() -> None:
    assert run(USED + "tell(focused);") == [{"preventScroll": True}]


def test_using_a_version_does_not_move_the_cards_on_the_screen() -> None:
    """The box grows with its text, above the cards."""
    panel = """
        const tops = [400, 520];
        elements["#kgen_txt2img_panel"] = {getBoundingClientRect: () => ({top: tops.shift()})};
    """
    assert run(panel + USED + "tell(scrolled);") == [{"top": 120, "behavior": "instant"}]


def test_the_card_in_use_is_marked() -> None:
    assert run(USED + "tell(cards.map((each) => [...each.set]));") == [["kgen-in-use"], []]


def test_the_button_of_the_card_in_use_says_so() -> None:
    assert run(USED + "tell(cards.map((each) => each.textContent));") == ["In use", "Use this"]


def test_a_card_is_no_longer_in_use_once_the_prompt_is_another() -> None:
    edited = """
        const prompt = elements["#txt2img_prompt textarea"];
        prompt.value = "cat";
        heard.input.forEach((call) => call({target: prompt}));
        tell(cards.map((each) => [...each.set, each.textContent]));
    """
    assert run(USED + edited) == [["Use this"], ["Use this"]]


def test_every_rule_of_the_style_stands_under_a_class_of_ours() -> None:
    style = re.sub(r"/\*.*?\*/", "", (ROOT / "style.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    selectors = [selector.strip() for rule in re.findall(r"([^{}]+)\{", style) for selector in rule.split(",")]
    assert selectors
    assert all(selector.startswith(".kgen-") for selector in selectors)
    assert re.findall(r"(?<!var\(--error-text-color, )#[0-9a-f]{3,6}\b", style) == [], "colours are the theme's"


HISTORY = """
const listeners = {}, pressed = [];
document.addEventListener = (name, call) => { listeners[name] = call; };
document.removeEventListener = () => {};
"""
CLICKS = """
elements["#txt2img_prompt textarea"] = box("dog");
const press = () => pressed.push(JSON.parse(kgen.history("txt2img", ["", "w", true])[0]));
elements["#kgen_txt2img_history_act"] = {click: press};
globalThis.matchMedia = () => ({matches: false});
globalThis.scrollTo = () => {};
const click = (asks, fold) => listeners.click({target: {closest: (selector) =>
    selector === ".label-wrap" ? fold && {closest: (inner) => inner === "#kgen_txt2img_" + fold ? {} : null}
    : selector === ".kgen-again" ? asks && {dataset: {kgenHistory: JSON.stringify(asks)}}
    : selector.startsWith("#kgen_txt2img_fold_history, ") ? {} : null}});
"""


def run_history(script: str) -> Any:
    return run(f"{CLICKS}{script}", files=("kgen.js", "kgen_folds.js"), before=HISTORY)


def test_a_button_of_the_history_fills_the_prompt_box_and_tells_the_rest() -> None:
    told = run_history("""
        click({action: "restore", id: 3, limit: 20, text: "cat"});
        tell([elements["#txt2img_prompt textarea"].value, pressed, asked]);
    """)
    assert told == ["cat", [{"action": "restore", "id": 3, "limit": 20}], []]


def test_opening_the_history_lists_it() -> None:
    told = run_history("""
        click(null, "fold_history");
        click(null);
        tell(pressed);
    """)
    assert told == [{"action": "list"}]


def test_opening_its_fold_tells_the_profile_anew() -> None:
    told = run_history("""
        let told = 0;
        elements["#kgen_txt2img_profile_fill"] = {click() { told += 1; }};
        click(null, "fold_format");
        click(null);
        tell([told, pressed]);
    """)
    assert told == [1, []]


def test_the_search_goes_along_with_a_button_of_the_history() -> None:
    assert run_history('tell(kgen.history("txt2img", ["", "w", true]).slice(1));') == ["w", True]


MODELS = """
const pressed = [];
for (const name of ["models_refresh", "models_get", "models_cancel", "models_dismiss", "models_ask"]) {
    elements["#kgen_txt2img_" + name] = {click() { pressed.push(name); }};
}
const list = elements["#kgen_txt2img_models_name"] = {};
const click = (target) => heard.click.forEach((call) => call({target: target, preventDefault() {}}));
const within = (...known) => ({dataset: {}, closest(selector) { return known.includes(selector) ? this : null; }});
const label = (open, inside) => ({
    closest(selector) { return selector === ".label-wrap" ? this : null; },
    classList: {contains: () => open},
    parentElement: {classList: {contains: (name) => name === "kgen-folded"}, contains: () => inside},
});
"""


@pytest.mark.parametrize("is_open, inside, pressed", [
    (False, True, ["models_refresh"]), (True, True, []), (False, False, []),
])  # fmt: skip
def test_the_models_are_looked_for_when_their_fold_is_opened(is_open: bool, inside: bool, pressed: list[str]) -> None:
    told = run(f"{MODELS} click(label({json.dumps(is_open)}, {json.dumps(inside)})); tell(pressed);")
    assert told == pressed


def test_the_offer_s_button_sends_its_model() -> None:
    told = run(MODELS + """
        const button = within(".kgen-press", "#kgen_txt2img_offer");
        button.dataset = {kgenPress: "models_get", kgenName: "TIPO-100M:F16"};
        click(button);
        tell([pressed, kgen.wantedModel("txt2img", ["", "starter"]), kgen.wantedModel("img2img", [""])]);
    """)
    assert told == [["models_get"], ["TIPO-100M:F16", "starter"], [""]]


def test_a_button_of_that_class_elsewhere_on_the_page_presses_nothing() -> None:
    told = run(MODELS + """
        const button = within(".kgen-press");
        button.dataset = {kgenPress: "models_get", kgenName: "x"};
        click(button);
        tell(pressed);
    """)
    assert told == []


def test_the_offer_s_cancel_is_the_panel_s() -> None:
    assert run(MODELS + 'click(within("#kgen_txt2img_offer_cancel")); tell(pressed);') == ["models_cancel"]


PANEL = """
let update;
globalThis.onAfterUiUpdate = (listener) => { update = listener; };
"""


@pytest.mark.parametrize("states, times", [
    ([None], 0), ([".kgen-use"], 1), ([".kgen-use", ".kgen-use"], 1), ([".kgen-error"], 1),
    ([".kgen-use", ".kgen-error"], 2), ([".kgen-error", ".kgen-use"], 2), ([".kgen-use", ".kgen-use 2"], 2),
])  # fmt: skip
def test_after_an_expansion_the_server_is_asked_once_what_to_offer(states: list[str | None], times: int) -> None:
    told = run(MODELS + f"""
        for (const state of {json.dumps(states)}) {{
            const shown = {{textContent: state, dataset: {{kgen: state}}}};
            const has = (part) => state && state.startsWith(part);
            elements["#kgen_txt2img_panel"] = {{querySelector: (part) => has(part) ? shown : null}};
            update();
        }}
        tell(pressed);
    """, before=PANEL)
    assert told == ["models_ask"] * times


@pytest.mark.parametrize("infotext, times", [
    ("cat\\nSteps: 1, KGen: 0.2.0", 1), ("cat\\nSteps: 1", 0), ("cat\\nKGen: 0.2.0, KGen error: x", 1),
])  # fmt: skip
def test_after_an_image_the_server_is_asked_if_it_was_expanded(infotext: str, times: int) -> None:
    told = run(MODELS + f"""
        elements["#generation_info_txt2img textarea"] = box(JSON.stringify({{infotexts: ["{infotext}"]}}));
        update();
        update();
        tell(pressed);
    """, before=PANEL)
    assert told == ["models_ask"] * times
