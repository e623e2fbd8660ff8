"""Evaluate a model in KGen: `python -m tools.training.product --model FILE.gguf --corpus DIR --out FIGURES.json`.

The service is asked as a user would ask it (bands, rules, forced decoding), on each engine. The
catalogue's entry of the starter applies to these weights, its blocklist included.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kgen_ext.request import ExpandRequest
from tools.training import measures
from tools.training.captions import Forms, tag_forms, tags_in
from tools.training.corpus import Character, Corpus, is_held_out, load_corpus, read_jsonl
from tools.training.recall import Half, load_halves, rank_by_votes, recall
from tools.training.safety import Prompt, load_prompts
from tools.training.words import WordList

if TYPE_CHECKING:
    from kgen_ext.service.expander import Expander

ENGINES = ("reference", "transformers", "llama_cpp")
_SAMPLES = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """How an expander is asked."""

    tag_length: str
    temperature: float
    top_p: float
    min_p: float
    top_k: int
    prior: float | None = None

    def request(self, prompt: str, **more: Any) -> ExpandRequest:
        """Return a request with this sampling."""
        return ExpandRequest(
            prompt, temperature=self.temperature, top_p=self.top_p, min_p=self.min_p, top_k=self.top_k,
            prior=self.prior, **more,
        )  # fmt: skip

    def ask(self, expander: Expander, prompts: Sequence[str], *, count: int = 1) -> list[list[list[str]]]:
        """Return the added tags of `count` answers to each prompt, spelt as in training."""
        requests = [
            self.request(prompt, tag_length=self.tag_length, seed=number * count, count=count)
            for number, prompt in enumerate(prompts)
        ]
        answers = iter(expander.expand(requests))
        return [[[unescape(tag) for tag in next(answers).added_tags] for _ in range(count)] for _ in prompts]


def escape(tag: str) -> str:
    """Escape a tag's brackets, which are emphasis in a prompt."""
    return re.sub(r"([()\[\]])", r"\\\1", tag)


def unescape(tag: str) -> str:
    """Undo `escape`."""
    return re.sub(r"\\([()\[\]])", r"\1", tag)


def withheld(expander: Expander, question: Question, halves: Sequence[Half]) -> dict[str, float]:
    """Measure recall of withheld tags by votes of eight answers."""
    prompts = [", ".join(map(escape, half.given)) for half in halves]
    ranked: dict[Half, list[str]] = {
        half: rank_by_votes(lists)
        for half, lists in zip(halves, question.ask(expander, prompts, count=_SAMPLES), strict=True)
    }
    return recall(halves, lambda half: ranked[half])


def looks(expander: Expander, question: Question, characters: Sequence[Character]) -> float:
    """Measure the share of the listed looks that are written when only the character is named."""
    prompts = [escape(character.name) for character in characters]
    answers = question.ask(expander, prompts)
    shares = [
        measures.looks_found(character.looks, set(found[0]))
        for character, found in zip(characters, answers, strict=True)
    ]
    return round(float(np.mean(shares)), 3)


def load_sentences(folder: Path, forms: Forms, *, most: int) -> dict[str, tuple[str, ...]]:
    """Draw sentences of partiprompts that name two tags or more, each with what it names."""
    texts = [re.sub(r"\s+", " ", record["caption"]) for record in read_jsonl(folder / "partiprompts.jsonl")]
    named = {text: tags for text in texts if len(text.split()) > 3 and len(tags := tags_in(text, forms)) > 1}
    order = np.random.default_rng(0).permutation(len(named))[:most]
    return {text: named[text] for text in (list(named)[place] for place in order)}


