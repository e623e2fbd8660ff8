"""Profile of the checkpoint in a job: what it sets where the user chose nothing, and its quality words in the result.

The quality words are put in front of the finished prompt, or behind it, so that the model that expands never sees
them. They are left out where the prompt has quality words of its own, and each that is banned or there already.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kgen_ext.errors import KGenError
from kgen_ext.events import By, Expansion, Piece
from kgen_ext.request import split_list
from kgen_ext.webui.controls import AUTO, BY_FIELD, DEFAULT, NO_PROFILE, Values
from kgen_ext.webui.profiles import PROFILES, Profile, find_profile

if TYPE_CHECKING:
    from kgen_ext.webui.host import Host, HostJob
    from kgen_ext.webui.job import ExpandedPrompt

_ADDS = {"tags": "tags", "text": "sentences", "both": "tags and sentences"}


def with_profile(values: Values, host: Host, p: HostJob | None = None) -> Values:
    """Return the values with the family in place of “automatic”, and with what it sets where nothing was chosen.

    p: the job, which may have another checkpoint than the page. Raises nothing: an unknown model is reported later.
    """
    if values.profile == NO_PROFILE:
        return values
    family = find_profile(checkpoint_title(host, p)) if values.profile == AUTO else values.profile
    if family is None:
        return replace(values, profile=NO_PROFILE)
    add = values.add if values.add != DEFAULT else PROFILES[family].add
    if add != values.add and add != "tags" and _writes_only_tags(values, host):
        add = "tags"
    return replace(values, profile=family, add=add)


def checkpoint_title(host: Host, p: HostJob | None = None) -> str:
    """Return the title of a job's checkpoint, or of the page's; "" if it is unknown."""
    own = (getattr(p, "override_settings", None) or {}).get("sd_model_checkpoint")
    if isinstance(own, str) and own:
        # A client of the API may give a hash, or a part of the name.
        find = host.part("modules.sd_models.get_closet_checkpoint_match")
        found = find(own) if find is not None else None
        return str(getattr(found, "title", None) or own)
    title = host.option("sd_model_checkpoint", "")
    return title if isinstance(title, str) else ""


def profile_line(choice: Any, host: Host) -> str:
    """Return what a choice of the profile means with the checkpoint of the page."""
    chosen = next((value for value, label in BY_FIELD["profile"].choices if choice in (value, label)), NO_PROFILE)
    title = checkpoint_title(host)
    found = find_profile(title)
    if chosen == AUTO and found is None:
        return f"The name of the checkpoint ({title or 'none is loaded'}) tells no family: nothing is set."
    family = found if chosen == AUTO else chosen
    if family is not None and family in PROFILES:
        profile = PROFILES[family]
        place = "at the end" if profile.at_end else "at the start"
        words = f"{place}: {profile.quality}" if profile.quality else "no quality words"
        return f"{profile.label}: adds {_ADDS[profile.add]} unless you choose otherwise; {words}."
    return f"The checkpoint’s name fits the profile “{PROFILES[found].label}”." if found else ""


def add_quality_to_result(result: ExpandedPrompt, values: Values) -> ExpandedPrompt:
    """Return an image's result with the quality words of its profile, also in the hires prompt if that was expanded."""
    if values.profile not in PROFILES or result.expansion is None or result.prompt != result.expansion.prompt:
        return result  # not expanded, or nothing of it could be used
    expansion, hires, typed = add_quality_words(result.expansion, values), result.hires, result.image_prompt.hires
    if hires is not None and values.hires != "leave":
        same = hires == result.prompt
        hires = expansion.prompt if same else _with_quality(hires, typed or "", result.expansion.added_tags, values)
    return replace(result, prompt=expansion.prompt, hires=hires, expansion=expansion)


def add_quality_words(expansion: Expansion, values: Values) -> Expansion:
    """Return an expansion with the quality words of the profile as a piece of its own; the user's pieces stay."""
    own = "".join(piece.text for piece in expansion.pieces if piece.by is By.USER)
    place = _place(expansion.prompt, own, expansion.added_tags, values)
    if place is None:
        return expansion
    pieces = _inserted(expansion.pieces, *place)
    return replace(expansion, prompt="".join(piece.text for piece in pieces), pieces=pieces)


def _with_quality(prompt: str, own: str, added: Sequence[str], values: Values) -> str:
    place = _place(prompt, own, added, values)
    return prompt if place is None else prompt[: place[0]] + place[1] + prompt[place[0] :]


def _place(prompt: str, own: str, added: Sequence[str], values: Values) -> tuple[int, str] | None:
    """Return where the quality words go into a prompt, and as what text; None where none are wanted.

    own: the user's part of the prompt. added: the tags that were added to it.
    """
    profile = PROFILES.get(values.profile)
    words = () if profile is None or values.format == "text" else _wanted(profile, own, added, values.ban)
    if profile is None or not words:
        return None
    text = ", ".join(words)
    if profile.at_end:
        return _at_end(prompt, text)
    rest = prompt.lstrip()
    return 0, f"{text}, " if rest and not rest.startswith(",") else text


def _wanted(profile: Profile, own: str, added: Sequence[str], ban: str) -> tuple[str, ...]:
    """Return the quality words to add: none beside some of the user's own, and none that is banned or there already."""
    # Imported here: loading the grammar would slow down the host's start.
    from kgen_ext.prompt import parse, subjects
    from kgen_ext.request import Category
    from kgen_ext.rules.entries import read_patterns
    from kgen_ext.rules.patterns import compile_patterns
    from kgen_ext.tags.tag import read_tag

    words = {word: read_tag(word) for word in profile.quality.split(", ") if word}
    given = [read_tag(tag) for subject in subjects(parse(own)) for tag in subject.tags]
    names = {tag.name for tag in words.values()}
    if any(tag.category is Category.QUALITY or tag.name in names for tag in given):
        return ()
    there, bans = {read_tag(tag).name for tag in added}, compile_patterns(read_patterns(split_list("ban", ban)))
    return tuple(word for word, tag in words.items() if tag.name not in there and bans.match(tag) is None)


def _at_end(prompt: str, text: str) -> tuple[int, str]:
    """Return the place at the end of a prompt where an addition has weight 1, and the text that adds it there."""
    from kgen_ext.prompt import append, parse

    parsed = parse(prompt)
    additions: list[tuple[Piece, ...]] = [()] * len(parsed.segments)
    additions[-1] = (Piece(text, By.MODEL),)
    longer = "".join(piece.text for piece in append(parsed, additions).pieces)
    at = next((i for i, (old, new) in enumerate(zip(prompt, longer, strict=False)) if old != new), len(prompt))
    return at, longer[at : at + len(longer) - len(prompt)]


def _inserted(pieces: Sequence[Piece], at: int, text: str) -> tuple[Piece, ...]:
    """Return the pieces with a text of ours at a position of what they say together."""
    found = list[Piece]()
    for piece in pieces:
        if 0 <= at < len(piece.text):
            found += (Piece(piece.text[:at], piece.by), Piece(text, By.MODEL), Piece(piece.text[at:], piece.by))
        else:
            found.append(piece)
        at -= len(piece.text)
    if at >= 0:
        found.append(Piece(text, By.MODEL))
    return tuple(piece for piece in found if piece.text)


def _writes_only_tags(values: Values, host: Host) -> bool:
    from kgen_ext.webui.settings import find_model, read_settings

    settings = read_settings(host)
    try:
        entry = find_model(host, settings, settings.model_of(values)).entry
    except (KGenError, OSError):
        return False  # told when it is loaded
    return entry is not None and entry.protocol == "dtg"
