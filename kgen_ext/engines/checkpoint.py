"""A Hugging Face LLaMA folder: its shape from config.json, its tensors from safetensors, each checked by name and size.

Pickles (`.bin`, `.pt`, `.ckpt` and the like) are never opened: they can run code.

    config.json        the shape of the model
    model.safetensors  u64 little-endian header length, header (JSON), tensor bytes to the end of the file
                       header: name -> {"dtype": "F16", "shape": [rows, columns], "data_offsets": [begin, end]}
    model.safetensors.index.json   instead, when there are several: {"weight_map": {tensor name: file name}}
    tokenizer.json     read in `tokenizer.py`
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgen_ext.errors import AGAIN, ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The numbers of config.json that a forward pass needs, and two token ids."""

    vocab: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    eps: float
    theta: float
    tied: bool
    bos: int | None
    eos: int | None

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every tensor the model has."""
        shapes = {
            f"model.layers.{index}.{name}": shape
            for index in range(self.layers)
            for name, shape in self._layer(index).items()
        }
        shapes |= {"model.embed_tokens.weight": (self.vocab, self.hidden), "model.norm.weight": (self.hidden,)}
        return shapes if self.tied else shapes | {"lm_head.weight": (self.vocab, self.hidden)}

    def _layer(self, index: int) -> dict[str, tuple[int, ...]]:
        wide, narrow = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "input_layernorm.weight": (self.hidden,), "post_attention_layernorm.weight": (self.hidden,),
            "self_attn.q_proj.weight": (wide, self.hidden), "self_attn.k_proj.weight": (narrow, self.hidden),
            "self_attn.v_proj.weight": (narrow, self.hidden), "self_attn.o_proj.weight": (self.hidden, wide),
            **self._feed_forward("mlp", self.inner),
        }  # fmt: skip

    def _feed_forward(self, name: str, inner: int) -> dict[str, tuple[int, ...]]:
        rows, columns = (inner, self.hidden), (self.hidden, inner)
        return {f"{name}.gate_proj.weight": rows, f"{name}.up_proj.weight": rows, f"{name}.down_proj.weight": columns}


@dataclass(frozen=True, slots=True)
class Dots1Shape(LlamaShape):
    """The numbers of a dots1 model: LLaMA with norms on queries and keys, and a mixture of experts.

    dense: layers, from the first on, that have no experts. experts, used: in a layer, and of them for a token. shared:
    experts that every token uses, one matrix for all. expert_inner: inner size of an expert. norm: whether the weights
    of the used experts add up to `scale`.
    """

    dense: int
    experts: int
    used: int
    shared: int
    expert_inner: int
    norm: bool
    scale: float

    def _layer(self, index: int) -> dict[str, tuple[int, ...]]:
        layer = LlamaShape._layer(self, index)
        layer |= {f"self_attn.{name}_norm.weight": (self.head_dim,) for name in "qk"}
        if index < self.dense:
            return layer
        for name in self._feed_forward("mlp", self.inner):
            del layer[name]
        layer |= {
            "mlp.gate.weight": (self.experts, self.hidden), "mlp.gate.e_score_correction_bias": (self.experts,),
            **self._feed_forward("mlp.shared_experts", self.shared * self.expert_inner),
        }  # fmt: skip
        for expert in range(self.experts):
            layer |= self._feed_forward(f"mlp.experts.{expert}", self.expert_inner)
        return layer


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a safetensors file; `begin` is the offset of its bytes."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int

    def read(self) -> NDArray[np.float32]:
        """Return the tensor as float32."""
        import numpy as np

        count = math.prod(self.shape)
        kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[self.dtype]
        flat = np.fromfile(self.path, kind, count, offset=self.begin)
        if self.dtype == "BF16":  # the upper half of a float32
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.astype(np.float32, copy=False).reshape(self.shape)


def read_shape(folder: Path) -> LlamaShape:
    """Return the shape of the model in `folder`, which must be a plain LLaMA."""
    path = folder / "config.json"
    config = read_json(path)
    if config.get("model_type") != "llama":
        raise ModelFileError(
            f"{path}: the architecture is {config.get('model_type')!r}, this engine reads 'llama'",
            hint="use a GGUF of it with the llama_cpp engine",
        )
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    foreign = {
        "rope type": (rope.get("rope_type", rope.get("type", "default")), "default"),
        "hidden_act": (config.get("hidden_act", "silu"), "silu"),
        "attention_bias": (bool(config.get("attention_bias")), False),
        "mlp_bias": (bool(config.get("mlp_bias")), False),
    }
    for name, (value, known) in foreign.items():
        if value != known:
            raise ModelFileError(f"{path}: {name} is {value!r}, this engine knows {known!r}", hint="use a GGUF of it")
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        shape = LlamaShape(
            vocab=int(config["vocab_size"]), hidden=hidden, inner=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]), heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            context=int(config.get("max_position_embeddings", 2048)), eps=float(config.get("rms_norm_eps", 1e-6)),
            theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
            tied=bool(config.get("tie_word_embeddings")), bos=_id(config, "bos_token_id"),
            eos=_id(config, "eos_token_id"),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelFileError(f"{path}: {error!r} where a number is needed", hint=AGAIN) from error
    sizes = (shape.vocab, hidden, shape.inner, shape.layers, heads, shape.kv_heads, shape.head_dim, shape.context)
    if min(sizes) < 1 or heads % shape.kv_heads or shape.head_dim % 2:
        raise ModelFileError(f"{path}: its numbers do not describe a model: {shape}", hint=AGAIN)
    return shape


def find_tensors(folder: Path, shape: LlamaShape) -> dict[str, StoredTensor]:
    """Return the tensors of `shape`, reading headers only; raise for one that is missing or of another size."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists():
        names = ["model.safetensors"]
    elif index.exists():
        names = sorted({str(name) for name in dict(read_json(index).get("weight_map") or {}).values()})
    else:
        refuse_pickles(folder)
        raise ModelFileError(f"{folder / 'model.safetensors'}: no such file", hint="the folder needs one")
    stored: dict[str, StoredTensor] = {}
    for name in names:
        if Path(name).name != name:
            raise ModelFileError(f"{index}: {name!r} is outside the folder", hint=AGAIN)
        stored |= _read_header(folder / name)
    for name, wanted in shape.tensors().items():
        if name not in stored:
            raise ModelFileError(f"{folder / names[0]}: tensor {name} is missing", hint=AGAIN)
        tensor = stored[name]
        if tensor.shape != wanted:
            raise ModelFileError(
                f"{tensor.path}: {name} is {list(tensor.shape)}, config.json says {list(wanted)}",
                hint="the two files are of different models",
            )
    return stored


