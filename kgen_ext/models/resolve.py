"""Finds the files of a model by its name or path: the starter that ships, an installed model, a folder, a GGUF file.

Goes by names on disk, and for copies of the starter by a checksum; the rest is the engine's to judge. A name is

    starter          the model that ships
    ID               an installed model: its full weights, else the best quantised file
    ID:VARIANT       exactly that file, such as TIPO-500M-ft:Q8_0 or TIPO-500M-ft:safetensors
    PATH             a folder with model.safetensors, or a .gguf file; never from an API or an infotext

The starter's own weights are the starter wherever they lie: what the catalogue says of it holds for them.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kgen_ext.errors import ModelFileError, UnknownModel
from kgen_ext.models.locations import Locations
from kgen_ext.models.scan import FULL, STARTER, FoundModel, find_models, weights_of
from kgen_ext.models.schema import ID, Model, load_catalogue

STARTER_FOLDER = Path(__file__).parent.parent / STARTER
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pickle", ".pkl")
_ENDS = 1 << 20
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk: `folder` in Hugging Face's layout (safetensors), `gguf` a single file, at least one of them.

    `entry` is what the catalogue says of it, if anything. `id` names these weights: `ID` full ones, `ID:Q8_0` others.
    """

    id: str
    folder: Path | None
    gguf: Path | None
    entry: Model | None = None

    def checksum(self) -> str:
        """Return SHA-256 over size, first and last mebibyte of each weights file: other weights, other checksum.

        Reading a gigabyte whole would cost seconds at every start.
        """
        return _checksum(self.weights())

    def weights(self) -> list[Path]:
        """Return the weights files."""
        return ([self.gguf] if self.gguf else []) + (sorted(self.folder.glob("*.safetensors")) if self.folder else [])


def resolve(model: str, *, places: Locations | None = None, paths: bool = True) -> ModelFiles:
    """Return the files of `starter`, of an installed model, of a folder with model.safetensors, or of a .gguf file.

    places: where models may be installed; None for the command's own. paths: False where the name comes from an API
    or an infotext, and so may not name a file. Raises UnknownModel when nothing has that name (with the command that
    downloads it, if one can), ModelFileError when what is there cannot be used, BadCatalogue.
    """
    name, _, variant = model.partition(":")
    if model == STARTER:
        return _folder(STARTER_FOLDER, STARTER, find_entry(STARTER, load_catalogue()))
    places = Locations.default() if places is None else places
    if ID.fullmatch(name) and (":" not in model or (variant.isascii() and variant.replace("_", "").isalnum())):
        known = load_catalogue(places.user_file)
        installed = installed_files(model, find_models(places, models=known))
        if installed is not None:
            return _recognised(installed)
        if find_entry(name, known) and not (paths and Path(model).exists()):
            raise not_installed(model, known)
    if paths and "\0" not in model:
        return _recognised(_of_path(model))
    hint = "kgen models list shows the names" if not paths else f"use {STARTER}, a folder or a .gguf file"
    raise UnknownModel(f"model: {model!r:.120} is not the name of a model", hint=hint)


def find_entry(name: str, models: Iterable[Model]) -> Model | None:
    """Return what the catalogue says of `ID` or `ID:VARIANT`, letter case aside."""
    wanted = name.partition(":")[0]
    return min((one for one in models if one.id.lower() == wanted.lower()), key=lambda one: one.id != wanted,
               default=None)  # fmt: skip


def installed_files(name: str, found: Sequence[FoundModel]) -> ModelFiles | None:
    """Return the files of `ID` or `ID:VARIANT` among what was found, or None; raises ModelFileError if refused."""
    wanted, _, variant = name.lower().partition(":")
    same = [one for one in found if one.id.lower() == wanted and variant in ("", one.variant.lower())]
    usable = [one for one in same if not one.problem]
    if not usable:
        if same:
            raise ModelFileError(same[0].problem, hint="put the model's own file there, or take this one away")
        return None
    best = usable[0]
    full = [one for one in usable if one.variant in FULL]
    together = full if full and not variant else [best]
    ident = best.id if best.variant in ("", *FULL) and not variant else best.name
    gguf = next((one.path for one in together if not one.is_folder), None)
    folder = next((one.path for one in together if one.is_folder), None)
    return ModelFiles(ident, folder, gguf, best.model)


def not_installed(name: str, models: Iterable[Model]) -> UnknownModel:
    """Return the error that tells how to get a model of the catalogue."""
    model = find_entry(name, models)
    if model is None or not model.repo:
        return UnknownModel(f"model: {name!r:.120} is not installed", hint="kgen models list shows what is")
    variant = name.partition(":")[2]
    exact = f"{model.id}:{variant}" if variant and model.file(variant) else model.id
    return UnknownModel(
        f"model: {name} is not installed",
        hint=f"kgen models download {exact}; in the WebUI choose it under Models and press Download",
    )


def _recognised(files: ModelFiles) -> ModelFiles:
    """Return the files with the starter's entry where nothing else is known of them and their weights are its own."""
    if files.entry is not None:
        return files
    ours = {path.stat().st_size: path for path in STARTER_FOLDER.glob("*") if path.suffix in (".gguf", ".safetensors")}
    twins = [ours.get(path.stat().st_size) for path in files.weights()]
    same = [path for path in twins if path is not None]
    if len(same) < len(twins) or not twins or _checksum(same) != files.checksum():
        return files
    return replace(files, entry=find_entry(STARTER, load_catalogue()))


def _checksum(paths: Iterable[Path]) -> str:
    from hashlib import sha256

    digest = sha256()
    for path in paths:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest.update(size.to_bytes(8, "little") + file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()


def _of_path(model: str) -> ModelFiles:
    path = Path(model).expanduser()
    if not path.exists():
        raise UnknownModel(
            f"model: no model is called {model!r} and no file lies there",
            hint=f"use {STARTER}, a name that kgen models list shows, a folder with {_WEIGHTS}, or a .gguf file",
        )
    if path.is_dir():
        return _folder(path, path.resolve().name)
    if path.suffix.lower() == ".gguf":
        return ModelFiles(path.stem, None, path)
    if path.name == _WEIGHTS:
        return _folder(path.parent, path.resolve().parent.name)
    if path.suffix.lower() in _PICKLES:
        raise ModelFileError(
            f"{path}: pickled weights can run code and are never loaded", hint="use the model's safetensors or GGUF"
        )
    raise ModelFileError(f"{path}: not a model file", hint=f"use a folder with {_WEIGHTS}, or a .gguf file")


def _folder(path: Path, name: str, entry: Model | None = None) -> ModelFiles:
    ggufs = sorted(path.glob("*.gguf"))
    has_weights = weights_of(path) is not None
    if not has_weights and not ggufs:
        pickled = next((one.name for one in sorted(path.iterdir()) if one.suffix.lower() in _PICKLES), None)
        because = f"only pickled weights ({pickled}), which are never loaded" if pickled else f"no {_WEIGHTS}"
        raise ModelFileError(f"{path}: {because}", hint="use the model's safetensors or GGUF")
    if not has_weights and len(ggufs) > 1:
        names = ", ".join(one.name for one in ggufs)
        raise UnknownModel(f"model: {path} holds several models", hint=f"name one of {names}")
    return ModelFiles(name, path if has_weights else None, ggufs[0] if ggufs else None, entry)
