"""The script as the host sees it: its title, its controls, hooks that never raise, and the callbacks to register.

`scripts/kgen.py` mixes `KGenScript` into the host's base class and calls `register`, at start-up and at every reload
of the UI. `hooks` implements the hooks, `ui` builds the controls; both are imported on first use, to keep start-up
short.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kgen_ext.once import once
from kgen_ext.webui import tool_row
from kgen_ext.webui.host import Host, HostJob, current_host
from kgen_ext.webui.infotext import PasteMode, on_pasted
from kgen_ext.webui.settings import find_model, read_settings, read_timing
from kgen_ext.webui.settings_page import register_settings
from kgen_ext.webui.xyz import register_axes

if TYPE_CHECKING:
    from kgen_ext.sampling import Sampling
    from kgen_ext.webui.controls import Values
    from kgen_ext.webui.hooks import Hooks

# The script's name in the API's `alwayson_scripts`, case-insensitive.
TITLE = "KGen"


class KGenScript:
    """The script; a mixin for the host's `Script`."""

    def title(self) -> str:
        return TITLE

    def show(self, is_img2img: bool) -> Any:
        """Return that the script is always there; hosts ask before they build the page."""
        tool_row.place(self, is_img2img)
        return current_host().part("modules.scripts.AlwaysVisible")

    def ui(self, is_img2img: bool) -> list[Any]:
        """Build the controls; the hooks get their values in this order."""
        from kgen_ext.webui.ui import build

        return build(self, is_img2img)

    def before_process(self, p: HostJob, *arguments: Any) -> None:
        _guarded(p, lambda hooks: hooks.before_process(p, arguments))

    def process(self, p: HostJob, *arguments: Any) -> None:
        _guarded(p, lambda hooks: hooks.process(p, arguments))

    def before_process_batch(self, p: HostJob, *arguments: Any, **kwargs: Any) -> None:
        _guarded(p, lambda hooks: hooks.before_process_batch(p))

    def postprocess_image(self, p: HostJob, image: Any, *arguments: Any) -> None:
        _guarded(p, lambda hooks: hooks.postprocess_image(p))

    def postprocess(self, p: HostJob, processed: Any, *arguments: Any) -> None:
        _guarded(p, lambda hooks: hooks.postprocess(p))


def register() -> None:
    """Register settings, axes and callbacks; the host finds the script itself in `scripts/kgen.py`."""
    host = current_host()
    host.prepare()
    register_settings(host)
    register_axes(host)
    host.on("on_before_ui", _refresh_choices)
    host.on("on_infotext_pasted", lambda infotext, params: _pasted(host, infotext, params))
    host.on("on_app_started", lambda demo, app: _add_routes(host, app))


def _guarded(p: HostJob, hook: Callable[[Hooks], None]) -> None:
    hooks = _hooks()
    try:
        hook(hooks)
    except Exception as error:  # top of the hook: a failure here must not stop the image
        hooks.failed(p, error)


@once
def _hooks() -> Hooks:
    from kgen_ext.webui.expanding import expand_job, sampling_of
    from kgen_ext.webui.history import note_job
    from kgen_ext.webui.hooks import Hooks
    from kgen_ext.webui.session import current

    host = current_host()

    def resolve(values: Values) -> Sampling:
        settings = read_settings(host)
        return sampling_of(values, settings=settings, files=find_model(host, settings, settings.model_of(values)))

    return Hooks(
        host=host,
        expand=functools.partial(expand_job, host=host, session=current()),
        settings=lambda: read_settings(host),
        timing=lambda: read_timing(host),
        resolve=resolve,
        note=functools.partial(note_job, host=host),
    )


def _refresh_choices() -> None:
    from kgen_ext.webui.ui import refresh_choices

    refresh_choices()


def _pasted(host: Host, infotext: str, params: dict[str, Any]) -> None:
    settings = read_settings(host)
    on_pasted(infotext, params, host=host, mode=PasteMode(settings.paste), timing=settings.timing)


def _add_routes(host: Host, app: Any) -> None:
    from kgen_ext.webui.api_routes import add_routes
    from kgen_ext.webui.session import current

    add_routes(host, current, app, title=TITLE)
