"""The benchmark's counting, scoring and replay, on fake runtimes; no reference and no model is needed."""
from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scripted_engine import ScriptedEngine

from kgen_ext.decoding import loop
from kgen_ext.decoding.sampler import draw_key
from kgen_ext.engines import load_engine
from kgen_ext.errors import BadValue, Failure
from kgen_ext.protocol.plan import TIPO_TAGS
from kgen_ext.protocol.tipo import SPECIAL_TOKENS
from kgen_ext.request import TagLength, TextLength
from kgen_ext.rules.blocklist import parse_blocklist
from kgen_ext.sampling import Sampling
from tools.bench.__main__ import main
from tools.bench.child import Child
from tools.bench.ours import Ours
from tools.bench.promises import Promises, run_promises
from tools.bench.queries import PROMPTS, Query, random_queries, turn_queries
from tools.bench.replay import fit, followed, read_posts, replaying, script
from tools.bench.report import render, table, write_figures
from tools.bench.run import QUEUE, Case, SectionResult, Sides, run_case
from tools.bench.score import Score, leaks, overlap, score
from tools.bench.shape import TINY, read_vocab, write_shape
from tools.bench.tipo_kgen import TipoKgen
from tools.bench.turn import Outcome, Turn

ROOT = Path(__file__).parents[1]
QUIET = lambda line: None  # noqa: E731


def test_the_prompts_are_thirty_two_and_differ() -> None:
    assert len({query.tags for query in PROMPTS}) == len(PROMPTS) == 32
    assert any(query.text for query in PROMPTS) and any(query.bans for query in PROMPTS)


def test_prompts_that_come_again_in_a_turn_have_other_seeds() -> None:
    queries = turn_queries(PROMPTS, 64, seed=1)
    assert queries[0].tags == queries[32].tags
    assert len({query.seed for query in queries}) == 64


def test_random_requests_are_the_same_for_a_seed_and_repeat_no_tag_of_their_own() -> None:
    queries = list(random_queries(200, seed=3))
    assert queries == list(random_queries(200, seed=3))
    assert all(len(query.given) == len(set(query.given)) for query in queries)


@pytest.mark.parametrize(
    ("ban", "tag", "leaked"),
    [("hat", "hat", 1), ("hat", "hatsune miku", 0), ("* hair", "Blue_Hair", 1), ("hat", "witch hat", 0)],
)
def test_a_ban_means_whole_tags(ban: str, tag: str, leaked: int) -> None:
    assert leaks(Query("1girl", bans=(ban,)), Outcome(tags=("1girl", tag))) == leaked


@pytest.mark.parametrize(("text", "leaked"), [("A witch-hat lies here.", 1), ("What a day.", 0), ("The HAT.", 1)])
def test_a_ban_means_whole_words_of_text(text: str, leaked: int) -> None:
    assert leaks(Query("1girl", bans=("hat",)), Outcome(text=text)) == leaked


def test_what_the_user_wrote_is_no_leak() -> None:
    query = Query("hat", "A hat.", bans=("hat",))
    assert leaks(query, Outcome(tags=("hat",), text="A hat. She smiles.")) == 0


def test_a_score_counts_bands_repeats_and_crashes() -> None:
    band = TIPO_TAGS[TagLength.SHORT]
    query = Query("t0", tag_length=TagLength.SHORT, text_length=TextLength.SHORT)
    full = tuple(f"t{index}" for index in range(band.minimum))
    outcomes = [
        Outcome(tags=full, text="One. Two.", calls=1, drawn=10, fed=12, kept=6),
        Outcome(tags=(*full[:-1], "T0"), text="One.", calls=3, drawn=30, fed=30, kept=4),
        Outcome(tags=full[:-1], error="ValueError: no"),
    ]
    found = score([query] * 3, outcomes)
    assert (found.results, found.failed, found.in_band) == (3, 1, 2)
    assert (found.texts, found.text_in_band, found.repeats) == (3, 1, 1)
    assert (found.calls, found.drawn, found.fed, found.kept) == (4, 40, 42, 10)
    assert found.drawn_per_kept == 40 / 10 and found.kept_share == 10 / 42


def test_overlap_is_the_mean_share_two_variants_have_in_common() -> None:
    assert overlap([("a", "b"), ("a", "b")]) == 1
    assert overlap([("a", "b"), ("b", "c"), ("d",)]) == pytest.approx((1 / 3) / 3)


SHORT = tuple(replace(query, tag_length=TagLength.VERY_SHORT) for query in PROMPTS)


