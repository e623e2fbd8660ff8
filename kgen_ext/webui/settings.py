"""Settings of the extension: the table of options, their checked values, and the folders and files they lead to.

A value that is not valid, such as one of another version or edited by hand, is replaced by the default, with a line in
the log. A command line flag takes precedence over its option.

No option holds a path: hosts let every client of their API change options, whatever `restrict_api` says. Files are
chosen by name among those found; folders, and files elsewhere, are given by flags. `settings_page` shows the options.
"""
from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kgen_ext.errors import BadValue, KGenError, UserError
from kgen_ext.webui.controls import DEFAULT
from kgen_ext.webui.host import LOGGER, Host
from kgen_ext.webui.presets import Preset, parse_presets

if TYPE_CHECKING:
    from kgen_ext.models import Locations, ModelFiles
    from kgen_ext.webui.controls import Values

STARTER = "starter"
# Tag files are searched for in this folder of the models folders, and of the extensions with this in their name; the
# last is the default file.
_TAGS, _TAGCOMPLETE, _TAG_FILE = "tags", "tagcomplete", "danbooru.csv"

# Value and label of each choice.
Choices = tuple[tuple[str, str], ...]


class Setting(NamedTuple):
    """An option of the settings page. choices: of a closed set, stored by label. low, high: bounds of a number."""

    key: str
    default: Any
    label: str
    info: str
    choices: Choices = ()
    low: float = 0
    high: float = 0
    lines: int = 0

    @property
    def stored_default(self) -> Any:
        """Return the default as the host stores it."""
        return dict(self.choices).get(self.default, self.default) if self.choices else self.default


ENGINE_CHOICES: Choices = (("auto", "auto"), ("llama_cpp", "llama_cpp"), ("transformers", "transformers"),
                  ("reference", "reference"))  # fmt: skip
DEVICES: Choices = tuple((device, device) for device in ("auto", "cpu", "cuda", "xpu", "mps", "directml"))

SETTINGS: tuple[Setting, ...] = (
    Setting("kgen_model", STARTER, "Default model", "what “default” means in the model list of the page"),
    Setting("kgen_engine", "auto", "Default engine", "auto uses the best one installed", ENGINE_CHOICES),
    Setting("kgen_device", "auto", "Device",
           "auto uses the GPU if the engine can; cuda:1 is the second GPU", DEVICES),
    Setting("kgen_threads", 0, "CPU threads", "0: chosen by the engine", high=64),
    Setting("kgen_keep", "keep", "Keep the model in memory",
           "with --lowvram or --medvram, VRAM is always freed after use",
           (("keep", "until the WebUI ends"), ("idle", "until it was idle for some time"), ("never", "no"))),
    Setting("kgen_idle_minutes", 10, "Idle time in minutes", "for the second choice above", low=1, high=1440),
    Setting("kgen_timing", "after", "When to expand", "after wildcards and styles, each image gets its own expansion",
           (("after", "after wildcards and styles"), ("before", "before them, once for all images"))),
    Setting("kgen_paste", "original", "Pasting the parameters of an image", "both reproduce the same image",
           (("original", "my own prompt, expansion on"), ("expanded", "the expanded prompt, expansion off"))),
    Setting("kgen_tag_file", "", "Tag file for “Only tags that exist”",
           "empty: danbooru.csv; --kgen-tag-file takes precedence"),
    Setting("kgen_mark", "kgen", "Mark", "name in the angle brackets around the part of a prompt to be expanded"),
    Setting("kgen_presets", "", "Your own sampling presets", "one per line: soft: temperature=0.7, min_p=0.15",
           lines=4),
    Setting("kgen_history", True, "Keep a history of expansions",
           "the last 200 and your favourites, in kgen_history.sqlite3 in the WebUI's folder"),
    Setting("kgen_offline", False, "Offline", "never download anything"),
    Setting("kgen_log_level", "info", "Log level", "messages to print in the console",
           (("error", "errors"), ("warning", "warnings too"), ("info", "what is done"), ("debug", "everything"))),
)  # fmt: skip
BY_KEY = {option.key: option for option in SETTINGS}


