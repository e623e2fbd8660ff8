"""Guesses: right, wrong or half right, they change no text and no event, only the number of calls."""
from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from decoding_kit import NAMES, greedy, make, open_decoder, run_all
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted_engine import COMMON_PIECES, ScriptedEngine
from test_decoding_batch import alone, asked, engine

from kgen_ext.decoding.constraint import Guess
from kgen_ext.decoding.job import Job
from kgen_ext.decoding.pace import WIDEST, Pace
from kgen_ext.decoding.row import Row
from kgen_ext.errors import EngineError


class Oracle:
    """Guesses what the rows of some requests write, each token wrong with a probability."""

    def __init__(self, wrong: float, *, seed: int = 0) -> None:
        self._wrong = wrong
        self._random = random.Random(seed)
        self.offered = 0

    def guess(self, row: Row, room: int) -> Guess | None:
        key = (row.job.seed, row.job.request)
        if key not in WRITTEN:
            scripted = engine()
            WRITTEN[key] = final_ids(scripted, make(scripted, asked(row.job.seed))[0][1])
        written = WRITTEN[key]
        room = min(room, row.job.n_ctx - len(row.ids))
        ids = [
            self._random.randrange(300) if self._random.random() < self._wrong else token
            for token in written[len(row.ids) : len(row.ids) + room]
        ]
        self.offered += len(ids)
        return Guess("oracle", tuple(ids)) if ids else None


WRITTEN: dict[tuple[int, tuple[int, ...]], list[int]] = {}


def final_ids(scripted: ScriptedEngine, job: Job) -> list[int]:
    """Return the tokens that a job's row has in the end, decoded without guesses."""
    decoder, rows = open_decoder(scripted, rows=1), list[Row]()
    for _ in decoder.run([job]):
        rows += decoder._slots.rows.values()
    return rows[-1].ids


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Oracle]]:
    def use(wrong: float, seed: int = 0) -> Oracle:
        chosen = Oracle(wrong, seed=seed)
        plain = Row.guess

        def guess(self: Row, room: int) -> Guess | None:
            monkeypatch.setattr(Row, "guess", plain)  # not while the oracle decodes
            found = chosen.guess(self, room)
            monkeypatch.setattr(Row, "guess", guess)
            return found

        monkeypatch.setattr(Row, "guess", guess)
        return chosen

    yield use  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [1, 4])
def test_guesses_change_no_text_and_no_event(oracle: type[Oracle], wrong: float, rows: int) -> None:
    wanted = [alone(number) for number in range(8)]
    guesser = oracle(wrong)
    for found, plain in zip(run_all(engine(), [asked(n) for n in range(8)], rows=rows), wanted, strict=True):
        assert found.output == plain.output
        assert found.events == [type(event)(found.job.row, *_rest(event)) for event in plain.events]
    assert guesser.offered > 200


