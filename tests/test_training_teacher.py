"""The pair model as a teacher: lists that keep to the request, and soft targets that are the tags' probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tools.training.compose import Composer
from tools.training.neighbours import Neighbours
from tools.training.pairs import PairModel, build_pair_model
from tools.training.relations import Relations
from tools.training.scene import Scene
from tools.training.tagforms import exclusion_table
from tools.training.vocabulary import SPACE, reachable, tokenizer_json

TAGS = ("1girl", "smile", "black hair", "black hat", "blonde hair", "fox ears", "fox tail", "shrine")
HEAD = "target: <|short|>\n"
COMPANIES = ("nobody", "girls", "boys", "anyone")
LONGEST = tuple(f"{SPACE}{word}" for word in ("black", "1girl", "smile", "fox", "shrine"))
# A shrine brings fox ears surely and fox tails sometimes.
NEIGHBOURS = Neighbours({"shrine": (np.array([5, 6]), np.array([1.0, 0.4], dtype=np.float32))}, len(TAGS))


def pair_model() -> PairModel:
    """Return a model in which fox ears, fox tail and shrine go together and nothing else matters."""
    weights, lift = np.zeros((2, len(TAGS), len(TAGS)), dtype=np.float32)
    for left, right in ((5, 6), (5, 7), (6, 7)):
        weights[left, right] = weights[right, left] = 0.4
        lift[left, right] = lift[right, left] = 3.0
    base = np.array([0.1, 0.5, 0.3, 0.2, 0.2, 0.05, 0.05, 0.05], dtype=np.float32)
    return PairModel(TAGS, {tag: row for row, tag in enumerate(TAGS)}, base, weights, lift)


def allowed() -> np.ndarray:
    return np.array([tag != "1girl" for tag in TAGS])


def make_composer() -> Composer:
    nothing = np.zeros(0)
    return Composer(
        model=pair_model(), rivals=exclusion_table(TAGS), allowed=dict.fromkeys(COMPANIES, allowed()), characters=(),
        character_steps=nothing, themes=(), theme_steps=nothing, partners={}, lists=(), posts=(), captions=(), forms={},
        neighbours=NEIGHBOURS, things=frozenset(), relations=Relations(), phrases={}, artists=(),
    )  # fmt: skip


def chance(growth: object, tag: str) -> float:
    chances, extra = growth.chances(1.0)  # type: ignore[attr-defined]
    return float(chances[TAGS.index(tag)]) + extra.get(tag, 0.0)


def test_chances_sum_to_one_with_and_without_anchors() -> None:
    for anchors in ((), ("shrine",), ("shrine", "an unknown tag")):
        growth = pair_model().start(("1girl",), rivals={}, allowed=allowed(), anchors=anchors)
        chances, extra = growth.chances(0.7)
        assert float(chances.sum()) + sum(extra.values()) == pytest.approx(1.0, abs=1e-5)
        assert chances[0] == 0.0 and set(extra) == set(anchors)


def test_a_given_tag_calls_its_company_and_excludes_its_rivals() -> None:
    model = pair_model()
    before = model.start((), rivals=exclusion_table(TAGS), allowed=allowed())
    after = model.start(("fox ears", "black hair"), rivals=exclusion_table(TAGS), allowed=allowed())
    assert chance(after, "fox tail") > 3 * chance(before, "fox tail")
    assert chance(after, "blonde hair") == chance(after, "black hair") == chance(after, "fox ears") == 0.0


def test_a_drawn_tag_says_less_than_a_given_one() -> None:
    given, own = (pair_model().start(("fox tail",), rivals={}, allowed=allowed()) for _ in range(2))
    given.add("fox ears", own=False)
    own.add("fox ears", own=True)
    assert chance(own, "shrine") < chance(given, "shrine")


def test_what_prompts_say_little_of_is_learnt_from_the_wide_table() -> None:
    posts = {"shrine": 9000, "torii": 1000, "hat": 9000}
    counts = {"shrine": 30.0, "torii": 5.0, "hat": 3000.0}
    wide = (["shrine", "hat"], ["torii", "shrine"], [800.0, 800.0])
    corpus = SimpleNamespace(
        danbooru=[(tag, 0, count) for tag, count in posts.items()], tag_counts=lambda: (10000.0, counts),
        pair_counts=list, pairs=lambda name: wide,
    )  # fmt: skip
    model = build_pair_model(corpus)  # type: ignore[arg-type]
    lift = model.lift[model.index["shrine"]]
    assert lift[model.index["torii"]] > lift[model.index["hat"]] > 0
    assert lift[model.index["shrine"]] == 0 and np.array_equal(model.lift, model.lift.T)
    assert model.lift[model.index["torii"], model.index["hat"]] < 0, "no table pairs them"


def test_two_tags_that_say_the_same_count_once() -> None:
    """`fox ears` and `fox tail` always come together: both hint hardly more at a shrine than one."""
    counts = {"fox ears": 400.0, "fox tail": 400.0, "shrine": 400.0, "hat": 4000.0}
    pairs = [("fox ears", "fox tail", 400.0), ("fox ears", "shrine", 200.0), ("fox tail", "shrine", 200.0)]
    corpus = SimpleNamespace(
        danbooru=[(tag, 0, 1000) for tag in counts], tag_counts=lambda: (10000.0, counts),
        pair_counts=lambda: pairs, pairs=lambda name: ([], [], []),
    )  # fmt: skip
    model = build_pair_model(corpus)  # type: ignore[arg-type]
    rows = [model.index[tag] for tag in ("fox ears", "fox tail")]
    shrine = model.index["shrine"]
    one, both = model.weights[rows[0], shrine], model.weights[rows, shrine].sum()
    # Half of 400 lists have shrines, the ridge is 100 lists: 200 / 500 for one tag alone, 200 / 450 for both.
    assert both == pytest.approx(2 * one) and 0.35 < both < 0.5
    assert model.weights[shrine, shrine] == 0.0


def test_anchors_come_first_and_each_once() -> None:
    growth = pair_model().start(("1girl",), rivals={}, allowed=allowed(), anchors=("shrine", "an unknown tag"))
    rng = np.random.default_rng(0)
    drawn = [growth.draw(rng, 1.0) for _ in range(8)]
    assert sorted(tag for tag in drawn if tag) == sorted([*TAGS[1:], "an unknown tag"])
    assert growth.draw(rng, 1.0) is None


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> object:
    tokenizers = pytest.importorskip("tokenizers")
    from tools.training.teacher import Teacher

    letters = sorted({letter for tag in TAGS for letter in tag.replace(" ", SPACE)} | set("tagshor,:.") | {SPACE})
    pieces: list[str] = []
    for word in ("tag", "short", *LONGEST):
        pieces += [word[:end] for end in range(2, len(word) + 1)]
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_json(reachable(list(dict.fromkeys([*pieces, *letters]))))), encoding="utf-8")
    return Teacher(make_composer(), tokenizers.Tokenizer.from_file(str(path)))


def lesson_of(teacher: object, scene: Scene, text: str) -> tuple[list[int], object, dict[int, dict[int, float]]]:
    ids = [1, *teacher.engine.encode(text, add_special_tokens=False).ids, 2]  # type: ignore[attr-defined]
    lesson = teacher.teach(scene, text, ids)  # type: ignore[attr-defined]
    found = {
        int(place): {int(token): float(value) for token, value in zip(tokens, chances, strict=True) if value > 0}
        for place, tokens, chances in zip(lesson.places, lesson.tokens, lesson.chances, strict=True)
    }
    return ids, lesson, found


def test_the_target_of_a_tag_is_the_chance_of_every_tag_by_its_first_token(teacher: object) -> None:
    scene = Scene(("1girl",), ("fox ears", "shrine"), given=1)
    text = "target: <|short|>\ntag: 1girl, fox ears, shrine"
    ids, _, found = lesson_of(teacher, scene, text)
    vocabulary = teacher.engine.get_vocab()  # type: ignore[attr-defined]
    growth = pair_model().start(("1girl",), rivals={}, allowed=allowed())
    black = vocabulary[f"{SPACE}black"]
    first = min(found)
    assert ids[first] == vocabulary[f"{SPACE}fox"]
    chances, _ = growth.chances(0.5)
    both = float(chances[TAGS.index("black hair")] + chances[TAGS.index("black hat")])
    assert found[first][black] == pytest.approx(0.9 * both, abs=1e-3)
    assert sum(found[first].values()) == pytest.approx(0.9, abs=2e-2)


def test_inside_a_tag_the_target_is_how_tags_that_begin_so_go_on(teacher: object) -> None:
    ids, _, found = lesson_of(teacher, Scene(("1girl",), ("fox ears",), given=1), f"{HEAD}tag: 1girl, fox ears")
    ears, tail = (teacher.spell(tag) for tag in ("fox ears", "fox tail"))  # type: ignore[attr-defined]
    parting = next(at for at, (left, right) in enumerate(zip(ears, tail, strict=False)) if left != right)
    start = next(at for at in range(len(ids)) if tuple(ids[at : at + len(ears)]) == ears)
    # Up to where they part there is no choice; there one is as likely as the other.
    assert not set(found).intersection(range(start + 1, start + parting))
    assert found[start + parting] == {token: pytest.approx(0.45, abs=1e-2) for token in (ears[parting], tail[parting])}


def test_people_not_named_at_the_start_are_owed_from_the_first_tag_on(teacher: object) -> None:
    scene = Scene(("1girl",), ("fox ears", "shrine"), given=2)
    girl = teacher.spell("1girl")[0]  # type: ignore[attr-defined]
    late = lesson_of(teacher, scene, f"{HEAD}tag: fox ears, shrine, 1girl")[2]
    early = lesson_of(teacher, scene, f"{HEAD}tag: 1girl, fox ears, shrine")[2]
    first, second = (place for place in sorted(late) if girl in late[place])
    assert late[first][girl] == late[second][girl] == pytest.approx(0.9 * 0.8, abs=1e-2)
    assert min(late) < first
    assert not any(girl in chances for chances in early.values())


def test_what_a_description_says_is_asked_for_only_where_it_stands_before(teacher: object) -> None:
    scene = Scene(("1girl",), ("shrine",), given=1, said=(("shrine",),), opening=1, sentences=("A shrine.",))
    vocabulary = teacher.engine.get_vocab()  # type: ignore[attr-defined]
    shrine = vocabulary[f"{SPACE}shrine"]
    told = lesson_of(teacher, scene, "target: <|short|> <|short_to_tag|>\nshort: A shrine.\ntag: 1girl, shrine")[2]
    alone = lesson_of(teacher, scene, "target: <|short|> <|tag_to_long|>\ntag: 1girl, shrine\nlong: A shrine.")[2]
    assert told[min(told)][shrine] > 0.5 > alone[min(alone)][shrine]


def test_texts_without_a_tag_line_teach_nothing(teacher: object) -> None:
    assert len(lesson_of(teacher, Scene((), ("hat",)), "short: shrine")[1].places) == 0  # type: ignore[attr-defined]


def test_shards_and_batches_keep_every_target(teacher: object, tmp_path: Path) -> None:
    from tools.training.batches import pad_rows
    from tools.training.shards import read_shard, write_shard

    short = "target: <|short_to_long|>\nshort: a shrine\nlong: A hat."
    texts = [f"{HEAD}tag: 1girl, fox ears, shrine", short, f"{HEAD}tag: 1girl, smile"]
    scenes = [Scene(("1girl",), tuple(text.split(", ")[1:])) for text in texts]
    scenes[1] = Scene((), (), sentences=("A shrine.", "A hat."), opening=1)
    total = write_shard(tmp_path / "s.npz", list(zip(scenes, texts, strict=True)), teacher, context=64)  # type: ignore[arg-type]
    read = read_shard(tmp_path / "s.npz")
    assert sum(len(text.ids) for text in read) == total
    batch = pad_rows(read, 40)
    assert batch.count == total - len(texts) - sum(len(text.given) for text in read)
    sums = batch.chances.sum(axis=2)
    assert np.allclose(sums[sums > 0], 1.0, atol=1e-3)
    for row, text in enumerate(read):
        assert batch.inputs[row, : len(text.ids) - 1].tolist() == text.ids[:-1].tolist()
        assert batch.tokens[row, : len(text.ids) - 1, 0].tolist() == text.ids[1:].tolist()
        untaught = np.flatnonzero(sums[row, : len(text.ids) - 1] == 0) + 1
        assert untaught.tolist() == text.given.tolist() and len(untaught)
    _, _, found = lesson_of(teacher, scenes[2], texts[2])
    place = min(found)
    wanted = {
        int(token): value
        for token, value in zip(batch.tokens[2, place - 1, 1:], batch.chances[2, place - 1, 1:], strict=True)
        if value > 0
    }
    assert wanted == pytest.approx(found[place])


@pytest.mark.parametrize("typed, given", [
    ("A Dog sleeps.", ""),
    ("a dog sleeps", "ad\n"),
    ("A Dog sleeps", "\n"),
    ("a picture of a Dog sleeps.", "a picture of a"),
    ("A Dog sleeps, 4k", ", 4k\n"),
])  # fmt: skip
def test_nothing_is_learnt_of_what_only_users_write(typed: str, given: str) -> None:
    """Small letters, a full stop that is not there, words about quality, and all before the text."""
    from tools.training.shards import given_places

    scene = Scene((), ("dog",), sentences=("A Dog sleeps.", "It dreams."), opening=1)
    head = "rating: safe\ntarget: <|short|> <|short_to_tag|>\n"
    text = f"{head}short: {typed}\ntag: dog"
    places = given_places(scene, text, [(at, at + 1) for at in range(len(text))])
    found = "".join(text[place - 1] for place in places)
    assert found[: len(head)] == head and found[len(head) :] == given


def test_the_end_of_a_text_is_learnt_where_a_scene_ends_so() -> None:
    from tools.training.shards import given_places

    scene = Scene((), ("dog",), sentences=("A dog sleeps.", "It dreams."), opening=1)
    head = "target: <|short|> <|tag_to_long|>\n"
    for text in (f"{head}tag: dog\nlong: A dog sleeps. It dreams.", f"{head}long: A dog sleeps. It dreams."):
        places = given_places(scene, text, [(at, at + 1) for at in range(len(text))])
        assert places.tolist() == list(range(1, len(head) + 1))
    text = f"{head}long: A dog sleeps. It dreams"
    assert given_places(scene, text, [(at, at + 1) for at in range(len(text))])[-1] == len(text) + 1


@pytest.mark.parametrize("first", [0, 1, 40])
def test_when_all_shards_are_seen_any_of_them_comes_again(teacher: object, tmp_path: Path, first: int) -> None:
    from tools.training.batches import stream_batches
    from tools.training.shards import shard_path, write_shard

    for number in range(2):
        drawn = [(Scene(("1girl",), ("smile",)), f"{HEAD}tag: 1girl, smile")] * 3
        write_shard(shard_path(tmp_path, number), drawn, teacher, context=64)  # type: ignore[arg-type]
    stream = stream_batches(tmp_path, 64, np.random.default_rng(0), first=first)
    assert {next(stream).shard for _ in range(60)} >= set(range(first, first + 10))


def test_the_loss_of_sure_targets_is_cross_entropy_and_padding_costs_nothing() -> None:
    torch = pytest.importorskip("torch")
    from tools.training.loss import soft_cross_entropy

    source = torch.Generator().manual_seed(0)
    hidden, embedding = (torch.randn(*shape, generator=source) for shape in ((2, 3, 4), (5, 4)))
    tokens = torch.randint(0, 5, (2, 3, 4), generator=source)
    chances = torch.zeros(2, 3, 4)
    chances[:, :2, 0] = 1.0
    logits = (hidden @ embedding.t())[:, :2].reshape(-1, 5)
    wanted = torch.nn.functional.cross_entropy(logits, tokens[:, :2, 0].reshape(-1))
    assert soft_cross_entropy(hidden, embedding, tokens, chances) == pytest.approx(float(wanted), abs=1e-6)


def test_the_gradients_of_the_loss_are_those_of_its_formula_in_every_chunk() -> None:
    torch = pytest.importorskip("torch")
    from tools.training.loss import soft_cross_entropy

    source = torch.Generator().manual_seed(1)
    parts = [torch.randn(*shape, generator=source, requires_grad=True) for shape in ((2, 300, 4), (7, 4))]
    tokens = torch.randint(0, 7, (2, 300, 3), generator=source)
    chances = torch.rand(2, 300, 3, generator=source)
    chances[:, -20:] = 0.0
    logits = parts[0] @ parts[1].t()
    plain = (logits.logsumexp(-1) * chances.sum(-1) - (logits.gather(-1, tokens) * chances).sum(-1)).sum()
    wanted = torch.autograd.grad(3.0 * plain / chances.sum(), parts)
    found = torch.autograd.grad(3.0 * soft_cross_entropy(*parts, tokens, chances), parts)
    for gradient, expected in zip(found, wanted, strict=True):
        assert torch.allclose(gradient, expected, atol=1e-6)


def test_what_a_sentence_says_next_has_most_of_the_chance() -> None:
    growth = pair_model().start((), rivals={}, allowed=allowed(), told=("shrine", "smile"))
    assert chance(growth, "shrine") > 0.7 > 0.2 < chance(growth, "shrine") + chance(growth, "smile")
    growth.add("shrine", own=False)
    assert chance(growth, "smile") > 0.95
    growth.add("smile", own=False)
    assert growth.chances(1.0)[1] == {}


def test_a_quiet_list_knows_neighbours_and_silence_but_no_popularity() -> None:
    rng = np.random.default_rng(0)
    lists = []
    for _ in range(200):
        growth = pair_model().start((), rivals={}, allowed=allowed(), told=("shrine",), neighbours=NEIGHBOURS)
        growth.add("shrine", own=False)
        drawn = []
        while tag := growth.draw(rng, 1.0):
            drawn.append(tag)
        lists.append(tuple(drawn))
    assert set(lists) <= {(), ("fox ears",), ("fox tail",), ("fox ears", "fox tail"), ("fox tail", "fox ears")}
    assert 20 < lists.count(()) < 100
    nothing = pair_model().start((), rivals={}, allowed=allowed(), neighbours=NEIGHBOURS)
    nothing.add("smile", own=False)
    assert nothing.draw(rng, 1.0) is None and not nothing.chances(1.0)[0].any()


def test_words_about_quality_are_read_and_not_learnt(teacher: object) -> None:
    scene = Scene(("1girl",), ("fox ears",), given=1)
    ids, _, found = lesson_of(teacher, scene, f"{HEAD}tag: 1girl, hdr, fox ears")
    word = teacher.spell("hdr")[0]  # type: ignore[attr-defined]
    first = min(found)
    assert ids[first] == word and word not in found[first]
    assert sum(found[first].values()) == pytest.approx(1.0, abs=1e-2)


def test_the_rest_of_a_real_post_shares_a_third_of_the_chance(teacher: object) -> None:
    text = f"{HEAD}tag: 1girl, smile, black hat"
    black = teacher.engine.get_vocab()[f"{SPACE}black"]  # type: ignore[attr-defined]
    real, drawn = (
        lesson_of(teacher, Scene(("1girl",), ("smile", "black hat"), given=1, real=real), text)[2]
        for real in (True, False)
    )
    before = drawn[min(drawn)][black]
    assert real[min(real)][black] == pytest.approx(0.65 * before + 0.9 * 0.35 / 2, abs=1e-2)
