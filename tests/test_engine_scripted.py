"""The scripted engine: the behaviour that tests of decoding rely on."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import TIPO_SPECIAL, ScriptedEngine, build_vocab, split_words


def write(engine: ScriptedEngine, prompt: str, *, masked: tuple[str, ...] = (), limit: int = 40) -> str:
    """Let an engine write greedily, with some tokens never allowed."""
    cache = engine.open_cache(1, engine.n_ctx)
    never = [engine.tokenize(text)[0] for text in masked]
    chunk, out = engine.tokenize(prompt) or [1], b""
    for _ in range(limit):
        logits = cache.forward([(0, chunk)])[0]
        logits[never] = -np.inf
        chunk = [int(logits.argmax())]
        if chunk[0] == engine.vocab.eos:
            break
        out += engine.vocab.pieces[chunk[0]]
    return out.decode("utf-8", "replace")


SCRIPT = ["1girl", (", hat", ", cap"), ", smile", "\nlong:", " A girl.", "</s>"]


def test_a_forced_text_is_written_exactly_and_then_ends() -> None:
    assert write(ScriptedEngine.forcing(SCRIPT), "target: <|short|>\ntag: ") == "1girl, hat, smile\nlong: A girl."


def test_a_masked_wish_gives_way_to_its_alternative_then_to_the_next_wish() -> None:
    engine = ScriptedEngine.forcing(SCRIPT)
    assert write(engine, "tag:", masked=(", hat",)) == "1girl, cap, smile\nlong: A girl."
    assert write(engine, "tag:", masked=(", hat", ", cap")) == "1girl, smile\nlong: A girl."


def test_forced_text_that_the_script_holds_later_moves_it_on() -> None:
    assert write(ScriptedEngine.forcing(SCRIPT), "tag: 1girl\nlong:") == " A girl."


def test_a_string_is_cut_into_words() -> None:
    assert split_words("fox ears, hat\nlong:</s>") == ["fox", " ears", ",", " hat", "\n", "long", ":", "</s>"]
    assert write(ScriptedEngine.forcing("fox ears, hat\nlong: f1.8"), "tag: ") == "fox ears, hat\nlong: f1.8"


def test_rows_may_have_scripts_of_their_own_that_repeat_their_prompt() -> None:
    engine = ScriptedEngine.forcing({"tag: hat": [", hat", ", hat"], "tag: hat, cap": [", smile"]})
    assert write(engine, "tag: hat") == ", hat, hat"
    assert write(engine, "<s>tag: hat, cap") == ", smile"


def test_a_place_of_a_script_is_one_token() -> None:
    with pytest.raises(ValueError, match="is 2 tokens"):
        ScriptedEngine.forcing(["<s></s>"])


def test_random_logits_depend_on_seed_and_tokens_alone() -> None:
    first, again, other = (ScriptedEngine.random(seed) for seed in (1, 1, 2))
    cache, company = first.open_cache(1, 32), again.open_cache(3, 32)
    wanted = cache.forward([(0, [5, 6, 7])])[0].copy()
    company.forward([(0, [8]), (2, [5, 6, 9])])
    company.truncate(2, 2)
    assert np.array_equal(company.forward([(1, [9]), (2, [7])])[1], wanted)
    assert not np.array_equal(other.open_cache(1, 32).forward([(0, [5, 6, 7])])[0], wanted)
    assert not np.array_equal(cache.forward([(0, [8])])[0], wanted)


def test_random_logits_write_whole_pieces_of_every_kind() -> None:
    text = "".join(write(ScriptedEngine.random(seed), "tag: ", limit=60) for seed in range(20))
    assert all(piece in text for piece in (",", "\nlong:", "\n", ".", "hat"))


@given(text=st.text())
def test_the_pieces_of_any_text_are_its_bytes(text: str) -> None:
    engine = ScriptedEngine.random(0)
    named = {index: name.encode() for name, index in engine.vocab.special.items()}
    ids = engine.tokenize(text)
    assert b"".join(named.get(token, engine.vocab.pieces[token]) for token in ids) == text.encode("utf-8", "replace")


def test_the_vocabulary_has_special_tokens_all_bytes_and_each_piece_once() -> None:
    vocab = build_vocab(["hat", "hat", "a", "</s>"])
    assert list(vocab.special) == ["<unk>", "<s>", "</s>", *TIPO_SPECIAL]
    assert len(TIPO_SPECIAL) == 13
    assert len(vocab) == 16 + 256 + 1
    assert vocab.pieces[-1] == b"hat"


def test_calls_and_tokens_are_counted_and_rows_obey() -> None:
    engine = ScriptedEngine.forcing(SCRIPT)
    cache = engine.open_cache(2, 8)
    cache.forward([(0, [5, 6, 7]), (1, [8])])
    cache.fork(0, 1, 2)
    cache.truncate(0, 1)
    assert (engine.calls, engine.fed) == (1, 4)
    assert cache.tokens == [[5], [5, 6]]
    assert (cache.length(0), cache.length(1)) == (1, 2)
    with pytest.raises(ValueError, match="exceed n_ctx"):
        cache.forward([(0, [5]), (1, [5] * 7)])
    assert cache.tokens == [[5], [5, 6]]
    cache.close()
    cache.close()
