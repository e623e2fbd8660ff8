"""Registers KGen with the WebUI, which runs this file at its start and at each UI reload; there is no logic here."""
from __future__ import annotations

import modules.scripts

from kgen_ext.webui import script


class KGenScript(script.KGenScript, modules.scripts.Script):
    """The host finds this class by its base."""


script.register()
