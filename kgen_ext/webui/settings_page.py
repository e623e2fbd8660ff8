"""The options on the host's settings page, with a note on storage locations, and the logger at the level set there.

The note is a paragraph of its own. Hosts on gradio 4 find no place for an option's text beside a dropdown: there the
dropdown shows it itself.
"""
from __future__ import annotations

import html
import logging
from collections.abc import Callable, Mapping
from typing import Any

from kgen_ext.once import once
from kgen_ext.webui.host import LOGGER, Host
from kgen_ext.webui.settings import (
    SETTINGS,
    Setting,
    installed_models,
    read_settings,
    tag_files,
    warn_of_old_paths,
    webui_locations,
)

SECTION = ("kgen", "KGen")
NOTE = "kgen_files"


def register_settings(host: Host) -> None:
    """Register the options with the host and set up logging; call it whenever the host loads its scripts."""
    host.on("on_ui_settings", lambda: declare_options(host))
    set_up_log(read_settings(host).log_level)
    warn_of_old_paths(host)


def declare_options(host: Host) -> None:
    """Add every option to the settings page."""
    options = host.part("modules.shared.opts")
    info_class = host.part("modules.shared.OptionInfo") or host.part("modules.options.OptionInfo")
    for setting in SETTINGS:
        options.add_option(setting.key, _option_info(host, setting, info_class))
    html_class = host.part("modules.options.OptionHTML")
    if html_class is not None:
        note = html_class(_storage_note(host))
        note.section = SECTION
        options.add_option(NOTE, note)
    set_up_log(read_settings(host).log_level)


def set_up_log(level: str) -> None:
    """Set the level of our logger, and write to the console if the host has not set up logging.

    Where the host has, but its lines do not say whose they are (Forge Neo, SD.Next), ours begin with our name.
    """
    log = logging.getLogger(LOGGER)
    log.setLevel(level.upper())
    handlers = logging.getLogger().handlers
    if not handlers:
        log.addHandler(_console())  # one handler, which the logger adds only once
        # A library may set up logging later on, and would print every line a second time.
        log.propagate = False
    elif not any(map(_says_whose, handlers)):
        log.addFilter(_say_whose)  # once, too


def _says_whose(handler: logging.Handler) -> bool:
    return LOGGER in handler.format(logging.LogRecord(LOGGER, logging.INFO, "", 0, "", (), None))


def _say_whose(record: logging.LogRecord) -> bool:
    record.msg = f"[KGen] {record.msg}"
    return True


@once
def _console() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.set_name("kgen-console")
    handler.setFormatter(logging.Formatter("[KGen] %(message)s"))
    return handler


def _option_info(host: Host, setting: Setting, info_class: Any) -> Any:
    gradio: Any = host.module("gradio")
    labels = [label for _, label in setting.choices]
    component: Any = None
    arguments: Any = None
    refresh: Any = None
    onchange: Any = None
    if setting.key in _LIVE_CHOICES:
        component, refresh = gradio.Dropdown, lambda: None
        # Hosts call it when they build the page and at each press of the refresh button.
        arguments = lambda: {"choices": _LIVE_CHOICES[setting.key](host)}  # noqa: E731
    elif setting.choices:
        component, arguments = (gradio.Dropdown if len(labels) > 3 else gradio.Radio), {"choices": labels}
        if setting.key == "kgen_device":
            # Editable by class, not by argument: AUTOMATIC1111 passes the arguments to `gr.update` as well, which
            # does not know `allow_custom_value`.
            component = host.part("modules.ui_components.DropdownEditable") or component
    elif setting.high:
        component = gradio.Slider
        arguments = {"minimum": setting.low, "maximum": setting.high, "step": 1}
    elif setting.lines:
        component, arguments = gradio.Textbox, {"lines": setting.lines}
    if setting.key == "kgen_log_level":
        onchange = lambda: set_up_log(read_settings(host).log_level)  # noqa: E731
    if not _has_own_text(gradio, component):
        return info_class(
            setting.stored_default, setting.label, component, arguments,
            section=SECTION, refresh=refresh, onchange=onchange,
        ).info(setting.info)  # fmt: skip
    return info_class(
        setting.stored_default, setting.label, component, _with_text(arguments, setting.info),
        section=SECTION, refresh=refresh, onchange=onchange,
    )  # fmt: skip


def _has_own_text(gradio: Any, component: Any) -> bool:
    """Return whether a component is a dropdown of a gradio on which hosts show no text beside one."""
    newer = not getattr(gradio, "__version__", "3.").startswith("3.")
    return newer and isinstance(component, type) and issubclass(component, gradio.Dropdown)


def _with_text(arguments: Any, info: str) -> Any:
    """Return a component's arguments, or the function that looks them up, with its text."""
    if callable(arguments):
        return lambda: {**arguments(), "info": info}
    return {**arguments, "info": info}


def _storage_note(host: Host) -> str:
    """Return the note on storage locations as HTML; it names the models folder unless the host hides its folders."""
    folder = "the folder models/kgen, or that of --kgen-models-dir"
    if not host.flag("hide_ui_dir_config", False):
        try:
            folder = str(webui_locations(host, read_settings(host)).own)
        except OSError as error:  # an unreadable extensions folder must not cost the settings page
            host.log.warning("models: %s", error)
    return (
        f'<p class="kgen-path">Models are stored in {html.escape(folder)}. '
        "To store them elsewhere, add <code>--kgen-models-dir FOLDER</code> to COMMANDLINE_ARGS.</p>"
        "<p>Tag files are CSV files in the <code>tags</code> folder of the models folder or of the tag autocomplete "
        "extension. To use one from elsewhere, add <code>--kgen-tag-file PATH</code> to COMMANDLINE_ARGS.</p>"
    )


def _models(host: Host) -> list[str]:
    # A chosen model stays listed after it was removed: the page must not silently choose another.
    return list(dict.fromkeys((*installed_models(host), read_settings(host).model)))


def _tag_files(host: Host) -> list[str]:
    # The stored value stays listed even if it cannot be used; the log says why.
    stored = host.option("kgen_tag_file", "")
    names = ("", *tag_files(host, read_settings(host)), stored if isinstance(stored, str) else "")
    return list(dict.fromkeys(names))


# Options whose choices are looked up each time.
_LIVE_CHOICES: Mapping[str, Callable[[Host], list[str]]] = {"kgen_model": _models, "kgen_tag_file": _tag_files}
