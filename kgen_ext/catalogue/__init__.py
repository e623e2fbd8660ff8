"""Which models there are, where their files lie, and how they get there.

Refuses to load anything: engines do that, from the paths found here.
"""
from __future__ import annotations

from kgen_ext.catalogue.entries import Model, ModelFile, Recommended, load_catalogue
from kgen_ext.catalogue.found import STARTER, Found, choices, find_models
from kgen_ext.catalogue.models import ModelFiles, find_entry, installed_files, resolve
from kgen_ext.catalogue.places import Places

__all__ = [
    "STARTER", "Found", "Model", "ModelFile", "ModelFiles", "Places", "Recommended", "choices",
    "find_entry", "find_models", "installed_files", "load_catalogue", "resolve",
]  # fmt: skip
