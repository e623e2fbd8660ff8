"""A host small enough to read: `modules.*` as AUTOMATIC1111 1.10.1 and Forge show them to an extension.

`install(monkeypatch, kind=...)` puts the modules into sys.modules and returns a `FakeHost` to drive: it makes jobs,
runs the hooks in the host's order, writes infotexts and reads them back. No images are made and no library is needed.
Written from the facts: the order of hooks, what is None when, which index an infotext is asked for, how values are
quoted and parsed.
"""
from __future__ import annotations

import copy
import itertools
import json
import re
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ALWAYS_VISIBLE = object()
EVENTS = (
    "on_ui_settings", "on_app_started", "on_before_ui", "on_ui_tabs", "on_infotext_pasted", "on_script_unloaded",
    "on_model_loaded", "on_before_token_counter", "on_after_component", "on_before_component",
)  # fmt: skip
# A key, a colon, then a JSON string or all up to the next comma.
PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
SIZE = re.compile(r"^(\d+)x(\d+)$")


def quote(value: Any) -> Any:
    """Quote as the host does: only what holds a comma, a colon or a newline."""
    return json.dumps(value, ensure_ascii=False) if re.search("[,:\n]", str(value)) else value


def unquote(text: str) -> str:
    """Unquote as the host does; what looks quoted and is no JSON stays as it is."""
    if not (text.startswith('"') and text.endswith('"')):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def write_parameters(parameters: Mapping[str, Any]) -> str:
    """Join the last line of an infotext; None is left out, a value equal to its key loses its colon."""
    shown = ((key, value) for key, value in parameters.items() if value is not None)
    return ", ".join(key if key == value else f"{key}: {quote(value)}" for key, value in shown)


def parse_infotext(infotext: str, *, civitai_fix: bool = False) -> dict[str, Any]:
    """Read an infotext as the host does, without styles: `Prompt`, `Negative prompt`, and the last line's values."""
    *lines, last = infotext.strip().split("\n")
    if len(PARAMETER.findall(last)) < 3:
        lines.append(last)
        last = ""
    if civitai_fix and "Civitai" in last and "FLUX" in last:
        last = last.replace("CFG scale: ", "CFG scale: 1, Distilled CFG Scale: ")
    texts: tuple[list[str], list[str]] = ([], [])
    negative = False
    for line in (one.strip() for one in lines):
        if line.startswith("Negative prompt:"):
            negative, line = True, line[len("Negative prompt:") :].strip()
        if line or texts[negative]:
            texts[negative].append(line)
    found: dict[str, Any] = {}
    for key, value in PARAMETER.findall(last):
        if not value:
            continue  # the host trips over an empty value and drops it
        value = unquote(value) if value[0] == value[-1] == '"' else value
        if size := SIZE.match(value):
            found[f"{key}-1"], found[f"{key}-2"] = size.groups()
        else:
            found[key] = value
    found["Prompt"], found["Negative prompt"] = ("\n".join(one) for one in texts)
    found.setdefault("Hires prompt", "")
    found.setdefault("Hires negative prompt", "")
    return found


