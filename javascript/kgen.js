// What the page gains from a script; without it everything still works, but for the seed of the selected image and the
// autocompletion in our boxes.
(function () {
    "use strict";

    // The seed that wrote the words of the image that is selected: its own "KGen seed", else the image's.
    function selectedSeed(tab) {
        const box = gradioApp().querySelector("#generation_info_" + tab + " textarea");
        if (!box || !box.value) return "";
        let info;
        try {
            info = JSON.parse(box.value);
        } catch (error) {
            return "";
        }
        const texts = info.infotexts || [];
        const selected = typeof selected_gallery_index === "function" ? selected_gallery_index() : 0;
        const last = (texts[selected < 0 ? 0 : selected] || "").split("\n").pop();
        const found = /(?:^|, )KGen seed: (\d+)/.exec(last) || /(?:^|, )Seed: (\d+)/.exec(last);
        return found ? found[1] : "";
    }

    // a1111-sd-webui-tagcomplete, where it is installed, completes tags in our boxes too.
    const boxes = ["ban", "require", "protect", "text"];
    function attachAutocomplete() {
        if (typeof addAutocompleteToArea !== "function" || typeof TAC_CFG === "undefined" || !TAC_CFG) return false;
        for (const tab of ["txt2img", "img2img"]) {
            for (const name of boxes) {
                const area = gradioApp().querySelector("#kgen_" + tab + "_" + name + " textarea");
                if (area && !area.dataset.kgenComplete) {
                    area.dataset.kgenComplete = "yes";
                    addAutocompleteToArea(area);
                }
            }
        }
        return true;
    }

    window.kgen = {selectedSeed: selectedSeed};
    if (typeof onUiLoaded === "function") {
        onUiLoaded(function () {
            // Its settings arrive some time after the page; a minute is enough on the slowest machine.
            let tries = 30;
            const timer = setInterval(function () {
                tries -= 1;
                if (attachAutocomplete() || tries <= 0) clearInterval(timer);
            }, 2000);
        });
    }
})();
