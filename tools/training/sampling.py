"""A plain batched sampler over an exported GGUF, enough to measure a model without the rest of the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tools.training.gguf import open_tokenizer, read_weights
from tools.training.model import Shape, build_model
from tools.training.vocabulary import BOS, EOS

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature first, then top-k, min-p (relative to the best token) and top-p, in this order."""

    temperature: float = 0.6
    top_k: int = 0
    min_p: float = 0.1
    top_p: float = 1.0

    def pick(self, logits: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw one token a row from logits [rows, V]."""
        width = min(self.top_k or logits.shape[1], logits.shape[1])
        best = np.argpartition(-logits, width - 1, axis=1)[:, :width]
        values = np.take_along_axis(logits, best, axis=1)
        order = np.argsort(-values, axis=1)
        best, values = np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)
        chances = np.exp((values - values[:, :1]) / self.temperature)
        chances[chances < self.min_p * chances[:, :1]] = 0.0
        chances /= chances.sum(axis=1, keepdims=True)
        before = np.cumsum(chances, axis=1) - chances
        chances[before >= self.top_p] = 0.0
        steps = np.cumsum(chances, axis=1)
        drawn = (steps < rng.random((len(steps), 1)) * steps[:, -1:]).sum(axis=1)
        return best[np.arange(len(best)), np.minimum(drawn, width - 1)]


@dataclass(frozen=True, slots=True)
class Sampler:
    """A loaded model."""

    model: Any
    shape: Shape
    engine: Tokenizer

    def continue_texts(
        self,
        requests: Sequence[str],
        rng: np.random.Generator,
        *,
        sampling: Sampling,
        limit: int = 200,
        rows: int = 192,
        fresh: bool = False,
    ) -> list[str]:
        """Return what the model writes after each request, up to the end of text or `limit` tokens.

        With `fresh` no tag of a `tag:` line is written twice: the token that would complete it again is masked.
        """
        ids = [[BOS, *self.engine.encode(text, add_special_tokens=False).ids] for text in requests]
        order = sorted(range(len(ids)), key=lambda position: len(ids[position]))
        answers = [""] * len(ids)
        for start in range(0, len(order), rows):
            chosen = order[start : start + rows]
            marks = self._marks() if fresh else None
            decoded = self._decode([ids[place] for place in chosen], rng, sampling, limit, marks)
            for position, answer in zip(chosen, decoded, strict=True):
                answers[position] = self.engine.decode(answer, skip_special_tokens=True)
        return answers

    def _marks(self) -> Marks:
        vocabulary = self.engine.get_vocab()
        return Marks(comma=vocabulary[","], line=vocabulary["<0x0A>"], tag=vocabulary["tag"], colon=vocabulary[":"])

    def log_likelihoods(self, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return the log likelihood (nats) of each next token of each row."""
        import torch

        found = []
        for row in rows:
            ids = torch.tensor([list(row)])
            with torch.no_grad():
                scores = torch.log_softmax(self.model(ids[:, :-1])[0].float(), dim=-1)
            found.append(scores.gather(1, ids[0, 1:, None])[:, 0].numpy())
        return found

    def _decode(
        self, requests: list[list[int]], rng: np.random.Generator, sampling: Sampling, limit: int, marks: Marks | None
    ) -> Iterator[list[int]]:
        # All rows stand at one position: a row still inside its request is fed from it, any other from its draws.
        import torch

        longest = min(max(map(len, requests)) + limit, self.shape.max_position_embeddings)
        shortest = min(map(len, requests))
        size = (len(requests), self.shape.num_attention_heads, longest, self.shape.head_size)
        cache = [(torch.zeros(size), torch.zeros(size)) for _ in range(self.shape.num_hidden_layers)]
        texts = [list(request) for request in requests]
        live = list(range(len(texts)))
        for position in range(longest - 1):
            current = torch.tensor([texts[row][position] for row in live])
            with torch.inference_mode():
                hidden = step(self.model, current, position, cache)
                if position + 1 < shortest:
                    continue
                logits = torch.nn.functional.linear(hidden, self.model.embed_tokens.weight).numpy()
            for place, row in enumerate(live):
                if marks and len(texts[row]) == position + 1:
                    logits[place, marks.repeats(texts[row])] = -np.inf
            picked = sampling.pick(logits, rng)
            kept = []
            for place, row in enumerate(live):
                if len(texts[row]) == position + 1:
                    texts[row].append(int(picked[place]))
                ended = texts[row][-1] == EOS or len(texts[row]) - len(requests[row]) >= limit
                if len(texts[row]) > position + 2 or not ended:
                    kept.append(place)
            if not kept:
                break
            if len(kept) < len(live) * 0.8:
                choice = torch.tensor(kept)
                cache = [(keys[choice], values[choice]) for keys, values in cache]
                live = [live[place] for place in kept]
            elif len(kept) < len(live):
                for place in set(range(len(live))) - set(kept):
                    texts[live[place]].append(EOS)
        for text, request in zip(texts, requests, strict=True):
            answer = text[len(request) :]
            yield answer[: answer.index(EOS)] if EOS in answer else answer[:limit]


@dataclass(frozen=True, slots=True)
class Marks:
    """The ids that give a text its form: comma, line break, and the `tag` and `:` that open the tag line."""

    comma: int
    line: int
    tag: int
    colon: int

    def repeats(self, text: Sequence[int]) -> list[int]:
        """Return the tokens that would complete a tag the current `tag:` line already has; none elsewhere."""
        starts = [place for place, token in enumerate(text) if token == self.line]
        line = list(text[starts[-1] + 1 :]) if starts else list(text[1:])
        if line[:2] != [self.tag, self.colon]:
            return []
        tags: list[list[int]] = [[]]
        for token in line[2:]:
            if token == self.comma:
                tags.append([])
            else:
                tags[-1].append(token)
        current = tags.pop()
        return [tag[-1] for tag in tags if tag and tag[:-1] == current]


def step(model: Any, ids: Any, position: int, cache: list[tuple[Any, Any]]) -> Any:
    """Run one position for every row, ids [rows] -> normed state [rows, width]; keys and values go into `cache`."""
    from torch.nn import functional

    x = model.embed_tokens(ids)
    cos, sin = model.cos[position], model.sin[position]
    for layer, (keys, values) in zip(model.layers, cache, strict=True):
        rows, heads, _, width = keys.shape
        normal, attention = layer.input_layernorm(x), layer.self_attn
        q, k, v = (
            part(normal).view(rows, heads, width) for part in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        q, k = _turn(q, cos, sin), _turn(k, cos, sin)
        keys[:, :, position], values[:, :, position] = k, v
        seen = slice(0, position + 1)
        mixed = functional.scaled_dot_product_attention(q[:, :, None], keys[:, :, seen], values[:, :, seen])
        x = x + attention.o_proj(mixed.reshape(rows, heads * width))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return model.norm(x)


def _turn(x: Any, cos: Any, sin: Any) -> Any:
    import torch

    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def load_sampler(path: Path) -> Sampler:
    """Load a GGUF."""
    import torch

    weights, shape = read_weights(path)
    model = build_model(shape, seed=0)
    model.load_state_dict({name.removeprefix("model."): torch.from_numpy(value) for name, value in weights.items()})
    return Sampler(model.eval(), shape, open_tokenizer(path))