@dataclass(frozen=True, slots=True)
class WebuiSettings:
    """Values of the options and flags.

    threads: None for the engine's own choice. keep: False unloads the model after each job. idle_seconds: unload it
    after so long, None for never. tag_file: the name of one of the tag files found, "" for the default one. mark: the
    name of the marks around what is to be expanded. tag_path, models_dir: paths given by flags, "" for none. offline:
    the switches that are on and forbid downloads.
    """

    model: str
    engine: str
    device: str
    threads: int | None
    keep: bool
    idle_seconds: float | None
    timing: str
    paste: str
    tag_file: str
    tag_path: str
    mark: str
    presets: tuple[Preset, ...]
    models_dir: str
    offline: tuple[str, ...]
    log_level: str

    def model_of(self, values: Values) -> str:
        """Return the name of the model that the controls select."""
        return self.model if values.model == DEFAULT else values.model

    def engine_of(self, values: Values) -> str:
        """Return the engine that the controls select; “auto” selects the one set here."""
        return self.engine if values.engine == "auto" else values.engine


def read_settings(host: Host) -> WebuiSettings:
    """Return the current settings; a value that is not allowed is logged and replaced, never raised."""
    read = functools.partial(_read, host)
    keep = read("kgen_keep", _choice)
    flag = host.flag("kgen_device")
    device = _device(BY_KEY["kgen_device"], flag) if flag else read("kgen_device", _device)
    tag_path = host.flag("kgen_tag_file") or ""
    return WebuiSettings(
        model=read("kgen_model", _model),
        engine=read("kgen_engine", _choice),
        device=device,
        threads=int(read("kgen_threads", _number)) or None,
        keep=keep != "never",
        idle_seconds=60.0 * read("kgen_idle_minutes", _number) if keep == "idle" else None,
        timing=read_timing(host),
        paste=read("kgen_paste", _choice),
        tag_file="" if tag_path else read("kgen_tag_file", _file_name),
        tag_path=tag_path,
        mark=read_mark(host),
        presets=read("kgen_presets", _presets),
        models_dir=host.flag("kgen_models_dir") or "",
        offline=_offline_switches(host),
        log_level=read("kgen_log_level", _choice),
    )


def read_timing(host: Host) -> str:
    """Return when prompts are expanded unless the controls say so: "after" or "before" wildcards and styles."""
    return str(_read(host, "kgen_timing", _choice))


def read_mark(host: Host) -> str:
    """Return the name of the marks around what is to be expanded."""
    return str(_read(host, "kgen_mark", _letters))


def read_history(host: Host) -> bool:
    """Return whether expansions are kept."""
    return bool(_read(host, "kgen_history", _flag))


def webui_locations(host: Host, settings: WebuiSettings) -> Locations:
    """Return the storage locations of this WebUI's models."""
    from kgen_ext.models import Locations

    models = host.path("models_path")
    if models is None:
        return Locations.default()
    own = _absolute(host, settings.models_dir) if settings.models_dir else None
    return Locations.for_webui(models=models, extensions=_extension_folders(host), own=own)


def find_model(host: Host, settings: WebuiSettings, name: str) -> ModelFiles:
    """Return the files of a model by its name. Raises UnknownModel, ModelFileError, BadCatalogue.

    A path is not accepted: names come from pages, APIs and infotexts.
    """
    from kgen_ext.models import resolve

    return resolve(name, locations=webui_locations(host, settings), paths=False)


def installed_models(host: Host) -> tuple[str, ...]:
    """Return the names of the models: the starter, then the installed ones. A broken catalogue is logged."""
    from kgen_ext.models import choices, find_models

    try:
        found = choices(find_models(webui_locations(host, read_settings(host))))
    except (KGenError, OSError) as error:
        warn_once(f"models: {error}")
        found = ()
    return tuple(dict.fromkeys((STARTER, *found)))


def own_priors() -> tuple[str, ...]:
    """Return the names of the user's tables of their own tags. A folder that cannot be read is logged."""
    from kgen_ext.models.priors import prior_names

    try:
        return prior_names()
    except OSError as error:
        warn_once(f"tables of your tags: {error}")
        return ()


def tag_file(host: Host, settings: WebuiSettings) -> str:
    """Return the path of the tag file: the flag's, else the chosen one, else danbooru.csv, "" where none is found."""
    if settings.tag_path:
        return str(_absolute(host, settings.tag_path))
    found = tag_files(host, settings)
    if settings.tag_file and settings.tag_file not in found:
        option = BY_KEY["kgen_tag_file"]
        error = BadValue(option.key, settings.tag_file, ", ".join(found) or "a file in a folder “tags”: none is found")
        warn_once(f"Settings, KGen, {option.label}: {error}; the default is used")
    # The name only selects among the files found; no path is made of it.
    return str(found.get(settings.tag_file) or found.get(_TAG_FILE) or "")


