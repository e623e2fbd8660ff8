"""Scan of the model folders: every file there, named by the catalogue where it is known.

A file is known as

    <id>_<file>       as z-tipo-extension and our own downloads name it
    <file>            a name that only one model of the catalogue has, or one that begins with an id
    <id>/             a folder with model.safetensors

Only the head of a GGUF is read, some ten milliseconds for 32,000 tokens: the quantisation, where the file's name does
not give it, and the protocol, by the special tokens. TIPO's requests need all thirteen of its tokens; DanTagGen
has `<|input_end|>`.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kgen_ext.errors import AGAIN, ModelFileError
from kgen_ext.models.hub import cached_file
from kgen_ext.models.locations import Locations
from kgen_ext.models.schema import Model, load_catalogue

STARTER = "starter"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# Best first: closest to the weights as trained. A name without a variant means the first that is installed.
FULL = ("F16", "BF16", "F32", "safetensors")
ORDER = (*FULL, "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0")
_QUANT = re.compile(r"(?:^|[-_.])(BF16|F16|F32|I?Q\d(?:_[0-9A-Z]+)*)$", re.IGNORECASE)
# llama.h, enum llama_ftype.
_QUANTS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
           12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
           32: "BF16"}  # fmt: skip
_CONTROL, _USER_DEFINED = 3, 4  # tokenizer.ggml.token_type


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model on disk. path: a .gguf file or a folder. ours: it may be removed here. problem: why it is refused."""

    id: str
    variant: str
    path: Path
    size: int
    model: Model | None = None
    ours: bool = False
    problem: str = ""

    @property
    def name(self) -> str:
        """Return the name of exactly this file."""
        return f"{self.id}:{self.variant}" if self.variant else self.id

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder of safetensors."""
        return self.variant == "safetensors"

    @property
    def rank(self) -> int:
        """Return its place in the order of preference, 0 the best."""
        return ORDER.index(self.variant) if self.variant in ORDER else len(ORDER)


def find_models(locations: Locations, *, models: Sequence[Model] | None = None) -> tuple[FoundModel, ...]:
    """Return the installed models in the catalogue's order, then by name, best variant first, each name once.

    models: None for the catalogue and the user's own, which raises BadCatalogue if it cannot be read.
    """
    known = load_catalogue(locations.user_file) if models is None else models
    everything = (*_listed(locations, known), *_in_folders(locations, known), *_in_cache(locations, known))
    kept: dict[str, FoundModel] = {}
    files: set[tuple[int, int] | Path] = set()
    for found in sorted(everything, key=lambda model: bool(model.problem)):  # a refused file hides no usable one
        # The first location wins; a file met again under another name is the same one.
        same = _inode(found.path)
        if found.name not in kept and (found.problem or same not in files):
            kept[found.name] = found
            files.add(same)
    at = {model.id: number for number, model in enumerate(known)}

    def order(model: FoundModel) -> tuple[int, str, int, str]:
        return at.get(model.id, len(at)), model.id, model.rank, model.variant

    return tuple(sorted(kept.values(), key=order))


def choices(found: Iterable[FoundModel]) -> tuple[str, ...]:
    """Return the names to offer: a plain id for the full weights, `id:variant` for each quantised file."""
    names = (model.id if model.variant in (*FULL, "") else model.name for model in found if not model.problem)
    return tuple(dict.fromkeys(names))


def known_as(stem: str, models: Iterable[Model]) -> tuple[Model | None, str, str]:
    """Return the model, id and variant that a file's name without `.gguf` stands for; variant "" if it names none."""
    exact = [(model, file) for model in models for file in model.files if file.name.lower() == f"{stem}.gguf".lower()]
    prefixed = [model for model in models if stem.lower().startswith(f"{model.id.lower()}_")]
    quant = _QUANT.search(stem)
    variant = quant[1].upper() if quant else ""
    if len(exact) == 1:
        return exact[0][0], exact[0][0].id, exact[0][1].variant
    if prefixed:
        model = max(prefixed, key=lambda model: len(model.id))
        rest = stem[len(model.id) + 1 :]
        file = next((file for file in model.files if file.name.lower() == f"{rest}.gguf".lower()), None)
        return model, model.id, file.variant if file else variant
    plain = _QUANT.sub("", stem)
    same = next((model for model in models if model.id.lower() == plain.lower()), None)
    return same, same.id if same else as_id(plain), variant


def as_id(name: str) -> str:
    """Return a name as an id that an API may carry.

    >>> as_id("my tune (v2)")
    'my-tune-v2'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "model"


def weights_of(folder: Path) -> Path | None:
    """Return the weights file that makes a folder a model, or None."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _listed(locations: Locations, models: Iterable[Model]) -> Iterator[FoundModel]:
    """Yield what the user's own catalogue names in the models folder: models without a repository."""
    for model in models:
        for file in model.files if not model.repo and model.id != STARTER else ():
            path = locations.own / file.path
            path = path.parent if file.kind == "safetensors" and path.is_file() else path
            if path.exists():
                yield _found(path, locations, model.id, file.variant, model, ours=True)


