"""Models: the catalogue, their files on disk, and their downloads. Loading them is left to the engines.
"""
from __future__ import annotations

from kgen_ext.models.locations import Locations
from kgen_ext.models.resolve import ModelFiles, find_entry, installed_files, resolve
from kgen_ext.models.scan import STARTER, FoundModel, choices, find_models
from kgen_ext.models.schema import Model, ModelFile, Recommended, load_catalogue

__all__ = [
    "STARTER", "FoundModel", "Model", "ModelFile", "ModelFiles", "Locations", "Recommended", "choices",
    "find_entry", "find_models", "installed_files", "load_catalogue", "resolve",
]  # fmt: skip
