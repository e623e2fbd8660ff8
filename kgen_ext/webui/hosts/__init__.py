"""What differs from host to host: a file for each, named for it. `Host` says what may differ."""
from __future__ import annotations

from kgen_ext.webui.host import Host


def find_host() -> Host:
    """Return the host that this process runs in, recognised by a module that only it has."""
    host = Host()
    if not host.has("modules.shared"):
        return host
    if host.has("modules_forge"):
        if host.has("backend.memory_management"):
            from kgen_ext.webui.hosts.forge import Forge

            return Forge()
        from kgen_ext.webui.hosts.reforge import ReForge

        return ReForge()
    if host.has("modules.scripts_manager"):
        from kgen_ext.webui.hosts.sdnext import SdNext

        return SdNext()
    from kgen_ext.webui.hosts.a1111 import A1111

    return A1111()
