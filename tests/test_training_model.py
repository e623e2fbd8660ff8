"""Training of the model: vocabulary, tokenizer files, torch model, safetensors and GGUF, all on tiny inputs."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.training.export import export, load_weights
from tools.training.gguf import (
    BYTE,
    CONTROL,
    F16,
    NORMAL,
    Q8_0,
    UNKNOWN,
    ggml_tensors,
    read_tokenizer,
    read_weights,
    vocabulary_of,
)  # fmt: skip
from tools.training.model import Shape, build_model, grow
from tools.training.render import SPECIAL_TOKENS
from tools.training.tokenizer import write_tokenizer
from tools.training.train import progress_bar, rate_at
from tools.training.vocabulary import FIRST_PIECE, SPACE, merges_of, reachable, tokenizer_json

LETTERS = tuple(f"{SPACE}abcdefghilnorst,:")
PIECES = (
    "lo",
    "ng",
    f"{SPACE}h",
    "air",
    f"{SPACE}hair",
    f"{SPACE}long",
    f"{SPACE}long{SPACE}hair",
    "tag",
    "ai",
    *LETTERS,
)


def test_merges_are_every_split_in_order_of_the_result() -> None:
    assert merges_of(("ab", "abc", "bc", "a", "b", "c")) == [("a", "b"), ("ab", "c"), ("a", "bc"), ("b", "c")]


def test_unreachable_and_self_overlapping_pieces_are_dropped() -> None:
    pytest.importorskip("tokenizers")
    kept = reachable(("ab", "xyz", "aa", *LETTERS))
    assert "ab" in kept and "xyz" not in kept and "aa" not in kept


def test_every_kept_piece_comes_back_as_itself() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    kept = reachable(PIECES)
    engine = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(kept)))
    for place, piece in enumerate(kept):
        assert engine.encode(piece.replace(SPACE, " ")).ids == [FIRST_PIECE + place]


def test_special_tokens_keep_the_spaces_around_them_and_text_survives() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    engine = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(reachable(PIECES))))
    text = "target: <|long|> <|tag_to_long|>\ntag: long hair, \u00fc"
    tokens = engine.encode(text).tokens
    assert tokens[tokens.index("<|long|>") + 1] == SPACE and "<0x0A>" in tokens and "," in tokens
    assert engine.decode(engine.encode(text).ids, skip_special_tokens=False) == text


def test_the_tokenizer_file_names_the_special_tokens(tmp_path: Path) -> None:
    write_tokenizer(list(PIECES), tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert [entry["content"] for entry in document["added_tokens"]] == ["<unk>", "<s>", "</s>", *SPECIAL_TOKENS]


def test_gguf_token_types() -> None:
    tokens = vocabulary_of(tokenizer_json(PIECES))
    kinds = {token.text: token.kind for token in tokens}
    assert (kinds["<unk>"], kinds["<s>"], kinds["<0x0A>"], kinds["tag"]) == (UNKNOWN, CONTROL, BYTE, NORMAL)
    assert all(kinds[name] == CONTROL for name in SPECIAL_TOKENS)
    scores = [token.score for token in tokens if token.kind == NORMAL]
    assert scores == sorted(scores, reverse=True)


def test_q8_blocks_restore_the_numbers_within_half_a_step() -> None:
    value = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    gguf = pytest.importorskip("gguf")
    stored = gguf.quants.quantize(value, gguf.GGMLQuantizationType(Q8_0)).tobytes()
    blocks = np.frombuffer(stored, dtype=np.dtype([("scale", "<f2"), ("whole", "i1", 32)]))
    restored = (blocks["scale"].astype(np.float32)[:, None] * blocks["whole"]).reshape(value.shape)
    steps = np.abs(value.reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    # half a step of rounding, and the f16 rounding of the scale times at most 127 steps
    assert np.all(np.abs(restored - value).reshape(-1, 32) <= steps * (0.5 + 127 * 2**-11) + 1e-6)


def test_rotary_rows_become_neighbours() -> None:
    value = np.arange(8, dtype=np.float32)[:, None].repeat(2, axis=1)
    turned = ggml_tensors({"model.layers.0.self_attn.q_proj.weight": value}, 2)["blk.0.attn_q.weight"]
    assert turned[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_the_learning_rate_rises_stays_and_falls() -> None:
    assert rate_at(0.0, 0, warmup=10, plateau=0.5) == pytest.approx(0.1)
    assert rate_at(0.4, 100, warmup=10, plateau=0.5) == 1.0
    assert rate_at(0.75, 100, warmup=10, plateau=0.5) == pytest.approx(0.5)
    assert rate_at(1.0, 100, warmup=10, plateau=0.5) == pytest.approx(0.01)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the tiny vocabulary in both forms."""
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("model")
    write_tokenizer(reachable(PIECES), folder / "tokenizer")
    for form in ("F16", "Q8_0"):
        export((), folder / "tokenizer", folder / f"{form}.gguf", form=form)
    return folder


