// The browser's part: reads the prompt box for a preview and fills it in a way that can be undone, finds the expansion
// seed of the selected image, shows why the expansion of the last image failed, and adds tag completion to our text
// boxes. The expansion of prompts when images are generated works without it.
(function () {
    "use strict";

    const TABS = ["txt2img", "img2img"];
    const TAG_FIELDS = ["ban", "require", "protect", "text"];
    const pageId = Math.random().toString(36).slice(2);
    const used = {}; // by tab: the version last put into the prompt box, as {prompt, source}

    const find = (selector) => gradioApp().querySelector(selector);
    const promptBox = (tab) => find("#" + tab + "_prompt textarea");
    const translate = (text) => (window.localization && window.localization[text]) || text;

    // The inputs of a preview's event, the first replaced by the state of the page. Instead of an expanded prompt that
    // was put in by `use`, its source is sent, so that "Again" does not expand it twice.
    function page(tab, inputs) {
        const value = (field, selector) => (find("#" + tab + "_" + field + " " + selector) || {}).value;
        const box = promptBox(tab), last = used[tab];
        const prompt = box ? box.value : "";
        const state = {
            id: pageId + "-" + tab,
            tab: tab,
            prompt: last && last.prompt === prompt ? last.source : prompt,
            width: value("width", "input[type=number]"),
            height: value("height", "input[type=number]"),
            seed: value("seed", "input"),
        };
        return [JSON.stringify(state), ...inputs.slice(1)];
    }

    // Puts a text into the prompt box as if it had been typed, so that it can be undone; on a touch screen no keyboard
    // opens. The inserted text must not open tag completion; the event dispatched at the end notifies all other listeners.
    function fill(box, text) {
        const stop = (event) => event.stopImmediatePropagation();
        document.addEventListener("input", stop, true);
        box.focus({preventScroll: true});
        box.setSelectionRange(0, box.value.length);
        if (!document.execCommand("insertText", false, text) || box.value !== text) {
            box.setRangeText(text, 0, box.value.length, "end");
        }
        document.removeEventListener("input", stop, true);
        box.dispatchEvent(new Event("input", {bubbles: true}));
        if (matchMedia("(pointer: coarse)").matches) box.blur();
    }

    // Puts a version into the prompt box; asks first if the prompt was edited since the preview. The page stays where it is.
    function use(tab, version) {
        const box = promptBox(tab), last = used[tab];
        if (!box || box.value === version.prompt) return;
        const unedited = box.value === version.source || (last && last.prompt === box.value);
        const question = "The prompt has changed since this preview. Replace it? You can undo this.";
        if (!unedited && !confirm(translate(question))) return;
        const cards = find("#kgen_" + tab + "_panel"), top = () => cards ? cards.getBoundingClientRect().top : 0;
        const before = top();
        fill(box, version.prompt);
        // The box was scrolled into view, or has grown: the cards stay where they were on the screen.
        window.scrollBy({top: top() - before, behavior: "instant"});
        used[tab] = version;
        markUsed(tab);
    }

    // Marks the cards whose version is in the prompt box.
    function markUsed(tab) {
        const box = promptBox(tab);
        for (const button of gradioApp().querySelectorAll("#kgen_" + tab + "_panel .kgen-use")) {
            const inUse = Boolean(box) && box.value === JSON.parse(button.dataset.kgen).prompt;
            if (inUse === (button.getAttribute("aria-pressed") === "true")) continue;
            button.setAttribute("aria-pressed", String(inUse));
            button.textContent = translate(inUse ? "In use" : "Use this");
            button.closest(".kgen-card").classList.toggle("kgen-in-use", inUse);
        }
    }

    // Opens the folds around an element and goes to it.
    function show(element) {
        for (let fold = element.closest(".kgen-folded"); fold; fold = fold.parentElement.closest(".kgen-folded")) {
            const label = fold.querySelector(".label-wrap");
            if (label && !label.classList.contains("open")) label.click();
        }
        setTimeout(function () { // the fold is open by then
            element.scrollIntoView({block: "center"});
            const box = element.querySelector("textarea, input");
            if (box && !element.matches(".kgen-folded")) box.focus({preventScroll: true});
        }, 200);
    }

    document.addEventListener("click", function (event) {
        const button = event.target && event.target.closest ? event.target.closest(".kgen-use, .kgen-show") : null;
        const tab = button && TABS.find((name) => button.closest("#kgen_" + name + "_panel"));
        if (!tab) return;
        event.preventDefault();
        if (button.matches(".kgen-use")) return use(tab, JSON.parse(button.dataset.kgen));
        const element = find("#kgen_" + tab + "_" + button.dataset.kgenShow);
        if (element) show(element);
    });

    document.addEventListener("input", function (event) {
        for (const tab of TABS) {
            if (event.target === promptBox(tab)) markUsed(tab);
        }
    });

    // Marks the folds in which something differs from what the page began with: a closed one may hold a ban or a seed.
    // The sampling sliders follow the model; of that fold the preset counts.
    const FOLDS = ["description", "rules", "sampling", "format"];
    const began = {}; // by id of the fold: its values when it was first seen
    function markFolds(tab) {
        for (const name of FOLDS) {
            const fold = find("#kgen_" + tab + "_fold_" + name);
            if (!fold) continue;
            const boxes = fold.querySelectorAll(name === "sampling" ? "input:not([type=range]):not([type=number])" : "textarea, input");
            const values = JSON.stringify([...boxes].map((box) => box.type === "checkbox" ? box.checked : box.value));
            if (!(fold.id in began)) began[fold.id] = values;
            fold.classList.toggle("kgen-changed", values !== began[fold.id]);
        }
    }

    // Gives our elements the tooltips that came with the page: not every host does it, and gradio 4 makes what was hidden
    // anew.
    let tooltips = null; // of elements of ours: [id, text]
    function setTooltips() {
        tooltips = tooltips || ((window.gradio_config || {}).components || [])
            .filter((part) => part.props.webui_tooltip && String(part.props.elem_id).startsWith("kgen_"))
            .map((part) => [part.props.elem_id, part.props.webui_tooltip]);
        for (const [id, text] of tooltips) {
            const element = find("#" + id);
            if (element && !element.title) element.title = translate(text);
        }
    }

    // Opening the panel by its label ticks the box, too: that is how the host's accordion works, so its label says so.
    // SD.Next's has no box.
    function explainLabel(tab) {
        const label = find("#kgen_" + tab + "_enabled .label-wrap");
        if (label && label.querySelector("input")) label.title = translate("Opening this also ticks it: every prompt is then expanded. Untick the box to keep it open without.");
    }

    // The parameters in an infotext's last line, unquoted and decoded (see `encode` in infotext.py).
    function entries(infotext) {
        const found = {};
        const last = infotext.split("\n").pop();
        for (const [, key, raw] of last.matchAll(/\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g)) {
            let text = raw;
            try {
                if (text.startsWith('"')) text = JSON.parse(text);
                if (text.startsWith("json: ")) text = JSON.parse(text.slice(6));
            } catch (error) {
                text = raw; // not JSON: written by hand
            }
            found[key] = text;
        }
        return found;
    }

    function infotexts(tab) {
        const box = find("#generation_info_" + tab + " textarea");
        try {
            return JSON.parse(box.value).infotexts || [];
        } catch (error) {
            return []; // no image yet
        }
    }

    // The parameters of the selected image, or of the first one.
    function selected(tab) {
        const texts = infotexts(tab);
        const index = typeof selected_gallery_index === "function" ? selected_gallery_index() : 0;
        return entries(texts[Math.max(index, 0)] || texts[0] || "");
    }

    // The expansion seed of the selected image: its "KGen seed", or the image's own seed without one.
    function reuseSeed(tab, inputs) {
        const found = selected(tab);
        const seed = parseInt(found["KGen seed"] || found.Seed, 10);
        return [Number.isNaN(seed) ? inputs[0] : seed];
    }

    // Shows the "KGen error" of the last images in the accordion.
    const reported = {}; // by tab: the generation info that was last looked at
    function report(tab) {
        const box = find("#generation_info_" + tab + " textarea");
        if (!box || box.value === reported[tab]) return;
        reported[tab] = box.value;
        const panel = find("#kgen_" + tab + "_report");
        if (!panel) return;
        const lines = new Set();
        for (const infotext of infotexts(tab)) {
            const error = entries(infotext)["KGen error"];
            if (error) lines.add(translate("The last image was generated from your own prompt:") + " " + error);
        }
        panel.replaceChildren(...[...lines].map(function (text) {
            const line = document.createElement("div");
            line.className = "kgen-line kgen-error";
            line.textContent = text;
            return line;
        }));
    }

    // Models: the fold is filled when it is opened, buttons in our HTML press those of the panel, and after each expansion
    // the server is asked once whether there is a model to offer.
    const press = (tab, name) => (find("#kgen_" + tab + "_" + name) || {click() {}}).click();
    const wanted = {}; // by tab: the model of the button pressed last
    const asked = {}; // by tab and part of the page: the expansion after which the server was last asked
    const wantedModel = (tab, inputs) => [wanted[tab] || "", ...inputs.slice(1)];

    document.addEventListener("click", function (event) {
        const target = event.target && event.target.closest ? event.target : null;
        const button = target && target.closest(".kgen-press"), label = target && target.closest(".label-wrap");
        for (const tab of TABS) {
            if (button && button.closest("#kgen_" + tab + "_offer")) {
                event.preventDefault();
                wanted[tab] = button.dataset.kgenName;
                press(tab, button.dataset.kgenPress);
            }
            if (target && target.closest("#kgen_" + tab + "_offer_cancel")) press(tab, "models_cancel");
            const list = find("#kgen_" + tab + "_models_name");
            const fold = label && !label.classList.contains("open") && label.parentElement;
            if (fold && list && fold.contains(list) && fold.classList.contains("kgen-folded")) press(tab, "models_refresh");
        }
    }, true);

    function offer(tab) {
        const panel = find("#kgen_" + tab + "_panel"), box = find("#generation_info_" + tab + " textarea");
        const error = panel && panel.querySelector(".kgen-error"), button = panel && panel.querySelector(".kgen-use");
        const preview = error ? error.textContent : button && button.dataset.kgen;
        if (preview && preview !== asked[tab + " preview"]) {
            asked[tab + " preview"] = preview;
            press(tab, "models_ask");
        }
        if (box && box.value !== asked[tab + " image"]) {
            asked[tab + " image"] = box.value;
            if (infotexts(tab).some((text) => entries(text).KGen)) press(tab, "models_ask");
        }
    }

    // Adds tag completion to our text boxes if a1111-sd-webui-tagcomplete is installed; returns whether it is ready.
    function addTagCompletion() {
        if (typeof addAutocompleteToArea !== "function" || typeof TAC_CFG === "undefined" || !TAC_CFG) return false;
        for (const tab of TABS) {
            for (const field of TAG_FIELDS) {
                const area = find("#kgen_" + tab + "_" + field + " textarea");
                if (area && !area.dataset.kgenComplete) {
                    area.dataset.kgenComplete = "yes";
                    addAutocompleteToArea(area);
                }
            }
        }
        return true;
    }

    window.kgen = {
        page: page, reuseSeed: reuseSeed, selected: selected, fill: fill, use: use, entries: entries, wantedModel: wantedModel,
    };
    if (typeof onAfterUiUpdate === "function") {
        onAfterUiUpdate(function () {
            for (const tab of TABS) {
                report(tab);
                markUsed(tab);
                offer(tab);
            }
        });
    }
    if (typeof onUiLoaded === "function") {
        onUiLoaded(function () {
            TABS.forEach(explainLabel);
            setInterval(function () { // no event tells of values that the host sets
                TABS.forEach(markFolds);
                setTooltips();
            }, 1000);
            // Tag completion loads its settings some time after the page; wait for up to a minute.
            let tries = 30;
            const timer = setInterval(function () {
                tries -= 1;
                if (addTagCompletion() || tries <= 0) clearInterval(timer);
            }, 2000);
        });
    }
})();
