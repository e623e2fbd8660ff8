"""A small fake host: `modules.*` as AUTOMATIC1111 1.10.1 and Forge show them to an extension.

`install(monkeypatch, kind=...)` puts the modules into sys.modules and returns a `FakeHost` to drive: it makes jobs,
runs the hooks in the host's order, writes infotexts and reads them back. No images are made and no library is needed.
Written from the facts: the order of hooks, what is None when, which index an infotext is asked for, how values are
quoted and parsed.
"""
from __future__ import annotations

import itertools
import json
import re
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_infotext import parse_infotext, quote, unquote, write_parameters
from fake_job import Img2Img, Processed, Processing, Runner, Txt2Img
from fake_parts import ALWAYS_VISIBLE, OptionHTML, OptionInfo, Options, Script, State, Styles

EVENTS = (
    "on_ui_settings", "on_app_started", "on_before_ui", "on_ui_tabs", "on_infotext_pasted", "on_script_unloaded",
    "on_model_loaded", "on_before_token_counter", "on_after_component", "on_before_component", "on_image_grid",
)  # fmt: skip


class FakeHost:
    """A host that runs jobs. `host.opts`, `.state`, `.styles`, `.callbacks` are what the modules show."""

    def __init__(self, kind: str, root: Path) -> None:
        self.kind = kind
        self.root = root
        self.opts = Options()
        self.cmd_opts = Namespace(api=True, lowvram=False, medvram=False)
        self.state = State()
        self.styles = Styles()
        self.queue_lock = threading.Lock()
        self.callbacks: dict[str, list[Callable[..., Any]]] = {event: [] for event in EVENTS}
        self.registered: list[tuple[str, str | None]] = []  # what was registered under which file's name
        self.scripts_data: list[Any] = []
        self.modules: dict[str, ModuleType] = {}
        self._draws = itertools.count(1_000_000, 1000)

    def txt2img(self, *scripts: Any, args: Sequence[Any] = (), **fields: Any) -> Txt2Img:
        """Return a txt2img job with these scripts, the first of which is given `args`."""
        return self._job(Txt2Img(**fields), scripts, args)

    def img2img(self, *scripts: Any, args: Sequence[Any] = (), **fields: Any) -> Img2Img:
        """Return an img2img job."""
        return self._job(Img2Img(**fields), scripts, args)

    def _job(self, p: Any, scripts: Sequence[Any], args: Sequence[Any]) -> Any:
        at, all_args = 1, [0]
        for index, script in enumerate(scripts):
            own = list(args) if index == 0 else list(getattr(script, "default_args", ()))
            script.args_from, script.args_to = at, at + len(own)
            script.is_img2img, script.is_txt2img = isinstance(p, Img2Img), isinstance(p, Txt2Img)
            all_args += own
            at += len(own)
        p.scripts, p.script_args = Runner(scripts), all_args
        return p

    def fixed_seed(self, seed: Any) -> int:
        try:
            number = int(seed)
        except (TypeError, ValueError):
            number = -1
        return next(self._draws) if number == -1 else number

    def run(self, p: Any) -> Processed:
        """Run a job to its end: `before_process`, its own settings, styles and seeds, `process`, then every batch."""
        p.scripts.call("before_process", p)
        stored = dict(self.opts.data)
        try:
            self.opts.data.update(p.override_settings)
            return self._run(p)
        finally:
            self.opts.data.clear()
            self.opts.data.update(stored)

    def _run(self, p: Any) -> Processed:
        seed, subseed = (given if isinstance(given, list) else self.fixed_seed(given) for given in (p.seed, p.subseed))
        p.setup_prompts(self.styles)
        count = len(p.all_prompts)
        step = 0 if p.subseed_strength else 1
        p.all_seeds = seed if isinstance(seed, list) else [seed + step * index for index in range(count)]
        p.all_subseeds = subseed if isinstance(subseed, list) else [subseed + index for index in range(count)]
        p.scripts.call("process", p)
        self._strip_comments(p)
        p.init()
        done = Processed([], [], [], [], "", "", {})
        for batch in range(p.n_iter):
            if self.state.interrupted or self.state.stopping_generation:
                break
            p.iteration = batch
            part = slice(batch * p.batch_size, (batch + 1) * p.batch_size)
            p.prompts, p.seeds, p.subseeds = p.all_prompts[part], p.all_seeds[part], p.all_subseeds[part]
            kwargs = {"batch_number": batch, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}
            p.scripts.call("before_process_batch", p, **kwargs)
            p.scripts.call("process_batch", p, **kwargs)
            done.prompts += p.prompts
            done.seeds += p.seeds
            if getattr(p, "enable_hr", False):
                done.hr_prompts += p.all_hr_prompts[part]
            done.first = done.first or self.infotext(p, p.all_prompts, p.all_seeds, 0)
            p.scripts.call("postprocess_batch", p, **kwargs)
            p.prompts = p.all_prompts[part]
            for index in range(len(p.prompts)):
                p.batch_index = index
                p.scripts.call("postprocess_image", p, None)
                done.infotexts.append(self.infotext(p, p.prompts, p.seeds, index))
            done.grid = self.infotext(p, p.prompts, p.seeds, 0, use_main_prompt=True)
        p.scripts.call("postprocess", p, done)
        done.info = json.loads(json.dumps(p.extra_generation_params, default=lambda value: None))
        return done

    def _strip_comments(self, p: Any) -> None:
        """As the built-in script does, whose hook runs after those of extensions."""
        strip = lambda text: re.sub(r"#[^\n]*(\n|$)", "\n", re.sub(r"(^|\n)#[^\n]*(\n|$)", "\n", text))  # noqa: E731
        p.all_prompts = [strip(text) for text in p.all_prompts]
        p.main_prompt = strip(p.main_prompt)
        if getattr(p, "enable_hr", False):
            p.all_hr_prompts = [strip(text) for text in p.all_hr_prompts]

    def infotext(
        self, p: Any, all_prompts: Any, all_seeds: Any, index: int, *, use_main_prompt: bool = False
    ) -> str:
        """Write an image's infotext; `all_prompts` is the batch's list for saved images, the job's for params.txt."""
        prompt_text = p.main_prompt if use_main_prompt else all_prompts[index]
        negative_prompt = p.main_negative_prompt if use_main_prompt else p.all_negative_prompts[index]
        parameters = {
            "Steps": p.steps,
            "Sampler": "Euler",
            "CFG scale": 7,
            "Seed": p.all_seeds[0] if use_main_prompt else all_seeds[index],
            "Size": f"{p.width}x{p.height}",
            **p.extra_generation_params,
            "Version": "v1.10.1",
        }
        for key, value in parameters.items():
            if isinstance(value, list):
                parameters[key] = value[index]
            elif callable(value):
                parameters[key] = value(
                    p=p, all_prompts=all_prompts, all_seeds=all_seeds, index=index, use_main_prompt=use_main_prompt,
                    prompt_text=prompt_text, negative_prompt=negative_prompt, comments=None, iteration=0,
                    position_in_batch=0, generation_params=parameters, key=key, value=value,
                )  # fmt: skip
        negative = f"\nNegative prompt: {negative_prompt}" if negative_prompt else ""
        return f"{prompt_text}{negative}\n{write_parameters(parameters)}".strip()

    def parse(self, infotext: str) -> dict[str, Any]:
        """Read an infotext as this host does, styles included."""
        found = parse_infotext(infotext, civitai_fix=self.kind == "forge")
        if self.opts.infotext_styles != "Ignore":
            names, prompt, negative = self.styles.extract_styles_from_prompt(found["Prompt"], found["Negative prompt"])
            found["Prompt"], found["Negative prompt"] = prompt, negative
            if names or self.opts.infotext_styles == "Apply":
                found["Styles array"] = names
        return found

    def paste(self, infotext: str) -> dict[str, Any]:
        """Read an infotext, call the extensions' paste callbacks, and return what the page's fields are filled from."""
        found = self.parse(infotext)
        for call in self.callbacks["on_infotext_pasted"]:
            call(infotext, found)
        return found

    def reload_ui(self) -> None:
        """Forget callbacks and scripts, as a reload does; `kgen_ext` stays in sys.modules."""
        for call in self.callbacks["on_script_unloaded"]:
            call()
        for calls in self.callbacks.values():
            calls.clear()
        self.scripts_data.clear()


