"""The composer: scenes drawn from the pair model, characters, themes, hand-made lists and real captions.

There is no bulk set of real posts to train on. A list is therefore grown tag by tag (pairs.py) from a seed: a
character's looks, a theme of the wide co-occurrence table, a hand-made list, the tags found in a caption, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tools.training.captions import CaptionRecord, Forms, caption_records, tag_forms, tags_in, things_named
from tools.training.corpus import ARTIST, GENERAL, Character, Corpus, is_held_out
from tools.training.neighbours import Neighbours, build_neighbours
from tools.training.pairs import PairModel, build_pair_model
from tools.training.people import allowed_tags, company_of, draw_people, is_human_tag, mostly_alone, people_of_caption
from tools.training.phrases import load_phrases, write_sentence
from tools.training.prose import describe
from tools.training.relations import Relations, find_relations
from tools.training.render import LENGTHS, SENTENCES, TAG_RANGE, length_of
from tools.training.roles import role_of
from tools.training.scene import Scene
from tools.training.tagforms import coloured_noun, exclusion_table, is_people_tag

# Sources of a scene and their shares.
SHARES = {
    "character": 0.23, "free": 0.14, "theme": 0.03, "hand_made": 0.06, "post": 0.10, "caption": 0.38, "phrase": 0.06
}  # fmt: skip
_MOST_TOLD = 30  # tags taken from the sentences of a caption
_QUIET = 0.88  # share of lists behind real sentences that end where nothing more is known
_LENGTH_SHARES = {"very_short": 0.30, "short": 0.36, "long": 0.30, "very_long": 0.04}
# A model this small can only learn the looks of those it meets often.
_CHARACTERS = 1000
_RATIOS = (
    "0.5",
    "0.6",
    "0.7",
    "0.7",
    "0.7",
    "0.8",
    "0.8",
    "1.0",
    "1.0",
    "1.0",
    "1.2",
    "1.3",
    "1.4",
    "1.5",
    "1.5",
    "1.8",
)
_RATINGS = ("safe", "safe", "safe", "general", "general")
_QUALITIES = (
    "masterpiece",
    "masterpiece",
    "best quality",
    "best quality",
    "great quality",
    "good quality",
    "normal quality",
)
_META = ("highres", "absurdres", "official art", "commentary request", "traditional media", "commentary")
@dataclass(frozen=True, slots=True)
class Composer:
    """All a scene may be drawn from; build it with `load_composer`."""

    model: PairModel
    rivals: dict[str, frozenset[str]]
    allowed: dict[str, NDArray[np.bool_]]
    characters: tuple[Character, ...]
    character_steps: NDArray[np.float64]
    themes: tuple[str, ...]
    theme_steps: NDArray[np.float64]
    partners: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]
    lists: tuple[tuple[str, ...], ...]
    posts: tuple[tuple[str, ...], ...]
    neighbours: Neighbours
    captions: tuple[CaptionRecord, ...]
    forms: Forms
    things: frozenset[str]
    relations: Relations
    phrases: Mapping[str, tuple[str, ...]]
    artists: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw one scene."""
        names = list(SHARES)
        source = names[int(rng.choice(len(names), p=list(SHARES.values())))]
        scene = {
            "character": self.character_scene, "free": self.free_scene, "theme": self.theme_scene,
            "hand_made": self.hand_made_scene, "post": self.post_scene, "caption": self.caption_scene,
            "phrase": self.phrase_scene,
        }[source](rng)  # fmt: skip
        return self._with_metadata(scene, rng)

    def character_scene(self, rng: np.random.Generator) -> Scene:
        """Draw a known character with the listed looks, one colour of each thing, and sometimes a wish beside it."""
        chosen = self.characters[_pick(self.character_steps, rng)]
        size = _draw_size(rng) if rng.random() < 0.2 else len(chosen.looks) + int(rng.integers(2, 7))
        looks = consistent_looks(chosen.looks, self.rivals, rng)
        people: tuple[str, ...] = (chosen.person,) if is_people_tag(chosen.person) else ("1girl",)
        if people != ("no humans",) and rng.random() < 0.95:
            people = (*people, "solo")
        names = (chosen.name,) if rng.random() < 0.5 else ()
        wishes = int(rng.integers(1, 5)) if rng.random() < 0.3 else 0
        scene = self._grown(people, (), size, rng, names=names, anchors=looks, wishes=wishes)
        return replace(scene, characters=(chosen.name,), copyrights=(chosen.series,))

    def free_scene(self, rng: np.random.Generator) -> Scene:
        """Draw a scene from the pair model alone."""
        return self._grown(draw_people(rng), (), _draw_size(rng), rng, wishes=int(rng.integers(1, 13)))

    def theme_scene(self, rng: np.random.Generator) -> Scene:
        """Draw a scene around a tag of the wide co-occurrence table and a few of its partners."""
        theme = self.themes[_pick(self.theme_steps, rng)]
        partners, steps = self.partners[theme]
        found = [partners[_pick(steps, rng)] for _ in range(int(rng.integers(2, 7)))]
        people = draw_people(rng) if is_human_tag(theme) or rng.random() < 0.55 else ("no humans",)
        return self._grown(people, (theme, *found), _draw_size(rng), rng)

    def hand_made_scene(self, rng: np.random.Generator) -> Scene:
        """Take a hand-made list, often a part of it, extended."""
        tags = self.lists[int(rng.integers(len(self.lists)))]
        named = tuple(tag for tag in tags if is_people_tag(tag)) or (draw_people(rng) if rng.random() < 0.8 else ())
        people = mostly_alone(named, rng)
        seed = [tag for tag in tags if not is_people_tag(tag)]
        if rng.random() < 0.75:
            rng.shuffle(seed)
            seed = seed[: int(rng.integers(2, max(3, min(14, len(seed) // 2 + 2))))]
        return self._grown(people, seed, max(len(seed), _draw_size(rng)), rng)

    def post_scene(self, rng: np.random.Generator) -> Scene:
        """Take a real post, a part of it given; one that shows more than a list holds is cut."""
        tags = [str(tag) for tag in rng.permutation(self.posts[int(rng.integers(len(self.posts)))])]
        people = tuple(tag for tag in tags if is_people_tag(tag))
        others = tuple(tag for tag in tags if not is_people_tag(tag))[: 71 - len(people)]
        given = int(rng.integers(1, max(2, min(len(others), 20))))
        return self._described(Scene(people, others, given=given, real=True), (), others[:given], rng)

    def caption_scene(self, rng: np.random.Generator) -> Scene:
        """Take a real caption with the tags found in it, and what is known to come with them."""
        record = self.captions[int(rng.integers(len(self.captions)))]
        return self._told(mostly_alone(record.people, rng), record.sentences, record.said, rng)

    def phrase_scene(self, rng: np.random.Generator) -> Scene:
        """Fill a sentence's slots and take the tags its words name."""
        text = write_sentence(self.phrases, rng)
        tags = tags_in(text, self.forms)
        return self._told(mostly_alone(people_of_caption(text, tags), rng), (text,), (tags,), rng)

    def _told(
        self,
        people: tuple[str, ...],
        sentences: tuple[str, ...],
        said: tuple[tuple[str, ...], ...],
        rng: np.random.Generator,
    ) -> Scene:
        """Grow the list of some sentences, each with the tags it names; a single one is mostly continued."""
        tags = list(dict.fromkeys(tag for part in said for tag in part))[:_MOST_TOLD]
        alone = company_of(people) == "nobody" or not people
        quiet = rng.random() < _QUIET
        size = len(people) + len(tags) + int(rng.integers(2, 12))
        if not quiet:
            size = max(size, int(rng.integers(TAG_RANGE["long"][0], 60)) if alone else _draw_size(rng))
        # Of a person much is known without a word, so only what shows nobody depends on its neighbours.
        scene = self._grown(people, tags, size, rng, told=True, quiet=quiet and alone)
        if len(sentences) == 1 and rng.random() < 0.7:
            new = [tag for tag in self._sayable(scene.tags) if tag not in tags]
            more = describe(
                people, new, (), int(rng.integers(1, 4)), rng, relations=self.relations, said=tags, opening=False
            )  # fmt: skip
            sentences, said = (*sentences, *more), (*said, *(tags_in(sentence, self.forms) for sentence in more))
        return replace(scene, sentences=sentences, opening=1, said=_present(said, scene.tags))

    def _grown(
        self,
        people: tuple[str, ...],
        seed: Sequence[str],
        size: int,
        rng: np.random.Generator,
        *,
        told: bool = False,
        names: tuple[str, ...] = (),
        anchors: tuple[str, ...] = (),
        wishes: int = 0,
        quiet: bool = False,
    ) -> Scene:
        """Grow a list of `size` from `seed`; told: a sentence names the seed, which stays whole, and has the say."""
        company = company_of(people)
        rivals = self.rivals if company == "nobody" or "solo" in people or len(people) == 1 else {}
        first = list(dict.fromkeys(seed))
        if not told:
            first = drop_rivals([tag for tag in first if company != "nobody" or not is_human_tag(tag)], rivals)
        # What a user begins with is not always likely: wishes are drawn at full temperature, the rest below it.
        growth = self.model.start(people, rivals=rivals, allowed=self.allowed[company])
        for tag in first:
            growth.add(tag, own=False)
        wished = [growth.draw(rng, 1.0, own=False) for _ in range(wishes)]
        first += [tag for tag in wished if tag]
        growth = self.model.start(
            people, rivals=rivals, allowed=self.allowed[company], anchors=anchors,
            neighbours=self.neighbours if quiet else None,
        )  # fmt: skip
        for tag in first:
            growth.add(tag, own=False)
        tags, temperature = list(first), float(rng.uniform(0.25, 0.65))
        while len(tags) + len(people) < size and (drawn := growth.draw(rng, temperature)):
            tags.append(drawn)
        scene = Scene(people, tuple(tags), given=len(first), anchors=anchors, quiet=quiet)
        return scene if told else self._described(scene, names, first, rng)

    def _described(self, scene: Scene, names: tuple[str, ...], first: Sequence[str], rng: np.random.Generator) -> Scene:
        """Mostly write what the tags of a scene say."""
        if rng.random() >= (0.35 if scene.anchors else 0.6):
            return scene
        limit = min(5, SENTENCES[length_of(scene.count)])
        tags, count = self._sayable(scene.tags), int(rng.integers(2, limit + 1))
        text = describe(scene.people, tags, names, count, rng, relations=self.relations, given=first)
        said = _present((tags_in(sentence, self.forms) for sentence in text), scene.tags)
        return replace(scene, sentences=text, opening=int(rng.integers(1, 3)), said=said)

    def _sayable(self, tags: Sequence[str]) -> list[str]:
        return [tag for tag in tags if role_of(tag) != "things" or tag in self.things]

    def _with_metadata(self, scene: Scene, rng: np.random.Generator) -> Scene:
        return replace(
            scene,
            artist=str(rng.choice(self.artists)) if self.artists and rng.random() < 0.05 else None,
            rating=str(rng.choice(_RATINGS)) if rng.random() < 0.85 else None,
            quality=str(rng.choice(_QUALITIES)) if rng.random() < 0.75 else None,
            aspect_ratio=str(rng.choice(_RATIOS)) if rng.random() < 0.85 else None,
            meta=tuple(rng.permutation(_META)[: int(rng.integers(1, 3))].tolist()) if rng.random() < 0.3 else (),
        )  # fmt: skip


def consistent_looks(
    looks: Sequence[str], rivals: dict[str, frozenset[str]], rng: np.random.Generator
) -> tuple[str, ...]:
    """Keep one of every set of looks that exclude each other; the first named is the likeliest."""
    order = sorted(range(len(looks)), key=lambda position: position + (4.0 if rng.random() < 0.25 else 0.0))
    kept = drop_rivals([looks[position] for position in order], rivals)
    # `hair` colours the pair model does not know are rivals all the same.
    nouns: set[str] = set()
    result = []
    for tag in kept:
        noun = coloured_noun(tag)
        if noun is None or noun not in nouns:
            result.append(tag)
            nouns.add(noun or "")
    return tuple(result)


def drop_rivals(tags: Sequence[str], rivals: dict[str, frozenset[str]]) -> list[str]:
    """Drop every tag that an earlier one excludes."""
    kept: list[str] = []
    for tag in tags:
        if not any(other in rivals.get(tag, ()) or tag in rivals.get(other, ()) for other in kept):
            kept.append(tag)
    return kept


def load_composer(corpus: Corpus) -> Composer:
    """Read the corpus and build a composer (about half a minute)."""
    model = build_pair_model(corpus)
    posts = {tag: count for tag, category, count in corpus.danbooru if category == GENERAL}
    characters = tuple(character for character in corpus.characters() if not is_held_out(character.name))
    characters = characters[:_CHARACTERS]
    themes, theme_posts, partners = _themes(corpus, posts)
    forms = tag_forms(corpus)
    captions = tuple(caption_records(corpus, forms))
    things = things_named(captions, forms)
    nouns = frozenset(tag for tag in things if role_of(tag) in ("things", "place", "clothes") and "doors" not in tag)
    return Composer(
        model=model,
        rivals=exclusion_table([*model.tags, *(tag for character in characters for tag in character.looks)]),
        allowed=allowed_tags(model),
        characters=characters,
        character_steps=_steps([character.posts**0.25 for character in characters]),
        themes=themes,
        theme_steps=_steps([count**0.5 for count in theme_posts]),
        partners=partners,
        lists=tuple(tuple(tags) for tags in corpus.tag_lists()),
        posts=tuple(tuple(tags) for tags in corpus.posts()),
        neighbours=build_neighbours(corpus, model),
        captions=captions,
        forms=forms,
        things=things,
        relations=find_relations((text for one in captions for text in one.sentences), forms, nouns),
        phrases=load_phrases(corpus.root / "tags/wildcards", lambda phrase: not corpus.words.is_flagged(phrase)),
        artists=tuple([tag for tag, category, _ in corpus.danbooru if category == ARTIST][:1500]),
    )


def _themes(
    corpus: Corpus, posts: dict[str, int]
) -> tuple[tuple[str, ...], list[int], dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]]:
    related: dict[str, dict[str, float]] = {}
    for left, right, count in zip(*corpus.pairs("cooccurrence"), strict=True):
        if (
            min(posts.get(left, 0), posts.get(right, 0)) >= 1500
            and not is_people_tag(left)
            and not is_people_tag(right)
        ):
            for tag, other in ((left, right), (right, left)):
                related.setdefault(tag, {})[other] = count / posts[other] ** 0.5
    themes = tuple(tag for tag, others in related.items() if len(others) >= 4)
    partners = {tag: (tuple(related[tag]), _steps(list(related[tag].values()))) for tag in themes}
    return themes, [posts[tag] for tag in themes], partners


def _present(said: Iterable[Sequence[str]], tags: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Keep of the tags that each sentence names those that are in the list."""
    return tuple(tuple(tag for tag in part if tag in tags) for part in said)


def _draw_size(rng: np.random.Generator) -> int:
    name = LENGTHS[int(rng.choice(len(LENGTHS), p=[_LENGTH_SHARES[name] for name in LENGTHS]))]
    least, most = TAG_RANGE[name]
    return int(rng.integers(max(least, 4), most))


def _steps(weights: Sequence[float]) -> NDArray[np.float64]:
    steps = np.cumsum(np.asarray(weights, dtype=float))
    return steps / steps[-1] if len(steps) else steps


def _pick(steps: NDArray[np.float64], rng: np.random.Generator) -> int:
    return min(int(np.searchsorted(steps, rng.random(), side="right")), len(steps) - 1)
