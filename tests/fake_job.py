"""A job as the hosts pass it to the hooks, and the runner that calls them."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fake_parts import Styles


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
    override_settings: dict[str, Any] = field(default_factory=dict)
    scripts: Any = None
    script_args: Sequence[Any] = ()
    extra_generation_params: dict[str, Any] = field(default_factory=dict)
    iteration: int = 0
    batch_index: int = 0
    all_prompts: Any = None
    all_negative_prompts: Any = None
    all_seeds: Any = None
    all_subseeds: Any = None
    prompts: Any = None
    # Not attributes of the class, so that SD.Next's jobs can be without them.
    main_prompt: Any = field(default_factory=lambda: None)
    main_negative_prompt: Any = field(default_factory=lambda: None)

    def setup_prompts(self, styles: Styles) -> None:
        count = self.batch_size * self.n_iter
        own = self.prompt if isinstance(self.prompt, list) else [self.prompt] * count
        self.all_prompts = [styles.apply_styles_to_prompt(prompt, self.styles) for prompt in own]
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
        self.all_hr_prompts = [styles.apply_styles_to_prompt(prompt, self.styles) for prompt in own]

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


def shallow(p: Any) -> Any:
    """Copy a job as the X/Y/Z plot does: `extra_generation_params` and the lists are shared."""
    return copy.copy(p)
