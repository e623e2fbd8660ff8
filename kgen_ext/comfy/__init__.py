"""ComfyUI's nodes: a front end on the service. Only this package imports ComfyUI's modules.

`extension` registers everything; it is imported when ComfyUI calls the entry point in the repository's root.
"""
from __future__ import annotations