def test_our_side_counts_the_prompts_tokens_and_a_step_for_each_other_token() -> None:
    ours = Ours(ScriptedEngine.random(1))
    queries = turn_queries(SHORT, 4, seed=1)
    turn = ours.run(queries, 2)
    assert [outcome.calls for outcome in turn.outcomes] == [1] * len(queries)
    # The last token of a row is not fed; what was refused was fed again.
    assert turn.written * 0.9 < turn.steps + len(queries) < turn.written * 1.2
    assert len(queries) * 2 <= turn.prompt < 200
    assert score(queries, turn.outcomes).in_band == len(queries)


def test_our_side_keeps_to_the_words_the_model_never_writes() -> None:
    queries = turn_queries(SHORT, 16, seed=1)
    free = [tag for outcome in Ours(ScriptedEngine.random(1)).run(queries, 2).outcomes for tag in outcome.added]
    listed = next(word for tag in free for word in re.findall("[a-z]{4,}", tag))
    ours = Ours(ScriptedEngine.random(1), blocklist=parse_blocklist(f"{listed}*"))
    kept = [tag for outcome in ours.run(queries, 2).outcomes for tag in outcome.added]
    assert kept and not any(listed in tag for tag in kept)


def test_our_side_remembers_nothing_between_turns() -> None:
    ours = Ours(ScriptedEngine.random(1))
    queries = turn_queries(SHORT, 2, seed=1)
    assert ours.run(queries, 2).prompt == ours.run(queries, 2).prompt > 0


LIST = ("red hat", "fox tail", "night sky")


@pytest.mark.parametrize("rows", [1, 3])
def test_a_replayed_list_is_what_a_row_adds(rows: int) -> None:
    ours = Ours(ScriptedEngine.random(1))
    queries = [Query("1girl", seed=seed, replay=LIST, tag_length=TagLength.VERY_SHORT) for seed in range(1, 4)]
    assert [outcome.added for outcome in ours.run(queries, rows).outcomes] == [LIST] * 3


def test_behind_a_replay_the_sampler_draws_again() -> None:
    ours = Ours(ScriptedEngine.random(1))
    query = Query("1girl", tag_length=TagLength.VERY_SHORT)
    free = ours.run([query], 1).outcomes
    ours.run([replace(query, replay=LIST)], 1)
    assert ours.run([query], 1).outcomes == free


def test_what_the_constraint_excludes_is_not_replayed() -> None:
    engine = ScriptedEngine.random(1)
    query = Query("1girl", replay=("red hat",), seed=5)
    token = script(engine, query)[draw_key(5, 1)]
    logits = np.zeros((1, len(engine.vocab)), np.float32)
    logits[0, token] = -np.inf
    with replaying(script(engine, query)):
        drawn = loop.draw(logits, [Sampling()], [draw_key(5, 1)])
    assert drawn[0].token != token


def test_tags_that_a_row_rejects_leave_its_list() -> None:
    ours = Ours(ScriptedEngine.random(1))
    query = Query("1girl", bans=("hat",), replay=("hat", "sky", "1girl", "night"), tag_length=TagLength.VERY_SHORT)
    assert ours.fit([query])[0].replay == ("sky", "night")


@pytest.mark.parametrize(("count", "length"), [(3, "very_short"), (18, "short"), (90, "very_long")])
def test_a_list_asks_for_the_length_it_has(count: int, length: str) -> None:
    query = Query("1girl", replay=tuple(f"t{number}" for number in range(count)))
    assert fit(query, lambda asked: Outcome(added=asked.replay)).tag_length == length


def test_a_list_that_was_written_to_its_end_is_followed_and_others_are_not() -> None:
    query = Query("1girl", replay=("fox tail",))
    assert [followed(query, Outcome(added=tags)) for tags in (("fox_tail",), (), ("fox tail", "sky"))] == [
        True, False, False,
    ]  # fmt: skip


def test_posts_give_their_first_tags_as_the_prompt_and_replay_the_others(tmp_path: Path) -> None:
    tags = [f"red_tag_{number}" for number in range(20)]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps({"tags": given}) + "\n" for given in (tags, tags[:9])))
    (found,) = read_posts(tmp_path / "posts.jsonl", 8)
    assert (found.given[0], len(found.given), found.replay[0]) == ("red tag 0", 4, "red tag 4")