def tag_files(host: Host, settings: WebuiSettings) -> Mapping[str, Path]:
    """Return the tag files found, by name; one in a models folder hides others of that name. Never raises."""
    found: dict[str, Path] = {}
    try:
        locations = webui_locations(host, settings)
        folders = [folder / _TAGS for folder in (locations.own, *locations.more)]
        for extensions in _extension_folders(host):
            folders += [extension / _TAGS for extension in sorted(extensions.glob(f"*{_TAGCOMPLETE}*"))]
        for path in (path for folder in folders for path in sorted(folder.glob("*.csv"))):
            if path.is_file():
                found.setdefault(path.name, path)
    except OSError as error:
        warn_once(f"tag files: {error}")
    return found


def warn_of_old_paths(host: Host) -> None:
    """Warn that the models folder, an option of an earlier version, is ignored."""
    old = host.option("kgen_models_dir", "")
    if old and not host.flag("kgen_models_dir"):
        warn_once(f"Settings, KGen: {_ignored('kgen_models_dir', old, '--kgen-models-dir FOLDER')}")


@functools.lru_cache(maxsize=64)
def warn_once(line: str) -> None:
    """Log a warning once: settings are read for every job."""
    logging.getLogger(LOGGER).warning("%s", line)


def _read(host: Host, key: str, check: Callable[[Setting, Any], Any]) -> Any:
    option = BY_KEY[key]
    value = host.option(key, option.stored_default)
    try:
        return check(option, option.stored_default if value is None else value)
    except KGenError as error:
        warn_once(f"Settings, KGen, {option.label}: {error}; the default is used")
        return check(option, option.default)


def _choice(option: Setting, value: Any) -> str:
    for known, label in option.choices:
        if value in (known, label):
            return known
    raise BadValue(option.key, value, [label for _, label in option.choices])


def _device(option: Setting, value: Any) -> str:
    if not (isinstance(value, str) and value in dict(DEVICES)):
        from kgen_ext.engines.devices import parse_device

        parse_device(value)  # such as cuda:1; raises BadValue
    return str(value)


def _number(option: Setting, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not option.low <= value <= option.high:
        raise BadValue(option.key, value, f"a number from {option.low:g} to {option.high:g}")
    return float(value)


def _text(option: Setting, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise BadValue(option.key, value, "a text")
    return value


def _presets(option: Setting, value: Any) -> tuple[Preset, ...]:
    where = f"Settings, KGen, {option.label}"
    return parse_presets(_text(option, value), report=lambda error: warn_once(f"{where}: {error}; it is left out"))


def _letters(option: Setting, value: Any) -> str:
    name = _text(option, value).strip()
    if not name.isalpha():
        raise BadValue(option.key, value, "letters")
    return name


def _file_name(option: Setting, value: Any) -> str:
    name = _text(option, value)
    if re.search(r"[/\\:]", name):
        raise _ignored(option.key, value, "--kgen-tag-file PATH")
    return name


def _ignored(key: str, value: Any, flag: str) -> UserError:
    """Return the error for a path in an option of an earlier version."""
    why = "clients of the API can change options"
    return UserError(f"{key}: {value!r:.300} is not used any more, as {why}", hint=f"add {flag} to COMMANDLINE_ARGS")


def _flag(option: Setting, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadValue(option.key, value, "true or false")
    return value


def _model(option: Setting, value: Any) -> str:
    name = _text(option, value).strip()
    return STARTER if name in ("", DEFAULT) else name


def _offline_switches(host: Host) -> tuple[str, ...]:
    from kgen_ext.models.hub import offline_switches

    option = ("“Offline” in Settings, KGen",) if _read(host, "kgen_offline", _flag) else ()
    flag = ("--kgen-offline",) if host.flag("kgen_offline") else ()
    return (*option, *flag, *offline_switches())


def _absolute(host: Host, path: str) -> Path:
    given = Path(os.path.expandvars(path)).expanduser()
    return given if given.is_absolute() else (host.path("data_path") or Path.cwd()) / given


def _extension_folders(host: Host) -> tuple[Path, ...]:
    folders = (host.path("extensions_dir"), host.extension_dir.parent)
    return tuple(dict.fromkeys(folder for folder in folders if folder is not None and folder.is_dir()))
