"""Expansion of the prompts of one job: every image's prompt and seed in, the prompts to draw out, one decode for all.

Equal prompts with equal seeds share a row; a prompt that is a result of this session is not expanded again; a row that
was cancelled keeps the user's own prompt. Host, settings and models are the caller's.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kgen_ext.events import By, Event, Expansion, Finish, Finished, Piece
from kgen_ext.request import FIELDS, ExpandRequest
from kgen_ext.webui.messages import ui_note

ALREADY_EXPANDED = "already expanded: the prompt is left as it is"
CANCELLED = "cancelled: the prompt is your own"
MARK: str = FIELDS["mark"].default
OWN = "nothing but your own prompt is left to draw"


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """Prompt of an image before expansion.

    hires: the prompt of its hires pass, None where there is none. seed: of the expansion. context: the image's other
    regions, where this is the prompt of one.
    """

    prompt: str
    seed: int
    hires: str | None = None
    context: str = ""


@dataclass(frozen=True, slots=True)
class ExpandedPrompt:
    """Prompts to draw an image from. expansion: None where they are the user's own; note: why."""

    image_prompt: ImagePrompt
    prompt: str
    hires: str | None
    expansion: Expansion | None = None
    note: str = ""


def untouched(image_prompt: ImagePrompt, note: str = "", *, mark: str = MARK) -> ExpandedPrompt:
    """Return the result that changes nothing but the marks, which are not for the image."""
    hires = None if image_prompt.hires is None else unmarked(image_prompt.hires, mark)
    return ExpandedPrompt(image_prompt, unmarked(image_prompt.prompt, mark), hires, None, note)


def unmarked(prompt: str, mark: str) -> str:
    """Return a prompt without the marks around what is to be expanded."""
    if f"{mark}>".lower() not in prompt.lower():
        return prompt
    # Imported here: loading the grammar would slow down the host's start.
    from kgen_ext.prompt import read_marks

    return read_marks(prompt, mark).text


def run_job(
    image_prompts: Sequence[ImagePrompt],
    *,
    make: Callable[[str, int], ExpandRequest],
    stream: Callable[[Sequence[ExpandRequest]], Iterator[Event]],
    hires: str,
    written_before: Callable[[str], bool],
    mark: str = MARK,
) -> list[ExpandedPrompt]:
    """Expand every image's prompt in one stream and return the results in order.

    make: builds the request for a prompt and a seed; called for all before a model is loaded. stream: yields the events
    of the requests; called once, and not at all if there is nothing to expand. hires: follow, separate or leave.
    written_before: tells whether a prompt is a result of this session. mark: the name of the marks in the prompts.
    """
    rows: dict[_Key, int] = {}
    for image_prompt in image_prompts:
        for prompt in _prompts(image_prompt, hires):
            if not written_before(prompt):
                rows.setdefault(_key(image_prompt, prompt), len(rows))
    requests = [_with_context(make(prompt, seed), context) for prompt, seed, context in rows]
    finished: dict[int, Expansion] = {}
    for event in stream(requests) if requests else ():
        if isinstance(event, Finished):
            finished[event.row] = event.expansion
    results = {key: (requests[row], finished[row]) for key, row in rows.items() if row in finished}
    return [_expanded(image_prompt, hires, rows, results, mark) for image_prompt in image_prompts]


_Key = tuple[str, int, str]
_Result = tuple[ExpandRequest, Expansion]


def _key(image_prompt: ImagePrompt, prompt: str) -> _Key:
    return prompt, image_prompt.seed, image_prompt.context


def _with_context(request: ExpandRequest, context: str) -> ExpandRequest:
    return replace(request, context=context) if context else request


def _prompts(image_prompt: ImagePrompt, hires: str) -> tuple[str, ...]:
    """Return the prompts of an image that are expanded."""
    if hires == "separate" and image_prompt.hires is not None and image_prompt.hires != image_prompt.prompt:
        return image_prompt.prompt, image_prompt.hires
    return (image_prompt.prompt,)