def _in_folders(locations: Locations, models: Sequence[Model]) -> Iterator[FoundModel]:
    for root in locations.folders:
        ours = root == locations.own
        inner = [path for path in _entries(root) if not path.name.startswith(".") and path.is_dir()]
        for folder in (root, *inner):
            for path in _entries(folder):
                if path.suffix.lower() == ".gguf" and path.is_file():
                    model, name, variant = known_as(path.stem, models)
                    yield _found(path, locations, name, variant, model, ours=ours)
            if folder != root and weights_of(folder):
                same = next((model for model in models if model.id.lower() == folder.name.lower()), None)
                name = same.id if same else as_id(folder.name)
                yield _found(folder, locations, name, "safetensors", same, ours=ours)


def _in_cache(locations: Locations, models: Iterable[Model]) -> Iterator[FoundModel]:
    if locations.hub_cache is None or not locations.hub_cache.is_dir():
        return
    for model in models:
        for file in model.files if model.repo else ():
            path = cached_file(locations.hub_cache, repo=model.repo, revision=model.revision, path=file.path)
            if path is not None and (file.kind == "gguf" or (path.parent / "config.json").is_file()):
                path = path.parent if file.kind == "safetensors" else path
                yield _found(path, locations, model.id, file.variant, model, ours=False)


def _found(path: Path, locations: Locations, name: str, variant: str, model: Model | None, *, ours: bool) -> FoundModel:
    folder = path.is_dir()
    weights = sorted(path.glob("*.safetensors")) if folder else [path]
    roots = [root.resolve() for root in (*locations.folders, locations.hub_cache) if root is not None]
    files = ((file, file.resolve()) for file in (path, *weights))
    outside = next((file for file, real in files if not any(real.is_relative_to(root) for root in roots)), None)
    problem = f"{outside}: a link that leads out of the models folders, refused" if outside else ""
    if not folder and not variant and not problem:
        try:
            variant = read_gguf_head(path).quant
        except ModelFileError as error:
            problem = error.message
    size = 0
    try:
        size = sum(file.stat().st_size for file in weights)
    except OSError as error:  # removed or made unreadable meanwhile
        problem = problem or f"{path}: {error.strerror}"
    return FoundModel(name, "safetensors" if folder else variant, path, size, model, ours=ours, problem=problem)


def _entries(folder: Path) -> list[Path]:
    """Return a folder's entries, none for one that is missing or unreadable."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _inode(path: Path) -> tuple[int, int] | Path:
    """Return what all names of a file have in common; the path itself where it has no status."""
    try:
        status = path.stat()
    except OSError:
        return path
    return (status.st_dev, status.st_ino)


def protocol_of_file(path: Path) -> str | None:
    """Return "tipo", "dtg" or None for a .gguf file or a folder with tokenizer.json; raises ModelFileError."""
    from kgen_ext.protocol import dtg, tipo

    special = _special_of_folder(path) if path.is_dir() else read_gguf_head(path).special
    if dtg.INPUT_END in special:
        return "dtg"
    return "tipo" if special.issuperset(tipo.SPECIAL_TOKENS) else None


def _special_of_folder(folder: Path) -> frozenset[str]:
    for name in ("tokenizer.json", "added_tokens.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            value = json.loads(path.read_text("utf-8"))
            added = value if name == "added_tokens.json" else [token["content"] for token in value["added_tokens"]]
            return frozenset(str(text) for text in added)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelFileError(f"{path}: no list of added tokens: {error!r}", hint=AGAIN) from error
    raise ModelFileError(f"{folder / 'tokenizer.json'}: no such file", hint="the folder needs one")


@dataclass(frozen=True, slots=True)
class GgufHead:
    """Head of a GGUF file: its quantisation, "" if none is named, and its special tokens."""

    quant: str
    special: frozenset[str]


def read_gguf_head(path: Path) -> GgufHead:
    """Read the head of a GGUF file; raises ModelFileError for another kind of file, or one cut off in its head."""
    from kgen_ext.engines.gguf import read_head

    pairs = read_head(path).pairs
    tokens, kinds = pairs.get("tokenizer.ggml.tokens", []), pairs.get("tokenizer.ggml.token_type", [])
    marked = {text for text, kind in zip(tokens, kinds, strict=False) if kind in (_CONTROL, _USER_DEFINED)}
    return GgufHead(
        quant=_QUANTS.get(pairs.get("general.file_type", -1), ""),
        special=frozenset(marked | {text for text in tokens[-64:] if text.startswith("<|")}),
    )
