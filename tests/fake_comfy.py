"""A fake ComfyUI, shaped after the sources of 0.3.64 (2025-10) and 0.33.0 (2026-08): what the nodes use of it.

`install` puts its modules into sys.modules: `comfy_api`, `comfy.model_management`, `comfy.model_patcher`,
`comfy.utils`, `folder_paths`, `server`, `nodes`, and aiohttp's `web.json_response`. `Graph` asks and runs a node as
the host does.
"""
from __future__ import annotations

import asyncio
import inspect
import json
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

OLD, NEW = "0.3.64", "0.33.0"
GB = 2**30


class InterruptProcessingException(BaseException):
    """As in the new core; in the old one it is an Exception."""


class Device(str):
    """A torch device, by its name."""

    @property
    def type(self) -> str:
        return self.partition(":")[0]


CPU = Device("cpu")


class Module:
    """torch.nn.Module, without weights."""


# comfy_api.


class Widget:
    """An input. ComfyUI 0.3.64 raises TypeError for an argument it does not know."""

    io_type = ""
    accepts: frozenset[str] = frozenset()

    def __init__(self, id: str, **options: Any) -> None:
        unknown = set(options) - self.accepts - {"display_name", "optional", "tooltip", "lazy"}
        if unknown:
            raise TypeError(f"unexpected keyword arguments {sorted(unknown)}")
        self.id, self.options, self.extra_dict = id, options, dict[str, Any]()

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in {**self.options, **self.extra_dict}.items() if value is not None}


class Output:
    """An output."""

    io_type = ""

    def __init__(self, id: str, *, display_name: str, tooltip: str, is_output_list: bool = False) -> None:
        self.id, self.display_name, self.tooltip, self.is_output_list = id, display_name, tooltip, is_output_list


_WIDGETS = {
    "String": "default multiline placeholder dynamic_prompts socketless force_input",
    "Int": "default min max step control_after_generate display_mode socketless force_input",
    "Float": "default min max step round display_mode socketless force_input",
    "Boolean": "default label_on label_off socketless force_input",
    "Combo": "options default control_after_generate socketless",
}
_SCHEMA = (
    "node_id display_name category inputs outputs hidden description is_input_list is_output_node is_deprecated "
    "is_experimental is_api_node not_idempotent enable_expand"
)
_NEWER = " search_aliases is_dev_only accept_all_inputs essentials_category has_intermediate_output price_badge"


def _kind(io_type: str, accepts: str) -> Any:
    made = {"io_type": io_type, "accepts": frozenset(accepts.split())}
    return SimpleNamespace(Input=type("Input", (Widget,), made), Output=type("Output", (Output,), {"io_type": io_type}))


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"


class ComfyNode:
    """Base of a node's class; `hidden` is filled in for a run."""

    hidden: Any = None


class NodeOutput:
    """What `execute` returns."""

    def __init__(self, *args: Any, ui: dict[str, Any] | None = None) -> None:
        self.args, self.ui = args, ui


class ComfyExtension:
    """Base of a pack's extension."""

    async def on_load(self) -> None: ...


@dataclass
class NodeReplace:
    new_node_id: str
    old_node_id: str
    old_widget_ids: list[str]
    input_mapping: list[dict[str, Any]]
    output_mapping: list[dict[str, int]]


def _api(host: Comfy) -> ModuleType:
    schema = make_dataclass("Schema", [(name, Any, None) for name in (_SCHEMA + _NEWER * host.is_new).split()])
    io = SimpleNamespace(
        Schema=schema, Hidden=Hidden, ComfyNode=ComfyNode, NodeOutput=NodeOutput,
        Custom=lambda io_type: _kind(io_type, ""),
        **{name: _kind(name.upper(), accepts) for name, accepts in _WIDGETS.items()},
    )  # fmt: skip
    api: Any = ModuleType("comfy_api.v0_0_2")
    api.io, api.ComfyExtension = io, ComfyExtension
    if host.is_new:
        io.NodeReplace = NodeReplace

        async def register(row: NodeReplace) -> None:
            host.replacements.append(row)

        api.ComfyAPI = lambda: SimpleNamespace(node_replacement=SimpleNamespace(register=register))
    return api


# The server.


@dataclass
class Response:
    """aiohttp's, with a JSON body."""

    value: Any
    status: int


@dataclass
class Request:
    """aiohttp's, as far as a route reads it."""

    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def content(self) -> Any:
        async def chunks() -> Any:
            for start in range(0, len(self.body), 4096):
                yield self.body[start : start + 4096]

        return SimpleNamespace(iter_any=chunks)


