// The list of models: size and licence, and a button that downloads. Nothing is downloaded without it, and a download
// goes on when the list is closed.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { element } from "./dom.js";
import { text } from "./texts.js";

const POLL_MS = 500;

let open = null; // the dialog's parts while it is open: {dialog, rows, status, bar, line, cancel}
let watching = false;

async function ask(route, body) {
    const options = body === undefined ? {} :
        {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
    let response;
    try {
        response = await api.fetchApi(route, options);
    } catch (error) {
        throw new Error(text("no_answer", {reason: error.message}));
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const {message, hint} = answer.error ?? {};
    throw new Error((message ?? text("no_answer", {reason: response.status})) + (hint ? ` (${hint})` : ""));
}

// Opens the list; chosen: the model of the node that asks, whose row is marked.
export async function openModels(chosen) {
    open?.dialog.remove();
    const rows = element("tbody");
    const bar = element("progress", {max: 1, ariaLabel: text("download")});
    const line = element("span", {className: "kgen-line", role: "status"});
    const cancel = element("button", {type: "button", textContent: text("cancel"), onclick: () => act("/kgen/download/cancel", {}, "stopping")});
    const status = element("div", {className: "kgen-status", hidden: true}, bar, line, cancel);
    const heading = element("h3", {id: "kgen-models-title", textContent: text("title")});
    const names = ["model", "size", "licence"].map((key) => element("th", {scope: "col", textContent: text(key)}));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...names, element("th"))), rows);
    const folder = element("p", {className: "kgen-folder"});
    const close = element("button", {type: "button", textContent: text("close"), onclick: () => dialog.close()});
    const dialog = element("dialog", {className: "kgen-models"}, heading, element("div", {className: "kgen-scroll"}, table),
                           folder, status, element("div", {className: "kgen-foot"}, close));
    dialog.setAttribute("aria-labelledby", heading.id);
    // Keys belong to the dialog, not to the graph under it.
    dialog.addEventListener("keydown", (event) => event.stopPropagation());
    dialog.addEventListener("close", () => {
        dialog.remove();
        if (open?.dialog === dialog) open = null;
    });
    open = {dialog, rows, folder, status, bar, line, cancel, chosen};
    document.body.append(dialog);
    dialog.showModal();
    await fill();
    await attempt(async () => {
        const {download} = await ask("/kgen/download");
        if (download?.state === "running") await watch(download);
    });
}

// Reads the list anew.
async function fill() {
    if (!open) return;
    try {
        const {models, folder, offline} = await ask("/kgen/models");
        if (!open) return;
        open.rows.replaceChildren(...models.flatMap((model) => modelRows(model, offline.length > 0)));
        open.folder.textContent = offline.length ? text("offline", {switches: offline.join(", ")}) : text("folder", {folder});
    } catch (error) {
        report(error.message, true);
    }
}

// Returns the rows of a model, one a file; a model without files to download has one.
function modelRows(model, offline) {
    const files = model.files.length ? model.files : [{name: model.id, shown_size: "", installed: model.installed}];
    return files.map((file) => {
        const here = file.installed ? text(model.id === "starter" ? "included" : "installed") : "";
        const state = here ? element("span", {textContent: here})
            : element("button", {type: "button", textContent: text("download"), disabled: offline,
                                 onclick: () => act("/kgen/download", {model: file.name}, "starting")});
        const name = element("td", {title: model.notes ?? ""}, element("b", {textContent: model.title || model.id}),
                             element("small", {textContent: file.name}));
        const licence = /^https?:/.test(model.licence_url ?? "")
            ? element("a", {href: model.licence_url, target: "_blank", rel: "noopener", textContent: model.licence})
            : model.licence;
        const row = element("tr", {}, name, element("td", {textContent: file.shown_size}), element("td", {}, licence), element("td", {}, state));
        if (open && [file.name, model.id].includes(open.chosen)) row.className = "kgen-chosen";
        return row;
    });
}

async function act(route, body, saying) {
    report(text(saying));
    await attempt(async () => watch((await ask(route, body)).download));
}

async function attempt(call) {
    try {
        await call();
    } catch (error) {
        report(error.message, true);
    }
}

function report(message, failed = false) {
    if (!open) return;
    open.status.hidden = false;
    open.line.textContent = message;
    open.line.classList.toggle("kgen-failed", failed);
    open.bar.hidden = open.cancel.hidden = failed;
}

// Shows the state of a download, or nothing where none was begun.
function showDownload(download) {
    if (!open || !download) return;
    const running = download.state === "running";
    report(download.line, download.state === "failed");
    open.bar.hidden = open.cancel.hidden = !running;
    if (download.fraction === null) open.bar.removeAttribute("value");
    else open.bar.value = download.fraction;
    for (const button of open.rows.querySelectorAll("button")) button.disabled = running;
}

// Shows a download and follows it to its end, also when the list is closed meanwhile. One that failed at once has ended
// in the answer that began it.
async function watch(download) {
    showDownload(download);
    if (watching) return;
    watching = true;
    try {
        while (download?.state === "running") {
            await new Promise((resume) => setTimeout(resume, POLL_MS));
            ({download} = await ask("/kgen/download"));
            showDownload(download);
        }
        await app.refreshComboInNodes();
        await fill();
        showDownload(download);
        if (!open) {
            const severity = {done: "success", cancelled: "info"}[download?.state] ?? "error";
            app.extensionManager?.toast?.add({severity, summary: "KGen", detail: download?.line ?? "", life: 8000});
        }
    } finally {
        watching = false;
    }
}
