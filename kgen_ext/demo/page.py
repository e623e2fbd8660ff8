"""The demo page: its components, and what happens when one is used.

The work is in tasks, which know no gradio: handlers read values, start tasks and show what these have so far.
Values come to the handlers as the browser sent them (`preprocess=False`) and are checked by our own table, so that an
error is a line on the page rather than a window over it.
"""
from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kgen_ext.controls import Control, Widget
from kgen_ext.demo.drawing import PairView, PictureTask
from kgen_ext.demo.examples import EXAMPLES, Example
from kgen_ext.demo.expanding import ExpansionTask, Runner
from kgen_ext.demo.html import line_html, run_html, waiting_line
from kgen_ext.demo.inputs import BY_FIELD, DTG_FIELDS, INPUTS, TEXT_FIELDS, field_values, read_inputs
from kgen_ext.demo.limits import Limits
from kgen_ext.demo.link import is_run, page_defaults, read_query, run_query
from kgen_ext.demo.messages import explain
from kgen_ext.demo.offers import Offer
from kgen_ext.demo.tasks import Sessions, follow
from kgen_ext.demo.turns import Turns
from kgen_ext.demo.visitors import session_of, visitor_of
from kgen_ext.errors import BadValue, UserError
from kgen_ext.sampling import SAMPLING_NAMES

if TYPE_CHECKING:
    from kgen_ext.demo.images import ImageServer

DATA = Path(__file__).parent / "data"
TITLE = (
    '<div class="kgen-title"><h1>KGen</h1><p>A few tags in, a full prompt out. Your own text stays as it is; what the '
    "model adds is tinted.</p></div>"
)
WELCOME = "Write a few tags or a sentence and press Expand, or choose an example."
_RUN, _PAIR = "run", "pair"
_KEPT_PAIRS = 40  # files of pairs to download
# Runs a run whose link was opened, once the page has its inputs.
_RUN_LINK = """() => {
    const named = new URLSearchParams(location.search);
    if (named.has("seed") && !document.querySelector("#kgen_panel .kgen-error")) {
        document.querySelector("#kgen_expand").click();
    }
}"""


@dataclass
class Service:
    """What all visitors share. servers: the programs that draw pictures. folder: where pairs to download are kept."""

    runner: Runner
    limits: Limits
    folder: Path
    servers: Sequence[ImageServer] = ()
    sessions: Sessions = field(default_factory=Sessions)

    def __post_init__(self) -> None:
        self.runs = Turns(self.limits)
        self.pairs = [Turns(self.limits) for _ in self.servers]  # a queue for each program
        self._files = deque[Path]()

    def keep_pair(self, data: bytes, seed: int) -> Path:
        """Write a pair to a file, for a download; the oldest file is removed."""
        path = self.folder / secrets.token_hex(8) / f"kgen-{seed}.png"
        path.parent.mkdir()
        path.write_bytes(data)
        self._files.append(path)
        while len(self._files) > _KEPT_PAIRS:
            old = self._files.popleft()
            old.unlink(missing_ok=True)
            old.parent.rmdir()
        return path


