"""The prior beside the model: what it says, when it says nothing, and that rows stay independent."""
from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from scripted_engine import ScriptedEngine

from kgen_ext.decoding.drafter import Drafter, Repeats
from kgen_ext.decoding.prior import Prior, RowPrior, TokenPrior
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.tag_list import ItemFilter, TagListConstraint
from kgen_ext.decoding.vocabulary import in_context, token_table
from kgen_ext.models import Recommended
from kgen_ext.protocol import Band, Protocol
from kgen_ext.request import ExpandRequest
from kgen_ext.rules import Rejection
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ModelContext
from kgen_ext.tags.pair_table import PairTable, make_pair_table
from kgen_ext.tags.tag import Tag, read_tag

TAGS = (
    "1girl", "no humans", "solo", "shrine", "torii", "red eyes", "red hat", "red", "cat", "window", "sky", "moon",
    "sun",
)  # fmt: skip
POPULAR = {"1girl": 0.7, "no humans": 0.2, "red eyes": 0.1, "sky": 0.3, "moon": 0.02, "sun": 0.02}
PAIRS = {("shrine", "torii"): 0.5, ("cat", "window"): 0.4, ("no humans", "red eyes"): -0.5, ("no humans", "sky"): 0.5,
         ("red hat", "solo"): 0.2, ("red", "solo"): 0.05}  # fmt: skip
RARE = {("sky", "moon"): 2.0}
PIECES = (",", " eyes", " hat", *(f" {tag}" for tag in TAGS if not tag.startswith("red ")), " dusk", "tag", ":")


def pairs() -> PairTable:
    weights, rarities = np.zeros((2, len(TAGS), len(TAGS)), np.float32)
    for values, entries in ((weights, PAIRS), (rarities, RARE)):
        for (tag, other), value in entries.items():
            values[TAGS.index(tag), TAGS.index(other)] = value
    popularity = np.array([POPULAR.get(tag, 0.001) for tag in TAGS], np.float32)
    return make_pair_table(TAGS, popularity, weights, rarities, keep=8, least=0.01)


class Wishing:
    """Logits that like `favourites` a little more than all else, and a comma behind each."""

    def __init__(self, engine: ScriptedEngine, favourites: Sequence[str]) -> None:
        self._logits: NDArray[np.float32] = np.zeros(len(engine.vocab), np.float32)
        self._logits[: len(engine.vocab.special) + 256] = -30
        for rank, piece in enumerate(favourites):
            self._logits[engine.tokenize(piece)] = 8 - rank / 4
        self._logits[engine.tokenize(",")] = 20

    def __call__(self, tokens: tuple[int, ...]) -> NDArray[np.float32]:
        return self._logits


def scripted(favourites: Sequence[str] = ()) -> ScriptedEngine:
    engine = ScriptedEngine.forcing([], pieces=PIECES)
    engine.logits = Wishing(engine, favourites)
    return engine


def bias_of(row: TokenPrior, engine: ScriptedEngine, tag: str, *, behind: str = "") -> float:
    logits = np.zeros(len(engine.vocab), np.float32)
    for bias in row.bias(in_context(engine, behind, left="a,")):
        bias.add_to(logits)
    return float(logits[in_context(engine, tag, left=f"a,{behind}")[0]])


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return scripted()


@pytest.fixture(scope="module")
def prior(engine: ScriptedEngine) -> Prior:
    return Prior(engine, token_table(engine), pairs())


