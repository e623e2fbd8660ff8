"""The figures of what goes wrong on people's prompts: each on small rows made by hand, and the command on a script."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_engine import ScriptedEngine

from kgen_ext.events import By, Expansion, Fields, Finish, Piece, Settings
from kgen_ext.prompt import escape, parse, subjects
from kgen_ext.protocol import Protocol
from kgen_ext.rules.known import load_tag_file
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ModelContext
from kgen_ext.tags.tag import Tag, read_tag
from tools.people import figures as measures
from tools.people.__main__ import Section, exists_in, main, read_prompts, read_words, render, sample
from tools.people.cases import CHARACTERS, SCRIPTS, SPELLINGS
from tools.people.figures import Figure, Row, figures, looks_found, read_row, script_figure

REAL = {"smile", "hat", "sky", "tree", "blue sky", "day"}


def exists(tag: Tag) -> bool:
    return tag.name in REAL


def row(prompt: str, *tags: str, text: str = "", notes: tuple[str, ...] = (), tag_length: str = "very_short") -> Row:
    added = ", ".join([*map(escape, tags), *([text] if text else [])])
    pieces = (Piece(prompt, By.USER), *((Piece(f", {added}", By.MODEL),) if added else ()))
    return read_row(prompt, expansion(pieces, tags, text, notes, tag_length))


def expansion(
    pieces: tuple[Piece, ...],
    tags: tuple[str, ...] = (),
    text: str = "",
    notes: tuple[str, ...] = (),
    tag_length: str = "very_short",
) -> Expansion:
    source = "".join(piece.text for piece in pieces if piece.by is By.USER)
    return Expansion(
        prompt="".join(piece.text for piece in pieces), pieces=pieces, source=source, seed=1, row=0, model="m",
        engine="e", fields=Fields(), added_tags=tags, added_text=text, finish=Finish.COMPLETE, decoded_tokens=0,
        forced_tokens=0, rewound_tokens=0, seconds=0.0, notes=notes, settings=Settings(tag_length=tag_length),
    )  # fmt: skip


def counts(found: list[Figure]) -> list[tuple[int, int]]:
    return [(figure.count, figure.total) for figure in found]


def count(name: str, *rows: Row) -> int:
    """The count of the one figure whose name begins so."""
    (found,) = [figure for figure in figures(rows, exists) if figure.name.startswith(name)]
    return found.count


def test_invented_tags_are_counted_by_row_and_in_all() -> None:
    rows = [row("1girl", "smile", "hat", "skyfull"), row("1girl", "smile", "hat"), row("1girl", "skyfull")]
    assert counts(measures.invented_tags(rows, exists)) == [(2, 3), (2, 6)]


def test_a_row_may_have_up_to_fifteen_percent_of_invented_tags() -> None:
    real = tuple(sorted(REAL))
    assert measures.invented_tags([row("1girl", *real, "skyfull")], exists)[0].count == 0


def test_the_commonest_invented_tag_is_the_first_example() -> None:
    rows = [row("1girl", "treefull"), row("1boy", "skyfull"), row("2girls", "skyfull")]
    assert measures.invented_tags(rows, exists)[1].examples == ("skyfull (2)", "treefull (1)")


@pytest.mark.parametrize(
    ("tag", "found"),
    [("a" * 40, 0), ("a" * 41, 1), ("a b c d e f", 0), ("a b c d e f g", 1), ("a_b_c_d_e_f_g", 1)],
)
def test_a_long_tag_has_over_forty_letters_or_six_words(tag: str, found: int) -> None:
    assert measures.long_tags([row("1girl", tag)], exists).count == found


def test_a_long_tag_that_exists_is_none() -> None:
    assert measures.long_tags([row("1girl", "a b c d e f g")], lambda tag: True).count == 0


@pytest.mark.parametrize(
    ("figure", "prompt", "text", "found"),
    [
        ("texts with a word three", "1girl", "The sky, sky Sky.", 1),
        ("texts with a word three", "1girl", "The sky sky is a sky.", 0),
        ("texts with 4 words in a row twice", "1girl", "On the old bridge. A fox on the old bridge.", 1),
        ("texts with 4 words in a row twice", "1girl", "The old bridge. A fox, the old bridge.", 0),
        ("texts with 4 words in a row of the user's", "a fox crosses the old bridge", "A fox crosses the road.", 1),
        ("texts with 4 words in a row of the user's", "a fox crosses the old bridge", "A fox crosses that road.", 0),
        ("texts with 4 words in a row of the user's", "a red fox, the bridge", "A red fox the bridge.", 0),
        ("texts with a sentence twice", "1girl", "It rains. A fox waits. It rains!", 1),
        ("texts with a sentence twice", "1girl", "It rains. A fox waits.", 0),
    ],
)
def test_texts_are_searched_for_repeats(figure: str, prompt: str, text: str, found: int) -> None:
    assert count(figure, row(prompt, text=text)) == found


def test_rows_without_text_are_not_among_the_texts() -> None:
    assert {figure.total for figure in measures.text_figures([row("1girl"), row("1girl", text="It rains.")])} == {1}


@pytest.mark.parametrize(
    ("prompt", "text", "found"),
    [
        ("1girl", "A fox waits.", 0),
        ("1girl", "A foxling waits.", 1),
        ("foxling", "A foxling waits.", 0),
        ("1girl", "A fox's fox-fox waits 3.", 0),
    ],
)
def test_invented_words_are_in_no_list_and_not_the_users(prompt: str, text: str, found: int) -> None:
    words = frozenset({"a", "fox", "waits"})
    assert measures.invented_words([row(prompt, text=text)], words)[1].count == found


def test_words_of_the_added_tags_are_not_invented() -> None:
    found = measures.invented_words([row("1girl", "foxling", text="A foxling.")], frozenset({"a"}))
    assert counts(found) == [(0, 1), (0, 2)]


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("a fox crosses the old bridge", False),
        ("a fox under the blue sky by day", True),
        ("a fox under the sky by a blue bridge", False),
        ("a fox counts all the blue skys", True),
    ],
)
def test_a_tag_is_asked_for_when_the_prompt_holds_its_words_in_a_row(prompt: str, asked: bool) -> None:
    assert bool(measures.unasked_tags([row(prompt, "blue sky")])) is not asked


def test_unasked_tags_come_by_their_share_of_the_sentences() -> None:
    long = "a fox crosses the old bridge"
    rows = [row(long, "sky"), row(long, "tree", "sky"), row(long), row("1girl", "tree"), row("1girl", "tree")]
    found = measures.unasked_tags(rows)
    assert [figure.name.split()[-1] for figure in found] == ["sky", "tree"]
    assert counts(found) == [(2, 3), (1, 3)]


def test_the_eight_commonest_unasked_tags_are_shown() -> None:
    assert len(measures.unasked_tags([row("a fox crosses the old bridge", *map(str, range(10, 20)))])) == 8


def test_only_general_tags_count_as_unasked() -> None:
    assert measures.unasked_tags([row("a fox crosses the old bridge", "no humans", "hatsune miku")]) == []


def test_a_separator_alone_adds_nothing() -> None:
    pieces = Piece("1girl", By.USER), Piece(", ", By.MODEL)
    assert measures.empty_rows([read_row("1girl", expansion(pieces))])[1].count == 1


def test_empty_rows_are_told_apart_by_their_notes() -> None:
    rows = [row("1girl"), row("1boy"), row("2girls", notes=("long",)), row("fox", "hat", notes=("long",))]
    assert counts(measures.empty_rows(rows)) == [(1, 4), (2, 4)]


def test_a_prompt_that_the_users_pieces_do_not_give_is_changed() -> None:
    changed = read_row("1girl,  hat", expansion((Piece("1girl, hat", By.USER),)))
    assert measures.changed_prompts([row("1girl,  hat", "sky"), changed]).count == 1


def test_a_result_that_the_pieces_do_not_give_is_changed() -> None:
    intact = row("1girl", "sky")
    assert measures.changed_prompts([replace(intact, expansion=replace(intact.expansion, prompt="1girl"))]).count == 1


@pytest.mark.parametrize(
    ("tags", "found"), [(("sky",), 0), (("Fox_Ears",), 1), (("fox ears!",), 1), (("sky", "sky"), 1)]
)
def test_a_repeat_is_one_by_comparison_form(tags: tuple[str, ...], found: int) -> None:
    assert measures.repeated_tags([row("1girl, fox ears", *tags)]).count == found


def segments(first: tuple[str, ...], second: tuple[str, ...]) -> Row:
    pieces = (
        Piece("1girl, hat", By.USER), *((Piece(f", {', '.join(first)}", By.MODEL),) if first else ()),
        Piece(" BREAK fox", By.USER), *((Piece(f", {', '.join(second)}", By.MODEL),) if second else ()),
    )  # fmt: skip
    return read_row("1girl, hat BREAK fox", expansion(pieces, (*first, *second)))


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [(("sky",), ("sky", "hat"), 0), (("fox",), (), 0), (("sky",), ("fox",), 1), ((), ("hat",), 0), (("hat",), (), 1)],
)
def test_segments_are_compared_each_for_itself(first: tuple[str, ...], second: tuple[str, ...], found: int) -> None:
    assert measures.repeated_tags([segments(first, second)]).count == found


@pytest.mark.parametrize(
    ("given", "added", "tag_length", "notes", "found"),
    [
        (1, 17, "very_short", (), 0),
        (1, 18, "very_short", (), 1),
        (20, 0, "very_short", (), 0),
        (1, 16, "short", (), 1),
        (1, 16, "short", ("shorter than asked for",), 0),
        (1, 17, "short", (), 0),
    ],
)
def test_the_band_holds_for_the_tags_of_both(
    given: int, added: int, tag_length: str, notes: tuple[str, ...], found: int
) -> None:
    prompt = ", ".join(f"own {index}" for index in range(given))
    tags = [f"more {index}" for index in range(added)]
    assert measures.rows_outside_band([row(prompt, *tags, tag_length=tag_length, notes=notes)]).count == found


def test_quality_and_series_do_not_count_for_the_band() -> None:
    tags = [f"more {index}" for index in range(17)]
    assert measures.rows_outside_band([row("masterpiece, vocaloid, 1girl", *tags)]).count == 0


def test_notes_are_counted_by_kind() -> None:
    told = ("3 tags by 'hat'", "tag: short (most often: hat)"), ("14 tags by 'a'",)
    rows = [row("1girl", notes=some) for some in told]
    assert [(figure.name, figure.count) for figure in measures.notes(rows)] == [
        ("note: N tags by '...'", 2), ("note: tag: short", 1),
    ]  # fmt: skip


def test_invented_words_are_left_out_without_a_list() -> None:
    rows = [row("1girl", "sky", text="It rains.")]
    assert len(figures(rows, exists, frozenset())) - len(figures(rows, exists)) == 2


def test_looks_that_came_back_are_counted() -> None:
    rows = [row(f"{people}, {escape(name)}", *looks[1:]) for people, name, looks in CHARACTERS]
    found = looks_found("lower case", rows)
    assert found.total - found.count == len(CHARACTERS)


def test_missing_looks_are_the_examples() -> None:
    rows = [row(people, *looks[1:]) for people, _, looks in CHARACTERS]
    assert looks_found("", rows).examples[0] == "hatsune miku: no aqua hair"


def test_a_row_in_a_script_shows_all_that_was_added_and_what_is_invented() -> None:
    found = script_figure("Han", [row("猫", "sky", "skyfull"), row("少女", "sky")], exists)
    assert (found.count, found.examples) == (1, ("猫 -> sky, !skyfull", "少女 -> sky"))


def test_there_are_twenty_characters_of_three_or_four_looks() -> None:
    assert len({name for _, name, _ in CHARACTERS}) == 20
    assert {len(set(looks)) for _, _, looks in CHARACTERS} == {3, 4}


@pytest.mark.parametrize(
    ("place", "prompt"), [(0, "1girl, hatsune miku"), (1, "1girl, Hatsune Miku"), (2, "1GIRL, HATSUNE MIKU")]
)
def test_the_spellings_are_those_of_people(place: int, prompt: str) -> None:
    _, people, letters = SPELLINGS[place]
    assert f"{people('1girl')}, {letters('hatsune miku')}" == prompt


@pytest.mark.parametrize("prompt", [prompt for _, prompts in SCRIPTS for prompt in prompts])
def test_a_prompt_in_a_script_is_three_tags_or_more(prompt: str) -> None:
    (subject,) = subjects(parse(prompt))
    assert len(subject.tags) >= 3


def test_a_tag_exists_by_name_by_alias_or_by_its_category(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text('blue_sky,0,5,"azure_sky"\nzorp!,0,1,\n', encoding="utf-8")
    known = exists_in(load_tag_file(path))
    tags = ("Blue_Sky", "azure sky", "blue sky!", "zorp!", "hatsune miku", "1girl", "bluer sky")
    assert [known(read_tag(tag)) for tag in tags] == [True] * 6 + [False]


def test_without_a_file_a_tag_exists_by_the_projects_table() -> None:
    known = exists_in(None)
    assert [known(read_tag(tag)) for tag in ("Fox_Ears", "1girl", "ears of a fox")] == [True, True, False]


def test_a_sample_is_evenly_spaced() -> None:
    assert sample(list("abcdefg"), 3) == ["a", "c", "e"]


@pytest.mark.parametrize("limit", [None, 2, 5])
def test_a_sample_is_never_larger_than_what_there_is(limit: int | None) -> None:
    assert sample(["a", "b"], limit) == ["a", "b"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_prompts_and_captions_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"prompt": "a\\nb"}', "", '{"caption": "c\u2028d", "id": 1}')
    assert read_prompts(path) == ["a\nb", "c\u2028d"]


def test_words_are_read_from_captions_and_from_text(tmp_path: Path) -> None:
    captions, text = write(tmp_path / "a.jsonl", '{"caption": "A fox."}'), write(tmp_path / "a.txt", "The Hat")
    assert [read_words(captions), read_words(text)] == [{"a", "fox"}, {"the", "hat"}]


def test_a_figure_is_a_line_and_its_first_examples() -> None:
    section = Section("a.jsonl", (Figure("rows", 2, 8, ("one", "two", "three")), Figure("none", 0, 0)), (), 0.25)
    assert render(section, 2).splitlines() == [
        "", "a.jsonl: 0 rows, 0.25 s each", "     2  25.0% of 8       rows", f"{'':25}one", f"{'':25}two",
        "     0      - of 0       none",
    ]  # fmt: skip


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command opens an expander of a scripted engine."""

    def open_scripted(**options: object) -> Expander:
        engine = ScriptedEngine.random(7, n_ctx=1024)
        return Expander(ModelContext(engine, Protocol.TIPO, False, 1024), model="scripted", checksum="x", rows=16)

    monkeypatch.setattr("tools.people.__main__.open_expander", open_scripted)