def test_a_file_without_lists_is_refused(tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").write_text('{"prompt": "1girl"}\n')
    with pytest.raises(BadValue, match="posts"):
        read_posts(tmp_path / "posts.jsonl", 8)


class FakeExecutor(SimpleNamespace):
    """Stands for `kgen.executor.tipo`: two generations a prompt, a crash for the prompt `crash`."""

    BAN_TAGS: list[str]

    def parse_tipo_request(self, tags: dict[str, list[str]], text: str, **options: Any) -> tuple[Any, ...]:
        self.options = options
        return {}, [], ", ".join(tags["general"]), text

    def tipo_runner(self, meta: dict[str, str], operations: Any, general: str, text: str, **options: Any) -> Any:
        for _ in range(2):
            self.generate(prompt=general, **options)
        if general == "crash":
            raise ValueError("crash")
        found = {"general": [general, "hat"], "special": [], "target": ["<|long|>"], "generated": "Hi. Ho"}
        return found, {}


def reference() -> tuple[TipoKgen, FakeExecutor]:
    executor = FakeExecutor(generate=lambda **options: ("text", 5, 7))
    separate = lambda tags: {"general": list(tags), "special": []}  # noqa: E731
    return TipoKgen(executor, separate, lambda text: len(text.split())), executor


def test_the_reference_is_counted_by_its_generate() -> None:
    side, executor = reference()
    turn = side.run([Query("cat", bans=("dog",), text_length=TextLength.LONG), Query("crash")], 1)
    first, second = turn.outcomes
    assert executor.BAN_TAGS == [] and executor.options["generate_extra_nl_prompt"] is False
    assert (first.calls, first.drawn, first.tags, first.added) == (2, 14, ("cat", "hat"), ("hat",))
    assert (first.text, first.kept) == ("Hi. Ho.", 2 + 2)
    assert second.error == "ValueError: crash"


def test_the_reference_generates_as_many_tokens_as_a_list_has() -> None:
    side, executor = reference()
    asked = dict[str, Any]()
    executor.generate._generate = lambda **options: asked.update(options) or ("text", 5, 7)
    side.run([Query("cat", replay=("hat", "sky", "red sea"))], 1)
    assert asked["max_new_tokens"] == len("hat, sky, red sea".split()) + 1  # a comma goes before each


class FakeSide:
    """A side whose prompts take `each` seconds."""

    def __init__(self, each: float) -> None:
        self.each = each
        self.turns: list[int] = []

    def call(self, method: str, *given: Any) -> Any:
        if method == "decode":
            return self.each * given[0]
        queries = given[0]
        self.turns.append(len(queries))
        rows = [query for query in queries for _ in range(query.count)]
        seconds = self.each * len(rows)
        outcomes = tuple(Outcome(query.given, added=query.replay, drawn=10, fed=10, kept=9) for query in rows)
        return Turn(seconds, outcomes, inside=seconds / 2, prompt=2 * len(rows), steps=4 * len(rows))

    def peak(self) -> int:
        return 5_000_000


def sides() -> tuple[Sides, FakeSide]:
    theirs = FakeSide(0.6)
    return Sides(FakeSide(0.2), FakeSide(0.1), before=FakeSide(0.4), theirs=theirs), theirs


def test_ratios_are_the_others_times_over_ours() -> None:
    result = run_case(sides()[0], Case("tags", PROMPTS, (1, 4), 8), rounds=2, tell=QUIET)
    for size in result.sizes:
        found = [size.ratios(side) for side in ("tipo-kgen", "before", "alone")]
        assert found == [pytest.approx([ratio] * 2) for ratio in (3.0, 2.0, 0.5)]


def test_tokens_are_counted_by_second_and_by_step() -> None:
    (size,) = run_case(sides()[0], Case("tags", PROMPTS, (4,), 8), rounds=1, tell=QUIET).sizes
    assert (size.rate, size.tokens_each) == (pytest.approx([12 / 0.2]), [10 / 5])


def test_the_reference_answers_every_prompt_once_a_round() -> None:
    both, theirs = sides()
    result = run_case(both, Case("tags", PROMPTS, (1, 4), 8), rounds=2, tell=QUIET)
    assert sum(theirs.turns) == result.their_score.results == 8 * 2
    assert result.our_score.results == 8 * 2 * 2


def test_the_report_prints_what_was_measured() -> None:
    both, _ = sides()
    spoken = run_case(both, Case("tags", PROMPTS, (1, QUEUE), 4), rounds=1, tell=QUIET)
    lists = tuple(replace(query, replay=("hat",)) for query in PROMPTS)
    replayed = run_case(Sides(both.ours, both.alone), Case("lists", lists, (1, 4), 2), rounds=1, tell=QUIET)
    promises = run_promises(both.ours, both.theirs, many=10, prompts=4, tell=QUIET)
    text = render(SectionResult("starter", (spoken,), promises)) + render(SectionResult("shape", (replayed,)))
    for part in ("3.00 (3.00-3.00)", QUEUE, "10 random requests", "lists: 6 of 6 lists were written to their end"):
        assert part in text


def test_figures_replace_those_of_a_page_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n\n<!-- figures: benchmark -->\n\n```text\nold\n```\n\n```text\nb\n```\n")
    write_figures(page, "new\n")
    assert page.read_text() == "a\n\n<!-- figures: benchmark -->\n\n```text\nnew\n```\n\n```text\nb\n```\n"


def test_a_page_without_a_place_for_figures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```text\nold\n```\n")
    with pytest.raises(BadValue):
        write_figures(tmp_path / "page.md", "new\n")


def test_the_documentation_has_a_place_for_figures(tmp_path: Path) -> None:
    page = tmp_path / "benchmark.md"
    page.write_text((ROOT / "docs" / "benchmark.md").read_text("utf-8"), "utf-8")
    write_figures(page, "new\n")
    assert "```text\nnew\n```" in page.read_text("utf-8")


def test_time_that_grows_with_the_number_of_prompts_has_linearity_one() -> None:
    promises = Promises(1000, Score(), 6.4, 100.0, None, None, None, None, 0.0, 0.0, ())
    assert promises.linearity == pytest.approx(1.0)


def test_columns_line_up() -> None:
    lines = table(("name", "x"), [("a", "100"), ("long name", "2")]).splitlines()
    assert lines == ["name         x", "--------------", "a          100", "long name    2"]


def make_echo(word: str) -> Any:
    return SimpleNamespace(say=lambda other: word + other, fail=lambda: 1 // 0)


def test_a_child_answers_tells_its_memory_and_hands_errors_over() -> None:
    with Child(make_echo, "a") as child:
        assert child.call("say", "b") == "ab"
        peak = child.peak()
        assert sys.platform == "win32" or (peak is not None and peak > 1_000_000)
        with pytest.raises(Failure, match="ZeroDivisionError"):
            child.call("fail")


def make_other() -> Any:
    import kgen_ext

    return SimpleNamespace(file=lambda: kgen_ext.__file__)


def test_a_child_can_run_another_version_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "kgen_ext").symlink_to(ROOT / "kgen_ext", target_is_directory=True)
    with Child(make_other, first=tmp_path) as child:
        assert Path(child.call("file")).parent == tmp_path / "kgen_ext"


def test_a_missing_package_is_one_line_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.bench.__main__.find_spec", lambda name: None if name == "kgen" else object())
    assert main(["--quick"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install tipo-kgen==0.3.1" in said


def test_a_model_that_is_no_gguf_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.bench.__main__.find_spec", lambda name: object())
    assert main(["--model", "nowhere.gguf"]) == 2
    assert "nowhere.gguf" in capsys.readouterr().err


def write_vocabulary(path: Path, kind: str) -> Path:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(kind)
    letters = ("<unk>", "<s>", "</s>", "\u2581", *"abcdefghijklmnopqrstuvwxyz,:.\n")
    writer.add_token_list(letters)
    writer.add_token_scores([-float(place) for place in range(len(letters))])
    writer.add_token_types([2, 3, 3, *(1 for _ in letters[3:])])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_a_shape_has_the_vocabularys_tokens_and_the_protocols_behind_them(tmp_path: Path) -> None:
    vocabulary = write_vocabulary(tmp_path / "vocab.gguf", "llama")
    write_shape(tmp_path / "tiny.gguf", TINY, vocabulary)
    engine = load_engine("reference", folder=None, gguf=tmp_path / "tiny.gguf")
    own = len(read_vocab(vocabulary)["tokens"])
    assert [engine.vocab.special[token] for token in SPECIAL_TOKENS] == [
        *range(own, own + len(SPECIAL_TOKENS)),
    ]  # fmt: skip


def test_a_shape_needs_a_sentencepiece_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="vocab"):
        read_vocab(write_vocabulary(tmp_path / "vocab.gguf", "gpt2"))


@pytest.mark.parametrize("option", ["--vocab", "--posts", "--before"])
def test_a_path_that_does_not_exist_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option, "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_shapes_are_refused_without_a_vocabulary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "200m"]) == 2
    assert "LLaMA's vocabulary" in capsys.readouterr().err
