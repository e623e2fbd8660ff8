"""Puts the options onto the host's settings page, and sets up the log; refuses to know what the options are for.

Where files lie is told by a paragraph of the section, as Forge shows no option's text beside a dropdown.
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
    webui_places,
)

SECTION = ("kgen", "KGen")
NOTE = "kgen_files"


def register_settings(host: Host) -> None:
    """Declare the options when the host asks for them, and set up the log; to be called at each load of the scripts."""
    host.on("on_ui_settings", lambda: declare_options(host))
    set_up_log(read_settings(host).log_level)
    warn_of_old_paths(host)


def declare_options(host: Host) -> None:
    """Add every option to the settings page."""
    options = host.part("modules.shared.opts")
    info_class = host.part("modules.shared.OptionInfo") or host.part("modules.options.OptionInfo")
    for option in SETTINGS:
        options.add_option(option.key, _info(host, option, info_class))
    html_class = host.part("modules.options.OptionHTML")
    if html_class is not None:
        note = html_class(_where_files_lie(host))
        note.section = SECTION
        options.add_option(NOTE, note)
    set_up_log(read_settings(host).log_level)


def set_up_log(level: str) -> None:
    """Take a level, and write to the console where the host has not set up logging itself."""
    log = logging.getLogger(LOGGER)
    log.setLevel(level.upper())
    if not logging.getLogger().handlers:
        log.addHandler(_console())  # which adds none twice


@once
def _console() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.set_name("kgen-console")
    handler.setFormatter(logging.Formatter("[KGen] %(message)s"))
    return handler


def _info(host: Host, option: Setting, info_class: Any) -> Any:
    gradio: Any = host.module("gradio")
    labels = [label for _, label in option.choices]
    component: Any = None
    arguments: Any = None
    refresh: Any = None
    onchange: Any = None
    if option.key in _LISTS:
        component, refresh = gradio.Dropdown, lambda: None
        # Called when the page is built and at each press of the refresh button.
        arguments = lambda: {"choices": _LISTS[option.key](host)}  # noqa: E731
    elif option.choices:
        component, arguments = (gradio.Dropdown if len(labels) > 3 else gradio.Radio), {"choices": labels}
        if option.key == "kgen_device":
            # By its class, not by an argument: AUTOMATIC1111 hands these to `gr.update` too, which knows no such one.
            component = host.part("modules.ui_components.DropdownEditable") or component
    elif option.high:
        component = gradio.Slider
        arguments = {"minimum": option.low, "maximum": option.high, "step": 1}
    elif option.lines:
        component, arguments = gradio.Textbox, {"lines": option.lines}
    if option.key == "kgen_log_level":
        onchange = lambda: set_up_log(read_settings(host).log_level)  # noqa: E731
    info = info_class(
        option.stored_default, option.label, component, arguments, section=SECTION, refresh=refresh, onchange=onchange
    )
    return info.info(option.info)


def _where_files_lie(host: Host) -> str:
    """Return the paragraph about models and tag files as HTML, with the folder in use where the host shows its own."""
    folder = "the folder models/kgen, or that of --kgen-models-dir"
    if not host.flag("hide_ui_dir_config", False):
        try:
            folder = str(webui_places(host, read_settings(host)).own)
        except OSError as error:  # an extensions folder that cannot be read is no reason to have no page
            host.log.warning("models: %s", error)
    return (
        f'<p class="kgen-path">Models are kept in {html.escape(folder)}. '
        "To keep them elsewhere, add <code>--kgen-models-dir FOLDER</code> to COMMANDLINE_ARGS.</p>"
        "<p>A tag file is a CSV in the folder <code>tags</code> of the models folder or of the tag autocomplete "
        "extension. For one elsewhere, add <code>--kgen-tag-file PATH</code> to COMMANDLINE_ARGS.</p>"
    )


def _models(host: Host) -> list[str]:
    # A model that is not there any more stays shown: the page must not silently choose another.
    return list(dict.fromkeys((*installed_models(host), read_settings(host).model)))


def _tag_files(host: Host) -> list[str]:
    # What is stored stays shown, also where it cannot be used: the log tells that.
    stored = host.option("kgen_tag_file", "")
    names = ("", *tag_files(host, read_settings(host)), stored if isinstance(stored, str) else "")
    return list(dict.fromkeys(names))


# The options whose choices are looked for anew.
_LISTS: Mapping[str, Callable[[Host], list[str]]] = {"kgen_model": _models, "kgen_tag_file": _tag_files}