@dataclass
class State:
    """The job state a host shows and the buttons set."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_no: int = 0
    job_count: int = -1
    job_timestamp: str = "20260101000000"
    sampling_step: int = 0
    sampling_steps: int = 0
    textinfo: str | None = None

    def begin(self, job: str = "") -> None:
        self.__init__(job=job)  # type: ignore[misc]

    def end(self) -> None:
        self.job, self.job_count = "", 0

    def interrupt(self) -> None:
        self.interrupted = True

    def stop_generating(self) -> None:
        self.stopping_generation = True


class OptionInfo:
    """A setting as an extension declares it; keeps what it was given."""

    def __init__(self, default: Any = None, label: str = "", component: Any = None, component_args: Any = None,
                 onchange: Any = None, section: Any = None, refresh: Any = None, comment_before: str = "",
                 comment_after: str = "", infotext: Any = None, restrict_api: bool = False,
                 category_id: Any = None) -> None:  # fmt: skip
        self.default, self.label, self.component, self.component_args = default, label, component, component_args
        self.section, self.onchange, self.refresh, self.infotext = section, onchange, refresh, infotext
        self.notes: list[str] = []

    def info(self, text: str) -> OptionInfo:
        self.notes.append(text)
        return self

    def html(self, text: str) -> OptionInfo:
        return self.info(text)

    def link(self, label: str, uri: str) -> OptionInfo:
        return self.info(f"{label}: {uri}")

    def js(self, label: str, function: str) -> OptionInfo:
        return self

    def needs_restart(self) -> OptionInfo:
        return self

    def needs_reload_ui(self) -> OptionInfo:
        return self


class Options:
    """The settings: attributes, with defaults from what was declared."""

    def __init__(self) -> None:
        self.__dict__["data"] = {}
        self.__dict__["data_labels"] = {}

    def __getattr__(self, key: str) -> Any:
        if key in self.__dict__["data"]:
            return self.__dict__["data"][key]
        if key in self.__dict__["data_labels"]:
            return self.__dict__["data_labels"][key].default
        raise AttributeError(key)

    def __setattr__(self, key: str, value: Any) -> None:
        self.__dict__["data"][key] = value

    def add_option(self, key: str, info: OptionInfo) -> None:
        self.__dict__["data_labels"][key] = info

    def set(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        setattr(self, key, value)
        return True


class Styles:
    """Named styles; a style holds `{prompt}` or is put behind the prompt."""

    def __init__(self) -> None:
        self.styles: dict[str, tuple[str, str]] = {}

    def apply_styles_to_prompt(self, prompt: str, names: Sequence[str]) -> str:
        for name in names:
            prompt = self._apply(prompt, self.styles[name][0])
        return prompt

    def apply_negative_styles_to_prompt(self, prompt: str, names: Sequence[str]) -> str:
        for name in names:
            prompt = self._apply(prompt, self.styles[name][1])
        return prompt

    @staticmethod
    def _apply(prompt: str, style: str) -> str:
        if "{prompt}" in style:
            return style.replace("{prompt}", prompt)
        return ", ".join(part for part in (prompt.strip(), style.strip()) if part)

    def extract_styles_from_prompt(self, prompt: str, negative: str) -> tuple[list[str], str, str]:
        found = []
        for name, (style, negative_style) in self.styles.items():
            left, braces, right = style.partition("{prompt}")
            if not braces:
                left, right = "", ", " + style
            if style and prompt.startswith(left) and prompt.endswith(right) and negative.endswith(negative_style):
                prompt = prompt[len(left) : len(prompt) - len(right)]
                found.append(name)
        return found, prompt, negative


class Script:
    """The base class of scripts, with every hook a host may call."""

    name: str | None = None
    section: str | None = None
    filename: str = ""
    args_from = 0
    args_to = 0
    is_txt2img = False
    is_img2img = False
    group: Any = None
    infotext_fields: Any = None
    paste_field_names: Any = None
    create_group = True

    def title(self) -> str:
        raise NotImplementedError

    def ui(self, is_img2img: bool) -> Any:
        return None

    def show(self, is_img2img: bool) -> Any:
        return True

    def elem_id(self, item_id: str) -> str:
        tab = "img2img" if self.is_img2img else "txt2img"
        return f"script_{tab}_{re.sub(r'[^a-z_0-9]', '', re.sub(' ', '_', self.title().lower()))}_{item_id}"

    def setup(self, p: Any, *args: Any) -> None: ...
    def before_process(self, p: Any, *args: Any) -> None: ...
    def process(self, p: Any, *args: Any) -> None: ...
    def before_process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None: ...
    def process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None: ...
    def postprocess_batch(self, p: Any, *args: Any, **kwargs: Any) -> None: ...
    def postprocess(self, p: Any, processed: Any, *args: Any) -> None: ...


@dataclass
class Processing:
    """What `txt2img` and `img2img` hand to the hooks; `hr_*` exists on txt2img jobs only."""

    prompt: Any = ""
    negative_prompt: Any = ""
    seed: Any = -1
    subseed: Any = -1
    subseed_strength: float = 0
    n_iter: int = 1
    batch_size: int = 1
    width: int = 512
    height: int = 512
    steps: int = 1
    styles: list[str] = field(default_factory=list)
    scripts: Any = None
    script_args: Sequence[Any] = ()
    extra_generation_params: dict[str, Any] = field(default_factory=dict)
    iteration: int = 0
    all_prompts: Any = None
    all_negative_prompts: Any = None
    all_seeds: Any = None
    all_subseeds: Any = None
    prompts: Any = None
    main_prompt: Any = None
    main_negative_prompt: Any = None

    def setup_prompts(self, styles: Styles) -> None:
        count = self.batch_size * self.n_iter
        own = self.prompt if isinstance(self.prompt, list) else [self.prompt] * count
        self.all_prompts = [styles.apply_styles_to_prompt(one, self.styles) for one in own]
        negative = [styles.apply_negative_styles_to_prompt(self.negative_prompt, self.styles)]
        self.all_negative_prompts = negative * len(own)
        self.main_prompt, self.main_negative_prompt = self.all_prompts[0], self.all_negative_prompts[0]


@dataclass
class Txt2Img(Processing):
    """A txt2img job."""

    enable_hr: bool = False
    hr_prompt: Any = ""
    all_hr_prompts: Any = None
    hr_prompts: Any = None

    def setup_prompts(self, styles: Styles) -> None:
        super().setup_prompts(styles)
        if not self.enable_hr:
            return
        if self.hr_prompt == "":
            self.hr_prompt = self.prompt
        own = self.hr_prompt if isinstance(self.hr_prompt, list) else [self.hr_prompt] * len(self.all_prompts)
        self.all_hr_prompts = [styles.apply_styles_to_prompt(one, self.styles) for one in own]

    def init(self) -> None:
        if self.enable_hr:
            # As the hosts write it: the index is trusted, although it counts within the batch.
            def hires_prompt(p: Any, index: int, prompt_text: str, **_: Any) -> str | None:
                own = p.all_hr_prompts[index]
                return own if own != prompt_text else None

            self.extra_generation_params["Hires prompt"] = hires_prompt


@dataclass
class Img2Img(Processing):
    """An img2img job."""

    init_images: list[Any] = field(default_factory=list)

    def init(self) -> None: ...


@dataclass
class Processed:
    """What comes out: the texts the sampler saw, and what was written into each image."""

    prompts: list[str]
    hr_prompts: list[str]
    seeds: list[int]
    infotexts: list[str]
    grid: str
    first: str
    info: dict[str, Any]


class Runner:
    """Calls the hooks of always-on scripts, each with its slice of the job's arguments; what raises is kept."""

    def __init__(self, scripts: Sequence[Any]) -> None:
        self.alwayson_scripts = list(scripts)
        self.errors: list[BaseException] = []

    def call(self, hook: str, p: Any, *first: Any, **kwargs: Any) -> None:
        for script in self.alwayson_scripts:
            try:
                getattr(script, hook)(p, *first, *p.script_args[script.args_from : script.args_to], **kwargs)
            except Exception as error:  # as the host: reported, and the job goes on
                self.errors.append(error)


