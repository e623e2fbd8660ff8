"""A scene rendered as one training text of TIPO, byte for byte as its training code wrote them.

    <s>rating: safe            metadata lines, any order, any subset
    aspect ratio: 0.7
    target: <|long|> <|tag_to_long|>
    tag: 1girl, solo, smile
    long: A girl smiles.</s>

Sources: UwULLM `src/dataset/tipo`, KohakUwULLM `data/renderers/tipo`, arXiv 2411.08127. `<s>` and `</s>` are not part
of the string here: the tokenizer step adds their ids. Descriptions stay on one line: a line break ends a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.training.scene import Scene

LENGTHS = ("very_short", "short", "long", "very_long")
TASKS = (
    "tag_to_long", "long_to_tag", "short_to_tag", "short_to_long",
    "tag_to_short_to_long", "short_to_tag_to_long", "short_to_long_to_tag",
)  # fmt: skip
SPECIAL_TOKENS = (
    "<|empty|>", *(f"<|{name}|>" for name in LENGTHS), *(f"<|{name}|>" for name in TASKS), "<|gen_meta|>",
)  # fmt: skip
# Tags (at least, at most) and sentences at most that a length token stands for (arXiv 2411.08127 and the runtime's 54).
TAG_RANGE = {"very_short": (0, 18), "short": (18, 36), "long": (36, 54), "very_long": (54, 72)}
SENTENCES = {"very_short": 2, "short": 4, "long": 8, "very_long": 18}
_NO_METADATA = 0.1  # share of texts without any metadata in TIPO's training
_SOME_METADATA = 0.3  # share of texts with a random part of it
_GEN_META = 0.12
_STRAYS = 0.25  # share of lists behind a sentence in which other tags stand among those it names
_TOLD_NEXT = 0.8  # chance there of what the sentence names at a place of the list
_SHORT_TOO = 0.6  # share of lists that end before 18 tags behind a sentence and are called `short`
_TYPED = 0.15  # share of lists that begin with words or capitals as people type them
# What people type before and behind a prompt, and among its tags; none of it is to be written.
_BEFORE = (
    "masterpiece, best quality, ", "a photo of ", "a picture of ", "an image of ", "a painting of ", "photo of ",
    "best quality, highres, ", "illustration of ", "digital art of ", "a drawing of ", "masterpiece, ",
)  # fmt: skip
_BEHIND = (
    ", highly detailed", ", 4k", ", 8k, highly detailed", ", best quality", ", masterpiece", ", sharp focus",
    ", trending on artstation", ", cinematic lighting", ", ultra detailed, 8k", ", hd", ", digital art",
    ", photorealistic",
)  # fmt: skip
BOILERPLATE = (
    "8k", "4k", "highly detailed", "ultra-detailed", "intricate details", "best quality", "masterpiece", "sharp focus",
    "cinematic lighting", "absurdres", "highres", "extremely detailed", "professional", "award winning", "hdr", "uhd",
    "beautiful", "perfect lighting", "8k wallpaper", "detailed", "high quality", "raw photo", "amazing", "artstation",
)  # fmt: skip
_PEOPLE_LATER = 0.6  # ours: users also begin with `fox ears, shrine`, so the count may come behind what is given


@dataclass(frozen=True, slots=True)
class Plan:
    """What one rendering of a scene will be: its task (None: tags only) and its length token."""

    task: str | None
    length: str


def length_of(count: int) -> str:
    """Return the length token name that holds `count` tags."""
    return next((name for name in LENGTHS if count < TAG_RANGE[name][1]), "very_long")


def render_scene(scene: Scene, rng: np.random.Generator) -> str:
    """Render a scene with a random task among those it has the fields for."""
    task, length = choose_task(scene, rng), length_of(scene.count)
    # People ask for the usual length; behind a sentence its list may end when all is said.
    if length == "very_short" and fields_of(task)[0] != "tag" and rng.random() < _SHORT_TOO:
        length = "short"
    return render_plan(scene, Plan(task, length), rng)


def choose_task(scene: Scene, rng: np.random.Generator) -> str | None:
    """Draw a task that the scene has all fields for; None means tags only."""
    # Tags alone where nothing is written; where there is a description, it is mostly part of the text.
    weights: dict[str | None, float] = {None: 2.2 if scene.sentences else 1.0}
    if scene.sentences:
        weights |= {"tag_to_long": 2.6, "long_to_tag": 1.0, "short_to_tag": 3.0}
    if len(scene.sentences) > scene.opening:
        weights |= {"short_to_long": 0.6, "tag_to_short_to_long": 0.7}
        weights |= {"short_to_tag_to_long": 2.0, "short_to_long_to_tag": 0.7}
    names = list(weights)
    chances = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def render_plan(scene: Scene, plan: Plan, rng: np.random.Generator) -> str:
    """Render a scene as `plan` says, with random metadata and a random order of the tags."""
    lines = metadata_lines(scene)
    draw = rng.random()
    if draw < _NO_METADATA:
        kept = []
    elif draw < _NO_METADATA + _SOME_METADATA:
        kept = [line for line in lines if rng.random() < 0.5]
    else:
        kept = list(lines)
    # Written metadata is what a reader can infer: an artist, say, cannot be.
    missing = [line for line in lines if line not in kept and not line.startswith("artist")]
    written = rng.permutation(missing).tolist() if missing and rng.random() < _GEN_META / 0.4 else []
    target = [] if plan.task == "short_to_long" else [f"<|{plan.length}|>"]
    target += [f"<|{plan.task}|>"] if plan.task else []
    target += ["<|gen_meta|>"] if written else []
    head = [*rng.permutation(kept).tolist(), f"target: {' '.join(target)}"]
    body = [field_line(scene, name, plan, rng) for name in fields_of(plan.task)]
    return "\n".join([*head, *body, *written])


def fields_of(task: str | None) -> tuple[str, ...]:
    """Return the fields of a task in their order: `tag_to_long` -> (`tag`, `long`)."""
    return tuple(task.split("_to_")) if task else ("tag",)


def shown(scene: Scene, name: str, plan: Plan) -> tuple[str, ...]:
    """Return the sentences of the field `name`: `long` goes on where `short` stands before it."""
    fields = fields_of(plan.task)
    begin = scene.opening if "short" in fields[: fields.index(name)] else 0
    end = scene.opening if name == "short" else len(scene.sentences)
    return scene.sentences[begin : min(end, begin + SENTENCES[plan.length])]


def told_before(scene: Scene, plan: Plan) -> tuple[str, ...]:
    """Return the tags that the sentences before the list name, in their order."""
    before = fields_of(plan.task)[: fields_of(plan.task).index("tag")] if "tag" in fields_of(plan.task) else ()
    return scene.told(sum(len(shown(scene, name, plan)) for name in before))


def field_line(scene: Scene, name: str, plan: Plan, rng: np.random.Generator) -> str:
    """Write one field: a list of tags, or sentences up to the limit."""
    if name == "tag":
        return f"tag: {', '.join(_listed(scene, told_before(scene, plan), rng))}"
    text = " ".join(shown(scene, name, plan))
    return f"{name}: {typed(text, rng) if fields_of(plan.task)[0] == name else text}"


def _listed(scene: Scene, told: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Order the tags: the people, then what sentences told, then the rest; without sentences what was given."""
    first, rest = list(scene.tags[: scene.given]), list(scene.tags[scene.given :])
    rng.shuffle(first)
    if told:
        others = [tag for tag in (*first, *rest) if tag not in told]
        # Other tags among them: a model that never saw that forgets what it has not said yet once it has written one.
        listed = _mixed(told, others, rng) if rng.random() < _STRAYS else [*told, *others]
        return [*scene.people, *listed]
    later = [tag for tag in scene.people if rng.random() < 0.6] if rng.random() < _PEOPLE_LATER else []
    tags = [*(tag for tag in scene.people if tag not in later), *first, *rest]
    behind = len(scene.people) - len(later) + (len(first) or int(rng.integers(0, 5)))
    tags = [*tags[:behind], *later, *tags[behind:]]
    if first and rng.random() < _TYPED:
        capitals = rng.random() < 0.4
        tags = [tag.title() if capitals and place < behind else tag for place, tag in enumerate(tags)]
        for word in rng.choice(BOILERPLATE, int(rng.integers(0 if capitals else 1, 4)), replace=False):
            tags.insert(int(rng.integers(0, behind + 1)), str(word))
    return tags


