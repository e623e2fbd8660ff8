"""A1111's prompt editing schedule, computed from our parse of the edits; tests compare it with recorded output."""
from __future__ import annotations

from bisect import bisect_left

from kgen_ext.prompt.edits import Edit, read_edits


def schedule(prompt: str, steps: int) -> list[tuple[int, str]]:
    """Return A1111's prompt editing schedule: (last step, prompt) pairs, the last of them at `steps`.

    >>> schedule("a [b:c:0.5]", 10)
    [(5, 'a b'), (10, 'a c')]
    """
    edits, accepted = read_edits(prompt)
    if not accepted:
        return [(steps, prompt)]
    ends = {steps}
    for edit in edits:
        if edit.when is None:
            ends.update(range(1, steps + 1))
        elif edit.last_step(steps) >= 1:
            ends.add(edit.last_step(steps))
    return [(step, _at_step(prompt, edits, step, steps)) for step in sorted(ends)]


def _at_step(prompt: str, edits: list[Edit], step: int, steps: int) -> str:
    """Copy the prompt, jumping over the branches that do not rule at this step."""
    jumps: dict[int, int] = {}
    for edit in edits:
        if edit.when is None:
            branch = edit.branches[(step - 1) % len(edit.branches)]
        else:
            branch = edit.branches[step > edit.last_step(steps)]
        jumps[edit.start] = branch[0] if branch[0] < branch[1] else edit.stop
        if branch[0] < branch[1]:
            jumps[branch[1]] = edit.stop
    stops = sorted(jumps)
    out: list[str] = []
    at = i = 0
    while i < len(stops):
        out.append(prompt[at : stops[i]])
        at = jumps[stops[i]]
        i = bisect_left(stops, at, i + 1)
    return "".join(out) + prompt[at:]