class FakeHost:
    """Drives jobs the way a host does. `host.opts`, `.state`, `.styles`, `.callbacks` are what the modules show."""

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
        """Run a job to its end: `before_process`, styles and seeds, `process`, then every batch."""
        p.scripts.call("before_process", p)
        seed, subseed = (one if isinstance(one, list) else self.fixed_seed(one) for one in (p.seed, p.subseed))
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
            done.infotexts += [self.infotext(p, p.prompts, p.seeds, index) for index in range(len(p.prompts))]
            done.grid = self.infotext(p, p.prompts, p.seeds, 0, use_main_prompt=True)
        p.scripts.call("postprocess", p, done)
        done.info = json.loads(json.dumps(p.extra_generation_params, default=lambda value: None))
        return done

    def _strip_comments(self, p: Any) -> None:
        """As the built-in script does, whose hook runs after those of extensions."""
        strip = lambda text: re.sub(r"#[^\n]*(\n|$)", "\n", re.sub(r"(^|\n)#[^\n]*(\n|$)", "\n", text))  # noqa: E731
        p.all_prompts = [strip(one) for one in p.all_prompts]
        p.main_prompt = strip(p.main_prompt)
        if getattr(p, "enable_hr", False):
            p.all_hr_prompts = [strip(one) for one in p.all_hr_prompts]

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
        """Read an infotext and let the extensions have their say; what the page's fields are then filled from."""
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
    """Put the host's modules in place and return the host. kind: a1111, forge, reforge or bare (as good as nothing).

    `extra`: further modules, dots written as double underscores (`modules__devices=...`).
    """
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
        add("modules.options", OptionInfo=OptionInfo)
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
    if kind in ("forge", "reforge"):
        add("modules_forge")
        add("modules_forge.forge_version", version="2.0.1v1.10.1")
    if kind == "forge":
        add("backend")
        add("backend.memory_management")
    for name, module in extra.items():
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)
    return host


def shallow(p: Any) -> Any:
    """Copy a job as the X/Y/Z plot does: `extra_generation_params` and the lists are shared."""
    return copy.copy(p)


__all__ = ["FakeHost", "install", "parse_infotext", "quote", "shallow", "unquote", "write_parameters"]
