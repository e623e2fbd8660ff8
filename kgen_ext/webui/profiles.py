"""Profiles of checkpoint families: quality words, the place where those go, and tags or sentences.

A row's `names` and `unlike` are searched for in the name of a checkpoint's file, in lower-case words: of
`animaPencilXL_v500` in `anima pencil xl v500`. The words are what the author of the family recommends, but for ratings
such as `safe`: what may be seen is the user's choice.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Profile(NamedTuple):
    """A family. quality: words for the start of a prompt, or for its end if `at_end`. add: a value of “What to add”.

    names, unlike: patterns that a checkpoint's name has, and has not. source: where its author says so.
    """

    label: str
    quality: str
    add: str
    names: str
    source: str
    at_end: bool = False
    unlike: str = ""


_ANIMAGINE_4 = r"anim[a4]gine xl ?v? ?4|anim[a4]gine.*\bv4"

PROFILES: Mapping[str, Profile] = {
    "pony": Profile(
        "Pony", "score_9, score_8_up, score_7_up, score_6_up, score_5_up, score_4_up", "tags",
        r"pony|\bpny\b|\bpdxl", "civitai.com/models/257749: the default prompt template of Pony Diffusion V6 XL",
        unlike=r"\bv ?7\b",  # V7 is of another make
    ),
    "illustrious": Profile(
        "Illustrious", "masterpiece, best quality", "tags",
        r"illustrious|\bilxl|\bil\b",
        "huggingface.co/OnomaAIResearch/Illustrious-xl-early-release-v0: its quality tags; its example ends with them",
        at_end=True, unlike=r"noob|\bnai ?xl",
    ),
    "noobai": Profile(
        "NoobAI", "masterpiece, best quality, newest, absurdres, highres", "tags",
        r"noob|\bnai ?xl", "huggingface.co/Laxhar/noobai-XL-1.0: recommended prompt",
    ),
    "anima": Profile(
        "Anima", "masterpiece, best quality, score_7", "both",
        r"\banima\b", "huggingface.co/circlestone-labs/Anima: recommended prefix; tags, sentences, or both",
        unlike=r"\banima (?:pencil|gine)",
    ),
    "animagine": Profile(
        "SDXL anime: Animagine XL 4", "masterpiece, high score, great score, absurdres", "tags",
        _ANIMAGINE_4,
        "huggingface.co/cagliostrolab/animagine-xl-4.0: ends with the quality enhancement", at_end=True,
    ),
    "sdxl_anime": Profile(
        "SDXL anime: Animagine XL 3 and others", "masterpiece, best quality, very aesthetic, absurdres", "tags",
        r"animagine|\banima pencil|kohaku xl|holodayo",
        "huggingface.co/cagliostrolab/animagine-xl-3.1: its quality and aesthetic tags", at_end=True,
        unlike=_ANIMAGINE_4,
    ),
    "sentences": Profile(
        "Flux and other sentence models", "", "text",
        r"\bflux|\bchroma\d*\b|\bqwen ?image|\bhi ?dream|\bz ?image|\bsd ?3\b|\blumina",
        "their text encoders are language models (T5, Qwen, Gemma, Llama), trained on captions in sentences",
    ),
}  # fmt: skip


def find_profile(title: str) -> str | None:
    """Return the family of a checkpoint by its title, as hosts show it: folder, file name, hash.

    The folders are searched if the file's name says nothing. None where no family is named, or several are.

    >>> find_profile("waiNSFWIllustrious_v140.safetensors [a810e710a2]"), find_profile("sdxl/dreamshaper_8.safetensors")
    ('illustrious', None)
    """
    *folders, file = re.split(r"[\\/]", re.sub(r" \[[0-9a-fA-F]+\]\s*$", "", title[:1000]))
    for part in (re.sub(r"\.\w{2,12}$", "", file), " ".join(folders)):
        words = _words(part)
        found = [
            family for family, profile in PROFILES.items()
            if re.search(profile.names, words) and not (profile.unlike and re.search(profile.unlike, words))
        ]  # fmt: skip
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _words(name: str) -> str:
    """Return a name in lower-case words: `animaPencilXL_v500` is `anima pencil xl v500`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.findall(r"[^\W_]+", apart.lower()))