def install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path | None = None, *, kind: str = "a1111", **extra: ModuleType
) -> FakeHost:
    """Install the host's modules and return the host. kind: a1111, forge, reforge, sdnext or bare (almost no modules).

    `extra`: further modules, dots written as double underscores (`modules__devices=...`).
    """
    if kind == "sdnext":
        from fake_sdnext import FakeSdNext

        host: FakeHost = FakeSdNext(kind, tmp_path or Path("/nonexistent"))
    else:
        host = FakeHost(kind, tmp_path or Path("/nonexistent"))
    host.opts.infotext_styles = "Apply if any"

    def add(name: str, **parts: Any) -> ModuleType:
        module = ModuleType(name)
        module.__path__ = []  # type: ignore[attr-defined]
        vars(module).update(parts)
        monkeypatch.setitem(sys.modules, name, module)
        host.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent in host.modules:
            setattr(host.modules[parent], last, module)
        return module

    def register(event: str) -> Callable[..., None]:
        return lambda call, *, name=None: host.callbacks[event].append(call)

    def add_callback(
        callbacks: list[Callable[..., Any]], fun: Callable[..., Any], *, name: str | None = None,
        category: str = "unknown", filename: str | None = None,
    ) -> None:  # fmt: skip
        host.registered.append((category, filename))
        callbacks.append(fun)

    paths = {
        "script_path": str(host.root), "data_path": str(host.root), "models_path": str(host.root / "models"),
        "extensions_dir": str(host.root / "extensions"),
    }  # fmt: skip
    add("modules")
    add("modules.shared", opts=host.opts, cmd_opts=host.cmd_opts, state=host.state, prompt_styles=host.styles,
        OptionInfo=OptionInfo)  # fmt: skip
    if kind != "bare":
        add("modules.options", OptionInfo=OptionInfo, OptionHTML=OptionHTML)
        add("modules.paths", **paths)
        add("modules.paths_internal", **paths)
        add("modules.call_queue", queue_lock=host.queue_lock)
        lists = {"callbacks_" + event[len("on_") :]: calls for event, calls in host.callbacks.items()}
        add("modules.script_callbacks", **{event: register(event) for event in EVENTS}, add_callback=add_callback,
            callback_map=lists)  # fmt: skip
        add("modules.errors", report=lambda message, *, exc_info=False: None)
        add("modules.processing", get_fixed_seed=host.fixed_seed, StableDiffusionProcessingTxt2Img=Txt2Img,
            StableDiffusionProcessingImg2Img=Img2Img, StableDiffusionProcessing=Processing)  # fmt: skip
        add("modules.processing_scripts")
        add("modules.processing_scripts.comments")
        add("modules.infotext_utils", parse_generation_parameters=host.parse, quote=quote, unquote=unquote,
            PasteField=lambda component, target, *, api=None: (component, target))  # fmt: skip
        add("modules.images", read_info_from_image=lambda image: (image.info.get("parameters"), image.info))
    add("modules.scripts", Script=Script, AlwaysVisible=ALWAYS_VISIBLE, scripts_data=host.scripts_data,
        basedir=lambda: str(host.root / "extensions" / "sd-webui-kgen"))  # fmt: skip
    if kind == "sdnext":
        monkeypatch.delitem(sys.modules, "modules.processing_scripts.comments")
        add("modules.scripts_manager", scripts_txt2img=None, scripts_img2img=None)
    if kind in ("forge", "reforge"):
        add("modules_forge")
        add("modules_forge.forge_version", version="2.0.1v1.10.1")
    if kind == "forge":
        add("backend")
        add("backend.memory_management")
    for name, module in extra.items():
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)
    return host
