"""The usable sentences of raw captions."""

from __future__ import annotations

import re

from kgen_ext.prompt.sentences import split_sentences

_LEAD = re.compile(
    r"^(?:please |can you )?(?:draw|generate|create|make|paint|design|show)(?: me)?(?: an image of| a picture of)?:?\s+"
    r"|^(?:generated? (?:image|picture)|generating picture)\s*:\s*",
    re.I,
)
_CAMERA = re.compile(
    r"\b(?:camera|video|footage|zoom\w*|pans?|panning|frame rate|shot in|the shot|cinematograph\w*|clip)\b", re.I
)
_ARTISTS = re.compile(r"\bby [a-z]+ |\bart(?:station|germ)\b|\bin the style of\b|\bgreg rutkowski\b|\bmucha\b", re.I)
# A sentence about the picture as a picture, or that lists what is there, shows a model how to do that.
_OF_PICTURES = re.compile(
    r"\b(?:the|this|an?|entire|whole|each) (?:\w+ )?(?:picture|image|photo|photograph|scene|frame|screen|composition"
    r"|illustration|painting|artwork|mood|atmosphere|style|video)\b|\bthere (?:is|are)\b|\b(?:4k|8k|hd|detailed"
    r"|artstation|octane|unreal|render\w*|photorealistic|hyper\w*|cinematic|trending|resolution|quality|masterpiece"
    r"|style)\b",
    re.I,
)


def clean_sentences(text: str, *, limit: int = 8) -> tuple[str, ...]:
    """Return the usable sentences of a raw caption: spaced and capitalised, with a full stop; none if it is unfit."""
    text = re.sub(r"\s+", " ", text.replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"')).strip(" ,'\"")
    text = re.sub(r"\s+([,.;:!?'])", r"\1", _LEAD.sub("", text))
    text = re.sub(r"\b(\d) (?=\d\b)", r"\1", text)
    if _ARTISTS.search(text) or not text.isascii() or len(text) < 12 or ":" in text or "<" in text:
        return ()
    sentences = split_sentences(text)
    kept = [part for part in sentences if not _CAMERA.search(part) and 12 <= len(part) <= 320 and "http" not in part]
    if not kept or kept[0] != sentences[0]:
        return ()
    return tuple(finish(part) for part in kept[:limit])


def finish(sentence: str) -> str:
    """Begin a sentence with a capital and end it with a full stop."""
    sentence = sentence.rstrip(" ,;-")
    return sentence[0].upper() + sentence[1:] + ("" if sentence[-1] in '.!?"' else ".")


def is_prompt_like(sentence: str) -> bool:
    """Say whether a caption is a keyword list rather than a sentence."""
    return sentence.count(",") >= max(3, len(sentence.split()) // 7)


def shown_sentences(caption: str) -> tuple[str, ...]:
    """Return the usable sentences of a raw caption that say what is shown; none where its first does not."""
    sentences = clean_sentences(caption)
    if not sentences or _OF_PICTURES.search(sentences[0]):
        return ()
    return tuple(sentence for sentence in sentences if not _OF_PICTURES.search(sentence))
