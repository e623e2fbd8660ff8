// The browser's part of the history: fills the list when its fold is opened, and does what the buttons of its cards say.
// The prompt box is filled as if by typing, so that it can be undone.
(function () {
    "use strict";

    const TABS = ["txt2img", "img2img"];
    const asked = {}; // by tab: what the next event is about, from the button's data

    const find = (selector) => gradioApp().querySelector(selector);

    // Puts a text into the prompt box; the inserted text must not open tag completion.
    function fill(tab, text) {
        const box = find("#" + tab + "_prompt textarea");
        if (!box || box.value === text) return;
        const stop = (event) => event.stopImmediatePropagation();
        document.addEventListener("input", stop, true);
        box.focus({preventScroll: true});
        box.setSelectionRange(0, box.value.length);
        if (!document.execCommand("insertText", false, text) || box.value !== text) {
            box.setRangeText(text, 0, box.value.length, "end");
        }
        document.removeEventListener("input", stop, true);
        box.dispatchEvent(new Event("input", {bubbles: true}));
    }

    function act(tab, asks) {
        const button = find("#kgen_" + tab + "_history_act");
        if (!button) return;
        asked[tab] = asks;
        button.click();
    }

    // The inputs of the event, the first replaced by what was asked.
    function history(tab, inputs) {
        const {text, ...asks} = asked[tab] || {action: "list"};
        return [JSON.stringify(asks), ...inputs.slice(1)];
    }

    document.addEventListener("click", function (event) {
        const target = event.target;
        const tab = target && target.closest && TABS.find((name) => target.closest("#kgen_" + name + "_fold_history"));
        if (!tab) return;
        const button = target.closest(".kgen-again");
        if (button) {
            const asks = JSON.parse(button.dataset.kgenHistory);
            if (typeof asks.text === "string") fill(tab, asks.text);
            act(tab, asks);
        } else if (target.closest("#kgen_" + tab + "_fold_history > .label-wrap")) {
            act(tab, {action: "list"});
        }
    });

    window.kgen = Object.assign(window.kgen || {}, {history: history});
})();
