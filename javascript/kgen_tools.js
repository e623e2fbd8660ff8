// What KGen adds to the host's own buttons: the button in the tool row that expands the prompt in its box, and the seed
// that goes along with an image that is sent to img2img. Uses `window.kgen` of kgen.js.
(function () {
    "use strict";

    const SEND = "#txt2img_send_to_img2img, #txt2img_send_to_inpaint";
    const working = {}; // by tab: the run that is working, as {run, id, cancelled}
    let runs = 0;

    const find = (selector) => gradioApp().querySelector(selector);
    const promptBox = (tab) => find("#" + tab + "_prompt textarea");
    const translate = (text) => (window.localization && window.localization[text]) || text;

    // The inputs of the button's event, the first replaced by the request that in_place.py reads. The prompt that was put
    // in last is expanded anew from its source, with a new seed.
    function expand(tab, inputs) {
        const [text, ...controls] = window.kgen.page(tab, inputs);
        const state = JSON.parse(text), box = promptBox(tab);
        runs += 1;
        working[tab] = {run: runs, id: state.id + "-tools", cancelled: false};
        say(tab, "");
        showWork(tab);
        const again = Boolean(box) && box.value !== state.prompt;
        return [JSON.stringify({...state, id: working[tab].id, run: runs, again: again}), ...controls];
    }

    // The input of the stop button's event. A second click does not wait for the answer any more, which may be lost.
    function stop(tab) {
        const now = working[tab];
        if (!now || now.cancelled) {
            delete working[tab];
            showWork(tab);
        } else {
            now.cancelled = true;
        }
        return [JSON.stringify({id: now ? now.id : ""})];
    }

    // Shows the answer of a run: fills the box, or tells why not.
    function show(tab, [text]) {
        const answer = JSON.parse(text || "{}"), box = promptBox(tab), now = working[tab];
        if (!now || now.run !== answer.run) return []; // given up
        delete working[tab];
        showWork(tab);
        if (answer.error) {
            say(tab, answer.error, {error: true});
        } else if (answer.cancelled || now.cancelled) { // a click may come too late for the server, or too early
            say(tab, translate("Cancelled."));
        } else if (!answer.added) {
            say(tab, [translate("Nothing was added."), ...answer.notes].join(" "));
        } else if (box) {
            const before = box.value;
            window.kgen.use(tab, {prompt: answer.prompt, source: answer.source});
            const undo = () => window.kgen.use(tab, {prompt: before, source: before});
            const told = [translate("Expanded."), ...answer.notes].join(" ");
            if (box.value === answer.prompt && box.value !== before) say(tab, told, {undo: undo});
        }
        return [];
    }

    // Shows the stop button in the place of the other while it works.
    function showWork(tab) {
        const start = find("#kgen_" + tab + "_expand"), stop = find("#kgen_" + tab + "_expand_stop");
        if (!start || !stop) return;
        const focused = document.activeElement;
        for (const button of [start, stop]) button.classList.toggle("kgen-working", Boolean(working[tab]));
        if (focused === start && working[tab]) stop.focus();
    }

    // A line under the prompt, until the prompt is edited or the button is used again; no line for an empty text.
    function say(tab, text, {error = false, undo = null} = {}) {
        const container = find("#" + tab + "_prompt_container"), box = promptBox(tab);
        if (!container || !box) return;
        const old = container.querySelector(".kgen-message");
        if (old) old.remove();
        if (!text) return;
        const line = document.createElement("div");
        line.className = "kgen-line kgen-message" + (error ? " kgen-error" : "");
        line.setAttribute("role", error ? "alert" : "status");
        line.append(text);
        if (undo) {
            const button = document.createElement("button");
            button.type = "button";
            button.className = "kgen-undo";
            button.textContent = translate("Undo");
            button.addEventListener("click", undo);
            line.append(" ", button);
        }
        box.addEventListener("input", () => line.remove(), {once: true});
        container.append(line);
    }

    // Hosts copy our controls with an image that is sent to img2img. The expansion seed is the image's, or the page's if
    // the image was not expanded: with it the same text is added.
    function sendSeed() {
        const input = find("#kgen_img2img_seed input"), own = find("#kgen_txt2img_seed input");
        if (!input || !own) return;
        const entries = window.kgen.selected("txt2img");
        input.value = entries.KGen ? entries["KGen seed"] || entries.Seed : own.value;
        input.dispatchEvent(new Event("input", {bubbles: true}));
    }

    document.addEventListener("click", function (event) {
        if (event.target && event.target.closest && event.target.closest(SEND)) sendSeed();
    }, true);

    window.kgenTools = {expand: expand, stop: stop, show: show, sendSeed: sendSeed};
})();
