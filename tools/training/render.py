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
_ANCHOR_NEXT = 0.7  # chance of what a sentence names at a place of the list behind it
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
    return render_plan(scene, Plan(choose_task(scene, rng), length_of(scene.count)), rng)


def choose_task(scene: Scene, rng: np.random.Generator) -> str | None:
    """Draw a task that the scene has all fields for; None means tags only."""
    # Tags alone where nothing is written; where there is a description, it is mostly part of the text.
    weights: dict[str | None, float] = {None: 2.2 if scene.long else 0.8 if scene.short else 1.0}
    if scene.long:
        weights |= {"tag_to_long": 2.6, "long_to_tag": 1.2}
    if scene.short:
        weights |= {"short_to_tag": 1.8}
    if scene.short and scene.long:
        weights |= {"short_to_long": 0.6, "tag_to_short_to_long": 0.9}
        weights |= {"short_to_tag_to_long": 1.3, "short_to_long_to_tag": 0.7}
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
    fields = fields_of(plan.task)
    body = [field_line(scene, name, plan.length, rng, told=fields[0] != "tag") for name in fields]
    return "\n".join([*head, *body, *written])


def fields_of(task: str | None) -> tuple[str, ...]:
    """Return the fields of a task in their order: `tag_to_long` -> (`tag`, `long`)."""
    return tuple(task.split("_to_")) if task else ("tag",)


def field_line(scene: Scene, name: str, length: str, rng: np.random.Generator, *, told: bool = False) -> str:
    """Write one field: tags behind the people count, the given ones shuffled, or sentences up to the limit.

    told: a sentence that names the anchors stands before the tags. Then other tags stand among them, as a model that
    never saw an anchor behind another tag forgets what it has not said yet once it has written one.
    """
    if name == "tag":
        first, rest = list(scene.tags[: scene.given]), scene.tags[scene.given :]
        rng.shuffle(first)
        listed = _mixed(first, rest, rng) if told and set(first) <= set(scene.anchors) else [*first, *rest]
        later = [tag for tag in scene.people if rng.random() < 0.6] if rng.random() < _PEOPLE_LATER else []
        tags = [*(tag for tag in scene.people if tag not in later), *listed]
        behind = len(scene.people) - len(later) + (len(first) or int(rng.integers(0, 5)))
        return f"tag: {', '.join([*tags[:behind], *later, *tags[behind:]])}"
    sentences = scene.short if name == "short" else scene.long
    return f"{name}: {' '.join(sentences[: SENTENCES[length]])}"


def _mixed(anchors: Sequence[str], others: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Put the others among the anchors; the order of each stays."""
    left, right, mixed = list(anchors), list(others), list[str]()
    while left and right:
        mixed.append((left if rng.random() < _ANCHOR_NEXT else right).pop(0))
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
