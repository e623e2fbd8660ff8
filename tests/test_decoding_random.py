"""The guarantees under random logits, adversarial vocabularies, random requests and small contexts."""
from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import pytest
from decoding_kit import run_all, violations
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted_engine import BASE_SPECIAL, COMMON_PIECES, TIPO_SPECIAL, ScriptedEngine

from kgen_ext.decoding.prose import MAX_SENTENCE_TOKENS
from kgen_ext.decoding.row import MAX_ROLLBACKS
from kgen_ext.engine import Vocab
from kgen_ext.protocol import Protocol
from kgen_ext.request import ExpandRequest, Task

pytestmark = pytest.mark.slow

# Tokens no sane tokenizer has, and some that real ones have: separators glued to words, halves of characters, control
# and invisible characters, special tokens spelled in plain letters, stops with what follows them.
HOSTILE = (
    b", ", b" ,", b",,", b"),", b" hat,", b"ir,", b"a, b", b"hat, ", b"\n\n", b"\n ", b" \n", b"\r\n", b"\nlong:",
    b"  ", b" ", b". A", b"! ", b". ", b".\n", b"...", b" ...", b".\"", b" \"", b"?!", b"\xe2\x80\xa6", b" Mr.",
    b" p.m.", b" e.g.", b"f1.8", b".8", b" 8", b"\x00", b"\x1b[31m", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8",
    b"\xe2\x80\x8b", b"\xef\xbb\xbf", b"\xee\x83\xb0", b"\xef\xbf\xbd", b"\xe3\x80\x80", b"\xc2\xa0",
    b"\xef\xbc\x8c", b"\xe3\x80\x81", b"\xe3\x80\x82", b"\xef\xbc\x81", b"\xe3\x80\x8d", b"\xe3\x80", b"\x82",
    b"\x82 hat", b" caf\xc3", b"\xa9", b"\xa9,", b"\xf0\x9f", b"\x98\x80", b"\xff", b"\xed\xa0\x80",
    b"\xe5\xb0\x91\xe5\xa5\xb3", b"<|long|>", b"</s>", b"<|", b"|>", b"__", b"long_hair", b" Long", b"LONG HAIR",
    b" blue", b"blue", b" red", b" hair", b" eyes", b"artist:", b"tag", b"long", b":", b" of", b" Yes", b" Precure",
)  # fmt: skip
# What an adversarial model prefers: bonuses to the logits by the look of a token.
MOODS: dict[str, Callable[[bytes], float]] = {
    "flat": lambda piece: 0.0,
    "words": lambda piece: 4.0 if piece[:1] == b" " and piece.strip().isalpha() else 0.0,
    "tags": lambda piece: 3.0 if len(piece) > 3 or piece == b"," else 0.0,
    "never separates": lambda piece: -30.0 if piece.strip() in (b",", b".", b"") else 0.0,
    "separates": lambda piece: 9.0 if piece in (b",", b", ", b" ,") else 0.0,
    "newlines": lambda piece: 9.0 if b"\n" in piece else 0.0,
    "stops": lambda piece: 5.0 if piece[-1:] in b".!? " and piece else 0.0,
    "bytes": lambda piece: 6.0 if piece and piece[0] >= 0x80 else 0.0,
    "ends": lambda piece: 9.0 if not piece else 0.0,
}


SLOW = ("bytes", "never separates")  # most tokens are taken back there


def hostile_vocab() -> Vocab:
    named = (*BASE_SPECIAL, *TIPO_SPECIAL, "<|input_end|>")
    pieces = dict.fromkeys((*(piece.encode() for piece in COMMON_PIECES), *HOSTILE))
    own = [bytes([value]) for value in range(256)]
    return Vocab(
        pieces=(*(b"" for _ in named), *own, *(piece for piece in pieces if len(piece) > 1)),
        special={name: index for index, name in enumerate(named)}, bos=1, eos=2,
    )  # fmt: skip


VOCAB = hostile_vocab()
BIAS = {name: np.array([bonus(piece) for piece in VOCAB.pieces], np.float32) for name, bonus in MOODS.items()}


