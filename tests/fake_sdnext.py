"""SD.Next as an extension meets it: the order of its hooks, its job state, its infotext and its paste button.

Written from the facts of SD.Next 058a7f0: modules/processing.py, processing_info.py, shared_state.py, infotext.py,
generation_parameters_copypaste.py, scripts_manager.py, image/metadata.py.
"""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_job
import fake_parts
from fake_host import FakeHost
from fake_job import Processed

_FIRST = ("steps: ", "seed: ", "width: ", "height: ", "sampler: ", "size: ", "cfg scale: ", "pipeline: ",
          "negative prompt: ", "template: ", "negative template: ")  # fmt: skip
_PARAMETER = re.compile(r'\s*([\w ]+):\s*("(?:\\"[^,]|\\"|\\|[^\"])+"|[^,]*)(?:,|$)')


class State:
    """The job state: no `stopping_generation`; `begin` takes a title and forgets a stop."""

    def __init__(self) -> None:
        self.interrupted = self.skipped = False
        self.job, self.job_no, self.job_count = "", 0, 0
        self.sampling_step = self.sampling_steps = 0
        self.textinfo: str | None = None

    def begin(self, title: str = "", task_id: int = 0, api: bool | None = None) -> str:
        self.__init__()  # type: ignore[misc]
        self.job, self.job_count = title, 1
        return title

    def end(self, task_id: str | None = None, api: bool | None = None) -> None:
        self.job, self.job_no, self.job_count = "", 0, 0

    def interrupt(self) -> None:
        self.interrupted = True


@dataclass
class Txt2Img(fake_job.Txt2Img):
    """A txt2img job: without `main_prompt`; `hr_prompt` is there and unused, `refiner_prompt` takes its place."""

    refiner_prompt: str = ""
    all_hr_prompts: Any = field(default_factory=list)

    def __post_init__(self) -> None:
        del self.main_prompt, self.main_negative_prompt

    def setup_prompts(self, styles: fake_parts.Styles) -> None:
        count = self.batch_size * self.n_iter
        own = self.prompt if isinstance(self.prompt, list) else [self.prompt] * count
        self.all_prompts = [styles.apply_styles_to_prompt(prompt, self.styles) for prompt in own]
        self.all_negative_prompts = [self.negative_prompt] * len(own)

    def init(self) -> None: ...