def refuse_pickles(path: Path) -> None:
    """Raise if `path` is a pickle checkpoint, or a folder whose only weights are one."""
    found = [path] if path.suffix in PICKLES else sorted(file for suffix in PICKLES for file in path.glob(f"*{suffix}"))
    if found:
        raise ModelFileError(
            f"{found[0]}: a pickle file can run code when it is opened, so it is refused",
            hint="convert it to safetensors or GGUF",
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file", hint="the folder needs one") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: {error}", hint=AGAIN) from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path}: holds no JSON object", hint=AGAIN)
    return value


def _read_header(path: Path) -> dict[str, StoredTensor]:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise ModelFileError(f"{path}: not a safetensors file, or cut off in its header", hint=AGAIN)
            header = json.loads(file.read(length))
        stored, end = {}, 0
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, stop = map(int, entry["data_offsets"])
            shape = tuple(map(int, entry["shape"]))
            if WIDTHS.get(entry["dtype"]) is None:
                raise ModelFileError(f"{path}: {name} is {entry['dtype']}, known are {', '.join(WIDTHS)}")
            if stop - begin != math.prod(shape) * WIDTHS[entry["dtype"]] or begin < 0:
                raise ModelFileError(f"{path}: {name} does not fill its place", hint=AGAIN)
            stored[name] = StoredTensor(path, entry["dtype"], shape, 8 + length + begin)
            end = max(end, 8 + length + stop)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file", hint="the folder needs one") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a safetensors file: {error!r}", hint=AGAIN) from error
    if size != end:
        raise ModelFileError(f"{path}: {size} bytes long, its header says {end}: the file is cut off", hint=AGAIN)
    return stored


def _id(config: dict[str, Any], name: str) -> int | None:
    value = config.get(name)
    if isinstance(value, list):  # of several end tokens the first is that of a text
        value = value[0] if value else None
    return None if value is None else int(value)