def test_the_mean_of_several_checkpoints_is_exported(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    shapes = [asdict(Shape(vocab_size=300)), asdict(Shape(vocab_size=300)), asdict(Shape(vocab_size=301))]
    paths = [tmp_path / f"{number}.pt" for number in range(3)]
    for number, (path, shape) in enumerate(zip(paths, shapes, strict=True)):
        torch.save({"average": {"norm.weight": torch.tensor([1.0, 2.0 * number])}, "shape": shape}, path)
    weights, shape = load_weights(paths[:2], Shape())
    assert shape.vocab_size == 300
    assert weights["model.norm.weight"].tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="different shapes"):
        load_weights(paths, Shape())


def test_those_of_fewer_layers_are_grown(exported: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weights, shape = read_weights(exported / "F16.gguf")
    small = {name.removeprefix("model."): torch.tensor(value) for name, value in weights.items()}
    count, wanted = shape.num_hidden_layers, replace(shape, num_hidden_layers=shape.num_hidden_layers + 1)
    large = {name: value + 1 for name, value in grow(small, count, count + 1).items()}
    torch.save({"average": large, "shape": asdict(wanted)}, tmp_path / "large.pt")
    mean, found = load_weights([exported / "F16.gguf", tmp_path / "large.pt"], Shape())
    last = f"layers.{count}.mlp.up_proj.weight"
    assert found == wanted and np.allclose(mean[f"model.{last}"], large[last].numpy() - 0.5, atol=1e-6)


def test_a_gguf_may_be_one_of_them(exported: Path) -> None:
    weights, shape = read_weights(exported / "Q8_0.gguf")
    mean, found = load_weights([exported / "Q8_0.gguf", exported / "F16.gguf"], Shape())
    half = read_weights(exported / "F16.gguf")[0]
    name = "model.embed_tokens.weight"
    assert found == shape and np.allclose(mean[name], (weights[name] + half[name]) / 2)


@pytest.mark.parametrize(("form", "kind"), [("F16", F16), ("Q8_0", Q8_0)])
def test_exported_gguf_is_read_back_by_the_reference_reader(exported: Path, form: str, kind: int) -> None:
    import gguf

    weights, shape = read_weights(exported / f"{form}.gguf")
    reader: Any = gguf.GGUFReader(exported / f"{form}.gguf")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == len(weights)
    embedding = tensors["token_embd.weight"]
    assert int(embedding.tensor_type) == kind and list(embedding.shape) == [shape.hidden_size, shape.vocab_size]
    found = gguf.quants.dequantize(embedding.data, gguf.GGMLQuantizationType(kind))
    assert np.array_equal(found, weights["model.embed_tokens.weight"])
    assert bytes(reader.fields["general.architecture"].parts[-1]) == b"llama"
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == shape.vocab_size


def test_what_is_read_back_is_what_was_written(exported: Path) -> None:
    weights, shape = load_weights((), Shape(vocab_size=read_weights(exported / "F16.gguf")[1].vocab_size))
    read, again = read_weights(exported / "F16.gguf")
    assert asdict(again) == pytest.approx(asdict(shape)) and read.keys() == weights.keys()
    assert all(np.allclose(read[name], weights[name], atol=1e-3) for name in weights)
    assert read_tokenizer(exported / "Q8_0.gguf") == read_tokenizer(exported / "tokenizer")


def test_a_gguf_lends_its_tokenizer_to_the_one_that_takes_its_place(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes((exported / "F16.gguf").read_bytes())
    export((), path, path, form="Q8_0")
    assert path.read_bytes() == (exported / "Q8_0.gguf").read_bytes()


def test_our_sampler_step_agrees_with_the_whole_forward(exported: Path) -> None:
    torch = pytest.importorskip("torch")
    from tools.training.sampling import load_sampler, step

    sampler = load_sampler(exported / "F16.gguf")
    ids = torch.tensor([[1, 270, 260, 265]])
    size = (1, sampler.shape.num_attention_heads, 4, sampler.shape.head_size)
    cache = [(torch.zeros(size), torch.zeros(size)) for _ in range(sampler.shape.num_hidden_layers)]
    with torch.inference_mode():
        whole = sampler.model(ids)[0]
        states = [step(sampler.model, ids[:, place], place, cache)[0] for place in range(4)]
        logits = torch.stack(states) @ sampler.model.embed_tokens.weight.T
    assert torch.allclose(whole, logits, atol=1e-5)


def test_a_tag_of_the_line_is_masked_where_it_would_be_complete_again() -> None:
    from tools.training.sampling import Marks

    marks = Marks(comma=9, line=13, tag=20, colon=21)
    assert marks.repeats([1, 20, 21, 5, 9, 6, 7, 9]) == [5]
    assert marks.repeats([1, 20, 21, 5, 9, 6, 7, 9, 6]) == [7]
    assert marks.repeats([1, 20, 21, 5, 9, 13, 30, 21, 5, 9]) == []


def test_sampling_is_repeatable_and_keeps_the_order_of_requests(exported: Path) -> None:
    from tools.training.sampling import Sampling, load_sampler

    sampler = load_sampler(exported / "F16.gguf")
    requests = ["tag: long hair", "tag:", "target: <|long|>\ntag: long hair, hair"]
    first, second = (
        sampler.continue_texts(requests, np.random.default_rng(1), sampling=Sampling(), limit=8) for _ in range(2)
    )
    assert first == second and len(first) == 3


def test_gguf_starts_with_its_magic_and_version(exported: Path) -> None:
    assert struct.unpack("<4sI", (exported / "F16.gguf").read_bytes()[:8]) == (b"GGUF", 3)


def test_the_progress_bar_fills_up_and_says_when() -> None:
    assert progress_bar(0.4, 24 * 60, 1_872_000, width=10) == "[####......] 40%  24 of 60 min, 1,300 tokens/s"
    assert progress_bar(1.2, 60, 0, width=4).startswith("[####] 100%")
    assert progress_bar(0.0, 0.0, 0, width=4).startswith("[....] 0%")


def test_a_run_begins_from_another_runs_averaged_weights_and_resumes_its_own(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from tools.training.train import Options, Run

    shape = Shape(vocab_size=64, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    options = Options(1.0, 64, 1, 0.01, 0.003, 0.9, 2, 0.5, 1.0, 1, False, False)
    runs = []
    for name, seed in (("old", 1), ("new", 2)):
        (tmp_path / name).mkdir()
        runs.append(Run(shape, options, tmp_path / name, seed=seed))
    old, new = runs
    with torch.no_grad():
        old.average["embed_tokens.weight"] += 1.0
    old.step = 7
    old.save()
    new.begin_from(old.path)
    assert torch.equal(new.model.embed_tokens.weight, old.average["embed_tokens.weight"]) and new.step == 0
    assert torch.equal(new.average["embed_tokens.weight"], new.model.embed_tokens.weight)
    again = Run(shape, options, tmp_path / "old", seed=3)
    assert again.step == 7 and torch.equal(again.average["embed_tokens.weight"], old.average["embed_tokens.weight"])


def test_a_run_begins_from_an_exported_model_of_its_shape(exported: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from tools.training.train import Options, Run

    weights, shape = read_weights(exported / "F16.gguf")
    options = Options(1.0, 64, 1, 0.01, 0.003, 0.9, 2, 0.5, 1.0, 1, False, False)
    run = Run(shape, options, tmp_path, seed=1)
    run.begin_from(exported / "F16.gguf")
    assert torch.equal(run.average["norm.weight"], torch.from_numpy(weights["model.norm.weight"]))
    assert shape.rms_norm_eps == Shape().rms_norm_eps
    deeper = Run(replace(shape, num_hidden_layers=shape.num_hidden_layers + 1), options, tmp_path, seed=1)
    deeper.begin_from(exported / "F16.gguf")
    assert deeper.average.keys() == dict(deeper.model.named_parameters()).keys()
    other = Run(replace(shape, num_attention_heads=1), options, tmp_path, seed=1)
    with pytest.raises(ValueError, match="num_attention_heads=1"):
        other.begin_from(exported / "F16.gguf")


@pytest.mark.parametrize("layers, wanted", [(2, 3), (3, 5), (2, 4), (2, 2)])
def test_a_grown_model_says_the_same_at_first(layers: int, wanted: int) -> None:
    torch = pytest.importorskip("torch")
    shape = Shape(vocab_size=64, hidden_size=8, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=8)
    small, large = (build_model(replace(shape, num_hidden_layers=count), seed=1) for count in (layers, wanted))
    large.load_state_dict(grow(small.state_dict(), layers, wanted))
    ids = torch.arange(20).reshape(2, 10)
    assert torch.equal(large(ids), small(ids))
    queries = {value.sum().item() for name, value in large.named_parameters() if "q_proj" in name}
    assert len(queries) == layers  # the copies are copies


@pytest.mark.parametrize("layers, wanted", [(2, 5), (3, 2)])
def test_growing_too_much_is_refused(layers: int, wanted: int) -> None:
    with pytest.raises(ValueError, match=f"{layers} layers cannot be grown to {wanted}"):
        grow({}, layers, wanted)


def test_muon_takes_the_steps_of_torchs_own_without_its_rounding() -> None:
    torch = pytest.importorskip("torch")
    from tools.training.muon import Muon

    source = torch.Generator().manual_seed(0)
    for shape in ((24, 8), (8, 24)):
        ours = torch.nn.Parameter(torch.randn(*shape, generator=source))
        theirs = torch.nn.Parameter(ours.detach().clone())
        settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
        optimisers = Muon([ours], **settings), torch.optim.Muon([theirs], **settings)
        for _ in range(3):
            ours.grad = torch.randn(*shape, generator=source)
            theirs.grad = ours.grad.clone()
            for optimiser in optimisers:
                optimiser.step()
        assert torch.allclose(ours, theirs, atol=5e-3)  # bf16 has three digits
        assert not torch.equal(ours, theirs)