class Handlers:
    """Handlers of the page's events."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def load(self, request: gr.Request) -> list[Any]:
        """Fill a page that was opened, from its link if it has one: the inputs, the names' row, the panel.

        It may be late, so nothing else is changed: a visitor may have chosen, typed and even run by then.
        """
        query = dict(request.query_params)
        names = self._service.runner.offers.names()
        values: dict[str, Any] = {}
        offer, panel = None, gr.skip()
        if is_run(query):
            try:
                linked = self._offer(query.get("model", names[0]), names)
                values, offer = read_query(query, linked).named(), linked
            except Exception as error:  # top of the handler: the page shows what went wrong
                panel = line_html(f"The link cannot be used: {explain(error)}", failed=True)
        updates = [_filled(control, values, offer, names) for control in INPUTS]
        return [*updates, gr.skip() if offer is None else gr.update(visible=offer.tags_only), panel]

    def choose_model(self, name: Any) -> list[Any]:
        """Show what goes with a model: its recommended numbers, the fields of a DanTagGen, or those of sentences."""
        try:
            offer = self._offer(str(name))
        except Exception as error:  # top of the handler
            same = [gr.skip() for _ in (*SAMPLING_NAMES, *TEXT_FIELDS, "row")]
            return [*same, line_html(explain(error), failed=True)]
        return [
            *(gr.update(value=getattr(offer.sampling, name)) for name in SAMPLING_NAMES),
            *(gr.update(visible=not offer.tags_only) for _ in TEXT_FIELDS),
            gr.update(visible=offer.tags_only),
            gr.skip(),
        ]

    async def expand(self, request: gr.Request, *values: Any) -> AsyncIterator[list[Any]]:
        """Expand, and show the panel as it grows; in the end also the candidates to choose from for pictures."""
        service = self._service
        try:
            inputs = read_inputs(field_values(values))
            service.limits.check_texts(inputs.texts)
            if inputs.count > service.limits.candidates:
                raise BadValue(BY_FIELD["count"].label, inputs.count, f"1 to {service.limits.candidates}")
            task = ExpansionTask(inputs, self._offer(inputs.model), service.runner)
            turn = service.runs.join(visitor_of(request))
        except Exception as error:  # top of the handler
            yield [line_html(explain(error), failed=True), gr.skip()]
            return
        service.sessions.keep(session_of(request), _RUN, task)
        query = run_query(task.inputs, task.offer, service.runner.offers.names()[0])
        html = ""
        async for html in follow(task, turn, lambda: run_html(task.view(), ahead=turn.ahead, query=query)):
            yield [html, gr.skip()]
        numbers = [str(number) for number, _ in enumerate(task.view().expansions, 1)]
        shown = len(numbers) > 1 and bool(service.servers)
        yield [html, gr.update(choices=numbers, value=numbers[0] if numbers else None, visible=shown)]

    async def draw(self, request: gr.Request, *values: Any) -> AsyncIterator[list[Any]]:
        """Have the latest run's prompt drawn, as it was and as it was expanded."""
        service = self._service
        try:
            task, number = self._pair_task(request, values)
            turn = service.pairs[number].join(visitor_of(request))
        except Exception as error:  # top of the handler
            yield [line_html(explain(error), failed=True), gr.skip(), gr.skip(), gr.skip()]
            return
        service.sessions.keep(session_of(request), _PAIR, task)
        shown = PairView("", False)
        yield [gr.skip(), None, None, gr.update(visible=False)]
        try:
            async for view, ahead in follow(task, turn, lambda: (task.view(), turn.ahead)):
                yield [
                    line_html(waiting_line(ahead)) if ahead else line_html(view.line, failed=view.failed),
                    view.raw.image if view.raw is not None and shown.raw is None else gr.skip(),
                    view.expanded.image if view.expanded is not None and shown.expanded is None else gr.skip(),
                    self._download(view) if view.pair is not None and shown.pair is None else gr.skip(),
                ]
                shown = view
        finally:
            service.sessions.drop(session_of(request), _PAIR, task)  # its pictures are large

    def stop(self, request: gr.Request) -> None:
        """Stop what this page has asked for."""
        for kind in (_RUN, _PAIR):
            self._service.sessions.cancel(session_of(request), kind)

    def leave(self, request: gr.Request) -> None:
        """Stop and forget what a page that was closed has asked for."""
        self._service.sessions.forget(session_of(request))

    def example(self, example: Example) -> Callable[[], list[Any]]:
        """Return the handler that fills the page with an example; the model and its numbers stay."""
        def fill() -> list[Any]:
            kept = ("model", *SAMPLING_NAMES)
            return [
                gr.skip() if control.field in kept else _shown(example.values.get(control.field, control.default))
                for control in INPUTS
            ]

        return fill

    def _offer(self, name: str, names: Sequence[str] | None = None) -> Offer:
        offers = self._service.runner.offers
        if name not in (offers.names() if names is None else names):
            offers.files(name)  # says what is the matter with a name that is known
            raise UserError(f"model: {name!r:.120} is not offered here", hint="reload the page to see which are")
        return offers.offer(name)

    def _pair_task(self, request: gr.Request, values: Sequence[Any]) -> tuple[PictureTask, int]:
        from kgen_ext.demo.images import PictureSettings

        limits, servers = self._service.limits, self._service.servers
        server, chosen, steps, cfg_scale, sampler, negative, width, height = values
        run = self._service.sessions.latest(session_of(request), _RUN)
        done = run.view().expansions if isinstance(run, ExpansionTask) else ()
        if not done or not isinstance(run, ExpansionTask):
            raise UserError("there is no expanded prompt yet", hint="press Expand first")
        number = next((place for place, known in enumerate(servers) if known.label == server), 0)
        expansion = done[int(chosen) - 1 if str(chosen) in map(str, range(1, len(done) + 1)) else 0]
        if isinstance(steps, (int, float)) and steps > limits.steps:
            raise BadValue("steps", steps, f"1 to {limits.steps}")
        for name, side in (("width", width), ("height", height)):
            if isinstance(side, (int, float)) and side > limits.side:
                raise BadValue(name, side, f"64 to {limits.side}, for pictures")
        settings = PictureSettings(
            seed=expansion.seed % 2**32, steps=steps, width=width, height=height, cfg_scale=cfg_scale,
            sampler=sampler or "", negative=negative or "",
        )  # fmt: skip
        self._service.limits.check_texts((settings.negative,))
        raw = expansion.source if expansion.source.strip() else run.inputs.text
        return PictureTask(servers[number], raw, expansion.prompt, settings), number

    def _download(self, view: PairView) -> Any:
        from kgen_ext.demo.images import pair_png

        assert view.pair is not None
        path = self._service.keep_pair(pair_png(view.pair), view.pair.settings.seed)
        return gr.update(value=str(path), visible=True)


