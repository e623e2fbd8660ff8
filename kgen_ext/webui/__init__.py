"""The extension inside AUTOMATIC1111's WebUI and Forge: the only place that names `modules.*` or the host's gradio.

Importing a part that has to do with the host does nothing by itself; `scripts/kgen.py` registers all of it.
"""