def test_the_command_writes_the_figures_and_every_row(
    scripted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(write(tmp_path / name, '{"prompt": "1girl, hat"}', '{"prompt": "fox BREAK sky"}')) for name in "ab"]
    out = tmp_path / "out.json"
    assert main([*files, "--tag-length", "very_short", "--limit", "1", "--json", str(out)]) == 0
    assert "\na, short text: 1 rows" in capsys.readouterr().out
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [len(section["rows"]) for section in report["sections"]] == [1, 1, 1, 1, 60, 12]


def test_what_the_decoder_guarantees_counts_as_kept_on_random_logits(scripted: None, tmp_path: Path) -> None:
    lines = ['{"prompt": "1girl, hat"}', '{"prompt": "day, <lora:a:1> BREAK (sky:1.2), hat AND fox"}']
    path, out = write(tmp_path / "a.jsonl", *lines), tmp_path / "out.json"
    assert main([str(path), "--json", str(out)]) == 0
    section = json.loads(out.read_text(encoding="utf-8"))["sections"][0]
    kept = ("the user's bytes changed", "added tags that the row has", "tags outside the band")
    assert [figure["count"] for figure in section["figures"] if figure["name"].endswith(kept)] == [0, 0, 0]


@pytest.mark.parametrize("line", ["not json", '{"tags": []}', "[]", ""])
def test_a_file_without_prompts_is_refused(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.jsonl", line)
    assert main([str(path)]) == 2
    assert "a.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["nowhere.jsonl"], ["nowhere.jsonl", "--limit", "0"]])
def test_a_wrong_option_is_an_error_of_use(argv: list[str]) -> None:
    assert main(argv) == 2


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (("A fox sits on a wall.", "A fox sits on a wall."), 0),
        (("A fox sits on a wall. A fox sits on (a) hat.", "A dog."), 1),
        (("A dog. It runs.", "A fox sits on a wall. A fox sits on a hat."), 1),
    ],
)
def test_four_words_twice_are_counted_in_the_text_of_each_segment(texts: tuple[str, str], found: int) -> None:
    first, second = (Piece(f", hat, {escape(text)}", By.MODEL) for text in texts)
    pieces = (Piece("fox", By.USER), first, Piece(" BREAK dog", By.USER), second)
    joined = expansion(pieces, ("hat", "hat"), " ".join(texts))
    assert count("texts with 4 words in a row twice", read_row("fox BREAK dog", joined)) == found
