"""What becomes of an image's infotext when it is pasted: two roads, the original prompt or the expanded one.

Original: the user's own prompt, expansion on, the same words again. Expanded: the text the image was drawn from,
expansion off. An image without expansion switches the checkbox off and leaves the rest. Refuses to know how infotexts
are written.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from kgen_ext.webui import infotext
from kgen_ext.webui.host import Host
from kgen_ext.webui.params import BY_FIELD, PARAMS

# The host hands the same dict to the callback and to the fields; what the callback decided is kept in it under this.
_DECIDED = "KGen paste"


class Road(str, Enum):
    """What the setting `kgen_paste` chooses between."""

    ORIGINAL = "original"
    EXPANDED = "expanded"


def on_pasted(params: dict[str, Any], *, host: Host, road: Road, timing: str) -> None:
    """Edit a pasted infotext's entries before the host fills the page from them. timing: the settings page's."""
    values = infotext.read_values(params, timing=timing)
    if values is None:
        return
    if road is Road.EXPANDED:
        if infotext.RESULT in params:
            params["Prompt"] = infotext.result_of(params)
        params[_DECIDED] = {"enabled": False}
        return
    params[_DECIDED] = values
    if infotext.PROMPT not in params:
        return
    prompt = infotext.decode(str(params[infotext.PROMPT]))
    hires = infotext.decode(str(params.get(infotext.HIRES, "")))
    # A style that the expansion's words stood behind is found only now, in the prompt without them.
    given = str(params.get("Negative prompt", ""))
    styles, prompt, negative = host.extract_styles(prompt, given)
    if styles:
        before = params.get("Styles array")
        params["Styles array"] = [*(before if isinstance(before, list) else []), *styles]
        params["Negative prompt"] = negative
        hires = host.extract_styles(hires, given)[1]
    params["Prompt"] = prompt
    if "Hires prompt" in params:
        params["Hires prompt"] = hires


def pasted(field: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function of a control for `infotext_fields`: what the widget is to show, None to leave it alone."""
    param = BY_FIELD[field]

    def value(params: Mapping[str, Any]) -> Any:
        values = params.get(_DECIDED)
        if values is None:
            # No callback came first (a host that has none), or no expansion in this image.
            values = infotext.read_values(params) or {"enabled": False}
        return param.show(values[field]) if field in values else None

    value.__name__ = f"pasted_{field}"
    return value


def paste_fields(components: Mapping[str, Any]) -> list[tuple[Any, Callable[[Mapping[str, Any]], Any]]]:
    """Return `infotext_fields` for the components, by field."""
    return [(components[param.field], pasted(param.field)) for param in PARAMS if param.field in components]
