"""The server engine against servers that are shaped after their sources: its texts are those of the same model here."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fixtures import GGUF, REQUEST, open_starter, write_tiny
from server_kit import KINDS, FakeServer, serving

from kgen_ext.cli import main
from kgen_ext.decoding.sampler import is_decided
from kgen_ext.engine import Engine, PartialCache
from kgen_ext.engines import load_engine, server
from kgen_ext.engines.json_client import JsonClient
from kgen_ext.engines.server import ServerEngine
from kgen_ext.engines.server_api import find_api
from kgen_ext.errors import BadValue, EngineError
from kgen_ext.events import Expansion, Finish
from kgen_ext.request import ExpandRequest
from kgen_ext.sampling import Sampling
from kgen_ext.service import open_expander

REQUESTS = [
    ExpandRequest("1girl, (fox ears:1.2), shrine", seed=3, tag_length="very_short"),
    ExpandRequest("1girl, twintails", seed=7, ban=("smile", "long hair", "/.*dress/"), tag_length="short"),
    ExpandRequest("", seed=11, tag_length="very_short"),
    ExpandRequest("scenery, ruins BREAK 2girls, umbrella", seed=5, tag_length="very_short"),
    ExpandRequest("1boy, armor", seed=9, text_length="very_short", tag_length="very_short"),
    ExpandRequest("cat, window", seed=2, temperature=0.0, min_p=0.0, tag_length="very_short"),
    ExpandRequest(
        "1girl, library", seed=4, count=4, temperature=2.0, top_k=40, min_p=0.0, tag_length="very_short", prior=0
    ),
    ExpandRequest("1girl, cafe", seed=6, top_p=0.8, min_p=0.02, tag_length="very_short"),
]


@pytest.fixture(scope="module")
def starter() -> Iterator[Engine]:
    engine = open_starter("reference")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def texts() -> list[Expansion]:
    """What the requests give here."""
    with open_expander(engine="reference") as expander:
        return expander.expand(REQUESTS)


@pytest.fixture
def fake(starter: Engine) -> Iterator[FakeServer]:
    with serving(FakeServer("llamacpp", starter)) as running:
        yield running


def connect(fake: FakeServer) -> ServerEngine:
    return connect_as(fake, open_starter("reference"))


def connect_as(fake: FakeServer, local: Engine) -> ServerEngine:
    client = JsonClient(fake.url, key=fake.key)
    try:
        return ServerEngine(client, find_api(client), local)
    except BaseException:
        client.close()
        raise


def expand(fake: FakeServer, *requests: ExpandRequest) -> list[Expansion]:
    with open_expander(engine="server", url=fake.url) as expander:
        return expander.expand(requests)


def same(found: list[Expansion], wanted: list[Expansion]) -> bool:
    """Whether the texts are the same, and so are the draws they took."""
    return [(row.prompt, row.decoded_tokens, row.rewound_tokens) for row in found] == [
        (row.prompt, row.decoded_tokens, row.rewound_tokens) for row in wanted
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_are_those_of_the_same_model_here(kind: str, starter: Engine, texts: list[Expansion]) -> None:
    with serving(FakeServer(kind, starter)) as fake:
        assert same(expand(fake, *REQUESTS), texts)


def test_a_row_alone_is_the_row_in_a_batch(fake: FakeServer, texts: list[Expansion]) -> None:
    with open_expander(engine="server", url=fake.url) as expander:
        assert same([expander.expand([request])[0] for request in REQUESTS[:4]], texts[:4])


def test_lists_that_are_too_short_to_decide_are_asked_for_again(
    fake: FakeServer, texts: list[Expansion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FIRST", 32)
    assert same(expand(fake, *REQUESTS[4:]), texts[4:])
    assert {body["n_probs"] for body in fake.bodies()} >= {32, 256}


def test_a_draw_that_a_short_list_does_not_decide_would_be_another(
    fake: FakeServer, texts: list[Expansion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above is worth."""
    monkeypatch.setattr(server, "FIRST", 32)
    monkeypatch.setattr("kgen_ext.decoding.loop.is_decided", lambda *_: True)
    assert not same(expand(fake, *REQUESTS[4:]), texts[4:])


def test_the_result_names_the_engine(fake: FakeServer) -> None:
    assert expand(fake, REQUESTS[2])[0].engine == "server"


def test_the_reason_names_the_server(fake: FakeServer) -> None:
    with open_expander(engine="server", url=fake.url) as expander:
        assert expander.reason == f"llama-server at {fake.url}"


def test_no_ban_is_broken_whatever_the_server_likes(fake: FakeServer) -> None:
    banned = expand(fake, REQUESTS[0])[0].added_tags
    (row,) = expand(fake, ExpandRequest("1girl, (fox ears:1.2), shrine", seed=3, tag_length="very_short", ban=banned))
    assert not set(row.added_tags) & set(banned)


