"""A scene: everything one training text can say about one picture, before it is rendered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """People tags, other tags, metadata by name, and sentences of a short and a long description.

    The first `given` tags are in no order; the others were added to them one by one. `anchors` are tags that the
    metadata or the description asks for (a character's looks, the tags found in a caption).
    """

    people: tuple[str, ...]
    tags: tuple[str, ...]
    given: int = 0
    anchors: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    copyrights: tuple[str, ...] = ()
    artist: str | None = None
    rating: str | None = None
    quality: str | None = None
    aspect_ratio: str | None = None
    meta: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    long: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Return the number of tags the `tag:` line holds."""
        return len(self.people) + len(self.tags)