def test_what_goes_with_the_given_tags_gains(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    assert bias_of(row, engine, " torii") > bias_of(row, engine, " window") + 2


def test_the_chance_is_that_of_the_documented_sum(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    popularity = 0.001
    expected = np.log((0.25 * popularity + 0.5 + 0.01 * popularity**0.5) / 0.03)
    assert bias_of(row, engine, " torii") == pytest.approx(expected, abs=0.01)


def test_the_weight_scales_what_is_said(engine: ScriptedEngine, prior: Prior) -> None:
    once, twice = (RowPrior(prior, weight=weight, given=["shrine"]) for weight in (1, 2))
    assert bias_of(twice, engine, " torii") == pytest.approx(2 * bias_of(once, engine, " torii"))


@pytest.mark.parametrize("given", [[], ["hatsune miku"], ["sun"]])
def test_where_the_table_knows_nothing_of_the_given_tags_nothing_is_said(prior: Prior, given: list[str]) -> None:
    assert RowPrior(prior, weight=1, given=given).bias(()) == ()


def test_of_a_tag_that_the_table_lacks_nothing_is_said(engine: ScriptedEngine, prior: Prior) -> None:
    assert bias_of(RowPrior(prior, weight=1, given=["shrine"]), engine, " dusk") == 0


def test_behind_a_beginning_the_tags_that_begin_so_compete(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    assert bias_of(row, engine, " eyes", behind=" red") > bias_of(row, engine, " hat", behind=" red") + 1


def test_the_end_of_a_tag_is_as_likely_as_the_tag(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    assert bias_of(row, engine, ",", behind=" red") == pytest.approx(bias_of(row, engine, " hat", behind=" red"))


def test_behind_a_beginning_of_one_tag_its_chance_is_told(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=2, given=["shrine"])
    told = bias_of(row, engine, ",", behind=" red hat")
    assert told == pytest.approx(bias_of(row, engine, " hat", behind=" red")) and told < -1


def test_behind_a_beginning_that_the_table_lacks_nothing_is_said(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    assert row.bias(in_context(engine, " dusk", left="a,")) == ()


def test_a_tag_of_the_list_does_not_come_again(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    row.add("torii")
    assert bias_of(row, engine, " torii") < -5


def test_what_the_model_drew_says_less_than_what_was_given(engine: ScriptedEngine, prior: Prior) -> None:
    given, drawn = RowPrior(prior, weight=1, given=["shrine", "cat"]), RowPrior(prior, weight=1, given=["shrine"])
    drawn.add("cat")
    assert 0 < bias_of(drawn, engine, " window") < bias_of(given, engine, " window") - 1


@pytest.mark.parametrize("drawn", [False, True], ids=["given", "drawn"])
def test_what_seldom_meets_a_tag_of_the_list_loses_half_its_rarity(
    engine: ScriptedEngine, prior: Prior, drawn: bool
) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"] if drawn else ["shrine", "sky"])
    before = bias_of(RowPrior(prior, weight=1, given=["shrine"]), engine, " moon")
    if drawn:
        row.add("sky")
    assert bias_of(row, engine, " moon") == pytest.approx(before - 1, abs=0.01)


def test_a_count_of_people_that_was_drawn_only_rules_out(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    before = bias_of(row, engine, " sky"), bias_of(row, engine, " eyes", behind=" red")
    row.add("no humans")
    assert bias_of(row, engine, " sky") == before[0]
    assert bias_of(row, engine, " eyes", behind=" red") < before[1] - 1


def test_what_a_text_names_comes_first(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"], named=["cat"])
    assert bias_of(row, engine, " cat") > bias_of(row, engine, " torii") + 3


@pytest.mark.parametrize("behind", ["", " dusk"])
def test_what_a_text_names_comes_though_the_table_lacks_it(engine: ScriptedEngine, prior: Prior, behind: str) -> None:
    row = RowPrior(prior, weight=1, named=["dusk hat"])
    assert bias_of(row, engine, " hat" if behind else " dusk", behind=behind) > 6


def test_what_a_text_names_comes_once(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, named=["dusk", "cat"])
    row.add("dusk")
    assert bias_of(row, engine, " dusk") < 0.1


def test_a_list_does_not_end_before_what_a_text_names(prior: Prior) -> None:
    row = RowPrior(prior, weight=1, named=["dusk", "cat"], told=True)
    for tag in ("no humans", "cat", "moon", "sun"):
        row.add(tag)
    assert not row.ends_before("dusk")


@pytest.mark.parametrize("named", ["window", "dusk hat"])
def test_a_list_stops_only_where_all_that_a_text_names_is_there(
    engine: ScriptedEngine, prior: Prior, named: str
) -> None:
    row = RowPrior(prior, weight=1, named=["cat", named])
    row.add("cat")
    assert bias_of(row, engine, "\n", behind=" sky") < bias_of(row, engine, ",", behind=" sky") - 6
    row.add(named)
    assert bias_of(row, engine, "\n", behind=" sky") == bias_of(row, engine, ",", behind=" sky")


@pytest.mark.parametrize("named", ["window", "dusk"])
def test_what_a_rule_keeps_out_is_not_waited_for(engine: ScriptedEngine, prior: Prior, named: str) -> None:
    row = RowPrior(prior, weight=1, named=["cat", named])
    row.add("cat")
    row.refuse(named)
    assert bias_of(row, engine, f" {named}") < 0.1
    assert bias_of(row, engine, "\n", behind=" sky") == bias_of(row, engine, ",", behind=" sky")


def tag_list(engine: ScriptedEngine, row: TokenPrior, judged: Tag | Rejection) -> TagListConstraint:
    """A list in which a tag was drawn, and judged so behind its comma."""
    table, tag_filter = token_table(engine), Mock(spec=ItemFilter)
    tag_filter.judge.return_value = judged
    tags = TagListConstraint(table, Band(1, 9), tag_filter, given=1, fresh=False, start=0, prior=row)
    for place, token in enumerate((*in_context(engine, " red hat", left="a,"), table.comma)):
        tags.consume(Draw(token, 1.0), place)
    return tags


def test_a_list_tells_its_prior_what_a_rule_keeps_out(engine: ScriptedEngine) -> None:
    row = Mock(spec=RowPrior)
    tag_list(engine, row, Rejection("banned", "red hat"))
    row.refuse.assert_called_once_with("red hat")


def test_beside_a_tag_that_was_certain_another_may_begin_so(engine: ScriptedEngine, prior: Prior) -> None:
    tags = tag_list(engine, RowPrior(prior, weight=1, given=["shrine"]), read_tag("red hat"))
    assert tags.blocked_tokens() == set()


def test_where_the_model_drew_all_tags_nothing_is_said(prior: Prior) -> None:
    row = RowPrior(prior, weight=1)
    row.add("shrine")
    assert row.bias(()) == ()


def test_what_a_text_names_speaks_for_its_company(engine: ScriptedEngine, prior: Prior) -> None:
    assert bias_of(RowPrior(prior, weight=1, named=["cat"]), engine, " window") > 2


def test_a_list_may_begin_with_the_number_of_people(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, named=["cat"], told=True)
    assert bias_of(row, engine, " 1girl") == pytest.approx(bias_of(row, engine, " cat"), abs=0.1)
    row.add("no humans")
    assert bias_of(row, engine, " 1girl") < bias_of(row, engine, " cat") - 3


def test_one_that_is_refused_has_no_chance_then_and_none_below_zero(prior: Prior) -> None:
    row = RowPrior(prior, weight=1, named=["cat"], told=True)
    row.refuse("no humans")
    row.add("1girl")
    assert row.chances[prior.index["no humans"]] == 0


@pytest.mark.parametrize(("given", "opens"), [(["oil painting"], True), (["shrine"], True), (["1girl"], False)])
def test_behind_other_tags_too_unless_they_have_it(
    engine: ScriptedEngine, prior: Prior, given: list[str], opens: bool
) -> None:
    row = RowPrior(prior, weight=1, given=given, named=["cat"])
    assert (bias_of(row, engine, " no humans") > bias_of(row, engine, " cat") - 0.1) == opens


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        (["red hat"], True), (["solo"], True), (["red"], False), (["shrine"], False), (["red hat", "no humans"], False),
        (["red hat", "2girls"], False),
    ],
)  # fmt: skip
def test_where_someone_is_shown_and_not_counted_a_count_comes_first(
    engine: ScriptedEngine, prior: Prior, given: list[str], asks: bool
) -> None:
    row, later = (RowPrior(prior, weight=1, given=["cat", *given]) for _ in range(2))
    later.add("window")
    gains = bias_of(row, engine, " 1girl") - bias_of(later, engine, " 1girl")
    assert gains == pytest.approx(np.log(30) if asks else 0, abs=0.01)


def test_a_count_that_is_refused_is_not_asked_for_again(engine: ScriptedEngine, prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["red hat"])
    asked = bias_of(row, engine, " no humans")
    row.refuse("1girl")
    assert bias_of(row, engine, " no humans") == pytest.approx(asked - np.log(30), abs=0.01)


def test_a_tag_that_the_table_lacks_speaks_for_what_it_names_and_its_company(
    engine: ScriptedEngine, prior: Prior
) -> None:
    row = RowPrior(prior, weight=1, given=["old shrine", "dusk"], alike=["shrine"])
    known = RowPrior(prior, weight=1, given=["shrine"])
    assert 1 < bias_of(row, engine, " torii") < bias_of(known, engine, " torii")
    assert bias_of(row, engine, " shrine") == pytest.approx(bias_of(known, engine, " torii") / 2, abs=0.1)


@pytest.mark.parametrize(("first", "more"), [("1girl", True), ("solo", True), ("no humans", False)])
def test_a_list_that_shows_someone_is_not_told_by_its_few_words(prior: Prior, first: str, more: bool) -> None:
    row = RowPrior(prior, weight=1, given=["old shrine"], alike=["shrine"], told=True, unless_people=True)
    for tag in (first, "shrine", "torii"):
        row.add(tag)
    assert row.ends_before("moon") != more


def test_what_popularity_says_then_is_what_it_says_in_any_list(engine: ScriptedEngine, prior: Prior) -> None:
    row, other = (
        RowPrior(prior, weight=1, given=["shrine"], told=told, unless_people=told) for told in (True, False)
    )
    for one in (row, other):
        one.add("1girl")
    assert bias_of(row, engine, " sky") == pytest.approx(bias_of(other, engine, " sky"))


def test_a_list_of_what_a_text_tells_ends_before_what_has_nothing_to_do_with_it(prior: Prior) -> None:
    row = RowPrior(prior, weight=1, named=["cat"], told=True)
    for tag in ("no humans", "cat", "moon", "sun"):
        assert not row.ends_before("sky")
        row.add(tag)
    assert [row.ends_before(tag) for tag in ("sky", "window", "dusk")] == [True, False, True]


def test_other_lists_end_where_the_model_ends_them(prior: Prior) -> None:
    row = RowPrior(prior, weight=1, given=["cat", "moon", "sun", "sky", "shrine"])
    assert not row.ends_before("dusk")


@pytest.mark.parametrize(("begun", "likely"), [("", " torii"), (" red", " eyes"), (" red hat", ""), (" dusk", "")])
def test_the_likeliest_tag_is_guessed(engine: ScriptedEngine, prior: Prior, begun: str, likely: str) -> None:
    row = RowPrior(prior, weight=1, given=["shrine"])
    path = in_context(engine, begun, left="a,") if begun else ()
    assert row.guess(path) == (in_context(engine, likely, left=f"a,{begun}") if likely else ())


def test_where_nothing_is_known_nothing_is_guessed(prior: Prior) -> None:
    assert RowPrior(prior, weight=1, given=["hatsune miku"]).guess(()) == ()


def test_a_list_guesses_what_its_prior_does_and_a_comma(engine: ScriptedEngine, prior: Prior) -> None:
    table, row = token_table(engine), RowPrior(prior, weight=1, given=["shrine"])
    tags = TagListConstraint(table, Band(1, 9), Mock(spec=ItemFilter), given=1, fresh=False, start=0, prior=row)
    guess = tags.guess(Drafter(engine, table), Repeats(), ())
    assert guess.ids == (*in_context(engine, " torii", left="a,"), table.comma)


def test_rows_share_nothing_that_changes(engine: ScriptedEngine, prior: Prior) -> None:
    one, other = (RowPrior(prior, weight=1, given=["shrine"]) for _ in range(2))
    before = bias_of(one, engine, " window")
    other.add("cat")
    assert bias_of(one, engine, " window") == before


def test_tags_are_tokenised_one_by_one_where_a_comma_belongs_to_other_pieces(prior: Prior) -> None:
    odd = ScriptedEngine.forcing([], pieces=(*PIECES, ", cat"))
    found = Prior(odd, token_table(odd), pairs())
    assert found.behind(in_context(odd, " red", left="a,")) is not None


def expander(favourites: Sequence[str], weight: float | None = None) -> Expander:
    context = ModelContext(
        scripted(favourites), Protocol.TIPO, quality_line=True, n_ctx=1024, recommended=Recommended(prior=weight),
        load_pairs=pairs,
    )  # fmt: skip
    return Expander(context, model="scripted", checksum="", rows=4)


def added(expander: Expander, prompt: str, **options: object) -> tuple[str, ...]:
    return expander.expand([ExpandRequest(prompt, tag_length="very_short", **options)])[0].added_tags  # type: ignore[arg-type]


LIKED = (" window", " torii", " sky", " moon")


def test_the_weight_is_the_models() -> None:
    assert added(expander(LIKED, 2), "shrine", temperature=0)[0] == "torii"


def test_an_expansion_tells_the_weight() -> None:
    (done,) = expander(LIKED, 2).expand([ExpandRequest("shrine", tag_length="very_short")])
    assert done.settings.prior == 2


def test_the_requests_own_weight_goes_first() -> None:
    assert added(expander(LIKED, 2), "shrine", temperature=0, prior=0)[0] == "window"


def test_without_a_weight_there_is_no_prior() -> None:
    assert added(expander(LIKED), "shrine", temperature=0)[0] == "window"


def test_a_row_is_the_same_alone_and_in_company() -> None:
    prompts = ("shrine", "cat", "shrine, cat", "moon")
    requests = [ExpandRequest(prompt, tag_length="very_short", seed=3, prior=1.5) for prompt in prompts]
    together = [done.added_tags for done in expander(LIKED).expand(requests)]
    assert [expander(LIKED).expand([request])[0].added_tags for request in requests] == together


@pytest.mark.parametrize("prompt, first", [
    ("a cat on a wall", "no humans"), ("a cat on a wall, oil painting", "no humans"), ("old cat", "no humans"),
    ("a cat on a wall, 1girl", "cat"), ("cat", "window"),
])  # fmt: skip
def test_a_list_behind_phrases_opens_with_who_is_there(prompt: str, first: str) -> None:
    assert added(expander((" no humans", " cat", " window", " sky"), 2), prompt, temperature=0)[0] == first


def test_a_phrase_brings_what_goes_with_the_things_it_names() -> None:
    liked = (" 1girl", " window", " shrine", " torii")
    assert added(expander(liked, 2), "old shrine", temperature=0)[:3] == ("1girl", "shrine", "torii")


@pytest.mark.parametrize(("first", "more"), [(" 1girl", True), (" no humans", False)])
def test_a_list_behind_phrases_goes_on_where_someone_is_there(first: str, more: bool) -> None:
    liked = (first, " shrine", " torii", " cat", " window", " sun")
    tags = expander(liked, 2).expand([ExpandRequest("old shrine", temperature=0, tag_length="auto")])[0].added_tags
    assert ("sun" in tags) == more and len(tags) >= 3