def mad_engine(seed: int, *, mood: str, scale: float, n_ctx: int, echo: bool) -> ScriptedEngine:
    """Return an engine with noise for logits, from (seed, last tokens), in a mood; `echo` prefers what is there."""

    def logits(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        digest = blake2b(repr((seed, len(tokens), tokens[-4:])).encode(), digest_size=8).digest()
        noise = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
        out = noise.standard_normal(len(VOCAB), dtype=np.float32) * np.float32(scale) + BIAS[mood]
        if echo:
            out[list(tokens)] += 3
        return out

    return ScriptedEngine(logits, vocab=VOCAB, n_ctx=n_ctx)


USER_TAGS = ("1girl", "2girls", "hat", "long hair", "Blue_Hair", "(smile:1.2)", "night", "masterpiece", "hatsune miku",
             "twintails", "highres", "solo", "red eyes", "my_char_v2", "café")  # fmt: skip
BANS = ("hat", "* hair", "/.*a.*/", "category:special", "category:general", "*", "a", "/girl.*hat/", "yes! precure",
        "/\\. a/", "/^a/", "/t\\.$/", "smil?", "/[^ ]/", "mr.", "，")  # fmt: skip
RULES = ("if twintails ban long hair", "if long hair ban twintails", "if 1girl and hat ban smile", "if * ban day",
         "if smile ban hat", "if category:characters ban solo")  # fmt: skip
NATURAL = {"tag_length": "short", "text_length": "short"}

requests = st.builds(
    lambda tags, text, **rest: ExpandRequest(", ".join(tags), text=text, **rest),
    st.lists(st.sampled_from(USER_TAGS), max_size=6),
    st.sampled_from(["", "", "A girl stands.", "Mr. Fox waits. It is 5.30 p.m. and dark </s> <|long|>"]),
    tag_length=st.sampled_from(["very_short", "very_short", "auto", "short", "short", "long", "very_long"]),
    text_length=st.sampled_from(["none", "very_short", "short", "long", "very_long"]),
    task=st.sampled_from([task.value for task in Task]),
    ban=st.lists(st.sampled_from(BANS), max_size=2).map(tuple),
    require=st.lists(st.sampled_from(["shrine", "hat", "long hair", "highres"]), max_size=2).map(tuple),
    rules=st.lists(st.sampled_from(RULES), max_size=2).map(tuple),
    allow=st.lists(
        st.sampled_from(["artist", "characters", "copyrights", "meta", "quality", "rating"]), max_size=3
    ).map(tuple),
    allow_contradictions=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    top_k=st.sampled_from([0, 0, 1, 5, 40]),
    top_p=st.sampled_from([1.0, 0.9, 0.3]),
    min_p=st.sampled_from([0.0, 0.05, 0.3]),
    width=st.sampled_from([512, 832, 1024]),
)


@pytest.mark.parametrize("mood", MOODS)
def test_a_model_that_wants_to_break_every_rule_breaks_none(mood: str) -> None:
    @settings(max_examples=12 if mood in SLOW else 28, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(
        batch=st.lists(requests, min_size=1, max_size=2),
        seed=st.integers(0, 2**32),
        scale=st.sampled_from([0.3, 1.0, 4.0]),
        n_ctx=st.sampled_from([48, 96, 160, 256, 420]),
        protocol=st.sampled_from([Protocol.TIPO, Protocol.TIPO, Protocol.TIPO, Protocol.DTG]),
        echo=st.booleans(),
        rows=st.integers(1, 3),
    )
    def broken(batch: list[ExpandRequest], seed: int, scale: float, n_ctx: int, protocol: Protocol, echo: bool,
               rows: int) -> None:  # fmt: skip
        engine = mad_engine(seed, mood=mood, scale=scale, n_ctx=n_ctx, echo=echo)
        rows_ran = run_all(engine, batch, rows=rows, protocol=protocol)
        for ran in rows_ran:
            assert violations(ran) == []
            # What a rejection or the end of a field takes back is bounded; nothing else outgrows the context.
            rejected = len(ran.rejected)
            assert rejected <= MAX_ROLLBACKS
            assert ran.output.decoded <= n_ctx + (rejected + len(ran.job.fields)) * MAX_SENTENCE_TOKENS
        # A forward without a draw only for a forced token, and where nothing may be drawn, which ends a tag or a field.
        assert engine.calls <= sum(ran.output.decoded + ran.output.forced + len(ran.job.fields) for ran in rows_ran)

    broken()
