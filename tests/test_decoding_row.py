"""One row, driven draw by draw: what it keeps, counts, rolls back and asks for next."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from decoding_kit import NAMES, greedy, make
from scripted_engine import COMMON_PIECES, ScriptedEngine

from kgen_ext.decoding.row import MAX_ROLLBACKS, Row
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.tag_list import MAX_TAG_TOKENS
from kgen_ext.decoding.vocabulary import TokenMask, token_table
from kgen_ext.events import Delta, Finish, TagAccepted
from kgen_ext.request import ExpandRequest

WORDS = [f" {name[5:]}" for name in NAMES]
ENGINE = ScriptedEngine.forcing([], pieces=[*COMMON_PIECES, *NAMES, *WORDS, " ", " The", "hat,"])
TABLE = token_table(ENGINE)
FULL = ", ".join(NAMES[:18])  # no tag may be added to this under a very short length
LAST = ", ".join(NAMES[:17])  # and one to this
HALF, REST, ODD = "\xc3", "\xa9", "\xff"  # bytes of "é", and one of no character


@dataclass
class Driven:
    """A row whose draws a test makes; `began` is how many tokens it held before them."""

    request: ExpandRequest
    room: int = 1024  # tokens beyond those it begins with
    row: Row = field(init=False)
    began: int = field(init=False)

    def __post_init__(self) -> None:
        job = make(ENGINE, self.request)[0][1]
        self.began = len(Row(job, TABLE).ids)
        self.row = Row(replace(make(ENGINE, self.request)[0][1], n_ctx=self.began + self.room), TABLE)

    def take(self, *pieces: str, share: float = 1.0) -> bool:
        """Have tokens drawn, "</s>" and single bytes by their names; return whether the row can draw again at once."""
        for piece in pieces:
            data = piece.encode("latin-1")
            token = ENGINE.vocab.eos if piece == "</s>" else ENGINE.vocab.pieces.index(data)
            self.row.fed(list(self.row.ids), 1, 1)
            self.row.consume(Draw(token, share))
        return self.row.ready

    def told(self) -> str:
        return "".join(event.text for event in self.row.events() if isinstance(event, Delta))

    def accepted(self) -> list[str]:
        return [event.tag for event in self.row.events() if isinstance(event, TagAccepted)]

    @property
    def held(self) -> int:
        return len(self.row.ids) - self.began


def test_what_was_refused_behind_other_words_may_be_drawn_in_the_same_place_again() -> None:
    driven = Driven(greedy(FULL, text_length="short", ban=("a hat",)))
    driven.take(" A", " ")
    assert driven.take(" girl"), "two spaces are refused on the spot"
    driven.take("hat", " smiles")
    assert driven.held == 0, "back before the phrase"
    driven.take(" The", " hat")
    assert driven.row.blocked_tokens() == []


def test_what_is_refused_on_the_spot_ends_no_field_of_a_row_without_patience() -> None:
    driven = Driven(greedy(tag_length="very_long", ban=("hat",)))
    for number in range(MAX_ROLLBACKS):
        driven.take("hat", ",")
        if number % 90 == 89:  # below what one place may cost
            driven.take(NAMES[number // 90], ",")
    assert driven.take(ODD)


def test_where_nothing_can_be_drawn_a_list_ends() -> None:
    driven = Driven(greedy())
    driven.row.consume(Draw(-1, 0.0))
    assert driven.row.finish is Finish.COMPLETE


def test_what_could_not_be_drawn_is_no_draw() -> None:
    driven = Driven(greedy())
    driven.row.consume(Draw(-1, 0.0))
    assert driven.row.output().decoded == 0


def test_metadata_begins_with_nothing_tried() -> None:
    driven = Driven(greedy(allow=("rating",)))
    driven.take("smile", ODD, "</s>")
    assert driven.row.blocked_tokens() == []


def test_the_first_draw_of_metadata_is_from_the_logits_at_hand() -> None:
    driven = Driven(greedy(allow=("rating",)))
    driven.take("smile")
    assert driven.take("</s>")


def test_a_character_that_the_last_token_of_the_last_tag_completes_is_told_whole() -> None:
    driven = Driven(greedy(LAST))
    driven.told()
    driven.take(*"a" * (MAX_TAG_TOKENS - 2), HALF, REST)
    assert driven.told() == "a" * (MAX_TAG_TOKENS - 2) + "\xe9"


def test_a_tag_is_whole_at_its_longest() -> None:
    driven = Driven(greedy())
    driven.take(*"a" * (MAX_TAG_TOKENS - 1))
    assert driven.accepted() == []
    driven.take("a")
    assert driven.accepted() == ["a" * MAX_TAG_TOKENS]


@pytest.mark.parametrize(("room", "finish"), [(2, Finish.LENGTH), (3, None)])
def test_a_row_ends_when_its_last_place_is_taken(room: int, finish: Finish | None) -> None:
    driven = Driven(greedy(), room=room)
    driven.take("smile", ",")
    assert driven.row.finish is finish


@pytest.mark.parametrize(("room", "finish"), [(1, Finish.LENGTH), (2, None)])
def test_a_field_is_begun_only_where_there_is_room_to_write(room: int, finish: Finish | None) -> None:
    assert Driven(greedy(FULL, text_length="short"), room=room).row.finish is finish


@pytest.mark.parametrize(("prompt", "draws", "forced"), [
    ("", ("smile", ",", "sky", "</s>"), 0),
    ("smile", ("sky", ",", "solo", "</s>"), 1),  # the comma behind the user's own
    ("", ("hat,", "sky", "</s>"), 1),  # two tokens in place of the one drawn
])  # fmt: skip
def test_forced_is_what_was_fed_beyond_the_draws(prompt: str, draws: tuple[str, ...], forced: int) -> None:
    driven = Driven(greedy(prompt))
    headers = sum(map(len, driven.row.job.headers))
    driven.take(*draws)
    assert driven.row.output().forced - headers == forced


def test_the_rule_that_took_back_most_is_told() -> None:
    driven = Driven(greedy(ban=("hat", "sky")))
    driven.take("hat", ",", "sky", ",", "sky", ",", "</s>")
    assert driven.row.output().most_rejected == "banned 'sky', 2 times"


def test_a_tag_in_one_token_with_its_comma_is_not_drawn_again() -> None:
    driven = Driven(greedy())
    driven.take("hat,")
    assert ENGINE.vocab.pieces.index(b"hat,") in driven.row.blocked_tokens()


def test_a_tag_is_never_taken_back_to_the_middle_of_a_character() -> None:
    driven = Driven(greedy(ban=("a\xe9",)))
    driven.take("a", HALF, REST, ",", share=0.5)
    assert driven.held == 1


def test_behind_a_space_of_its_own_a_tag_goes_on_without_another() -> None:
    driven = Driven(greedy())
    driven.take(" ")
    assert driven.row.token_mask() is TokenMask.TAG_WORD


def test_half_a_character_at_a_tag_s_longest_is_forgotten_with_the_tag() -> None:
    driven = Driven(greedy())
    driven.take(*"a" * (MAX_TAG_TOKENS - 1), HALF)
    assert driven.row.token_mask() is TokenMask.TAG_START


def test_a_whole_sentence_stays_where_a_row_is_cancelled_behind_it() -> None:
    driven = Driven(greedy(FULL, text_length="short"))
    driven.take(" A", " girl", ".")
    driven.row.cancel()
    assert driven.row.output().texts == {"long": "A girl."}


def test_no_sentence_that_a_stop_of_ours_would_ban_is_left_in_the_row() -> None:
    driven = Driven(greedy(FULL, text_length="short", ban=("/girl\\./",)))
    driven.take(" A", " hat", ".", " A", *[piece for word in WORDS[:48] for piece in (word, " girl")][:95])
    assert driven.held == 3


def test_a_tag_of_the_user_s_in_one_token_is_not_drawn() -> None:
    driven = Driven(greedy("hat"))
    assert ENGINE.vocab.pieces.index(b" hat") in driven.row.blocked_tokens()
