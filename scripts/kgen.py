"""Entry point for the WebUI, which runs this file at start-up and at every reload of the UI."""
from __future__ import annotations

import modules.scripts

from kgen_ext.webui import script


class KGenScript(script.KGenScript, modules.scripts.Script):
    """The script; the host finds it as a subclass of its `Script`."""


script.register()