class Routes:
    """aiohttp's RouteTableDef."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[str, str], Callable[[Any], Any]] = {}

    def get(self, path: str) -> Callable[[Any], Any]:
        return lambda handler: self.handlers.setdefault(("GET", path), handler)

    def post(self, path: str) -> Callable[[Any], Any]:
        return lambda handler: self.handlers.setdefault(("POST", path), handler)


# The host.


@dataclass
class Comfy:
    """State of the fake: what was shown, asked for and loaded. device: the host's; free: bytes of VRAM."""

    models_dir: Path
    version: str = NEW
    device: Device = CPU
    free: int = 8 * GB
    texts: list[tuple[str, str]] = field(default_factory=list)
    messages: list[tuple[str, Any, Any]] = field(default_factory=list)  # event, data, page
    bars: list[tuple[int, int]] = field(default_factory=list)
    replacements: list[NodeReplace] = field(default_factory=list)
    prompt_handlers: list[Callable[[Any], Any]] = field(default_factory=list)
    routes: Routes = field(default_factory=Routes)
    interrupt: bool = False
    interrupt_after: int | None = None  # questions
    modules: dict[str, Any] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        return self.version == NEW

    def send_progress_text(self, text: str | bytes, node_id: str, sid: Any = None) -> None:
        self.texts.append((text.decode() if isinstance(text, bytes) else text.encode().decode(), node_id))

    def send_sync(self, event: str, data: Any, sid: Any = None) -> None:
        self.messages.append((event, data, sid))

    def add_on_prompt_handler(self, handler: Callable[[Any], Any]) -> None:
        self.prompt_handlers.append(handler)

    def processing_interrupted(self) -> bool:
        if self.interrupt_after is not None:
            self.interrupt_after -= 1
            self.interrupt = self.interrupt or self.interrupt_after < 0
        return self.interrupt

    def throw_exception_if_processing_interrupted(self) -> None:
        if self.interrupt:
            self.interrupt, self.interrupt_after = False, None
            raise InterruptProcessingException

    def post(self, path: str, body: Any, **headers: str) -> Response:
        """Ask a route as ComfyUI's page does."""
        sent = {"Host": "127.0.0.1:8188", "Origin": "http://127.0.0.1:8188", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(self.routes.handlers["POST", path](Request(sent, data)))

    def get(self, path: str) -> Response:
        return asyncio.run(self.routes.handlers["GET", path](Request({})))


class LoadedModel:
    """An entry of the manager's list (comfy/model_management.py)."""

    def __init__(self, model: Any) -> None:
        self._model = weakref.ref(model)
        self.device = model.load_device

    @property
    def model(self) -> Any:
        return self._model()

    def model_load(self) -> None:
        self.model.model_patches_to(self.device)
        self.model.partially_load(self.device, 1e32, force_patch_weights=False)

    def model_unload(self, memory_to_free: float | None = None) -> bool:
        if memory_to_free is not None and memory_to_free < self.model.loaded_size():
            freed = self.model.partially_unload(self.model.offload_device, memory_to_free)
            if freed >= memory_to_free:
                return False
        self.model.detach(True)
        return True


class ModelPatcher:
    """comfy/model_patcher.py."""

    def __init__(self, model: Any, load_device: Any, offload_device: Any, size: int = 0) -> None:
        self.model, self.load_device, self.offload_device, self.size = model, load_device, offload_device, size
        self.parent = None

    def model_size(self) -> int:
        return self.size

    def model_patches_to(self, device: Any) -> None: ...

    def is_clone(self, other: Any) -> bool:
        return self.model is other.model

    def is_dynamic(self) -> bool:
        return False


def _management(host: Comfy) -> ModuleType:
    module: Any = ModuleType("comfy.model_management")
    loaded: list[LoadedModel] = []
    module.current_loaded_models = loaded
    module.torch = SimpleNamespace(nn=SimpleNamespace(Module=Module), device=Device)
    module.get_torch_device = lambda: host.device
    module.processing_interrupted = host.processing_interrupted
    module.throw_exception_if_processing_interrupted = host.throw_exception_if_processing_interrupted
    module.get_free_memory = lambda device: host.free - sum(
        entry.model.loaded_size() for entry in loaded if entry.model is not None and entry.device == device
    )

    def free_memory(required: float, device: Any) -> None:
        for entry in [entry for entry in loaded if entry.device == device]:
            to_free = required - module.get_free_memory(device)
            if to_free > 0 and entry.model_unload(to_free):
                loaded.remove(entry)

    def load_models_gpu(models: list[Any], memory_required: float = 0) -> None:
        for patcher in models:
            needed = patcher.model_size() - patcher.loaded_size()
            for entry in [entry for entry in loaded if patcher.is_clone(entry.model)]:
                loaded.remove(entry)
                entry.model.detach(unpatch_all=False)
            if patcher.load_device != CPU:
                free_memory(needed * 1.1, patcher.load_device)
            entry = LoadedModel(patcher)
            entry.model_load()
            loaded.insert(0, entry)

    module.free_memory, module.load_models_gpu = free_memory, load_models_gpu
    module.unload_all_models = lambda: free_memory(1e30, host.device)
    return module


def install(monkeypatch: pytest.MonkeyPatch, models_dir: Path, **options: Any) -> Comfy:
    """Put the modules of a ComfyUI in place and return its state."""
    host = Comfy(models_dir, **options)
    api, management = _api(host), _management(host)
    comfy, package = ModuleType("comfy"), ModuleType("comfy_api")
    utils: Any = ModuleType("comfy.utils")
    patcher: Any = ModuleType("comfy.model_patcher")
    patcher.ModelPatcher = ModelPatcher

    class ProgressBar:
        def __init__(self, total: int, node_id: Any = None) -> None:
            self.total = total

        def update_absolute(self, value: int) -> None:
            host.bars.append((value, self.total))

    utils.ProgressBar = ProgressBar
    paths: Any = ModuleType("folder_paths")
    paths.models_dir = str(models_dir)
    paths.folder_names_and_paths = {"custom_nodes": ([str(models_dir.parent / "custom_nodes")], set())}
    paths.get_folder_paths = lambda name: list(paths.folder_names_and_paths[name][0])

    def add_model_folder_path(name: str, folder: str, is_default: bool = False) -> None:
        listed, _ = paths.folder_names_and_paths.setdefault(name, ([], set()))
        if folder not in listed:
            listed.append(folder)

    paths.add_model_folder_path = add_model_folder_path
    server: Any = ModuleType("server")
    server.PromptServer = SimpleNamespace(instance=host)
    nodes: Any = ModuleType("nodes")
    nodes.NODE_CLASS_MAPPINGS = {}
    aiohttp: Any = ModuleType("aiohttp")
    aiohttp.web = SimpleNamespace(
        json_response=lambda value, status=200: Response(json.loads(json.dumps(value)), status)
    )
    host.modules = {
        "comfy": comfy, "comfy_api": package, "comfy_api.v0_0_2": api, "comfy_api.latest": api,
        "comfy.model_management": management, "comfy.model_patcher": patcher, "comfy.utils": utils,
        "folder_paths": paths, "server": server, "nodes": nodes, "aiohttp": aiohttp,
    }  # fmt: skip
    comfy.model_management, comfy.model_patcher, comfy.utils = management, patcher, utils  # type: ignore[attr-defined]
    package.v0_0_2 = package.latest = api  # type: ignore[attr-defined]
    for name, module in host.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return host


class Invalid(Exception):
    """A graph that is refused before it runs."""


@dataclass
class Graph:
    """A graph that is run node by node, as execution.py does it for one prompt.

    prompt: of the API. classes: by id. pnginfo: what the images will carry.
    """

    prompt: dict[str, Any]
    classes: Mapping[str, Any]
    pnginfo: dict[str, Any] = field(default_factory=dict)

    def check(self, node: str) -> None:
        """Ask a node before the graph runs: links are None then. Raises Invalid."""
        cls, inputs = self._class(node), self.prompt[node]["inputs"]
        schema = cls.define_schema()
        for row in schema.inputs:
            if row.id not in inputs and not row.options.get("optional"):
                raise Invalid(f"{row.id}: required input is missing")
        validate = getattr(cls, "validate_inputs", None)
        named = inspect.getfullargspec(validate).args if validate else []
        for row in schema.inputs:
            value = inputs.get(row.id)
            if row.id not in inputs or row.id in named or isinstance(value, list):
                continue
            options = row.options.get("options")
            if options is not None and value not in options:
                raise Invalid(f"{row.id}: value not in list")
            if "max" in row.options and not row.options["min"] <= value <= row.options["max"]:
                raise Invalid(f"{row.id}: value out of range")
        if validate:
            asked = {name: value for name, value in inputs.items() if name in named}
            typed = {name: None if isinstance(value, list) else value for name, value in asked.items()}
            if schema.is_input_list:
                typed = {name: [value] for name, value in typed.items()}
            if (answer := validate(**typed)) is not True:
                raise Invalid(answer)

    def run(self, node: str, **linked: Any) -> NodeOutput:
        """Run a node; linked: the values that come over links."""
        cls = self._class(node)
        values = {**self.prompt[node]["inputs"], **linked}
        clone = type(f"{cls.__name__}Clone", (cls, *cls.__bases__), dict(cls.__dict__))
        clone.hidden = SimpleNamespace(unique_id=node, prompt=self.prompt, extra_pnginfo=self.pnginfo)
        if cls.define_schema().is_input_list:
            values = {name: value if name in linked else [value] for name, value in values.items()}
        return cls.execute.__func__(clone, **values)

    def _class(self, node: str) -> Any:
        return self.classes[self.prompt[node]["class_type"]]
