"""Build `kgen_ext/tags/data/groups.bin` from the tag tree of danbooru-tag-groups: tag -> groups, as hashes.

    python -m tools.tag_lists.build_groups TAG_TREE.json [--out FILE] [--check]

TAG_TREE.json is the repository's file of that name: branches within branches, with lists of tags at their ends. Which
branch is which group is the table below. `--check` writes nothing and compares with the existing file. The output
depends only on the input.
"""
from __future__ import annotations

import argparse
import json
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.groups import HEADER, MAGIC, MASK_BITS, PATH, Group, GroupTable
from kgen_ext.tags.names import hasher, key_of

OUT = Path(PATH)
# Beginnings of paths in the tree, the longest that fits decides; no groups: left out.
BRANCHES: dict[str, tuple[Group, ...]] = {
    "body": (Group.BODY,),
    "body/arms": (Group.POSE,),
    "body/breasts": (),
    "body/breasts/sizes": (Group.BODY,),
    "body/ears/objects": (Group.ACCESSORY,),
    "body/ears/piercings": (Group.ACCESSORY,),
    "body/emotions": (Group.EXPRESSION,),
    "body/face": (Group.EXPRESSION,),
    "body/face/piercings": (Group.ACCESSORY,),
    "body/hair": (Group.HAIR,),
    "body/hair/actions": (Group.HAIR, Group.POSE),
    "body/hair/objects": (Group.ACCESSORY,),
    "body/hands": (Group.POSE,),
    "body/head": (),
    "body/injury/medical": (),
    "body/movement": (Group.POSE,),
    "body/neck/piercings": (Group.ACCESSORY,),
    "body/piercings": (Group.ACCESSORY,),
    "body/poses": (Group.POSE,),
    "body/posture": (Group.POSE,),
    "body/pussy/attire": (Group.CLOTHING,),
    "body/shoulders/animals": (Group.CREATURE,),
    "body/shoulders/things_on": (),
    "body/shoulders/touching": (Group.POSE,),
    "body/tail/objects": (Group.ACCESSORY,),
    "body/torso/inclination": (Group.POSE,),
    "changes/clothes": (Group.CLOTHING,),
    "changes/eyes": (Group.EYES,),
    "changes/hair": (Group.HAIR,),
    "changes/whole attire": (Group.CLOTHING,),
    "clothes": (Group.CLOTHING,),
    "clothes/bdsm": (Group.ACCESSORY, Group.CLOTHING),
    "clothes/eyewear": (Group.ACCESSORY,),
    "clothes/headwear": (Group.ACCESSORY, Group.CLOTHING),
    "clothes/headwear/not headwear": (Group.ACCESSORY,),
    "clothes/jewelry": (Group.ACCESSORY,),
    "clothes/neckwear": (Group.ACCESSORY, Group.CLOTHING),
    "clothes/neckwear/collars": (Group.CLOTHING,),
    "clothes/nudity/actions": (Group.CLOTHING, Group.POSE),
    "clothes/patterns": (),
    "creatures": (Group.CREATURE,),
    "creatures/cats/behaviors": (),
    "creatures/cats/girl attire": (),
    "creatures/cats/see also": (),
    "creatures/cats/place": (Group.CREATURE,),
    "creatures/dogs/girl attire": (),
    "creatures/dogs/see also": (),
    "elements/water/geography": (Group.BACKGROUND,),
    "emotes": (Group.EXPRESSION,),
    "image composition/angle": (Group.CAMERA,),
    "image composition/background": (Group.BACKGROUND,),
    "image composition/composition": (Group.CAMERA,),
    "image composition/focus": (Group.CAMERA,),
    "image composition/framing": (Group.CAMERA,),
    "image composition/subject matter": (Group.BACKGROUND,),
    "image composition/techniques": (Group.CAMERA,),
    "locations": (Group.BACKGROUND,),
    "plants/locations": (Group.BACKGROUND,),
    "plants/tree": (Group.BACKGROUND,),
    "plants/tree/action": (),
    "technology / sci-fi/places": (Group.BACKGROUND,),
    "technology / sci-fi/space": (Group.BACKGROUND,),
    "verbs and gerunds": (Group.POSE,),
}
# In the branches above for what they are used for, or for company.
NOT = frozenset((
    "solo", "everyone", "absolutely everyone", "group profile", "outdoors", "blurry", "portrait", "hat", "hat bow",
    "head", "face", "animal", "animalization", "headphones", "autumn", "basket", "arrow through heart",
    "no humans", "male focus", "solo focus", "girl on top",
))  # fmt: skip


def read_tree(text: str) -> dict[str, frozenset[Group]]:
    """Return key -> its groups, of all branches that name one."""
    groups = dict[str, frozenset[Group]]()
    for path, tags in _branches(json.loads(text)):
        found = next((BRANCHES[path[:end]] for end in range(len(path), 0, -1) if path[:end] in BRANCHES), ())
        for tag in tags:
            name = normalise(re.sub(r"\\([()])", r"\1", tag))
            if found and name and name not in NOT:
                key = key_of(name)
                groups[key] = groups.get(key, frozenset()) | frozenset(found)
    for key in [key for key in groups if key.startswith("hair") and Group.ACCESSORY in groups[key]]:
        groups[key] = frozenset((Group.ACCESSORY,))  # the tree has them with the headwear, too
    return groups


def _branches(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, list[str]]]:
    for name, below in tree.items():
        if isinstance(below, Mapping):
            yield from _branches(below, f"{path}{name}/")
        else:
            yield f"{path}{name}", [tag for tag in below if not tag.startswith("$")]


def render_groups(groups: Mapping[str, frozenset[Group]]) -> bytes:
    """Return the bytes of the table; the salt is the first under which no two tags share a hash."""
    for salt in range(100):
        hash_of = hasher(salt)
        entries = {hash_of(key): _mask(found) for key, found in groups.items()}
        if len(entries) == len(groups):
            packed = sorted(hashed << MASK_BITS | mask for hashed, mask in entries.items())
            return HEADER.pack(MAGIC, len(packed), salt) + struct.pack(f"<{len(packed)}Q", *packed)
    raise SystemExit("no salt keeps the tags apart")


def _mask(groups: frozenset[Group]) -> int:
    return sum(1 << bit for bit, group in enumerate(Group) if group in groups)


def check_groups(path: Path, groups: Mapping[str, frozenset[Group]]) -> None:
    """Raise SystemExit unless the table gives every tag its own groups."""
    table = GroupTable(str(path))
    wrong = [key for key, found in groups.items() if table.find(key) != found]
    if wrong or table.count != len(groups):
        raise SystemExit(f"{path}: {len(wrong)} of {len(groups)} tags are wrong, such as {wrong[:5]}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tag_lists.build_groups", description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    groups = read_tree(options.tree.read_text("utf-8"))
    if not options.check:
        options.out.write_bytes(render_groups(groups))
    check_groups(options.out, groups)
    sys.stdout.write(f"{options.out}: {len(groups)} tags, {options.out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
