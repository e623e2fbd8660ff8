// What KGen adds to the host's own buttons: the button in the tool row that expands the prompt in its box, and the seed
// that goes along with an image that is sent to img2img. Uses `window.kgen` of kgen.js.
(function () {
    "use strict";

    const SEND = "#txt2img_send_to_img2img, #txt2img_send_to_inpaint";
    const STOP = "⏹️";
    const working = {}; // by tab: the run that is working, as {run, cancelled}
    let runs = 0;

    const find = (selector) => gradioApp().querySelector(selector);
    const promptBox = (tab) => find("#" + tab + "_prompt textarea");
    const translate = (text) => (window.localization && window.localization[text]) || text;

    // The inputs of the button's event, the first replaced by the request that in_place.py reads: to expand the prompt,
    // or to cancel if that is going on. The prompt that was put in last is expanded anew from its source, with a new seed.
    function expand(tab, inputs) {
        const [text, ...controls] = window.kgen.page(tab, inputs);
        const state = JSON.parse(text), box = promptBox(tab), now = working[tab];
        state.id += "-tools";
        state.again = Boolean(box) && box.value !== state.prompt;
        state.cancel = Boolean(now);
        if (!now) {
            runs += 1;
            working[tab] = {run: runs, cancelled: false};
        } else if (now.cancelled) {
            delete working[tab]; // the answer does not come: the server was restarted, or the connection is lost
        } else {
            now.cancelled = true;
        }
        state.run = runs;
        say(tab, "");
        showWork(tab);
        return [JSON.stringify(state), ...controls];
    }

    // Shows the answer of a run: fills the box, or tells why not.
    function show(tab, [text]) {
        const answer = JSON.parse(text || "{}"), box = promptBox(tab);
        if (!working[tab] || working[tab].run !== answer.run) return []; // the event of a click that cancelled
        delete working[tab];
        showWork(tab);
        if (answer.error) {
            say(tab, answer.error, {error: true});
        } else if (answer.cancelled) {
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

    // The look of the button: while it works it is a stop button.
    function showWork(tab) {
        const button = find("#kgen_" + tab + "_expand");
        if (!button) return;
        const busy = Boolean(working[tab]);
        if (!button.dataset.kgenSign) {
            button.dataset.kgenSign = button.textContent;
            button.dataset.kgenTitle = button.title;
        }
        button.classList.toggle("kgen-busy", busy);
        button.setAttribute("aria-busy", String(busy));
        button.textContent = busy ? STOP : button.dataset.kgenSign;
        button.title = busy ? translate("Expanding. Click to cancel.") : button.dataset.kgenTitle;
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

    window.kgenTools = {expand: expand, show: show, sendSeed: sendSeed};
})();
