// Texts of the page's part. Their translations are in locales/LANGUAGE/main.json, which the host merges into /i18n.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

export const TEXTS = {
    download_model: "Download model",
    download_model_tooltip: "Show the models with size and licence, and download one.",
    result_tooltip: "The prompt that this node wrote. It is also in the image's metadata.",
    show_advanced: "Show advanced inputs",
    hide_advanced: "Hide advanced inputs",
    title: "Models for prompt expansion",
    folder: "Downloads are saved in {folder}",
    offline: "Downloads are switched off by {switches}.",
    model: "Model",
    size: "Size",
    licence: "Licence",
    included: "included",
    installed: "installed",
    download: "Download",
    cancel: "Cancel",
    close: "Close",
    starting: "Starting ...",
    stopping: "Stopping ...",
    no_answer: "ComfyUI does not answer: {reason}",
};

let translated = {};

// Reads the texts in the page's language; English where there is no translation.
export async function loadTexts() {
    const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
    if (language === "en") return;
    try {
        const answer = await api.fetchApi("/i18n");
        translated = (await answer.json())[language]?.kgen ?? {};
    } catch (error) {
        console.warn("KGen: no translations:", error);
    }
}

// Returns a text with its {names} replaced.
export function text(key, values = {}) {
    return (translated[key] ?? TEXTS[key]).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
