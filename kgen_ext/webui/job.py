"""The use case of one job: its prompts with their seeds in, the prompts to draw out, one decode for all of them.

Pure: it is handed something that streams like an Expander, and knows no host, no settings and no infotext. Equal
prompts with equal seeds are one row; what was written earlier in this session is not expanded a second time; a row that
was cancelled keeps the user's own prompt.
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from kgen_ext.errors import KGenError, UserError
from kgen_ext.events import By, Event, Expansion, Finish, Finished
from kgen_ext.request import ExpandRequest
from kgen_ext.webui.messages import ui_message

TWICE = "already expanded: the prompt is left as it is"
CANCELLED = "cancelled: the prompt is your own"
NOTHING = "the model added nothing: write more in the prompt, choose a longer tag length, or loosen the rules"
OWN = "nothing but your own prompt is left to draw"
_LONGEST = 300
# The folders before a file's name, of either system: an infotext goes where the image goes.
_FOLDERS = re.compile(r"""(?<![^\s'"(])(?:[A-Za-z]:)?(?:[\\/][^\\/:\n]{1,255}){1,40}[\\/](?=[^\\/\s])""")


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """An image: its prompt, the prompt of its hires pass (None where there is none), and the seed of its words."""

    prompt: str
    seed: int
    hires: str | None = None


@dataclass(frozen=True, slots=True)
class ExpandedPrompt:
    """What became of an image: the prompts to draw; `expansion` is None where the prompt is the user's own."""

    ask: ImagePrompt
    prompt: str
    hires: str | None
    expansion: Expansion | None = None
    note: str = ""


def untouched(ask: ImagePrompt, note: str = "") -> ExpandedPrompt:
    """Return the answer that changes nothing."""
    return ExpandedPrompt(ask, ask.prompt, ask.hires, None, note)


def run_job(
    asks: Sequence[ImagePrompt],
    *,
    make: Callable[[str, int], ExpandRequest],
    stream: Callable[[Sequence[ExpandRequest]], Iterator[Event]],
    hires: str,
    written_before: Callable[[str], bool],
) -> list[ExpandedPrompt]:
    """Expand every image's prompt in one stream and return the answers in order.

    make: the request of a prompt and a seed; all are made before anything is loaded. stream: `Expander.stream`, or what
    loads a model first; called once, and only if there is something to expand. hires: follow, separate or leave.
    written_before: says whether a prompt is one of this session's results.
    """
    rows: dict[tuple[str, int], int] = {}
    for ask in asks:
        for prompt in _prompts(ask, hires):
            if not written_before(prompt):
                rows.setdefault((prompt, ask.seed), len(rows))
    requests = [make(prompt, seed) for prompt, seed in rows]
    done: dict[int, Expansion] = {}
    for event in stream(requests) if requests else ():
        if isinstance(event, Finished):
            done[event.row] = event.expansion
    found = {key: (requests[row], done[row]) for key, row in rows.items() if row in done}
    return [_answer(ask, hires, rows, found) for ask in asks]


def _prompts(ask: ImagePrompt, hires: str) -> tuple[str, ...]:
    """Return what is to be expanded for an image."""
    if hires == "separate" and ask.hires is not None and ask.hires != ask.prompt:
        return ask.prompt, ask.hires
    return (ask.prompt,)


_Key = tuple[str, int]
_Found = tuple[ExpandRequest, Expansion]


def _answer(ask: ImagePrompt, hires: str, rows: Mapping[_Key, int], found: Mapping[_Key, _Found]) -> ExpandedPrompt:
    key = (ask.prompt, ask.seed)
    if key not in rows:
        return untouched(ask, TWICE)
    if not _whole(found.get(key)):
        return untouched(ask, CANCELLED)
    request, expansion = found[key]
    second, notes = ask.hires, list(expansion.notes)
    if not any(piece.by is By.MODEL for piece in expansion.pieces):
        notes.append(NOTHING)
    if not expansion.prompt.strip(" ,\n") and ask.prompt.strip(" ,\n"):
        # “Text only” of a model that wrote none: an image of nothing is not what was asked for.
        return ExpandedPrompt(ask, ask.prompt, ask.hires, expansion, "; ".join(dict.fromkeys((*notes, OWN))))
    if second is not None and hires != "leave":
        if second == ask.prompt:
            second = expansion.prompt
        elif hires == "follow":
            second = follow(request, expansion, second)
        elif _whole(found.get((second, ask.seed))):
            second = found[second, ask.seed][1].prompt
    return ExpandedPrompt(ask, expansion.prompt, second, expansion, "; ".join(dict.fromkeys(notes)))


def _whole(one: _Found | None) -> bool:
    return one is not None and one[1].finish is not Finish.CANCELLED


def follow(request: ExpandRequest, expansion: Expansion, prompt: str) -> str:
    """Return another prompt with an expansion's additions behind it, the user's bytes in it untouched.

    Where both prompts have as many subjects, each of the other's gets what was added to its like; else the first gets
    everything.
    """
    # A host that starts up pays for the grammar when it first expands.
    from kgen_ext.prompt import append, parse
    from kgen_ext.protocol.plan import join_tags

    other, own = parse(prompt), parse(expansion.source)
    if 1 < len(own.segments) == len(other.segments) and not request.text and expansion.source == request.prompt:
        additions, at = [""] * len(own.segments), 0
        for piece in expansion.pieces:
            if piece.by is By.USER:
                at += len(piece.text)
            else:
                index = next(i for i, one in enumerate(own.segments) if at <= one.end)
                additions[index] = ", ".join(part for part in (additions[index], piece.text.strip(" ,")) if part)
    else:
        text = " ".join(part for part in (request.text.strip(), expansion.added_text) if part)
        additions = [", ".join(part for part in (join_tags(expansion.added_tags), text) if part)]
    return "".join(piece.text for piece in append(other, additions).pieces)


def explain(error: BaseException) -> str:
    """Return what went wrong and what to do, in one line of bounded length."""
    if isinstance(error, KGenError):
        # What a user typed is told as it is: a pattern looks like a path.
        text = ui_message(error) if isinstance(error, UserError) else _FOLDERS.sub("", ui_message(error))
    elif isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        text = f"out of memory: {error or 'too little is left'} (use a smaller model, or the device “cpu” in Settings)"
    elif isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        # By its last name: where a user's folders lie is nobody's business.
        text = f"{PurePath(os.fsdecode(error.filename)).name}: {error.strerror} (install the model, or KGen, again)"
    else:
        text = f"{type(error).__name__}: {error} (please report this, with the lines above it in the console)"
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