def _rest(event: object) -> list[object]:
    return [getattr(event, name) for name in event.__dataclass_fields__ if name != "row"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("width", [1, 2, 3, WIDEST])
def test_how_many_tokens_are_guessed_changes_no_text(
    oracle: type[Oracle], monkeypatch: pytest.MonkeyPatch, number: int, width: int
) -> None:
    wanted = alone(number).output
    oracle(0.3, seed=width)
    monkeypatch.setattr(Pace, "width", lambda self, fed, guesses: max(width, *fed, 1))
    assert run_all(engine(), [asked(number)], rows=1)[0].output == wanted


@pytest.mark.parametrize("right", [True, False])
def test_right_guesses_save_calls(monkeypatch: pytest.MonkeyPatch, right: bool) -> None:
    script = ScriptedEngine.forcing([piece for name in NAMES[:10] for piece in (",", name)], pieces=COMMON_PIECES)
    request = greedy("smile")
    written = final_ids(script, make(script, request)[0][1])

    def guess(row: Row, room: int) -> Guess | None:
        rest = written[len(row.ids) : len(row.ids) + room]
        return Guess("x", tuple(rest if right else [0] * len(rest))) if rest else None

    monkeypatch.setattr(Row, "guess", guess)
    monkeypatch.setattr(Pace, "width", lambda pace, fed, guesses: WIDEST)
    before = script.calls
    ran = run_all(script, [request], rows=1)[0]
    assert len(ran.tags) >= 5
    assert (script.calls - before < len(ran.tags)) is right


@pytest.mark.parametrize("calls", [1, 4, 9])
def test_a_call_that_fails_leaves_no_guess_behind(oracle: type[Oracle], calls: int) -> None:
    wanted = [alone(number).output for number in (1, 3)]
    oracle(0.5, seed=calls)
    scripted = engine()
    decoder = open_decoder(scripted, rows=2)
    healthy, before = scripted.logits, scripted.calls

    def broken(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        if scripted.calls > before + calls:
            raise EngineError("out of memory")
        return healthy(tokens)

    scripted.logits = broken
    with pytest.raises(EngineError, match="out of memory"):
        run_all(scripted, [asked(1), asked(3)], decoder=decoder)
    scripted.logits = healthy
    fresh = open_decoder(scripted, rows=2)
    assert [ran.output for ran in run_all(scripted, [asked(1), asked(3)], decoder=fresh)] == wanted


@pytest.mark.parametrize("asks", [1, 4, 9])
def test_a_cancelled_row_leaves_no_guess_behind(oracle: type[Oracle], asks: int) -> None:
    wanted = alone(3).output
    oracle(0.5, seed=asks)
    scripted = engine()
    decoder = open_decoder(scripted, rows=2)
    count = iter(range(100))
    run_all(scripted, [asked(3), asked(1)], decoder=decoder, cancelled=lambda: next(count) >= asks)
    assert run_all(scripted, [asked(3)], decoder=decoder)[0].output == wanted


@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 13), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 99))
def test_a_row_with_guesses_is_the_same_in_any_company(numbers: list[int], rows: int, seed: int) -> None:
    wanted = [alone(number).output for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        chosen, plain = Oracle(0.3, seed=seed), Row.guess

        def guess(self: Row, room: int) -> Guess | None:
            patch.setattr(Row, "guess", plain)
            found = chosen.guess(self, room)
            patch.setattr(Row, "guess", guess)
            return found

        patch.setattr(Row, "guess", guess)
        found = run_all(engine(), [asked(number) for number in numbers], rows=rows)
    assert [ran.output for ran in found] == wanted


def widths(pace: Pace, guesses: Sequence[tuple[str, int]] = (("tag", 7),)) -> int:
    return pace.width([1] * len(guesses), guesses)


def taught(costs: Sequence[float], chance: float) -> Pace:
    """Return a pace that has seen calls of 1 to 8 tokens cost this much, and guesses be right this often."""
    pace, draws = Pace(), random.Random(1)
    for _ in range(40):
        for width, cost in enumerate(costs, 1):
            pace.measure(1, width, cost)
    for _ in range(4000):
        right = 0
        while right < 7 and draws.random() < chance:
            right += 1
        pace.learn("tag", 7, right)
    return pace


def test_every_width_is_tried_before_one_is_chosen() -> None:
    pace, tried = Pace(), []
    for _ in range(3 * WIDEST):
        tried.append(widths(pace))
        pace.measure(1, tried[-1], 1.0)
    assert set(tried) == set(range(1, WIDEST + 1))


def test_a_width_that_was_dear_is_tried_again() -> None:
    pace = taught([1, 9, 9, 9, 9, 9, 9, 9], 0.9)
    tried = set()
    for _ in range(1000):
        width = widths(pace)
        tried.add(width)
        pace.measure(1, width, 1.0)
    assert tried == set(range(1, WIDEST + 1))
    assert widths(pace) > 4


@pytest.mark.parametrize(("costs", "chance", "wanted"), [
    ([1, 2, 2.4, 2.6, 3, 3.4, 3.5, 3.6], 0.5, 1),  # a second token costs as much as the first
    ([1, 1, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8], 0.85, 7),  # it costs nothing, and guesses are good
    ([1, 1, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8], 0.05, 2),  # it costs nothing, and guesses are bad
    ([1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], 0.0, 1),  # guesses are never right
])  # fmt: skip
def test_the_width_is_the_one_that_pays(costs: list[float], chance: float, wanted: int) -> None:
    assert abs(widths(taught(costs, chance)) - wanted) <= (wanted > 2)


def test_no_more_is_fed_than_was_guessed() -> None:
    assert widths(taught([1.0] * 8, 0.9), (("tag", 2),)) == 3


def test_one_call_that_waited_for_another_process_is_forgiven() -> None:
    pace = taught([1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], 0.9)
    before = widths(pace)
    pace.measure(1, before, 1000.0)
    assert widths(pace) >= before - 1


def test_the_tokens_of_a_prompt_do_not_count() -> None:
    pace = Pace()
    assert pace.width([200], [("tag", 4)]) == 200