def sentences(expander: Expander, question: Question, named: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Ask for the tags of sentences, of the usual length; count which of those named come, and fillers."""
    asked = [question.request("", text=text, tag_length="auto", seed=number) for number, text in enumerate(named)]
    lists = [[unescape(tag) for tag in answer.added_tags] for answer in expander.expand(asked)]
    pairs = list(zip(named.values(), lists, strict=True))
    return {
        "asked": len(pairs),
        "named": round(float(np.mean([measures.named_found(tags, found) for tags, found in pairs])), 3),
        "fillers": round(float(np.mean([measures.fillers(tags, found) for tags, found in pairs])), 2),
        "tags": round(float(np.mean([len(found) for found in lists])), 1),
    }


def texts(expander: Expander, question: Question, named: Sequence[str]) -> dict[str, Any]:
    """Ask for a text behind each sentence; count repeats, the sentence's own among them, and lists in disguise."""
    asked = [question.request("", text=text, text_length="short", seed=number) for number, text in enumerate(named)]
    written = [answer.added_text for answer in expander.expand(asked)]
    whole = [f"{text} {more}" for text, more in zip(named, written, strict=True)]
    return {
        "asked": len(written),
        "written": round(sum(map(bool, written)) / len(written), 3),
        "repeat_free": round(measures.repeat_free(whole), 3),
        "listing": round(measures.listing(written), 3),
    }


def safety(expander: Expander, question: Question, prompts: Sequence[Prompt], words: WordList) -> dict[str, Any]:
    """Ask for tags and text, and list the unsafe words that were added and not in the prompt."""
    requests = [
        question.request(
            ", ".join(map(escape, prompt.tags)) or prompt.text,
            tag_length=question.tag_length if prompt.tags else "short",
            text_length="short",
            seed=number,
        )
        for number, prompt in enumerate(prompts)
    ]
    answers = expander.expand(requests)
    written = ["\n".join((*map(unescape, answer.added_tags), answer.added_text)) for answer in answers]
    hits = measures.unsafe(written, [request.prompt for request in requests], words)
    return {"prompts": len(requests), "hits": len(hits), "found": sorted(set(hits))}


def open_engines(model: Path, names: Sequence[str]) -> Iterator[tuple[str, Expander]]:
    """Open the model in each engine in turn."""
    from kgen_ext.models import STARTER, resolve
    from kgen_ext.service.engines import open_files

    files = replace(resolve(str(model)), entry=resolve(STARTER).entry)  # these weights are to be the next starter
    for name in names:
        with open_files(files, engine=name, device="cpu", rows=32) as expander:
            yield name, expander


def measure(
    corpus: Corpus,
    folder: Path,
    model: Path,
    question: Question,
    *,
    most: int,
    prompts: int,
    names: Sequence[str],
) -> dict[str, Any]:
    """Ask every engine the same questions, except in the safety check, and return the figures by engine."""
    asked = load_prompts(folder, seed=0, most=prompts)
    lists = {
        name: load_halves(folder / f"{name}.jsonl", corpus, seed=0, most=most)
        for name in ("prompts_dev", "real_posts_dev")
    }
    ranked = [
        character
        for character in corpus.characters()
        if len(character.looks) >= 3 and not is_held_out(character.name)
    ]
    named = load_sentences(folder, tag_forms(corpus), most=most * 7)
    figures: dict[str, Any] = {}
    for name, expander in open_engines(model, names):
        begun = time.monotonic()
        found: dict[str, Any] = {file: withheld(expander, question, halves) for file, halves in lists.items()}
        found["sentences"] = sentences(expander, question, named)
        found["texts"] = texts(expander, question, list(named))
        found["looks"] = looks(expander, question, ranked[: most * 2])
        # Divided among the engines, so that together they answer each prompt once.
        found["safety"] = safety(expander, question, asked[list(names).index(name) :: len(names)], corpus.words)
        figures[name] = found | {"lists": most, "seconds": round(time.monotonic() - begun)}
        _log.info("%s: %s", name, figures[name])
    return figures


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.product", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="exported GGUF")
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder (layout: corpus.py)")
    parser.add_argument("--eval", type=Path, help="evaluation folder (default: CORPUS/eval)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--most", type=int, default=40, help="lists asked of each file (default: %(default)s)")
    parser.add_argument("--prompts", type=int, default=1000, help="prompts of the safety check (default: %(default)s)")
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--tag-length", default="long")
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--min-p", type=float, default=0.1)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--prior", type=float, help="weight of the prior (default: the model's)")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    corpus = load_corpus(given.corpus)
    question = Question(given.tag_length, given.temperature, given.top_p, given.min_p, given.top_k, given.prior)
    folder = given.eval or given.corpus / "eval"
    figures = measure(
        corpus, folder, given.model, question, most=given.most, prompts=given.prompts, names=given.engines
    )
    given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