def build_page(service: Service) -> gr.Blocks:
    """Return the page, with its events connected."""
    handlers = Handlers(service)
    parts: dict[str, Any] = {}
    # Files of pictures are gone after an hour; looked at every ten minutes.
    with gr.Blocks(title="KGen", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.HTML(TITLE)
        with gr.Row(elem_classes="kgen-examples"):
            examples = [gr.Button(example.label, size="sm") for example in EXAMPLES]
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                row, expand, stop = _build_inputs(parts, service)
            with gr.Column(scale=6, min_width=320):
                panel = gr.HTML(line_html(WELCOME), elem_id="kgen_panel")
                choice, draw = _build_pictures(service)
        inputs = [parts[control.field] for control in INPUTS]
        quiet: dict[str, Any] = {"show_progress": "hidden", "preprocess": False, "api_visibility": "private",
                                 "concurrency_limit": None}  # fmt: skip
        run: dict[str, Any] = {"fn": handlers.expand, "inputs": inputs, "outputs": [panel, choice], **quiet}
        expand.click(**run, trigger_mode="once")
        parts["prompt"].submit(**run, trigger_mode="once")
        stop.click(handlers.stop, None, None, **quiet)
        for button, example in zip(examples, EXAMPLES, strict=True):
            button.click(handlers.example(example), None, inputs, **quiet).then(**run)
        numbers, texts = ([parts[name] for name in names] for names in (SAMPLING_NAMES, TEXT_FIELDS))
        parts["model"].input(handlers.choose_model, parts["model"], [*numbers, *texts, row, panel], **quiet)
        blocks.load(handlers.load, None, [*inputs, row, panel], **quiet).then(None, None, None, js=_RUN_LINK)
        blocks.unload(handlers.leave)
        if draw is not None:
            button, settings, outputs = draw
            settings += [parts["width"], parts["height"]]
            button.click(handlers.draw, settings, outputs, trigger_mode="once", **quiet)
    return blocks


def _build_inputs(parts: dict[str, Any], service: Service) -> tuple[gr.Row, gr.Button, gr.Button]:
    """Build the inputs by field, as they are with the first model; return the row of names, and the buttons."""
    models = service.runner.offers.names()
    offer = service.runner.offers.offer(models[0])
    usual = page_defaults(offer)

    def add(*names: str, **options: Any) -> None:
        for name in names:
            parts[name] = _component(BY_FIELD[name], usual[name], service.limits, **options)

    add("prompt", "text", info=False)
    with gr.Row():
        add("people", "rating", "count", info=False)
    with gr.Row(visible=offer.tags_only) as row:
        add(*DTG_FIELDS, info=False)
    with gr.Row():
        add("model", info=False, models=models)
        add("tag_length", info=False)
    with gr.Row():
        add(*TEXT_FIELDS, info=False, visible=not offer.tags_only)
    with gr.Row():
        expand = gr.Button("Expand", variant="primary", min_width=100, elem_id="kgen_expand")
        stop = gr.Button("Stop", min_width=100, elem_id="kgen_stop")
    with gr.Accordion("Tags: banned, required, locked", open=False):
        add("ban", "require", "rules", "protect", "lock", "allow", "allow_contradictions", "any_tag")
    with gr.Accordion("Sampling", open=False):
        add(*SAMPLING_NAMES)
    with gr.Accordion("Format, seed and size", open=False):
        add("format", "template")
        with gr.Row():
            add("seed", "width", "height")
    return row, expand, stop


def _component(
    control: Control, value: Any, limits: Limits, *, info: bool = True, visible: bool = True, models: Sequence[str] = ()
) -> Any:
    common: dict[str, Any] = {"label": control.label, "elem_id": f"kgen_{control.field}", "interactive": True,
                              "value": _shown(value), "visible": visible}  # fmt: skip
    if info and control.info:
        # gradio makes italics between two * of a line. The line separator looks like a space.
        common["info"] = control.info.replace(", ", ",\u2028")
    choices = [(label, value) for value, label in control.choices]
    if control.widget is Widget.CHECKBOX:
        return gr.Checkbox(**common)
    if control.widget is Widget.CHOICE:
        return gr.Dropdown(choices, filterable=False, min_width=100, **common)
    if control.widget is Widget.LIVE:
        return gr.Dropdown(list(models), min_width=160, allow_custom_value=True, **common)
    if control.widget is Widget.CHOICES:
        if control.field == "people":
            return gr.Dropdown(choices, multiselect=True, scale=2, **common)
        return gr.CheckboxGroup(choices, **common)
    if control.field == "count":
        return gr.Dropdown(list(range(1, limits.candidates + 1)), min_width=80, **common)
    if control.widget is Widget.SLIDER:
        return gr.Slider(control.low, control.high, step=control.step, min_width=120, **common)
    if control.widget is Widget.NUMBER:
        return gr.Number(precision=0, min_width=100, **common)
    lines = {"prompt": 4, "text": 2, "rules": 2}.get(control.field, 1)
    return gr.Textbox(lines=lines, max_lines=12 if lines > 1 else 1, placeholder=control.example, **common)


def _build_pictures(service: Service) -> tuple[gr.Radio, tuple[gr.Button, list[Any], list[Any]] | None]:
    """Build the pictures' part, if a program to draw them was found: the button, the settings, what it changes."""
    if not service.servers:
        return gr.Radio(["1"], value="1", visible=False), None
    labels = [server.label for server in service.servers]
    samplers = list(dict.fromkeys(name for server in service.servers for name in server.samplers))
    with gr.Accordion("Pictures: your prompt and the expanded one, with the same seed", open=True,
                      elem_classes="kgen-pictures"):  # fmt: skip
        with gr.Row():
            server = gr.Dropdown(labels, value=labels[0], label="Drawn by", interactive=True, min_width=200)
            choice = gr.Radio(["1"], value="1", label="Candidate", visible=False)
        with gr.Accordion("Settings of the pictures", open=False):
            with gr.Row():
                steps = gr.Slider(1, service.limits.steps, value=min(20, service.limits.steps), step=1, label="Steps")
                cfg_scale = gr.Slider(1, 30, value=7, step=0.5, label="CFG scale")
                sampler = gr.Dropdown(["", *samplers], value="", label="Sampler", interactive=True)
            negative = gr.Textbox("", label="Negative prompt", lines=1)
        button = gr.Button("Draw both", elem_id="kgen_draw")
        line = gr.HTML("", elem_id="kgen_drawing")
        with gr.Row():
            look: dict[str, Any] = {"interactive": False, "format": "png", "buttons": ["download", "fullscreen"]}
            raw, expanded = (gr.Image(label=label, min_width=140, **look) for label in ("Your prompt", "Expanded"))
        download = gr.DownloadButton("Save both as one PNG", visible=False, elem_id="kgen_save")
    return choice, (button, [server, choice, steps, cfg_scale, sampler, negative], [line, raw, expanded, download])


def _filled(control: Control, values: Mapping[str, Any], offer: Offer | None, names: Sequence[str]) -> Any:
    """Return an input's update: its value, if it gets one, and what goes with the link's model, if there is one."""
    changes: dict[str, Any] = {}
    if control.field in values:
        changes["value"] = _shown(values[control.field])
    if control.field == "model":
        changes["choices"] = list(names)
    if offer is not None and control.field in TEXT_FIELDS:
        changes["visible"] = not offer.tags_only
    return gr.update(**changes)


def _shown(value: Any) -> Any:
    """Return a value as gradio takes it."""
    return list(value) if isinstance(value, tuple) else value
