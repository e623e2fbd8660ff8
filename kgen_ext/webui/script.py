"""The script as the host sees it: a title, a page, and hooks that never raise; and everything that is registered.

`scripts/kgen.py` mixes `KGenScript` into the host's base class and calls `register`, anew at every UI reload. What a
hook does is told in `hooks`, what stands on the page in `ui`.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kgen_ext.once import once
from kgen_ext.webui.host import Host, current_host
from kgen_ext.webui.infotext import PasteMode, on_pasted
from kgen_ext.webui.settings import read_settings
from kgen_ext.webui.settings_page import register_settings
from kgen_ext.webui.xyz import register_axes

if TYPE_CHECKING:
    from kgen_ext.webui.hooks import Hooks

# What the API's `alwayson_scripts` calls it, in any case of letters.
TITLE = "KGen"


class KGenScript:
    """The script, to be mixed into the host's `Script`."""

    def title(self) -> str:
        return TITLE

    def show(self, is_img2img: bool) -> Any:
        return current_host().part("modules.scripts.AlwaysVisible")

    def ui(self, is_img2img: bool) -> list[Any]:
        """Build the controls; the hooks are given their values in this order."""
        from kgen_ext.webui.ui import build

        return build(self, is_img2img)

    def before_process(self, p: Any, *arguments: Any) -> None:
        _guarded(p, lambda hooks: hooks.before_process(p, arguments))

    def process(self, p: Any, *arguments: Any) -> None:
        _guarded(p, lambda hooks: hooks.process(p, arguments))

    def before_process_batch(self, p: Any, *arguments: Any, **kwargs: Any) -> None:
        _guarded(p, lambda hooks: hooks.before_process_batch(p))

    def postprocess(self, p: Any, processed: Any, *arguments: Any) -> None:
        _guarded(p, lambda hooks: hooks.postprocess(p))


def register() -> None:
    """Register everything but the script itself, which the host finds in `scripts/kgen.py`."""
    host = current_host()
    register_settings(host)
    register_axes(host)
    host.on("on_before_ui", _look_anew)
    host.on("on_infotext_pasted", lambda infotext, params: _pasted(host, params))
    host.on("on_app_started", lambda demo, app: _add_routes(host, app))


def _guarded(p: Any, hook: Callable[[Hooks], None]) -> None:
    hooks = _hooks()
    try:
        hook(hooks)
    except Exception as error:  # the edge: nothing of ours may keep an image from being made as the user wrote it
        hooks.failed(p, error)


@once
def _hooks() -> Hooks:
    # What a start does not need, it does not pay for.
    from kgen_ext.webui.expanding import expand_job, sampling_of
    from kgen_ext.webui.hooks import Hooks
    from kgen_ext.webui.session import current

    host = current_host()
    return Hooks(
        host=host,
        expand=functools.partial(expand_job, host=host, session=current()),
        timing=lambda: read_settings(host).timing,
        resolve=lambda values: sampling_of(
            values, model=read_settings(host).model_of(values), host=host, session=current()
        ),
    )


def _look_anew() -> None:
    from kgen_ext.webui.ui import refresh_choices

    refresh_choices()


def _pasted(host: Host, params: dict[str, Any]) -> None:
    settings = read_settings(host)
    on_pasted(params, host=host, road=PasteMode(settings.paste), timing=settings.timing)


def _add_routes(host: Host, app: Any) -> None:
    from kgen_ext.webui.api_routes import add_routes
    from kgen_ext.webui.session import current

    add_routes(host, current, app, title=TITLE)
