"""Finds the files of a model by its name or path: the starter that ships, a folder of safetensors, a GGUF file.

Looks only at names on disk; what is inside a file is the engine's to judge.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kgen_ext.errors import ModelFileError, UnknownModel

STARTER = "starter"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pickle", ".pkl")
_ENDS = 1 << 20
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk: `folder` in Hugging Face's layout (safetensors), `gguf` a single file, at least one of them."""

    id: str
    folder: Path | None
    gguf: Path | None

    def checksum(self) -> str:
        """Return SHA-256 over size, first and last mebibyte of each weights file: other weights, other checksum.

        Reading a gigabyte whole would cost seconds at every start.
        """
        from hashlib import sha256

        digest = sha256()
        for path in (self.gguf, self.folder and self.folder / _WEIGHTS):
            if path is not None:
                with path.open("rb") as file:
                    size = path.stat().st_size
                    digest.update(size.to_bytes(8, "little") + file.read(_ENDS))
                    file.seek(max(0, size - _ENDS))
                    digest.update(file.read(_ENDS))
        return digest.hexdigest()


def resolve(model: str) -> ModelFiles:
    """Return the files of `starter`, of a folder with model.safetensors, or of a .gguf file.

    Raises UnknownModel when nothing has that name, ModelFileError when what is there cannot be used.
    """
    if model == STARTER:
        return _folder(Path(__file__).parent.parent / STARTER, STARTER)
    if "\0" in model:
        raise UnknownModel(f"model: {model!r} is not a path", hint=f"use {STARTER}, a folder or a .gguf file")
    path = Path(model).expanduser()
    if not path.exists():
        raise UnknownModel(
            f"model: no model is called {model!r} and no file lies there",
            hint=f"use {STARTER}, a folder with {_WEIGHTS}, or the path of a .gguf file",
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


def _folder(path: Path, name: str) -> ModelFiles:
    ggufs = sorted(path.glob("*.gguf"))
    has_weights = (path / _WEIGHTS).is_file()
    if not has_weights and not ggufs:
        pickled = next((one.name for one in sorted(path.iterdir()) if one.suffix.lower() in _PICKLES), None)
        because = f"only pickled weights ({pickled}), which are never loaded" if pickled else f"no {_WEIGHTS}"
        raise ModelFileError(f"{path}: {because}", hint="use the model's safetensors or GGUF")
    if not has_weights and len(ggufs) > 1:
        names = ", ".join(one.name for one in ggufs)
        raise UnknownModel(f"model: {path} holds several models", hint=f"name one of {names}")
    return ModelFiles(name, path if has_weights else None, ggufs[0] if ggufs else None)
