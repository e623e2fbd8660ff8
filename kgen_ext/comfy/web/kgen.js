// The page's part of the nodes: what a node wrote is shown on it, and a button opens the list of models.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { element } from "./dom.js";
import { openModels } from "./models.js";
import { loadTexts, text } from "./texts.js";

const CATEGORY = "KGen";
const RESULT = "kgen_result";
const MIN_HEIGHT = 96;

// Shows the prompts of a run in a read-only box at the node's foot. It is part of neither the workflow's values nor the
// prompt that is queued: the values of a saved workflow are known by their places.
function showResult(node, entries) {
    let widget = node.widgets?.find((each) => each.name === RESULT);
    if (!widget) {
        const box = element("textarea", {className: "kgen-result", readOnly: true, title: text("result_tooltip")});
        const notes = element("div", {className: "kgen-notes"});
        const frame = element("div", {className: "kgen-frame"}, box, notes);
        // The page moves and zooms the canvas with the wheel and deletes nodes with keys.
        box.addEventListener("wheel", (event) => event.stopPropagation());
        box.addEventListener("keydown", (event) => event.stopPropagation());
        widget = node.addDOMWidget(RESULT, "kgen_result", frame, {
            serialize: false, getMinHeight: () => MIN_HEIGHT, getValue: () => box.value, setValue: () => {},
        });
        widget.serialize = false;
        widget.kgenBox = box;
        widget.kgenNotes = notes;
        grow(node);
    }
    widget.kgenBox.value = entries.map((entry) => entry.prompt).join("\n\n");
    widget.kgenNotes.textContent = [...new Set(entries.flatMap((entry) => entry.notes ?? []))].join("; ");
    node.setDirtyCanvas?.(true, true);
}

function grow(node) {
    const [width, height] = node.computeSize();
    node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}

// A node that takes the place of another pack's gets that one's size, and page 1.49 does not tell it that it was added:
// its text boxes would not be seen.
function settle(node) {
    const {onAdded} = node;
    let added = false;
    node.onAdded = function (...inputs) {
        added = true;
        return onAdded?.apply(this, inputs);
    };
    requestAnimationFrame(() => {
        if (node.graph && !added) node.onAdded(node.graph);
        grow(node);
        node.setDirtyCanvas?.(true, true);
    });
}

function addDownloadButton(node) {
    const model = node.widgets?.find((widget) => widget.name === "model");
    if (!model) return;
    const button = node.addWidget("button", "kgen_download", null, () => openModels(model.value), {serialize: false});
    button.label = text("download_model");
    button.tooltip = text("download_model_tooltip");
    button.serialize = false;
}

// Folds the advanced inputs on the classic canvas; Nodes 2.0 does so itself. Both keep the state in `showAdvanced`, which
// a workflow saves. The button comes after the inputs, whose values are known by their places.
function foldAdvanced(node) {
    const folding = node.widgets?.filter((widget) => widget.options?.advanced) ?? [];
    if (!folding.length) return;
    for (const widget of folding) {
        // An input with a link stays in sight.
        Object.defineProperty(widget, "advanced", {get: () => node.getSlotFromWidget(widget)?.link == null});
        // The page hides a folded widget, but leaves its room and the gap of 4 below it.
        widget.computeSize = () => [0, node.isWidgetVisible(widget) ? LiteGraph.NODE_WIDGET_HEIGHT : -4];
    }
    const button = node.addWidget("button", "kgen_advanced", null, () => node.toggleAdvanced(), {serialize: false, hidden: true});
    Object.defineProperty(button, "label", {get: () => text(node.showAdvanced ? "hide_advanced" : "show_advanced")});
    button.serialize = false;
    const {toggleAdvanced} = node;
    node.toggleAdvanced = function () {
        const room = this.size[1] - this.computeSize()[1];
        toggleAdvanced.call(this);
        this.setSize([this.size[0], this.computeSize()[1] + room]);
    };
    node.setSize([node.size[0], node.computeSize()[1]]);
}

// Returns the node of an execution id: "5", or "3:1" for node 1 of the subgraph that is node 3.
function findNode(id) {
    let graph = app.rootGraph ?? app.graph, node = null;
    for (const part of String(id).split(":")) {
        node = graph?.getNodeById(part) ?? null;
        graph = node?.subgraph;
    }
    return node;
}

// Shows what nodes wrote: their entries by execution id.
function showEntries(written) {
    for (const [id, entries] of Object.entries(written ?? {})) {
        const node = findNode(id);
        if (node && Array.isArray(entries)) showResult(node, entries);
    }
}

app.registerExtension({
    name: "KGen",
    async init() {
        document.head.append(element("link", {rel: "stylesheet", href: new URL("./kgen.css", import.meta.url).href}));
        await loadTexts();
        // Of a node whose result comes from the cache, ComfyUI 0.3.64 says nothing.
        api.addEventListener("kgen_written", ({detail}) => showEntries(detail));
    },
    beforeRegisterNodeDef(nodeType, nodeData) {
        if (nodeData.category !== CATEGORY) return;
        const {onNodeCreated, onExecuted} = nodeType.prototype;
        nodeType.prototype.onNodeCreated = function (...inputs) {
            const answer = onNodeCreated?.apply(this, inputs);
            foldAdvanced(this);
            addDownloadButton(this);
            settle(this);
            return answer;
        };
        nodeType.prototype.onExecuted = function (output, ...inputs) {
            onExecuted?.apply(this, [output, ...inputs]);
            if (output?.kgen?.length) showResult(this, output.kgen);
        };
    },
    // An image's workflow holds what its nodes wrote. It is shown and then taken out, so that it is in no workflow whose
    // inputs have changed since.
    afterConfigureGraph() {
        const extra = (app.rootGraph ?? app.graph).extra;
        showEntries(extra?.kgen);
        if (extra) delete extra.kgen;
    },
});