class FakeSdNext(FakeHost):
    """A host that runs jobs as SD.Next does."""

    def __init__(self, kind: str, root: Path) -> None:
        super().__init__(kind, root)
        self.state: Any = State()
        self.drawn: list[str] = []
        self.draw: Any = lambda p: None  # called while a batch is drawn, as live previews come then

    def txt2img(self, *scripts: Any, args: Sequence[Any] = (), **fields: Any) -> Any:
        return self._job(Txt2Img(**fields), scripts, args)

    def _run(self, p: Any) -> Processed:
        p.setup_prompts(self.styles)
        seed = self.fixed_seed(p.seed)
        p.all_seeds = [seed + index for index in range(len(p.all_prompts))]
        p.all_subseeds = list(p.all_seeds)
        p.scripts.call("process", p)
        self.state.begin("Process")
        p.init()
        done = Processed([], [], [], [], "", "", {})
        for batch in range(p.n_iter):
            p.iteration = batch
            if self.state.interrupted:
                break
            part = slice(batch * p.batch_size, (batch + 1) * p.batch_size)
            p.prompts, p.seeds, p.subseeds = p.all_prompts[part], p.all_seeds[part], p.all_subseeds[part]
            kwargs = {"batch_number": batch, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}
            p.scripts.call("before_process_batch", p, **kwargs)
            if not p.prompts:
                break
            p.scripts.call("process_batch", p, **kwargs)
            done.prompts += p.prompts
            done.seeds += p.seeds
            self.draw(p)
            if self.state.interrupted:
                break
            p.prompts = p.all_prompts[part]
            for index in range(len(p.prompts)):
                p.batch_index = index
                p.scripts.call("postprocess_image", p, SimpleNamespace(image=None))
                done.infotexts.append(self.written(p, p.prompts, p.seeds, index))
        if len(done.infotexts) > 1:
            self.image_grid()
            done.grid = self.written(p, p.all_prompts, p.all_seeds, 0, grid="1x2")
        if not self.state.interrupted:
            p.scripts.call("postprocess", p, done)
        self.state.end()
        return done

    def image_grid(self) -> None:
        """Call the callbacks of a grid, which live previews have, too."""
        for call in self.callbacks["on_image_grid"]:
            call(SimpleNamespace(imgs=[], cols=1, rows=1))

    def written(self, p: Any, prompts: Any, seeds: Any, index: int, *, grid: str | None = None) -> str:
        """Write an infotext: nothing is called, and what JSON cannot hold is an error."""
        entries = {"Steps": p.steps, "Size": f"{p.width}x{p.height}", "Seed": seeds[index], "App": "SD.Next",
                   "Index": None if grid else f"{p.iteration + 1}x{index + 1}", "Grid": grid,
                   **p.extra_generation_params}  # fmt: skip
        shown = []
        for key, value in entries.items():
            if value is None or value == "" or value == "0x0" or (type(value) in (int, float) and value <= -1):
                continue
            value = ", ".join(map(str, value)) if isinstance(value, list) else value
            quoted = json.dumps(value, ensure_ascii=False) if re.search("[,\n:]", str(value)) else value
            shown.append(key if key == value else f"{key}: {quoted}")
        return f"{prompts[index]}\nNegative prompt: {p.all_negative_prompts[0]}\n{', '.join(shown)}".strip()

    def parse(self, infotext: str) -> dict[str, Any]:
        """Read an infotext: the first of some words ends the prompt, and a text is taken out wherever it stands."""
        rest = infotext.replace("\nSteps:", " Steps:")

        def taken(keyword: str, text: str) -> tuple[str, str]:
            if keyword not in text.lower():
                return "", text
            if text.lower().startswith(f"{keyword}:"):
                text = text[len(keyword) + 1 :]
            text = text.strip("\n").strip()
            end = min((text.lower().find(word) for word in _FIRST if word in text.lower()), default=0)
            return text[:end].strip("\n").strip(), text.replace(text[:end], "") if end else text

        prompt, rest = taken("", rest)
        negative, rest = taken("negative prompt", rest)
        found: dict[str, Any] = dict(_PARAMETER.findall(rest))
        found["Prompt"], found["Negative prompt"] = prompt or None, negative or None
        for key, value in list(found.items()):
            found[key] = value if value is None else self._value(value)
        return found

    def _value(self, text: str) -> Any:
        if len(text) > 1 and text[0] == text[-1] == '"':
            try:
                text = json.loads(text)
            except ValueError:
                return text
        text = text.strip(" ,\n").replace("\\\n", "")
        if text.replace(".", "", 1).isdigit():
            return float(text) if "." in text else int(text)
        return {"True": True, "False": False}.get(text, text)

    def page(self, infotext: str, fields: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
        """Press the paste button: return the new values by component. A key is a function, a text, or both."""
        params = self.paste(infotext)
        shown = {}
        for component, key in fields:
            value = key(params) if callable(key) else params.get(key)
            if value is None or (isinstance(value, str) and not value.strip() and key in {"Prompt", "Negative prompt"}):
                continue
            assert key.lower()
            kind = type(component.value)
            if kind is bool:
                value = str(value).lower() != "false"
            elif kind is list:
                value = value if isinstance(value, list) else [item.strip() for item in value.split(",")]
            else:
                value = kind(value)
            shown[component] = value
        return shown


def through_exif(infotext: str) -> str:
    """Return an infotext as it comes back from a JPEG or WebP."""
    data = b"UNICODE\x00" + infotext.encode("utf-16-be")
    text = data.removeprefix(b"UNICODE").removeprefix(b"\x00").decode("utf-16-be")
    return re.sub("[\x00-\x09]", "", text).strip()
