"""The extension for AUTOMATIC1111's WebUI and Forge: the only package that imports `modules.*` or gradio.

Importing its modules has no side effect; `scripts/kgen.py` registers everything with the host.
"""
