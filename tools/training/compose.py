"""The composer: scenes drawn from the pair model, characters, themes, hand-made lists and real captions.

There is no bulk set of real posts to train on. A list is therefore grown tag by tag (pairs.py) from a seed: a
character's looks, a theme of the wide co-occurrence table, a hand-made list, the tags found in a caption, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tools.training.captions import CaptionRecord, caption_records, tags_in, word_forms
from tools.training.corpus import ARTIST, GENERAL, Character, Corpus, is_held_out
from tools.training.pairs import PairModel, build_pair_model
from tools.training.people import allowed_tags, company_of, draw_people, is_human_tag, mostly_alone, people_of_caption
from tools.training.phrases import load_phrases, write_sentence
from tools.training.prose import describe
from tools.training.render import LENGTHS, SENTENCES, TAG_RANGE
from tools.training.scene import Scene
from tools.training.tagforms import coloured_noun, exclusion_table, is_people_tag

# Sources of a scene and their shares.
SHARES = {"character": 0.17, "free": 0.33, "theme": 0.04, "hand_made": 0.12, "caption": 0.18, "phrase": 0.16}
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
    captions: tuple[CaptionRecord, ...]
    forms: Mapping[str, str]
    phrases: Mapping[str, tuple[str, ...]]
    artists: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw one scene."""
        names = list(SHARES)
        source = names[int(rng.choice(len(names), p=list(SHARES.values())))]
        scene = {
            "character": self.character_scene, "free": self.free_scene, "theme": self.theme_scene,
            "hand_made": self.hand_made_scene, "caption": self.caption_scene, "phrase": self.phrase_scene,
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

    def caption_scene(self, rng: np.random.Generator) -> Scene:
        """Take a real caption with the tags found in it, mostly extended by the pair model."""
        record = self.captions[int(rng.integers(len(self.captions)))]
        size = len(record.people) + len(record.tags) + int(rng.integers(0, 6))
        if rng.random() < 0.4:
            size = max(size, min(30, _draw_size(rng)))
        scene = self._grown(mostly_alone(record.people, rng), record.tags, size, rng, described=False)
        scene = replace(scene, anchors=scene.tags[: scene.given])
        told = [tag for tag in record.tags if tag not in record.sentences[0].lower()] or list(scene.tags[:4])
        more = describe(scene.people, told, (), 3, rng)[1:] if rng.random() < 0.5 else ()
        if len(record.sentences) > 1:
            return replace(scene, short=record.sentences[:1], long=record.sentences)
        return replace(scene, short=record.sentences, long=(*record.sentences, *more) if more else ())

    def phrase_scene(self, rng: np.random.Generator) -> Scene:
        """Fill a sentence's slots and take the tags its words name."""
        text = write_sentence(self.phrases, rng)
        tags = tuple(tag for tag in tags_in(text, self.forms) if not is_people_tag(tag))
        people = mostly_alone(people_of_caption(text, tags), rng)
        size = max(len(tags) + int(rng.integers(3, 8)), _draw_size(rng) if rng.random() < 0.5 else 0)
        scene = self._grown(people, tags, size, rng, described=False)
        more = describe(people, list(scene.tags), (), 3, rng)[1:]
        return replace(scene, anchors=scene.tags[: scene.given], short=(text,), long=(text, *more))

    def _grown(
        self,
        people: tuple[str, ...],
        seed: Sequence[str],
        size: int,
        rng: np.random.Generator,
        *,
        described: bool = True,
        names: tuple[str, ...] = (),
        anchors: tuple[str, ...] = (),
        wishes: int = 0,
    ) -> Scene:
        company = company_of(people)
        rivals = self.rivals if company == "nobody" or "solo" in people or len(people) == 1 else {}
        first = [tag for tag in dict.fromkeys(seed) if company != "nobody" or not is_human_tag(tag)]
        first = drop_rivals(first, rivals)
        # What a user begins with is not always likely: wishes are drawn at full temperature, the rest below it.
        growth = self.model.start(people, rivals=rivals, allowed=self.allowed[company])
        for tag in first:
            growth.add(tag, own=False)
        wished = [growth.draw(rng, 1.0, own=False) for _ in range(wishes)]
        first += [tag for tag in wished if tag]
        growth = self.model.start(people, rivals=rivals, allowed=self.allowed[company], anchors=anchors)
        for tag in first:
            growth.add(tag, own=False)
        tags, temperature = list(first), float(rng.uniform(0.25, 0.65))
        while len(tags) + len(people) < size and (drawn := growth.draw(rng, temperature)):
            tags.append(drawn)
        scene = Scene(people, tuple(tags), given=len(first), anchors=anchors)
        if described and rng.random() < (0.35 if anchors else 0.6):
            limit = next(SENTENCES[name] for name in LENGTHS if scene.count < TAG_RANGE[name][1] or name == "very_long")
            long = describe(people, tags, names, int(rng.integers(2, min(limit, 5) + 1)), rng, given=first)
            short = describe(people, tags, names, int(rng.integers(1, 3)), rng, given=first)
            scene = replace(scene, short=short, long=long)
        return scene

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
    """Read the corpus and build a composer (about ten seconds)."""
    model = build_pair_model(corpus)
    posts = {tag: count for tag, category, count in corpus.danbooru if category == GENERAL}
    characters = tuple(character for character in corpus.characters() if not is_held_out(character.name))
    characters = characters[:_CHARACTERS]
    themes, theme_posts, partners = _themes(corpus, posts)
    known = [tag for tag, count in posts.items() if count >= 300 and not is_people_tag(tag)]
    forms = word_forms(known, corpus.aliases())
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
        captions=tuple(caption_records(corpus, forms)),
        forms=forms,
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


def _draw_size(rng: np.random.Generator) -> int:
    name = LENGTHS[int(rng.choice(len(LENGTHS), p=[_LENGTH_SHARES[name] for name in LENGTHS]))]
    least, most = TAG_RANGE[name]
    return int(rng.integers(max(least, 4), most))


def _steps(weights: Sequence[float]) -> NDArray[np.float64]:
    steps = np.cumsum(np.asarray(weights, dtype=float))
    return steps / steps[-1] if len(steps) else steps


def _pick(steps: NDArray[np.float64], rng: np.random.Generator) -> int:
    return min(int(np.searchsorted(steps, rng.random(), side="right")), len(steps) - 1)