def test_a_draw_takes_no_more_than_one_request(fake: FakeServer) -> None:
    # Without the prior, which may ask for more of the likeliest tokens than come with the first answer.
    (row,) = expand(fake, replace(REQUESTS[1], prior=0.0))
    assert len(fake.bodies()) <= row.decoded_tokens + len(server.PROBES)


def test_rows_keep_to_the_slots_of_the_server(fake: FakeServer) -> None:
    fake.slots = 2
    expand(fake, *REQUESTS[:3])
    assert {body["id_slot"] for body in fake.bodies()} == {0, 1}


def test_cancelling_keeps_what_is_complete(fake: FakeServer) -> None:
    with open_expander(engine="server", url=fake.url) as expander:
        (row,) = expander.expand(REQUESTS[:1], cancelled=lambda: len(fake.bodies()) > 8)
    assert row.finish is Finish.CANCELLED
    assert len(fake.bodies()) == 9


@pytest.mark.parametrize(("kind", "n_ctx"), [("llamacpp", 63), ("vllm", 63), ("sglang", 56)])
def test_the_context_leaves_room_for_what_the_server_draws(kind: str, n_ctx: int, starter: Engine) -> None:
    with serving(FakeServer(kind, starter, n_ctx=64)) as fake:
        engine = connect(fake)
        engine.close()
    assert engine.n_ctx == n_ctx


def test_the_context_of_the_server_bounds_the_row(fake: FakeServer) -> None:
    fake.n_ctx = 64
    (row,) = expand(fake, ExpandRequest("1girl", seed=1, tag_length="very_long"))
    assert row.finish is Finish.LENGTH
    assert max(map(len, fake.prompts())) < 64


@pytest.mark.parametrize("options", [{"min_p": 0.0}, {"min_p": 0.0, "top_p": 0.9}])
def test_what_needs_every_logit_is_refused(fake: FakeServer, options: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match=r"min_p: 0.0 is not allowed \(use more than 0, or top_k from 1"):
        expand(fake, ExpandRequest("1girl", temperature=1.0, **options))


def test_a_server_needs_a_url() -> None:
    with pytest.raises(BadValue, match=r"url: None is not allowed .*http://HOST:PORT"):
        open_expander(engine="server")


def test_a_url_needs_the_engine() -> None:
    with pytest.raises(BadValue, match=r"engine: 'auto' is not allowed .*server"):
        open_expander(url="http://127.0.0.1:8080")


def test_the_device_is_the_servers() -> None:
    with pytest.raises(BadValue, match="device: 'cuda' is not allowed"):
        open_expander(engine="server", url="http://127.0.0.1:8080", device="cuda")


