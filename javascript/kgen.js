// What only the browser can do: read the prompt box for a preview and fill it so that undo works, find the selected
// image's seed, say what an image's infotext tells of a failed expansion, and complete tags in our boxes. Expanding
// prompts when images are made needs none of it.
(function () {
    "use strict";

    const TABS = ["txt2img", "img2img"];
    const COMPLETED = ["ban", "require", "protect", "text"];
    const pageId = Math.random().toString(36).slice(2);
    const used = {}; // by tab: the version last put into the prompt box, {prompt, source}

    const find = (selector) => gradioApp().querySelector(selector);
    const promptBox = (tab) => find("#" + tab + "_prompt textarea");
    const say = (text) => (window.localization && window.localization[text]) || text;

    // What a preview needs of the page besides our own controls. A prompt we filled in counts as the one it came from,
    // so that "Again" expands that anew and not its expansion.
    function page(tab, inputs) {
        const value = (part, what) => (find("#" + tab + "_" + part + " " + what) || {}).value;
        const box = promptBox(tab), last = used[tab];
        const prompt = box ? box.value : "";
        const told = {
            id: pageId + "-" + tab,
            tab: tab,
            prompt: last && last.prompt === prompt ? last.source : prompt,
            width: value("width", "input[type=number]"),
            height: value("height", "input[type=number]"),
            seed: value("seed", "input"),
        };
        return [JSON.stringify(told), ...inputs.slice(1)];
    }

    // Puts a version into the prompt box as if it had been typed. What was edited since the preview is not lost without
    // a question.
    function use(tab, version) {
        const box = promptBox(tab), last = used[tab];
        if (!box || box.value === version.prompt) return;
        const known = box.value === version.source || (last && last.prompt === box.value);
        if (!known && !confirm(say("You changed the prompt since this preview. Replace it? Undo brings it back."))) return;
        // Tag completion would offer the last tag's kin on what looks typed; the plain event below is for all.
        const quiet = (event) => event.stopImmediatePropagation();
        document.addEventListener("input", quiet, true);
        box.focus();
        box.setSelectionRange(0, box.value.length);
        if (!document.execCommand("insertText", false, version.prompt) || box.value !== version.prompt) {
            box.setRangeText(version.prompt, 0, box.value.length, "end");
        }
        document.removeEventListener("input", quiet, true);
        box.dispatchEvent(new Event("input", {bubbles: true}));
        used[tab] = version;
    }

    document.addEventListener("click", function (event) {
        const button = event.target && event.target.closest ? event.target.closest(".kgen-use") : null;
        const tab = button && TABS.find((one) => button.closest("#kgen_" + one + "_panel"));
        if (!tab) return;
        event.preventDefault();
        use(tab, JSON.parse(button.dataset.kgen));
    });

    // An infotext's last line as a dictionary of our own keys; texts that the host or we quoted are plain again.
    function entries(infotext) {
        const found = {};
        const last = infotext.split("\n").pop();
        for (const [, key, raw] of last.matchAll(/\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g)) {
            let text = raw;
            try {
                if (text.startsWith('"')) text = JSON.parse(text);
                if (text.startsWith("json: ")) text = JSON.parse(text.slice(6));
            } catch (error) {
                text = raw; // written by hand
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
            return []; // nothing was made yet
        }
    }

    // The seed that wrote the words of the selected image: "KGen seed" where it has one, else the image's own.
    function reuseSeed(tab, inputs) {
        const texts = infotexts(tab);
        const selected = typeof selected_gallery_index === "function" ? selected_gallery_index() : 0;
        const found = entries(texts[Math.max(selected, 0)] || texts[0] || "");
        const seed = parseInt(found["KGen seed"] || found.Seed, 10);
        return [Number.isNaN(seed) ? inputs[0] : seed];
    }

    // After an image: what its infotext says went wrong with the expansion, in the accordion.
    const reported = {};
    function report(tab) {
        const box = find("#generation_info_" + tab + " textarea");
        if (!box || box.value === reported[tab]) return;
        reported[tab] = box.value;
        const place = find("#kgen_" + tab + "_report");
        if (!place) return;
        const lines = new Set();
        for (const text of infotexts(tab)) {
            const found = entries(text);
            if (found["KGen error"]) lines.add(say("The last image was made from your own prompt:") + " " + found["KGen error"]);
        }
        place.replaceChildren(...[...lines].map(function (text) {
            const line = document.createElement("div");
            line.className = "kgen-line kgen-error";
            line.textContent = text;
            return line;
        }));
    }

    // a1111-sd-webui-tagcomplete, where it is installed, completes tags in our boxes too.
    function completeTags() {
        if (typeof addAutocompleteToArea !== "function" || typeof TAC_CFG === "undefined" || !TAC_CFG) return false;
        for (const tab of TABS) {
            for (const name of COMPLETED) {
                const area = find("#kgen_" + tab + "_" + name + " textarea");
                if (area && !area.dataset.kgenComplete) {
                    area.dataset.kgenComplete = "yes";
                    addAutocompleteToArea(area);
                }
            }
        }
        return true;
    }

    window.kgen = {page: page, reuseSeed: reuseSeed, use: use, entries: entries};
    if (typeof onAfterUiUpdate === "function") onAfterUiUpdate(() => TABS.forEach(report));
    if (typeof onUiLoaded === "function") {
        onUiLoaded(function () {
            // Its settings arrive some time after the page; a minute is enough on the slowest machine.
            let tries = 30;
            const timer = setInterval(function () {
                tries -= 1;
                if (completeTags() || tries <= 0) clearInterval(timer);
            }, 2000);
        });
    }
})();
