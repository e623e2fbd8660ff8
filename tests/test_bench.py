"""The benchmark's counting and scoring, on fake runtimes; no reference and no model is needed."""
from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine

from kgen_ext.errors import Failure
from kgen_ext.protocol.plan import TIPO_TAGS
from kgen_ext.request import TagLength, TextLength
from kgen_ext.rules.blocklist import parse_blocklist
from tools.bench.__main__ import main
from tools.bench.child import Child
from tools.bench.ours import Ours
from tools.bench.promises import Promises, run_promises
from tools.bench.queries import PROMPTS, Query, random_queries, turn_queries
from tools.bench.report import ModelResult, as_json, render, table
from tools.bench.rounds import CASES, Sides, run_case, run_steps
from tools.bench.score import Score, leaks, overlap, score
from tools.bench.tipo_kgen import TipoKgen
from tools.bench.turn import Outcome, Turn, Work

QUIET = lambda line: None  # noqa: E731


def test_the_prompts_are_thirty_two_and_differ() -> None:
    assert len({query.tags for query in PROMPTS}) == len(PROMPTS) == 32
    assert any(query.text for query in PROMPTS) and any(query.bans for query in PROMPTS)


def test_prompts_that_come_again_in_a_turn_have_other_seeds() -> None:
    queries = turn_queries(64, tag_length=TagLength.LONG, text_length=TextLength.NONE, seed=1)
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


def test_our_side_counts_what_goes_through_the_model() -> None:
    ours = Ours(ScriptedEngine.random(1))
    queries = turn_queries(4, tag_length=TagLength.VERY_SHORT, text_length=TextLength.NONE, seed=1)
    turn = ours.run(queries, 2)
    assert [outcome.calls for outcome in turn.outcomes] == [1] * len(queries)
    # Every token that was drawn or forced went through, save those a field's end made needless; so did the requests.
    assert turn.work.tokens >= turn.work.chunks >= turn.work.calls > 0
    assert turn.work.chunks >= max(outcome.drawn for outcome in turn.outcomes)
    assert score(queries, turn.outcomes).in_band == len(queries)


def test_our_side_stops_after_a_number_of_steps() -> None:
    ours = Ours(ScriptedEngine.random(1))
    queries = turn_queries(4, tag_length=TagLength.LONG, text_length=TextLength.NONE, seed=1)
    assert ours.steps(queries, 4, 5).work.calls == 5


def test_our_side_keeps_to_the_words_the_model_never_writes() -> None:
    queries = turn_queries(16, tag_length=TagLength.VERY_SHORT, text_length=TextLength.NONE, seed=1)
    free = [tag for outcome in Ours(ScriptedEngine.random(1)).run(queries, 2).outcomes for tag in outcome.added]
    listed = next(word for tag in free for word in re.findall("[a-z]{4,}", tag))
    ours = Ours(ScriptedEngine.random(1), blocklist=parse_blocklist(f"{listed}*"))
    kept = [tag for outcome in ours.run(queries, 2).outcomes for tag in outcome.added]
    assert kept and not any(listed in tag for tag in kept)


def test_our_side_remembers_nothing_between_turns() -> None:
    ours = Ours(ScriptedEngine.random(1))
    queries = turn_queries(2, tag_length=TagLength.VERY_SHORT, text_length=TextLength.NONE, seed=1)
    assert ours.run(queries, 2).work.tokens == ours.run(queries, 2).work.tokens > 0


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
    assert turn.work.tokens == 2 * 2 * (5 + 7)


class FakeSide:
    """A side whose prompts take `each` seconds."""

    def __init__(self, each: float) -> None:
        self.each = each
        self.turns: list[int] = []

    def call(self, method: str, *given: Any) -> Any:
        if method.startswith("decode"):
            return Turn(1.0, (), Work(1, 1, 2_000, 1.0))
        queries = given[0]
        self.turns.append(len(queries))
        rows = [query for query in queries for _ in range(query.count)]
        seconds = self.each * len(rows)
        work = Work(10, 10 * len(rows), 12 * len(rows), seconds / 2)
        return Turn(seconds, tuple(Outcome(query.given, drawn=10, fed=10, kept=9) for query in rows), work)

    def peak(self) -> int:
        return 5_000_000


def sides() -> tuple[Sides, FakeSide]:
    theirs = FakeSide(0.6)
    return Sides(FakeSide(0.2), theirs, FakeSide(1.0)), theirs  # type: ignore[arg-type]


def test_a_ratio_is_the_references_time_over_ours_and_it_answers_every_prompt_once_a_round() -> None:
    both, theirs = sides()
    result = run_case(both, CASES[0], sizes=(1, 4), rounds=2, prompts=8, queue=False, tell=QUIET)
    for size in result.sizes:
        assert size.ratios == pytest.approx([3.0, 3.0])
        assert size.share == pytest.approx((12 / 0.2) / 2_000)
    assert sum(theirs.turns) == 8 * 2
    assert result.our_score.results == 8 * 2 * 2 and result.their_score.results == 8 * 2


def test_the_report_prints_what_was_measured() -> None:
    both, _ = sides()
    case = run_case(both, CASES[3], sizes=(1,), rounds=1, prompts=4, queue=True, tell=QUIET)
    steps = run_steps(both, "96 tokens each", sizes=(1, 4), rounds=1, length=96, prompts=2, tell=QUIET)
    promises = run_promises(both.ours, both.theirs, many=10, prompts=4, tell=QUIET)
    results = (ModelResult("starter", (case,), promises), ModelResult("shape", (steps,), None))
    text = render("title", results)
    assert "3.0 (3.0 to 3.0)" in text and "64 in 16 rows" in text and "10 random requests" in text
    assert as_json("title", results)["models"][1]["cases"][0]["sizes"][1]["ratios"] == pytest.approx([3.0])


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
