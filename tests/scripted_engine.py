"""An engine for tests whose logits come from a script, a seed or any function of a row's tokens.

It looks at nothing but tokens, and counts its forward passes.

Its vocabulary is explicit: `<unk>`, `<s>`, `</s>`, TIPO's 13 special tokens, 256 byte tokens, then the pieces given,
each one token. Text is cut greedily, longest piece first; what no piece covers becomes byte tokens.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Union

import numpy as np

from kgen_ext.engine import Vocab
from kgen_ext.engines.rows import RowLengths

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIPO_SPECIAL = (
    "<|empty|>", "<|very_short|>", "<|short|>", "<|long|>", "<|very_long|>",
    "<|tag_to_long|>", "<|short_to_tag|>", "<|long_to_tag|>", "<|short_to_long|>", "<|short_to_tag_to_long|>",
    "<|short_to_long_to_tag|>", "<|tag_to_short_to_long|>", "<|gen_meta|>",
)  # fmt: skip
BASE_SPECIAL = ("<unk>", "<s>", "</s>")

# What TIPO texts are made of, plus enough to trip over every rule.
COMMON_PIECES = tuple(
    ", |,| |\n|.|. |: |:|tag:|short:|long:|\ntag:|\nshort:|\nlong:|meta:|rating:|artist:|characters:|copyrights:"
    "|quality:|target:|aspect ratio:|1girl|2girls|1boy|solo|no humans|smile|hat|long hair|short hair|blue hair|red hair"
    "|blue eyes|red eyes|twintails|outdoors|day|night|sky|looking at viewer|masterpiece|best quality|safe|nsfw"
    "|hatsune miku|vocaloid|highres|absurdres| A| a| the| girl| hat| stands| in| on| with| and| hair| smiles| f1|.8"
    "| Mr| lens|...|!|?|\"|(|)|[|]|<|>|s|/|_|-|0|1|5".split("|")
)

Logits = Callable[[tuple[int, ...]], "NDArray[np.float32]"]
Script = Union[str, Sequence[Union[str, tuple[str, ...]]]]
GAP = 50.0  # between one wish and the next: exp(-50), so no temperature in use draws the second before the first


def build_vocab(pieces: Iterable[str], *, special: Sequence[str] = TIPO_SPECIAL) -> Vocab:
    """Return a vocabulary of the base and special tokens, all bytes, and `pieces` (doubles dropped)."""
    named = (*BASE_SPECIAL, *special)
    taken = dict.fromkeys(piece.encode() for piece in pieces if piece and piece not in named)
    own_bytes = tuple(bytes([value]) for value in range(256))
    return Vocab(
        pieces=(*(b"" for _ in named), *own_bytes, *(piece for piece in taken if len(piece) > 1)),
        special={text: index for index, text in enumerate(named)}, bos=1, eos=2,
    )  # fmt: skip


def split_words(text: str) -> list[str]:
    r"""Cut text as a tokenizer would: a word with its leading space, a sign, a newline; special tokens whole.

    >>> split_words("fox ears, hat\nlong:</s>")
    ['fox', ' ears', ',', ' hat', '\n', 'long', ':', '</s>']
    """
    return re.findall(r"<\|\w+\|>|</?s>|\n| ?[^\W_]+| ?[^\w\s]| ?_|\s", text)


class ScriptedEngine:
    """An engine whose logits are `logits(tokens of the row)`; `calls` and `fed` count forward passes and tokens."""

    def __init__(self, logits: Logits, *, vocab: Vocab, n_ctx: int = 1024) -> None:
        self.name = "scripted"
        self.vocab = vocab
        self.n_ctx = n_ctx
        self.calls = 0
        self.fed = 0
        self.logits = logits
        self._ids = {piece: index for index, piece in enumerate(vocab.pieces) if piece}
        self._longest = max(map(len, self._ids))

    @classmethod
    def forcing(
        cls, script: Script | Mapping[str, Script], *, pieces: Iterable[str] = COMMON_PIECES, n_ctx: int = 1024
    ) -> ScriptedEngine:
        """Return an engine that wants to write exactly `script`, then to end.

        script: one-token pieces in order; a tuple offers alternatives for its place, best first; a string is cut by
        `split_words`. Special tokens and `</s>` are written as text. When a wish is masked, the next best is its next
        alternative, then the wishes after it in order, then the end, then every other token by id.
        A row's place in the script is behind the last wish it has written: its tokens are looked up in the script one
        after the other, and wishes that were not granted are skipped, so forced and substituted text does no harm.
        Prompt tokens count too. Where a prompt holds pieces of the script (a test about repeats), or rows have
        scripts of their own, give a mapping from prompt text to script: a row follows the longest prompt it starts
        with (`<s>` aside), and only what comes after that counts.

        >>> ScriptedEngine.forcing(["1girl", (", hat", ", cap"), ", smile", "\\nlong:", " A girl.", "</s>"])
        """
        by_prompt = dict(script) if isinstance(script, Mapping) else {"": script}
        places = {prompt: _places(wanted) for prompt, wanted in by_prompt.items()}
        wished = [piece for script_places in places.values() for place in script_places for piece in place]
        vocab = build_vocab((*wished, *pieces))
        engine = cls(_nothing, vocab=vocab, n_ctx=n_ctx)
        engine.logits = _Forcing(
            {
                tuple(engine.tokenize(prompt)): [tuple(engine._id(piece) for piece in place) for place in script_places]
                for prompt, script_places in places.items()
            },
            vocab,
        )
        return engine

    @classmethod
    def random(
        cls, seed: int, *, pieces: Iterable[str] = COMMON_PIECES, scale: float = 3.0, n_ctx: int = 1024
    ) -> ScriptedEngine:
        """Return an engine with pseudo-random logits, a pure function of seed and row tokens: it breaks every rule.

        scale: their standard deviation. Byte and special tokens are wished for less, so that whole pieces appear.
        """
        vocab = build_vocab(pieces)
        bias = np.zeros(len(vocab), np.float32)
        bias[: len(vocab.special)] = -1.0 * scale
        bias[len(vocab.special) : len(vocab.special) + 256] = -2.0 * scale

        def logits(tokens: tuple[int, ...]) -> NDArray[np.float32]:
            digest = blake2b(np.array((seed, *tokens), np.int64).tobytes(), digest_size=16).digest()
            drawn = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
            return drawn.standard_normal(len(vocab), dtype=np.float32) * np.float32(scale) + bias

        return cls(logits, vocab=vocab, n_ctx=n_ctx)

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text: special tokens, else the longest piece at each place, else bytes."""
        ids: list[int] = []
        specials = "|".join(map(re.escape, sorted(self.vocab.special, key=len, reverse=True)))
        for part in re.split(f"({specials})", text):
            if part in self.vocab.special:
                ids.append(self.vocab.special[part])
                continue
            data, at = part.encode("utf-8", "replace"), 0
            while at < len(data):
                size = next(n for n in range(self._longest, 0, -1) if data[at : at + n] in self._ids)
                ids.append(self._ids[data[at : at + size]])
                at += len(data[at : at + size])
        return ids

    def open_cache(self, rows: int, n_ctx: int) -> ScriptedCache:
        """Return an empty cache."""
        return ScriptedCache(self, rows, n_ctx)

    def close(self) -> None:
        """Do nothing: there is no memory to give back."""

    def _id(self, piece: str) -> int:
        ids = self.tokenize(piece)
        if len(ids) != 1:
            raise ValueError(f"{piece!r} is {len(ids)} tokens, a place of a script is one")
        return ids[0]