def _expanded(
    image_prompt: ImagePrompt, hires: str, rows: Mapping[_Key, int], results: Mapping[_Key, _Result], mark: str
) -> ExpandedPrompt:
    key = _key(image_prompt, image_prompt.prompt)
    if key not in rows:
        return untouched(image_prompt, ALREADY_EXPANDED, mark=mark)
    if not _is_complete(results.get(key)):
        return untouched(image_prompt, CANCELLED, mark=mark)
    request, expansion = results[key]
    typed, notes = image_prompt.hires, list(map(ui_note, expansion.notes))
    if not expansion.prompt.strip(" ,\n") and image_prompt.prompt.strip(" ,\n"):
        # “Text only” with a model that wrote no text: do not draw an image of nothing.
        note = "; ".join(dict.fromkeys((*notes, OWN)))
        return replace(untouched(image_prompt, note, mark=mark), expansion=expansion)
    hires_prompt = None if typed is None else unmarked(typed, mark)
    if typed is not None and hires != "leave":
        if typed == image_prompt.prompt:
            hires_prompt = expansion.prompt
        elif hires == "follow":
            hires_prompt = follow(request, expansion, typed)
        elif _is_complete(results.get(_key(image_prompt, typed))):
            hires_prompt = results[_key(image_prompt, typed)][1].prompt
    return ExpandedPrompt(image_prompt, expansion.prompt, hires_prompt, expansion, "; ".join(dict.fromkeys(notes)))


def _is_complete(result: _Result | None) -> bool:
    return result is not None and result[1].finish is not Finish.CANCELLED


def follow(request: ExpandRequest, expansion: Expansion, prompt: str) -> str:
    """Return another prompt with an expansion's additions appended; the user's bytes in it are kept.

    Where both prompts have the same number of subjects, or of marked parts, each gets the additions of its counterpart;
    else the first gets them all.
    """
    # Imported here: loading the grammar would slow down the host's start.
    from kgen_ext.prompt import append, find_parts, parse, read_marks
    from kgen_ext.protocol.plan import join_tags
    from kgen_ext.rules.entries import read_entry

    marked, marked_own = read_marks(prompt, request.mark), read_marks(expansion.source, request.mark)
    other, own = parse(marked.text), parse(marked_own.text)
    parts, own_parts = find_parts(other, marked.parts), find_parts(own, marked_own.parts)
    places = [part.span for part in own_parts] or list(own.segments)
    count = len(parts) or len(other.segments)
    alike = bool(parts) == bool(own_parts) and 1 < len(places) == count
    kept = "".join(piece.text for piece in expansion.pieces if piece.by is By.USER)
    if alike and not request.text and kept == marked_own.text:
        additions, position = [""] * len(places), 0
        for piece in expansion.pieces:
            if piece.by is By.USER:
                position += len(piece.text)
            else:
                index = next((i for i, place in enumerate(places) if position <= place.end), len(places) - 1)
                additions[index] = ", ".join(part for part in (additions[index], piece.text.strip(" ,")) if part)
    else:
        text = " ".join(part for part in (request.text.strip(), expansion.added_text) if part)
        additions = [", ".join(part for part in (join_tags(expansion.added_tags), text) if part)]
    literal = [entry for entry in request.require if read_entry(entry).prompt is not None]
    literally = [(Piece(_escape(addition, literal), By.MODEL),) if addition else () for addition in additions]
    return "".join(piece.text for piece in append(other, literally, parts).pieces)


def _escape(text: str, literal: Sequence[str]) -> str:
    """Escape a text but for the required entries in it that have syntax, which go in as written."""
    from kgen_ext.prompt import escape

    known = "|".join(re.escape(entry) for entry in sorted(literal, key=len, reverse=True))
    parts = re.split(f"({known})", text) if known else [text]
    for number in range(0, len(parts), 2):
        part = parts[number]
        spaces = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :] if part.strip() else ""
        parts[number] = spaces[0] + escape(part) + spaces[1]
    return "".join(parts)
