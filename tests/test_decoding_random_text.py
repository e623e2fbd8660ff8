"""The guarantees of texts under random logits: behind a full tag list, cut off, banned and out of context."""
from __future__ import annotations

import pytest
from decoding_kit import NAMES, run_all, violations
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_decoding_random import BIAS, VOCAB, mad_engine

from kgen_ext.request import ExpandRequest

pytestmark = pytest.mark.slow

WORDS = [index for index, piece in enumerate(VOCAB.pieces) if piece[:1] == b" " and piece.strip().isalpha()]
STOPS = [index for index, piece in enumerate(VOCAB.pieces) if piece.strip() in (b".", b"!", b"?", b"...", b'."')]
BANS = ("hat", "girl", "/\\. a/", "/girl\\./", "/^a/", "/[a-z]+\\.$/", "/hat\\W/", "yes! precure", "/.*stands.*girl.*/",
        "/girl\\W+the/")  # fmt: skip


@pytest.mark.parametrize("stops", [0.0, 3.0, 5.0])
def test_prose_of_a_mad_model_breaks_no_guarantee(stops: float) -> None:
    bias = BIAS["flat"].copy()
    bias[WORDS] += 5
    bias[STOPS] += stops

    @settings(max_examples=20, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(
        seed=st.integers(0, 2**32),
        length=st.sampled_from(["very_short", "short", "long", "very_long"]),
        bans=st.lists(st.sampled_from(BANS), max_size=2).map(tuple),
        n_ctx=st.sampled_from([220, 260, 400, 700]),
    )
    def broken(seed: int, length: str, bans: tuple[str, ...], n_ctx: int) -> None:
        engine = mad_engine(seed, mood="flat", scale=1.0, n_ctx=n_ctx, echo=False)
        noise = engine.logits
        engine.logits = lambda tokens: noise(tokens) + bias
        request = ExpandRequest(", ".join(NAMES[:18]), tag_length="very_short", text_length=length, ban=bans, seed=seed)
        for ran in run_all(engine, [request]):
            assert violations(ran) == []

    broken()