def typed(text: str, rng: np.random.Generator) -> str:
    """Write a description as people type it: without a full stop, in small letters, with words about quality."""
    draw = rng.random(4)
    if draw[0] < 0.5:
        text = text.rstrip(".")
    if draw[1] < 0.45:
        text = text.lower()
    if draw[2] < 0.12:
        text = str(rng.choice(_BEFORE)) + text[:1].lower() + text[1:]
    if draw[3] < 0.12:
        text = text.rstrip(".") + str(rng.choice(_BEHIND))
    return text


def _mixed(told: Sequence[str], others: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Put the others among what was told; the order of each stays."""
    left, right, mixed = list(told), list(others), list[str]()
    while left and right:
        mixed.append((left if rng.random() < _TOLD_NEXT else right).pop(0))
    return [*mixed, *left, *right]


def metadata_lines(scene: Scene) -> list[str]:
    """Write the metadata lines that have a value."""
    values = {
        "meta": ", ".join(scene.meta),
        "rating": scene.rating,
        "artist": scene.artist,
        "aspect ratio": scene.aspect_ratio,
        "characters": ", ".join(scene.characters),
        "quality": scene.quality,
        "copyrights": ", ".join(scene.copyrights),
    }
    return [f"{key}: {value}" for key, value in values.items() if value]
