"""Training data on a corpus of a few lines: words, tags, the pair model, scenes and their text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kgen_ext.rules.wordlist import load_word_list
from tools.training.captions import tags_in, word_forms
from tools.training.compose import Composer, consistent_looks, drop_rivals, load_composer
from tools.training.corpus import Corpus, is_held_out, load_corpus
from tools.training.pairs import build_pair_model
from tools.training.people import mostly_alone
from tools.training.phrases import write_sentence
from tools.training.prior import build_prior
from tools.training.render import (
    BOILERPLATE,
    LENGTHS,
    SENTENCES,
    SPECIAL_TOKENS,
    TAG_RANGE,
    Plan,
    fields_of,
    length_of,
    render_plan,
    render_scene,
    told_before,
    typed,
)
from tools.training.scene import Scene
from tools.training.tagforms import coloured_noun, exclusion_table, is_people_tag, spell_tag
from tools.training.wordlist import collect_words, write_word_list
from tools.training.words import parse_word_list

GENERAL_TAGS = (
    "1girl 1boy solo no_humans long_hair short_hair black_hair blonde_hair red_eyes blue_eyes smile dress hat city "
    "night rain tree sky outdoors indoors sword flower cat sofa"
).split()
METADATA = ("meta", "rating", "artist", "aspect ratio", "characters", "quality", "copyrights")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A made-up corpus with every file of the layout."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    root = tmp_path_factory.mktemp("corpus")
    (root / "tags").mkdir()
    (root / "captions").mkdir()
    (root / "blocklist.txt").write_text(
        "# explicit\nforbidden\\w*\n\n# suggestive: drop the tag\nracy\n", encoding="utf-8"
    )
    rows = [f"{tag},0,{9000 - 100 * place}," for place, tag in enumerate((*GENERAL_TAGS, "racy"))]
    rows += [f"artist_{number},1,50," for number in range(3)] + ["anna_(game),4,900,", "bob_(game),4,800,"]
    (root / "tags/danbooru.csv").write_text("\n".join(rows), encoding="utf-8")
    counts = [f"{tag},{500 - 10 * place}" for place, tag in enumerate(GENERAL_TAGS)]
    (root / "tags/prompt_tags.csv").write_text("\n".join(["# lists,1000", *counts]), encoding="utf-8")
    (root / "tags/post_tags.csv").write_text("# lists,200\nrain,150\nracy,9\n", encoding="utf-8")
    general = [tag for tag in GENERAL_TAGS if tag not in ("no_humans",)]
    pairs = [(a, b, 60.0) for a in general for b in general if a < b]
    pairs += [("no_humans", tag, 300.0) for tag in ("city", "night", "rain", "tree", "sky", "cat")]
    table = {"tag_a": [p[0] for p in pairs], "tag_b": [p[1] for p in pairs], "count": [p[2] for p in pairs]}
    parquet.write_table(pyarrow.table(table), root / "tags/prompt_pairs.parquet")
    posts = {"tag_a": ["cat"], "tag_b": ["no_humans"], "count": [20.0]}
    parquet.write_table(pyarrow.table(posts), root / "tags/post_pairs.parquet")
    parquet.write_table(pyarrow.table(table), root / "tags/cooccurrence.parquet")
    characters = [
        ["anna \\(game\\)", "game", "1girl", "black hair", "blonde hair", "red eyes", "racy", "hat"],
        ["bob (game)", "game", "1boy", "short hair", "blue eyes"],
        ["carl (game)", "game", "1boy", "forbidden fruit", "blue eyes"],
    ]
    write_jsonl(root / "tags/characters.jsonl", [{"tags": tags} for tags in characters])
    (root / "tags/wildcards").mkdir()
    (root / "tags/wildcards/maker__pet.txt").write_text("Ferret\nforbidden newt\nA 4-legged thing!\n", encoding="utf-8")
    write_jsonl(root / "tags/novelai_prompts.jsonl", [{"tags": ["city", "night", "rain"]}, {"tags": ["forbidden"]}])
    captions = [{"src": "x", "id": "1", "tags": ["cat", "sofa"], "caption": "A cat sleeps on a sofa"}]
    write_jsonl(root / "captions/tag_caption_pairs.jsonl", captions)
    coco = [{"caption": "A cat on a tree.", "image_id": number} for number in range(3)]
    write_jsonl(root / "captions/coco_val2017.jsonl", coco)
    posts = [{"tags": ["1girl", "solo", "city", "night", "rain", "hat", "dress", "racy"]}, {"tags": ["forbidden_hat"]}]
    write_jsonl(root / "tags/posts_permissive.jsonl", posts)
    (root / "tags/overlap_tags.json").write_text('{"flower": ["sword"]}', encoding="utf-8")
    for name in ("unigenbench", "vbench", "iiw", "dpg_bench", "coco_30k", "t2i_compbench"):
        write_jsonl(root / f"captions/{name}.jsonl", [{"caption": f"A tree stands in the rain near {name}."}])
    return load_corpus(root)


@pytest.fixture(scope="module")
def composer(corpus: Corpus) -> Composer:
    """A composer over the made-up corpus."""
    return load_composer(corpus)


def write_jsonl(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")


@pytest.mark.parametrize("word", ["near", "outdoors", "background"])
def test_the_word_list_has_words_of_two_captions_of_common_tags_and_of_templates(corpus: Corpus, word: str) -> None:
    assert word in collect_words(corpus)


@pytest.mark.parametrize("word", ["vbench", "forbidden", "racy", "ferret", "newt", "anna"])
def test_the_word_list_has_no_rare_or_unsafe_words_and_no_names(corpus: Corpus, word: str) -> None:
    assert word not in collect_words(corpus)


def test_equal_words_make_equal_files_that_read_back(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_word_list(tmp_path / name, ["fox", "wall"])
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert len(load_word_list(tmp_path / "first")) == 2


def test_words_match_whole_words_of_tags_and_prose() -> None:
    words = parse_word_list("# explicit\nbra\nnaked\\w*\n# suggestive\nlatex")
    assert words.is_severe("black bra") and words.is_severe("A bra, here.") and words.is_severe("nakedness")
    assert not words.is_flagged("bracelet")
    assert words.is_flagged("latex_gloves") and not words.is_severe("latex_gloves")


def test_tags_are_spelt_as_tipo_was_trained() -> None:
    assert [spell_tag(tag) for tag in ("long_hair", "^_^", ":d", "o_o", "anna_\\(game\\)")] == [
        "long hair", "^_^", ":d", "o_o", "anna (game)",
    ]  # fmt: skip


def test_colours_of_one_thing_exclude_each_other() -> None:
    table = exclusion_table(["black hair", "light blue hair", "black shirt", "short hair", "long hair", "hat"])
    assert table["black hair"] == {"light blue hair"}
    assert table["short hair"] == {"long hair"} and not table["hat"]
    assert coloured_noun("hair") is None


def test_looks_keep_one_hair_colour() -> None:
    looks = ("black hair", "blonde hair", "purple scale eyes", "hat")
    for seed in range(20):
        kept = consistent_looks(looks, exclusion_table(looks), np.random.default_rng(seed))
        assert sum(tag.endswith(" hair") for tag in kept) == 1 and "hat" in kept
    assert drop_rivals(["black hair", "blonde hair"], exclusion_table(looks)) == ["black hair"]


def test_composed_scenes_neither_repeat_nor_contradict(composer: Composer) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = composer.draw(rng)
        assert len(set(scene.tags)) == len(scene.tags)
        assert not any(is_people_tag(tag) for tag in scene.tags)
        if "solo" in scene.people or "no humans" in scene.people:
            assert not any(other in scene.tags for tag in scene.tags for other in composer.rivals.get(tag, ()))


def test_scenes_without_people_have_no_person_tags(composer: Composer) -> None:
    rng = np.random.default_rng(1)
    scenes = [scene for scene in (composer.draw(rng) for _ in range(300)) if "no humans" in scene.people]
    assert scenes
    assert not {"long hair", "smile", "dress", "red eyes"}.intersection(tag for scene in scenes for tag in scene.tags)


def test_flagged_words_never_reach_a_text(composer: Composer) -> None:
    rng = np.random.default_rng(2)
    texts = [render_scene(composer.draw(rng), rng) for _ in range(300)]
    assert not any(re.search("forbidden|racy|carl", text) for text in texts)


def test_the_same_seed_draws_the_same_scenes(composer: Composer) -> None:
    first, second = (composer.draw(np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_every_length_token_holds_the_tags_it_stands_for() -> None:
    for count in range(73):
        least, most = TAG_RANGE[length_of(count)]
        assert least <= count <= most


@pytest.mark.parametrize("task", [None, *(token[2:-2] for token in SPECIAL_TOKENS[5:12])])
def test_rendered_texts_are_tipo_texts(task: str | None) -> None:
    scene = Scene(
        people=("1girl", "solo"),
        tags=("smile", "hat", "long hair"),
        characters=("anna (game)",),
        copyrights=("game",),
        rating="safe",
        quality="best quality",
        aspect_ratio="0.7",
        meta=("highres",),
        sentences=("A girl.", "She smiles."),
        opening=1,
    )
    for seed in range(40):
        text = render_plan(scene, Plan(task, "very_short"), np.random.default_rng(seed))
        head, _, rest = text.partition("target: ")
        keys = [line.partition(": ")[0] for line in head.splitlines()]
        assert set(keys) <= set(METADATA) and len(set(keys)) == len(keys)
        target, *lines = rest.split("\n")
        tokens = target.split(" ")
        assert all(token in SPECIAL_TOKENS for token in tokens)
        assert (tokens[0] == "<|very_short|>") is (task != "short_to_long")
        fields = fields_of(task)
        assert [line.partition(": ")[0] for line in lines[: len(fields)]] == list(fields)
        assert bool(lines[len(fields) :]) is ("<|gen_meta|>" in tokens)
        assert not {line.partition(": ")[0] for line in lines[len(fields) :]}.intersection(keys)
        assert not text.endswith((" ", "\n"))


def test_descriptions_stay_within_the_sentences_of_their_length() -> None:
    scene = Scene((), ("hat",), sentences=tuple(f"Sentence {number}." for number in range(30)))
    for name in LENGTHS:
        text = render_plan(scene, Plan("tag_to_long", name), np.random.default_rng(0))
        assert text.count("Sentence") == SENTENCES[name]


NAMED, OTHERS = ("sleeping", "dog", "couch"), tuple(f"other {number}" for number in range(9))
SLEEPING_DOG = Scene(
    ("no humans",), ("dog", "couch", "sleeping", *OTHERS), given=3, said=(NAMED,), opening=1,
    sentences=("Sleeping, a dog lies on a sofa.",),
)  # fmt: skip


def tags_of(task: str | None, seed: int, scene: Scene = SLEEPING_DOG) -> list[str]:
    text = render_plan(scene, Plan(task, "short"), np.random.default_rng(seed))
    line = next(row for row in text.split("\n") if row.startswith("tag: "))
    return [tag for tag in line.removeprefix("tag: ").split(", ") if tag != "no humans"]


def test_what_a_sentence_names_comes_first_and_in_its_order_with_few_others_among_it() -> None:
    told = [tags_of("short_to_tag", seed) for seed in range(80)]
    assert all(sorted(tags) == sorted(SLEEPING_DOG.tags) for tags in told)
    assert all([tag for tag in tags if tag in NAMED] == list(NAMED) for tags in told)
    assert all([tag for tag in tags if tag in OTHERS] == list(OTHERS) for tags in told)
    mixed = [tuple(tags[:3]) != NAMED for tags in told]
    assert 0.02 < sum(mixed) / len(mixed) < 0.4


def test_only_what_the_sentences_before_the_list_name_counts_as_told() -> None:
    scene = replace(SLEEPING_DOG, sentences=(*SLEEPING_DOG.sentences, "It is other 1."), said=(NAMED, ("other 1",)))
    assert told_before(scene, Plan("short_to_tag", "short")) == NAMED
    assert told_before(scene, Plan("long_to_tag", "short")) == (*NAMED, "other 1")
    assert told_before(scene, Plan("short_to_long_to_tag", "short")) == (*NAMED, "other 1")
    assert told_before(scene, Plan("tag_to_long", "short")) == told_before(scene, Plan(None, "short")) == ()


def test_where_tags_come_first_those_a_user_gives_stand_in_front() -> None:
    lists = [[tag.lower() for tag in tags_of(None, seed) if tag not in BOILERPLATE] for seed in range(20)]
    assert all(set(tags[:3]) == set(NAMED) for tags in lists)


def test_a_short_list_behind_a_sentence_is_also_what_people_get_who_ask_for_short_ones() -> None:
    scene = replace(SLEEPING_DOG, tags=SLEEPING_DOG.tags[:5])
    rng = np.random.default_rng(0)
    texts = [render_scene(scene, rng) for _ in range(200)]
    told = [text for text in texts if "_to_tag" in text]
    alone = [text for text in texts if "_to_tag" not in text]
    assert 0.4 < sum("<|short|>" in text for text in told) / len(told) < 0.8
    assert alone and all("<|very_short|>" in text for text in alone)


def test_a_longer_text_goes_on_where_the_user_ended() -> None:
    scene = replace(SLEEPING_DOG, sentences=("A dog sleeps.", "It dreams."), said=(NAMED, ()))
    for task in ("short_to_tag_to_long", "short_to_long", "tag_to_short_to_long"):
        text = render_plan(scene, Plan(task, "short"), np.random.default_rng(0))
        assert "\nlong: It dreams." in text
    whole = render_plan(scene, Plan("tag_to_long", "short"), np.random.default_rng(0))
    assert "long: A dog sleeps. It dreams." in whole


def test_descriptions_come_as_people_type_them() -> None:
    texts = {typed("A Dog sleeps.", np.random.default_rng(seed)) for seed in range(200)}
    assert {"A Dog sleeps.", "A Dog sleeps", "a dog sleeps"} <= texts
    assert any(text.startswith("masterpiece") for text in texts) and any(text.endswith(", 4k") for text in texts)


def test_given_tags_come_with_capitals_and_words_about_quality() -> None:
    lists = [tags_of(None, seed) for seed in range(200)]
    assert any("Dog" in tags for tags in lists) and any(set(tags[:5]) & set(BOILERPLATE) for tags in lists)


def test_tags_are_found_in_the_order_of_a_text_the_longer_before_the_shorter() -> None:
    forms = word_forms(["red sofa", "sofa", "cat"], {})
    assert tags_in("A cat on a red sofa.", forms) == ("cat", "red sofa", "sofa")


@pytest.mark.parametrize("text, tags", [
    ("A dog under a red hat, at the bus stop.", ("dog", "red hat", "hat", "bus stop")),
    ("Two dogs with boxes, leaves and cherries.", ("dog", "box", "leaf", "cherry")),
    ("That hatter's cathedral.", ()),  # hat, cat: parts of words
    ("She is :d, d and ^_^, a girl.", ()),
    ("What can like that?", ()),  # words that are tags of something else
])  # fmt: skip
def test_a_tag_is_found_as_whole_words_in_the_plural_too(text: str, tags: tuple[str, ...]) -> None:
    names = ["dog", "red hat", "hat", "bus stop", "box", "leaf", "cherry", "cat", "can", "what", "1girl", "girl"]
    assert tags_in(text, word_forms(names[:-1], {})) == tags


def test_only_things_are_said_to_be_somewhere(composer: Composer) -> None:
    assert {"tree"} <= composer.things and not composer.things & {"sofa", "smile"}
    assert composer._sayable(["tree", "sofa", "smile"]) == ["tree", "smile"]


def test_tags_are_found_by_alias_plural_and_verb() -> None:
    forms = word_forms(["couch", "cat", "sleeping", "sitting", "riding", "smile"], {"sofa": "couch", "grin": "laugh"})
    text = "Two cats sleep; one sits on a sofa and rides."
    assert set(tags_in(text, forms)) == {"cat", "sleeping", "sitting", "couch", "riding"}
    assert tags_in("A cat ride, two rides, sleep.", forms) == ("cat",)  # who does it stands before a verb
    assert "sitting on" not in word_forms(["sitting on person"], {"sitting on": "sitting on person"})  # cut off
    assert "grin" not in forms  # an alias of a tag that is not taught
    assert tags_in("A cat stares.", word_forms(["staring", "cat"], {})) == ("cat", "staring")
    assert tags_in("Stars.", word_forms(["staring", "cat"], {})) == ()
    assert forms["cat"] == "cat"


def test_slots_take_plain_safe_phrases(composer: Composer) -> None:
    assert composer.phrases["animal"] == ("ferret",)
    rng = np.random.default_rng(3)
    sentences = [write_sentence(composer.phrases, rng) for _ in range(300)]
    assert not any("{" in sentence for sentence in sentences)
    assert any("ferret" in sentence for sentence in sentences)
    assert not any(re.search(r"\b[Aa] [aeio]", sentence) for sentence in sentences)
    twins = [re.search(r"[Aa]n? (\w+) and an? (\w+)", sentence) for sentence in sentences]
    assert any(twins) and all(found[1] != found[2] for found in twins if found)


def test_one_person_is_mostly_alone_and_two_never_are() -> None:
    rng = np.random.default_rng(8)
    drawn = [mostly_alone(("1boy",), rng) for _ in range(300)]
    assert set(drawn) == {("1boy",), ("1boy", "solo")}
    assert drawn.count(("1boy", "solo")) > 200
    assert {mostly_alone(people, rng) for people in ((), ("1girl", "1boy"), ("2girls",)) for _ in range(50)} == {
        (), ("1girl", "1boy"), ("2girls",)
    }  # fmt: skip


def test_a_slot_sentence_brings_the_tags_it_names(composer: Composer) -> None:
    rng = np.random.default_rng(4)
    scenes = [composer.phrase_scene(rng) for _ in range(200)]
    named = [scene for scene in scenes if "cat" in scene.short[0].lower().rstrip(".").split()]
    assert named and all("cat" in scene.told(1) and "cat" in scene.tags for scene in named)


def test_a_real_post_is_taken_as_it_is(composer: Composer) -> None:
    scene = composer.post_scene(np.random.default_rng(0))
    assert (set(scene.people), set(scene.tags)) == ({"1girl", "solo"}, {"city", "night", "rain", "hat", "dress"})
    assert scene.real and 1 <= scene.given < 5


def test_neighbours_are_counted_or_by_name_and_never_people(corpus: Corpus, composer: Composer) -> None:
    def of(tag: str) -> set[str]:
        return {composer.model.tags[row] for row in np.flatnonzero(composer.neighbours.of(tag))}

    assert "flower" in of("sword")  # overlap_tags.json: the one is a case of the other
    assert not of("no humans") and not of("a tag nobody knows")


def test_what_a_sentence_names_stays_even_where_nobody_is(composer: Composer) -> None:
    said = ("smile", "long hair", "short hair")
    assert composer._grown(("no humans",), said, 3, np.random.default_rng(0), told=True).tags[:3] == said


def test_a_quiet_list_has_what_was_said_and_its_neighbours(composer: Composer) -> None:
    rng = np.random.default_rng(0)
    people = ("no humans",)
    scenes = [composer._grown(people, ("sofa",), 20, rng, told=True, quiet=True) for _ in range(40)]
    assert all(scene.tags[0] == "sofa" for scene in scenes)
    known = {composer.model.tags[row] for row in np.flatnonzero(composer.neighbours.of("sofa"))}
    assert all(set(scene.tags[1:]) <= known for scene in scenes)


def test_held_out_characters_are_few_and_fixed() -> None:
    share = np.mean([is_held_out(f"name {number}") for number in range(4000)])
    assert 0.03 < share < 0.07


def test_counts_of_prompts_and_posts_add_up(corpus: Corpus) -> None:
    total, counts = corpus.tag_counts()
    assert (total, counts["rain"], counts["tree"], "racy" in counts) == (1200, 500, 340, False)


def test_the_most_frequent_tag_of_both_kinds_of_list_comes_first(corpus: Corpus) -> None:
    counts = list(corpus.tag_counts()[1].values())
    assert counts == sorted(counts, reverse=True)


def test_pairs_of_posts_are_counted_beside_those_of_prompts(corpus: Corpus) -> None:
    assert sum(count for *pair, count in corpus.pair_counts() if set(pair) == {"no humans", "cat"}) == 320


@pytest.fixture(scope="module")
def rare_pairs(corpus: Corpus) -> dict[tuple[str, str], float]:
    """The rarities of the starter's prior on this corpus."""
    table = build_prior(corpus, build_pair_model(corpus))
    rows = np.repeat(np.arange(len(table.tags)), np.diff(table.starts)).tolist()
    entries = zip(rows, table.columns.tolist(), table.rarities.tolist(), strict=True)
    return {(table.tags[row], table.tags[column]): rarity for row, column, rarity in entries if rarity}


def test_a_pair_is_as_rare_as_its_count_says(corpus: Corpus, rare_pairs: dict[tuple[str, str], float]) -> None:
    lists, counts = corpus.tag_counts()
    expected = counts["hat"] * counts["dress"] / lists
    assert rare_pairs["hat", "dress"] == pytest.approx(-math.log((60 + 2) / (expected + 2)))


def test_a_pair_that_meets_as_often_as_by_chance_is_not_rare(rare_pairs: dict[tuple[str, str], float]) -> None:
    assert {("hat", "dress"), ("cat", "sofa")} & rare_pairs.keys() == {("hat", "dress")}


def test_counts_of_people_are_in_no_rare_pair(rare_pairs: dict[tuple[str, str], float]) -> None:
    assert [pair for pair in rare_pairs if any(map(is_people_tag, pair))] == []


def test_no_tag_is_rare_beside_itself(rare_pairs: dict[tuple[str, str], float]) -> None:
    assert [tag for tag, other in rare_pairs if tag == other] == []
