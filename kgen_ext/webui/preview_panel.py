"""The preview on the page: its buttons, the panel, and the few lines of script that reach the prompt box.

The prompt box is the host's: it is read and filled in the browser, where its undo works. Refuses to know how a preview
is made (`preview`).
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.params import PARAMS
from kgen_ext.webui.preview import MOST, View, run_preview, shared_previews
from kgen_ext.webui.tokens import counter

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

# What is on the page and not ours: `id` names this page's preview, so that it can be cancelled.
_READ = """(page, ...rest) => {
  const at = (part, what) => (gradioApp().querySelector('#TAB_' + part + ' ' + what) || {}).value;
  window.kgenPage = window.kgenPage || Math.random().toString(36).slice(2);
  const found = {id: window.kgenPage + '-TAB', prompt: at('prompt', 'textarea') || '',
                 width: at('width', 'input[type=number]'), height: at('height', 'input[type=number]'),
                 seed: at('seed', 'input')};
  return [JSON.stringify(found), ...rest];
}"""
# Puts a version into the prompt box as if typed, so that the browser can undo it; asks where the prompt was edited.
_USE = """(results) => {
  const all = JSON.parse(results || '[]'), chosen = all[NUMBER];
  const area = gradioApp().querySelector('#TAB_prompt textarea');
  if (!chosen || !area) return [results];
  const known = area.value === chosen.source || all.some((one) => one.prompt === area.value);
  if (!known && !confirm('The prompt was changed since this preview. Replace it?')) return [results];
  area.focus();
  area.select();
  if (!document.execCommand('insertText', false, chosen.prompt)) area.value = chosen.prompt;
  if (typeof updateInput === 'function') updateInput(area);
  else area.dispatchEvent(new Event('input', {bubbles: true}));
  return [results];
}"""


def build(tab: Tab) -> Callable[[], None]:
    """Make the panel; call what is returned when all controls of the tab exist."""
    gr = tab.gr
    with gr.Row(elem_classes=["kgen-row", "kgen-buttons"]):
        preview = gr.Button("Preview", variant="primary", size="sm", elem_id=tab.id("preview"))
        again = gr.Button("Again, with a new seed", size="sm", elem_id=tab.id("again"))
        cancel = gr.Button("Cancel", size="sm", elem_id=tab.id("cancel"))
    versions = gr.Slider(minimum=1, maximum=MOST, step=1, value=1, label="Versions to preview",
                         elem_id=tab.id("versions"))  # fmt: skip
    shown = gr.HTML("", elem_id=tab.id("panel"))
    with gr.Row(elem_classes=["kgen-row", "kgen-buttons"]):
        uses = [gr.Button("Use this", size="sm", visible=False, elem_id=tab.id(f"use{n}")) for n in range(MOST)]
    page = gr.Textbox(value="", visible=False)
    results = gr.Textbox(value="[]", visible=False)
    for component in (preview, again, cancel, versions, shown, page, results, *uses):
        component.do_not_save_to_config = True  # the host keeps the defaults of everything else in ui-config.json
    script = _READ.replace("TAB", tab.name)

    def wire() -> None:
        controls = [tab.controls[param.field] for param in PARAMS]
        outputs = [shown, results, *uses]
        for button, new_seed in ((preview, False), (again, True)):
            button.click(fn=_runner(tab, again=new_seed), _js=script, inputs=[page, versions, *controls],
                         outputs=outputs, show_progress="hidden")  # fmt: skip
        cancel.click(fn=_cancel, _js=script, inputs=[page], outputs=[], queue=False, show_progress="hidden")
        for number, button in enumerate(uses):
            button.click(fn=None, _js=_USE.replace("TAB", tab.name).replace("NUMBER", str(number)),
                         inputs=[results], outputs=[results])  # fmt: skip

    return wire


def _runner(tab: Tab, *, again: bool) -> Callable[..., Iterator[list[Any]]]:
    gr = tab.gr

    def run(page: str, versions: Any, *arguments: Any) -> Iterator[list[Any]]:
        from kgen_ext.webui.session import current

        for view in run_preview(page, versions, arguments, again=again, host=tab.host, session=current(),
                                previews=shared_previews(), counter=counter(tab.host)):  # fmt: skip
            yield _updates(gr, view, json.loads(page).get("prompt", "") if view.results else "")

    return run


def _updates(gr: Any, view: View, source: str) -> list[Any]:
    found = view.results or ()
    texts = json.dumps([{"prompt": one.prompt, "source": source} for one in found])
    names = ["Use this"] if len(found) == 1 else [f"Use version {number}" for number in range(1, MOST + 1)]
    buttons = [
        gr.update(visible=number < len(found), value=names[min(number, len(names) - 1)]) for number in range(MOST)
    ]
    return [gr.update(value=view.html), gr.update(value=texts), *buttons]


def _cancel(page: str) -> None:
    name = json.loads(page or "{}").get("id", "")
    shared_previews().cancel(str(name))
