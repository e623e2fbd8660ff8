"""Resolution of a model's name or path to its files. Whether they can be run is left to the engines.

    starter          the model that ships
    ID               an installed model: its full weights, else the best quantised file
    ID:VARIANT       exactly that file, such as TIPO-500M-ft:Q8_0 or TIPO-500M-ft:safetensors
    PATH             a folder with model.safetensors, or a .gguf file; never from an API or an infotext

A copy of the starter is recognised by its checksum, wherever it is: the catalogue's entry of the starter applies to it.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kgen_ext.errors import Download, ListModels, ModelFileError, UnknownModel
from kgen_ext.models.locations import Locations
from kgen_ext.models.scan import FULL, STARTER, FoundModel, find_models, weights_of
from kgen_ext.models.schema import ID, PRIOR, WORD_LIST, Model, load_catalogue

STARTER_FOLDER = Path(__file__).parent.parent / STARTER
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pickle", ".pkl")
_ENDS = 1 << 20  # bytes of each end that a checksum covers
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Files of a model. folder: Hugging Face's layout (safetensors); gguf: a single file; at least one is given.

    id: names these weights, `ID` for full ones, `ID:Q8_0` for others. entry: the catalogue's, if it has one.
    """

    id: str
    folder: Path | None
    gguf: Path | None
    entry: Model | None = None

    def checksum(self) -> str:
        """Return the SHA-256 of the size and the first and last mebibyte of each weights file.

        Different weights have different ones; reading an entire gigabyte would take seconds at every start.
        """
        return checksum_ends(self.weights())

    def word_list(self) -> Path | None:
        """Return the list of the words that the model knows: beside its weights, or ours for a copy of the starter."""
        folders = [path.parent for path in self.weights()]
        if self.entry is not None and self.entry.id == STARTER:
            folders.append(STARTER_FOLDER)
        return next((folder / WORD_LIST for folder in folders if (folder / WORD_LIST).is_file()), None)

    def prior(self) -> Path:
        """Return the pair table of the model's prior: beside its weights, or the starter's."""
        beside = (path.parent / PRIOR for path in self.weights())
        return next((path for path in beside if path.is_file()), STARTER_FOLDER / PRIOR)

    def weights(self) -> list[Path]:
        """Return the weights files."""
        return ([self.gguf] if self.gguf else []) + (sorted(self.folder.glob("*.safetensors")) if self.folder else [])


def resolve(model: str, *, locations: Locations | None = None, paths: bool = True) -> ModelFiles:
    """Return the files of `starter`, of an installed model, of a folder with model.safetensors, or of a .gguf file.

    locations: where models may be installed; None for the command's own. paths: False for a name from an API or an
    infotext, which may not be a path. Raises UnknownModel (with the command that downloads the model, if there is one),
    ModelFileError for files that cannot be used, BadCatalogue.
    """
    name, _, variant = model.partition(":")
    if model == STARTER:
        return _folder(STARTER_FOLDER, STARTER, find_entry(STARTER, load_catalogue()))
    locations = Locations.default() if locations is None else locations
    if ID.fullmatch(name) and (":" not in model or (variant.isascii() and variant.replace("_", "").isalnum())):
        known = load_catalogue(locations.user_file)
        installed = installed_files(model, find_models(locations, models=known))
        if installed is not None:
            return _recognised(installed)
        if find_entry(name, known) and not (paths and Path(model).exists()):
            raise not_installed(model, known)
    if paths and "\0" not in model:
        return _recognised(_of_path(model))
    problem = f"model: {model!r:.120} is not the name of a model"
    if not paths:
        raise UnknownModel(problem, action=ListModels("the names"))
    raise UnknownModel(problem, hint=f"use {STARTER}, a folder or a .gguf file")


def find_entry(name: str, models: Iterable[Model]) -> Model | None:
    """Return the catalogue's entry of `ID` or `ID:VARIANT`; the same letter case is preferred, not required."""
    wanted = name.partition(":")[0]
    same = (model for model in models if model.id.lower() == wanted.lower())
    return min(same, key=lambda model: model.id != wanted, default=None)


def installed_files(name: str, found: Sequence[FoundModel]) -> ModelFiles | None:
    """Return the files of an installed `ID` or `ID:VARIANT`, or None; raises ModelFileError for refused ones."""
    wanted, _, variant = name.lower().partition(":")
    same = [model for model in found if model.id.lower() == wanted and variant in ("", model.variant.lower())]
    usable = [model for model in same if not model.problem]
    if not usable:
        if same:
            raise ModelFileError(same[0].problem, hint="put the model's own file there, or take this one away")
        return None
    best = usable[0]
    full = [model for model in usable if model.variant in FULL]
    together = full if full and not variant else [best]
    ident = best.id if best.variant in ("", *FULL) and not variant else best.name
    gguf = next((model.path for model in together if not model.is_folder), None)
    folder = next((model.path for model in together if model.is_folder), None)
    return ModelFiles(ident, folder, gguf, best.model)


def not_installed(name: str, models: Iterable[Model]) -> UnknownModel:
    """Return the error for a model that is not installed, with the command that downloads it if there is one."""
    model = find_entry(name, models)
    if model is None or not model.repo:
        return UnknownModel(f"model: {name!r:.120} is not installed", action=ListModels("what is"))
    variant = name.partition(":")[2]
    exact = f"{model.id}:{variant}" if variant and model.file(variant) else model.id
    return UnknownModel(f"model: {name} is not installed", action=Download(exact))


def _recognised(files: ModelFiles) -> ModelFiles:
    """Return the files, with the starter's entry if they are a copy of it and have no entry of their own."""
    if files.entry is not None:
        return files
    ours = {path.stat().st_size: path for path in STARTER_FOLDER.glob("*") if path.suffix in (".gguf", ".safetensors")}
    twins = [ours.get(path.stat().st_size) for path in files.weights()]
    same = [path for path in twins if path is not None]
    if len(same) < len(twins) or not twins or checksum_ends(same) != files.checksum():
        return files
    return replace(files, entry=find_entry(STARTER, load_catalogue()))


def checksum_ends(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the size and the first and last mebibyte of each file."""
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
            f"model: {model!r} is neither the name of a model nor the path of a file",
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
        pickled = next((file.name for file in sorted(path.iterdir()) if file.suffix.lower() in _PICKLES), None)
        because = f"only pickled weights ({pickled}), which are never loaded" if pickled else f"no {_WEIGHTS}"
        raise ModelFileError(f"{path}: {because}", hint="use the model's safetensors or GGUF")
    if not has_weights and len(ggufs) > 1:
        names = ", ".join(file.name for file in ggufs)
        raise UnknownModel(f"model: {path} holds several models", hint=f"name one of {names}")
    return ModelFiles(name, path if has_weights else None, ggufs[0] if ggufs else None, entry)
