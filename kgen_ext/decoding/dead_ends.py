"""Where a tag list must not go again: token paths that end in a tag which stands already or was refused.

A path is closed at its last open choice: the last of its tokens that the model was not nearly bound to draw. `kirisame
marisa` is closed at ` kirisame`, since nothing else follows that; `holding sword` at ` sword`, so that `holding book`
stays open. Nothing is decoded twice for a repeat; the price is that a longer tag which begins with a closed one, token
for token, is closed with it. Knows token ids, not what they spell.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

# A token with at least this share of the mass was no choice.
_BOUND = 0.9


class DeadEnds:
    """The closed paths of one list, and the path of the tag in hand."""

    __slots__ = ("_closed", "_path", "_shares")

    def __init__(self, paths: Iterable[Sequence[int]]) -> None:
        self._closed: dict[tuple[int, ...], set[int]] = {}
        self._path: list[int] = []
        self._shares: list[float] = []
        for path in paths:
            # How likely the tokens of a given tag were is not known: only those of one token are closed beforehand.
            if len(path) == 1:
                self._closed.setdefault((), set()).add(path[0])

    def forbidden(self) -> set[int]:
        """Return the ids that must not come next."""
        return self._closed.get(tuple(self._path), set())

    def push(self, token: int, share: float) -> None:
        """Follow a drawn token."""
        self._path.append(token)
        self._shares.append(share)

    def close(self) -> None:
        """Close the path in hand and go back to before its last open choice."""
        index = max((at for at, share in enumerate(self._shares) if share < _BOUND), default=0)
        if self._path:
            self._closed.setdefault(tuple(self._path[:index]), set()).add(self._path[index])
        del self._path[index:], self._shares[index:]

    def back(self) -> None:
        """Step back one token without closing anything."""
        del self._path[-1:], self._shares[-1:]

    def restart(self) -> None:
        """Begin the next tag."""
        self._path, self._shares = [], []

    def path(self) -> tuple[int, ...]:
        """Return the tokens of the tag in hand."""
        return tuple(self._path)
