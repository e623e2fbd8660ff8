"""The catalogue of models: its records, and the reader of its JSON, ours in `data/` and the user's in their folder.

    {"schema": 1, "models": [MODEL, ...]}
    MODEL    id, protocol ("tipo" or "dtg"), files: [FILE, ...]                             required
             title, parameters, active (parameters used for a token, if not all), context, quality_line, licence,
             licence_url, repo, revision, engines, needs, recommended, notes,
             blocklist (a text file beside this one, else in ours),
             prior (the SHA-256 of the table of tag pairs, prior.bin, beside its files),
             ratings ({what users write: the model's word}, where training had other words) optional
    FILE     path, kind ("gguf" or "safetensors")                                           required
             quant, size (exact bytes), about (rounded bytes), sha256, companions           optional

Models are in order of quality, best first. A file's path is the one in the repository; without `repo` it is a file or
folder in the user's own models folder. A model of the user's that has the id of one of ours replaces it. Every value is
checked; an error names the file, the entry and the field.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgen_ext.errors import BadCatalogue
from kgen_ext.once import once

if TYPE_CHECKING:
    from kgen_ext.request import Field

BUILT_IN = Path(__file__).parent / "data" / "models.json"
USER_FILE = "kgen-models.json"
SCHEMA = 1
# An API or an infotext may name an id: no path separator, not only dots, nothing a file system reads differently.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?<!\.)")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_ENGINES = ("llama_cpp", "transformers", "reference")
WORD_LIST = "words.txt.gz"  # kgen_ext/rules/wordlist.py
PRIOR = "prior.bin"  # kgen_ext/tags/pair_table.py
# Files beside the weights in a folder of safetensors; all but the first are optional.
COMPANIONS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", WORD_LIST, PRIOR,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model. path: in its repository. size: exact bytes; about: as rounded on the hub's page."""

    path: str
    kind: str
    quant: str = ""
    size: int | None = None
    about: int | None = None
    sha256: str = ""
    companions: tuple[str, ...] = COMPANIONS

    @property
    def name(self) -> str:
        """Return the file's name without its folder in the repository."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def variant(self) -> str:
        """Return the part after the colon of `id:variant`."""
        return "safetensors" if self.kind == "safetensors" else self.quant


@dataclass(frozen=True, slots=True)
class Recommended:
    """Sampling options and lengths from the tools of the model's author; None where nothing is published.

    tag_file: "danbooru" for a model that writes Danbooru's tags and should write no others. prior: the weight of the
    pair table beside the model.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    tag_length: str | None = None
    text_length: str | None = None
    tag_file: str | None = None
    prior: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalogue. files: the first is downloaded unless another is named."""

    id: str
    protocol: str
    files: tuple[ModelFile, ...]
    title: str = ""
    parameters: int | None = None
    active: int | None = None
    context: int | None = None
    quality_line: bool = False
    licence: str = ""
    licence_url: str = ""
    repo: str = ""
    revision: str = "main"
    engines: tuple[str, ...] = _ENGINES
    needs: Mapping[str, str] = field(default_factory=dict, hash=False)
    recommended: Recommended = Recommended()
    blocklist: Path | None = None  # text it must not write: kgen_ext/rules/blocklist.py
    prior: str = ""  # SHA-256 of its table of tag pairs: kgen_ext/tags/pair_table.py
    ratings: Mapping[str, str] = field(default_factory=dict, hash=False)
    notes: str = ""

    def file(self, variant: str) -> ModelFile | None:
        """Return the file of that variant, or the first for ""."""
        return next((file for file in self.files if variant in ("", file.variant)), None)


def load_catalogue(user_file: Path | None = None) -> tuple[Model, ...]:
    """Return our models and the user's, ours first; raises BadCatalogue. The user's file need not exist."""
    models = {model.id: model for model in _built_in()}
    if user_file is not None and user_file.exists():
        models |= {model.id: model for model in _read(user_file)}
    return tuple(models.values())


@once
def _built_in() -> tuple[Model, ...]:
    return tuple(_read(BUILT_IN))  # read a dozen times while the page is built


def _read(path: Path) -> list[Model]:
    try:
        value = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadCatalogue(f"{path}: cannot be read: {error}", hint="a JSON file in UTF-8") from error
    top = Reader(str(path), value, ("schema", "models"))
    if top.take("schema", whole_number(1, SCHEMA)) != SCHEMA:
        raise BadCatalogue(f"{path}: schema: not {SCHEMA}", hint=f'begin with "schema": {SCHEMA}')
    entries = enumerate(top.take("models", json_list), 1)
    models = [_model(entry, f"{path}: model {number}", path.parent) for number, entry in entries]
    ids = [model.id for model in models]
    twice = sorted({model_id for model_id in ids if ids.count(model_id) > 1})
    if twice:
        raise BadCatalogue(f"{path}: the id {twice[0]} comes twice", hint="give each model an id of its own")
    return models


def _model(value: Any, where: str, folder: Path) -> Model:
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        where = f"{where} ({value['id']!r:.60})"
    reader = Reader(where, value, [entry.name for entry in fields(Model)])
    files = tuple(
        _file(entry, f"{where}: file {number}") for number, entry in enumerate(reader.take("files", json_list), 1)
    )
    if not files:
        raise BadCatalogue(f"{where}: files: none are given", hint="a model has at least one file")
    found: dict[str, Any] = {
        "id": reader.take("id", matching(ID, "letters, digits, . _ -")),
        "protocol": reader.take("protocol", one_of("tipo", "dtg")),
        "files": files,
        "recommended": _recommended(reader.take("recommended", json_object, {}), where),
    }
    checks: dict[str, Callable[[Any], Any]] = {
        "title": text, "parameters": whole_number(1), "active": whole_number(1),
        "context": whole_number(64, 1 << 20), "quality_line": flag,
        "licence": text, "licence_url": matching(re.compile(r"https://\S+"), "an https address"),
        "repo": matching(_REPO, "owner/name"), "revision": relative_path,
        "engines": list_of(one_of(*_ENGINES)), "needs": _versions, "notes": text,
        "blocklist": _beside(folder, BUILT_IN.parent), "prior": _SHA256, "ratings": _ratings,
    }  # fmt: skip
    return Model(**found, **{name: reader.take(name, check) for name, check in checks.items() if name in value})


def _beside(*folders: Path) -> Callable[[Any], Path]:
    def check(value: Any) -> Path:
        name = relative_path(value)
        found = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if found is None or not name.endswith(".txt"):
            raise ValueError(f"unsafe.txt, or a text file in {folders[0]}")
        return found

    return check


def _file(value: Any, where: str) -> ModelFile:
    reader = Reader(where, value, [entry.name for entry in fields(ModelFile)])
    path, kind = reader.take("path", relative_path), reader.take("kind", one_of("gguf", "safetensors"))
    if kind == "gguf" and not path.lower().endswith(".gguf"):
        raise BadCatalogue(f"{where}: path: {path!r:.80} is no .gguf file", hint="or is its kind safetensors?")
    checks: dict[str, Callable[[Any], Any]] = {
        "quant": matching(re.compile(r"[A-Za-z0-9_]{1,16}"), "a quantisation such as F16 or Q8_0"),
        "size": whole_number(1), "about": whole_number(1),
        "sha256": _SHA256,
        "companions": list_of(relative_path),
    }  # fmt: skip
    given = {name: reader.take(name, check) for name, check in checks.items() if name in value}
    return ModelFile(path, kind, **given)


def _recommended(value: Any, where: str) -> Recommended:
    reader = Reader(f"{where}: recommended", value, [entry.name for entry in fields(Recommended)])
    from kgen_ext.request import DEFAULTS, FIELDS

    checks = {name: _request_field(FIELDS[name]) for name in DEFAULTS}
    checks["temperature"] = number(0, 2)  # the page's slider goes no further
    checks["tag_file"] = one_of("danbooru", "any")
    return Recommended(**{name: reader.take(name, check) for name, check in checks.items() if name in value})


def _request_field(field: Field) -> Callable[[Any], Any]:
    if field.choices:
        return one_of(*(str(member.value) for member in field.choices))
    return (whole_number if isinstance(field.default, int) else number)(field.low, field.high)


def _versions(value: Any) -> dict[str, str]:
    version = matching(re.compile(r"\d+(\.\d+){0,3}"), "a version such as 0.3.10")
    return {one_of(*_ENGINES)(name): version(least) for name, least in json_object(value).items()}


def _ratings(value: Any) -> dict[str, str]:
    from kgen_ext.tags.checkpoint import RATINGS

    words = matching(re.compile(r"[a-z]+(, [a-z]+)*"), "the words on a rating line, such as nsfw, explicit")
    return {one_of(*RATINGS)(word): words(own) for word, own in json_object(value).items()}


class Reader:
    """Reader of a JSON object. A check returns a field's value clean, or raises ValueError("what is allowed")."""

    def __init__(self, where: str, value: Any, known: Sequence[str]) -> None:
        self._where = where
        if not isinstance(value, dict):
            raise BadCatalogue(f"{where}: not an object", hint="{...} with " + ", ".join(known))
        for name in value:
            if name not in known:
                raise BadCatalogue(f"{where}: {name!r:.60} is not a field", hint=f"fields are {', '.join(known)}")
        self._value = value

    def take(self, name: str, check: Callable[[Any], Any], default: Any = None) -> Any:
        """Return a checked field, or `default`; raises BadCatalogue, also where it is missing without a default."""
        if name not in self._value:
            if default is not None:
                return default
            raise BadCatalogue(f"{self._where}: {name} is missing", hint="see the README, Models")
        value = self._value[name]
        try:
            return check(value)
        except ValueError as error:
            raise BadCatalogue(f"{self._where}: {name}: {value!r:.80} is not allowed", hint=f"use {error}") from None


def relative_path(value: Any) -> str:
    """Return a path that stays below the folder it is relative to; ValueError for every other value."""
    parts = value.split("/") if isinstance(value, str) else [""]
    if any(part in ("", ".", "..") or re.search(r'[\x00-\x1f<>:"|?*\\]', part) for part in parts):
        raise ValueError("a relative path with / and without ..")
    return "/".join(parts)


def matching(pattern: re.Pattern[str], says: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(says)
        return value

    return check


def one_of(*allowed: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(", ".join(allowed))
        return str(value)

    return check


def number(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"a number from {low} to {high}")
        return float(value)

    return check


def whole_number(low: int, high: int = 1 << 53) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def list_of(check: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    return lambda value: tuple(check(item) for item in json_list(value))


def text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2000 or "\n" in value:
        raise ValueError("one line of text")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def json_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list")
    return value


def json_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object")
    return value


_SHA256 = matching(re.compile(r"[0-9a-f]{64}"), "64 hexadecimal digits, small letters")
