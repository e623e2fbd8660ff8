"""Parts of a host that an extension uses: job state, options, styles, the base class of scripts."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ALWAYS_VISIBLE = object()


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
        self.restrict_api = restrict_api
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


class OptionHTML(OptionInfo):
    """A paragraph of the settings page: its text is what it has for a value, and nobody can set it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.do_not_save = True


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
                negative = negative[: len(negative) - len(negative_style)].removesuffix(", ")
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

    def on_after_component(self, callback: Callable[[Any], None], *, elem_id: str) -> None:
        """Keep a callback for `component_built`."""
        self.waiting = {**getattr(self, "waiting", {}), elem_id: callback}

    def component_built(self, elem_id: str) -> None:
        """Tell the script that the host has built a component."""
        if callback := getattr(self, "waiting", {}).get(elem_id):
            callback(None)

    def elem_id(self, item_id: str) -> str:
        tab = "img2img" if self.is_img2img else "txt2img"
        return f"script_{tab}_{re.sub(r'[^a-z_0-9]', '', re.sub(' ', '_', self.title().lower()))}_{item_id}"

    def setup(self, p: Any, *args: Any) -> None: ...
    def before_process(self, p: Any, *args: Any) -> None: ...
    def process(self, p: Any, *args: Any) -> None: ...
    def before_process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None: ...
    def process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None: ...
    def postprocess_batch(self, p: Any, *args: Any, **kwargs: Any) -> None: ...
    def postprocess_image(self, p: Any, image: Any, *args: Any) -> None: ...
    def postprocess(self, p: Any, processed: Any, *args: Any) -> None: ...