def test_the_command_takes_the_address(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["expand", "1girl, shrine", "--seed", "1", "--tag-length", "very_short", "--json"]
    assert main([*argv, "--engine", "reference"]) == 0
    assert main([*argv, "--engine", "server", "--url", fake.url]) == 0
    here, there = map(json.loads, capsys.readouterr().out.splitlines())
    assert here["prompt"] == there["prompt"]


def test_the_key_of_the_environment_is_sent(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.key = "sk-12345"
    monkeypatch.setenv("KGEN_SERVER_KEY", "sk-12345")
    assert expand(fake, REQUESTS[2])


def test_another_model_is_found_out() -> None:
    other = open_starter("reference")
    for layer in other.layers[-3:]:  # type: ignore[attr-defined]
        layer.down *= np.float32(-1)
    with serving(FakeServer("llamacpp", other)) as running, pytest.raises(EngineError, match="runs another model: beh"):
        connect(running)


def test_quantised_weights_are_no_other_model() -> None:
    pytest.importorskip("llama_cpp")
    with serving(FakeServer("llamacpp", load_engine("llama_cpp", folder=None, gguf=GGUF, threads=1))) as fake:
        connect(fake).close()


@pytest.mark.parametrize("kind", KINDS)
def test_another_tokenizer_is_found_out(kind: str, starter: Engine) -> None:
    with serving(FakeServer(kind, starter, fault="tokenizer")) as fake:
        with pytest.raises(EngineError, match="its tokenizer is another than the model's"):
            connect(fake)


def test_another_vocabulary_is_found_out(tmp_path: Path, starter: Engine) -> None:
    tiny = load_engine("reference", folder=write_tiny(tmp_path), gguf=None)
    with serving(FakeServer("sglang", starter, tokenizes=False)) as fake:
        with pytest.raises(EngineError, match="outside the model's vocabulary"):
            connect_as(fake, tiny)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_a_server_that_does_not_tokenise_is_known_by_its_logprobs(kind: str, starter: Engine) -> None:
    with serving(FakeServer(kind, starter, tokenizes=False)) as fake:
        connect(fake).close()


def test_vllm_says_how_to_raise_its_limit(starter: Engine) -> None:
    with serving(FakeServer("vllm", starter, most=20)) as fake:
        with pytest.raises(EngineError, match=r"max allowed: 20 \(start vLLM with --max-logprobs -1\)"):
            connect(fake)


def test_vllm_without_token_ids_is_refused(starter: Engine) -> None:
    with serving(FakeServer("vllm", starter, fault="text")) as fake:
        with pytest.raises(EngineError, match=r"lacks what is needed .*update the server"):
            connect(fake)


def test_llama_cpp_pythons_server_is_refused(starter: Engine) -> None:
    with serving(FakeServer("me", starter)) as fake:
        with pytest.raises(EngineError, match=r"takes no token ids and returns none \(run llama.cpp's llama-server"):
            connect(fake)


def test_an_unknown_server_is_refused(starter: Engine) -> None:
    with serving(FakeServer("someone\x1b[31m", starter)) as fake:
        with pytest.raises(EngineError, match=r"owned by 'someone\\x1b\[31m'\) \(use llama-server, vLLM or SGLang\)"):
            connect(fake)


def test_llama_server_is_told_which_token_to_draw(fake: FakeServer) -> None:
    """Else it returns nothing where it would draw a part of a character."""
    engine = connect(fake)
    cache = engine.open_cache(1, 64)
    part = next(token for token, piece in enumerate(engine.vocab.pieces) if piece == b"\xe3")
    fake.logprobs = lambda ids: np.where(np.arange(len(engine.vocab)) == part, 0.0, -20.0)  # type: ignore[assignment]
    assert int(cache.forward([(0, [5])])[0].argmax()) == part
    engine.close()


def test_the_token_that_vllm_draws_is_none_of_the_likeliest(starter: Engine) -> None:
    """It comes on top of the list, wherever it stands: taken for its last one it would lower the floor."""
    with serving(FakeServer("vllm", starter)) as fake:
        engine = connect(fake)
        logits = engine.open_cache(1, 8).forward([(0, [5])])[0]
        engine.close()
    assert int((logits > -np.inf).sum()) == server.FIRST


DECIDED = {
    "min-p above the floor": (Sampling(min_p=0.1), -2.4, True),
    "min-p below the floor": (Sampling(min_p=0.1), -2.2, False),
    "a best token above the floor": (Sampling(temperature=0.0, min_p=0.0), -0.1, True),
    "a best token at the floor": (Sampling(temperature=0.0, min_p=0.0), 0.0, False),
    "top-k among the known": (Sampling(min_p=0.0, top_k=1), -4.5, True),
    "top-k beyond them": (Sampling(min_p=0.0, top_k=3), -4.5, False),
    "a share of the whole": (Sampling(min_p=0.0, top_p=0.5), -4.5, False),
    "nothing unknown": (Sampling(min_p=0.0, top_p=0.5), -np.inf, True),
}


@pytest.mark.parametrize(("sampling", "floor", "decided"), DECIDED.values(), ids=DECIDED)
def test_what_a_list_decides(sampling: Sampling, floor: float, decided: bool) -> None:
    assert is_decided(np.array([0, -4, *[-np.inf] * 30], np.float32), sampling, floor) is decided


def test_a_list_without_a_permitted_token_decides_nothing() -> None:
    assert not is_decided(np.full(8, -np.inf, np.float32), Sampling(), -5.0)


class TestCache:
    """The contract of engines, as far as it applies."""

    @pytest.fixture
    def engine(self, fake: FakeServer) -> Iterator[ServerEngine]:
        engine = connect(fake)
        yield engine
        engine.close()

    @pytest.fixture
    def cache(self, engine: ServerEngine) -> PartialCache:
        return engine.open_cache(6, 256)

    @pytest.fixture
    def close(self, starter: Engine, cache: PartialCache) -> Any:
        """Feed chunks here and there, and return whether what is listed is right."""
        expected = starter.open_cache(6, 256)

        def feed(chunks: list[tuple[int, list[int]]]) -> bool:
            found, wanted = cache.forward(chunks), expected.forward(chunks)
            wanted = wanted - np.log(np.exp(wanted.astype(np.float64)).sum(axis=1, keepdims=True))
            return all(
                np.abs(row - right)[row > -np.inf].max() < 1e-4 and right[row == -np.inf].max() <= floor + 1e-4
                for row, right, floor in zip(found, wanted, cache.floors, strict=True)
            )

        feed.expected = expected  # type: ignore[attr-defined]
        return feed

    def test_it_is_partial(self, cache: PartialCache) -> None:
        assert isinstance(cache, PartialCache)

    def test_no_other_cache_is_partial(self, starter: Engine) -> None:
        assert not isinstance(starter.open_cache(1, 8), PartialCache)

    def test_rows_of_different_length(self, engine: ServerEngine, close: Any) -> None:
        ids = engine.tokenize(REQUEST)
        assert close([(4, ids[:3]), (2, ids), (1, ids[:9])])
        assert close([(2, [10]), (0, ids[:4]), (4, [11, 12])])

    def test_the_rest_is_minus_infinity(self, cache: PartialCache) -> None:
        assert int((cache.forward([(0, [5])])[0] > -np.inf).sum()) == server.FIRST

    def test_more_tokens_are_listed_when_asked_for(self, cache: PartialCache) -> None:
        first = cache.forward([(0, [5])])[0]
        assert int((cache.extend(0) > -np.inf).sum()) == server.FIRST * server.MORE
        assert first.max() == cache.extend(0).max()

    def test_all_of_them_have_no_floor(self, engine: ServerEngine, cache: PartialCache) -> None:
        cache.forward([(0, [5])])
        while cache.floors[0] > -np.inf:
            logits = cache.extend(0)
        assert int((logits > -np.inf).sum()) == len(engine.vocab)

    def test_logits_behind_several_tokens(self, engine: ServerEngine, cache: PartialCache) -> None:
        ids = engine.tokenize(REQUEST)
        together = cache.forward([(0, ids)], [3])
        for count in (2, 1, 0):
            cache.truncate(0, 0)
            assert np.array_equal(cache.forward([(0, ids[: len(ids) - count])])[0], together[2 - count])

    def test_a_rewound_row_goes_on_as_if_nothing_had_been(self, engine: ServerEngine, cache: Any, close: Any) -> None:
        ids = engine.tokenize(REQUEST)
        close([(0, ids)])
        cache.forward([(0, [40, 41, 42])])
        cache.truncate(0, len(ids))
        assert close([(0, [50])])

    def test_what_was_known_is_forgotten_where_the_row_goes_another_way(
        self, engine: ServerEngine, cache: Any, close: Any
    ) -> None:
        ids = engine.tokenize(REQUEST)
        cache.forward([(0, [*ids, 40])])
        cache.truncate(0, len(ids) - 1)
        close.expected.forward([(0, ids[:-1])])
        assert close([(0, [41, 42])])

    def test_a_fork_goes_on_from_the_prefix(self, engine: ServerEngine, cache: Any, close: Any) -> None:
        ids = engine.tokenize(REQUEST)
        cache.forward([(0, ids), (3, [99, 98])])
        cache.fork(0, 3, 6)
        assert cache.length(3) == 6
        close.expected.forward([(0, ids), (3, ids[:6])])
        assert close([(3, [30, 31]), (0, [32])])

    def test_a_position_that_a_row_returns_to_is_not_asked_for_again(
        self, fake: FakeServer, cache: PartialCache
    ) -> None:
        wanted = cache.forward([(0, [5, 6, 7])])
        cache.forward([(0, [8])])
        before = len(fake.bodies())
        cache.truncate(0, 2)
        assert np.array_equal(cache.forward([(0, [7])]), wanted)
        assert len(fake.bodies()) == before

    def test_a_fork_knows_what_its_source_knows(self, fake: FakeServer, cache: PartialCache) -> None:
        wanted = cache.forward([(0, [5, 6, 7])])
        before = len(fake.bodies())
        cache.fork(0, 1, 1)
        assert np.array_equal(cache.forward([(1, [6, 7])]), wanted)
        assert len(fake.bodies()) == before

    def test_a_fork_that_goes_another_way_does_not(self, fake: FakeServer, cache: Any, close: Any) -> None:
        close([(0, [5, 6, 7])])
        cache.fork(0, 1, 2)
        close.expected.forward([(1, [5, 6])])
        assert close([(1, [8])])
        assert close([(0, [9])])

    def test_a_bad_call_is_refused_before_anything_is_sent(self, fake: FakeServer, cache: PartialCache) -> None:
        before = len(fake.asked)
        with pytest.raises(ValueError, match=r"row 1 .* exceed n_ctx = 256"):
            cache.forward([(0, [5]), (1, [5] * 257)])
        assert len(fake.asked) == before

    def test_a_failed_call_changes_nothing(self, fake: FakeServer, cache: PartialCache) -> None:
        cache.forward([(0, [5])])
        fake.fault, fake.after = "status", 0
        with pytest.raises(EngineError):
            cache.forward([(0, [6]), (1, [7])])
        assert (cache.length(0), cache.length(1)) == (1, 0)

    def test_a_closed_cache_is_not_used(self, cache: PartialCache) -> None:
        cache.close()
        cache.close()
        with pytest.raises(EngineError, match="closed"):
            cache.forward([(0, [7])])

    def test_a_closed_engine_is_not_used(self, engine: ServerEngine) -> None:
        cache = engine.open_cache(1, 32)
        engine.close()
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            cache.forward([(0, [7])])
