// Folds that are filled when they are opened, and the buttons of the history's list. Uses `window.kgen` of kgen.js.
(function () {
    "use strict";

    const TABS = ["txt2img", "img2img"];
    const asked = {}; // by tab: what the next event is about, from the button's data

    const find = (selector) => gradioApp().querySelector(selector);

    // Puts a text into the prompt box; the page stays where it is.
    function fill(tab, text) {
        const box = find("#" + tab + "_prompt textarea");
        if (!box || box.value === text) return;
        const left = window.scrollX, top = window.scrollY;
        window.kgen.fill(box, text);
        window.scrollTo({left: left, top: top, behavior: "instant"});
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
        const folds = (name) => target.closest("#kgen_" + name + "_fold_history, #kgen_" + name + "_fold_format");
        const tab = target && target.closest && TABS.find(folds);
        if (!tab) return;
        const button = target.closest(".kgen-again"), label = target.closest(".label-wrap");
        if (button) {
            const asks = JSON.parse(button.dataset.kgenHistory);
            if (typeof asks.text === "string") fill(tab, asks.text);
            act(tab, asks);
        } else if (label && label.closest("#kgen_" + tab + "_fold_history")) {
            act(tab, {action: "list"});
        } else if (label) {
            const button = find("#kgen_" + tab + "_profile_fill");
            if (button) button.click();
        }
    });

    window.kgen = Object.assign(window.kgen || {}, {history: history});
})();
