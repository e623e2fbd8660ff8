"""The cache that huggingface_hub keeps, read as it lies on disk.

Refuses to write to it, and to import the client. Layout:

    models--OWNER--NAME/refs/main                  the commit that `main` was when it was last asked for
    models--OWNER--NAME/snapshots/COMMIT/PATH      a link into ../../blobs (Windows: often the file itself)
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def cached_file(cache: Path, *, repo: str, revision: str, path: str) -> Path | None:
    """Return a file of a repository in the cache: of that revision if it is there, else of the newest snapshot."""
    folder = cache / ("models--" + repo.replace("/", "--"))
    for snapshot in _snapshots(folder, revision):
        found = snapshot / path
        # Links are how the cache works, but none leads out of it.
        if found.is_file() and found.resolve().is_relative_to(cache.resolve()):
            return found
    return None


def _snapshots(folder: Path, revision: str) -> Iterator[Path]:
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return
    ref = folder / "refs" / revision
    commit = ref.read_text("utf-8", "replace").strip() if ref.is_file() else revision
    first = snapshots / commit if commit and "/" not in commit and ".." not in commit else snapshots
    if first != snapshots and first.is_dir():
        yield first
    others = (one for one in snapshots.iterdir() if one.is_dir() and one != first)
    yield from sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)
