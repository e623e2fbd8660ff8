"""A scene: everything one training text can say about one picture, before it is rendered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """People tags, other tags, metadata by name, and sentences of a short and a long description.

    The first `given` tags are in no order; the others were added to them one by one. `anchors` are tags that the
    metadata asks for (a character's looks). `sentences` describe the scene, the first `opening` of them briefly; `said`
    are the tags that each names, in its order. `quiet`: the list ends where what was said brings no more. `real`: all
    tags are of one real post.
    """

    people: tuple[str, ...]
    tags: tuple[str, ...]
    given: int = 0
    anchors: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    opening: int = 0
    said: tuple[tuple[str, ...], ...] = ()
    quiet: bool = False
    real: bool = False
    characters: tuple[str, ...] = ()
    copyrights: tuple[str, ...] = ()
    artist: str | None = None
    rating: str | None = None
    quality: str | None = None
    aspect_ratio: str | None = None
    meta: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Return the number of tags the `tag:` line holds."""
        return len(self.people) + len(self.tags)

    @property
    def short(self) -> tuple[str, ...]:
        """Return the sentences of the brief description."""
        return self.sentences[: self.opening]

    def told(self, count: int) -> tuple[str, ...]:
        """Return the tags that the first `count` sentences name, in their order."""
        return tuple(dict.fromkeys(tag for tags in self.said[:count] for tag in tags))