class ScriptedCache:
    """Rows of token ids; `tokens[row]` is open for tests to read."""

    def __init__(self, engine: ScriptedEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self.exact = self.joins = True
        self.tokens: list[list[int]] = [[] for _ in range(rows)]
        self._engine = engine
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)

    def forward(
        self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Append the chunks and return the scripted logits behind the last tokens of each."""
        counts = self._lengths.check_chunks(chunks, behind, n_vocab=len(self._engine.vocab))
        self._engine.calls += 1
        out = []
        for (row, tokens), count in zip(chunks, counts, strict=True):
            self._engine.fed += len(tokens)
            self.tokens[row] += tokens
            held = self._lengths.held[row] = len(self.tokens[row])
            out += [self._engine.logits(tuple(self.tokens[row][:end])) for end in range(held - count + 1, held + 1)]
        return np.array(out, np.float32)

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        self._lengths.check_row(row)
        return len(self.tokens[row])

    def truncate(self, row: int, length: int) -> None:
        """Forget the row's tokens from `length` on."""
        self._lengths.truncate(row, length)
        del self.tokens[row][length:]

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens."""
        self._lengths.fork(source, target, length)
        self.tokens[target] = self.tokens[source][:length]

    def close(self) -> None:
        """Forget everything."""
        self._lengths.closed = True
        self.tokens = [[] for _ in range(self.rows)]


class _Forcing:
    """The logits of `ScriptedEngine.forcing`: places of alternative token ids, by the prompt's token ids."""

    def __init__(self, scripts: Mapping[tuple[int, ...], list[tuple[int, ...]]], vocab: Vocab) -> None:
        self._scripts = sorted(scripts.items(), key=lambda item: -len(item[0]))
        self._vocab = vocab

    def __call__(self, tokens: tuple[int, ...]) -> NDArray[np.float32]:
        if tokens[:1] == (self._vocab.bos,):
            tokens = tokens[1:]
        wishes: list[int] = []
        for prompt, places in self._scripts:
            if tokens[: len(prompt)] == prompt:
                begin = 0
                for token in tokens[len(prompt) :]:
                    begin = next((at + 1 for at in range(begin, len(places)) if token in places[at]), begin)
                wishes = [token for place in places[begin:] for token in place]
                break
        ranked = dict.fromkeys((*wishes, self._vocab.eos))
        out = -GAP * len(ranked) - np.arange(len(self._vocab), dtype=np.float32)
        for rank, token in enumerate(ranked):
            out[token] = -GAP * rank
        return out


def _places(script: Script) -> list[tuple[str, ...]]:
    cut = split_words(script) if isinstance(script, str) else script
    return [(place,) if isinstance(place, str) else tuple(place) for place in cut]


def _nothing(tokens: tuple[int, ...]) -> NDArray[np.float32]:
    raise NotImplementedError(f"no script for {len(tokens)} tokens")
