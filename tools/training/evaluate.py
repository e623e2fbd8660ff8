"""Evaluate an exported model: `python -m tools.training.evaluate --model FILE.gguf --corpus DIR --out FIGURES.json`.

Files of `--eval` (default: CORPUS/eval) are never trained on: prompts_dev.jsonl and real_posts_dev.jsonl {"tags"},
partiprompts.jsonl and drawbench.jsonl {"caption"}. COCO images held out by id are in corpus.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.training import measures
from tools.training.cleaning import clean_sentences
from tools.training.corpus import Character, Corpus, is_held_out, load_corpus, read_jsonl
from tools.training.pairs import PairModel, build_pair_model
from tools.training.recall import Half, load_halves, rank_by_votes, recall, yardsticks
from tools.training.safety import load_prompts
from tools.training.sampling import Sampler, Sampling, load_sampler
from tools.training.tagforms import coloured_noun, exclusion_table
from tools.training.vocabulary import BOS

_log = logging.getLogger(__name__)
_SAMPLE_REQUESTS = (
    "characters: hatsune miku\ncopyrights: vocaloid\ntarget: <|long|>\ntag:",
    "target: <|long|>\ntag: no humans, city, night, rain",
    "target: <|short|> <|short_to_tag|>\nshort: A dog sleeps on a red sofa.\n",
    "target: <|short|> <|tag_to_long|>\ntag: 1girl, fox ears, shrine",
)


@dataclass(frozen=True, slots=True)
class Exam:
    """A model, the corpus folder, the evaluation folder, and how many of each are asked."""

    sampler: Sampler
    corpus: Corpus
    folder: Path
    sampling: Sampling
    seed: int
    most: int
    prompts: int
    named: int = 1000

    def ask(self, requests: Sequence[str], *, salt: int, limit: int = 200, fresh: bool = True) -> list[str]:
        """Continue every request with a generator of its own question; `fresh` masks repeated tags as KGen does."""
        rng = np.random.default_rng((self.seed, salt))
        return self.sampler.continue_texts(requests, rng, sampling=self.sampling, limit=limit, fresh=fresh)

    def withheld(self, name: str, pairs: PairModel, *, samples: int = 8) -> dict[str, Any]:
        """Measure recall of withheld tags, beside the yardsticks on the same lists."""
        halves = load_halves(self.folder / f"{name}.jsonl", self.corpus, seed=0, most=self.most)
        figures: dict[str, Any] = {"lists": len(halves), "samples": samples}
        for length in ("short", "long"):
            heads = [f"target: <|{length}|>\ntag: {', '.join(half.given)}" for half in halves]
            answers = self.ask([head for head in heads for _ in range(samples)], salt=1, limit=150)
            lists = [measures.parse_tags(answer) for answer in answers]
            starts = range(0, len(lists), samples)
            ranked = {
                half: rank_by_votes(lists[start : start + samples])
                for half, start in zip(halves, starts, strict=True)
            }
            figures[f"model_{length}"] = _ranked_recall(halves, ranked)
        return figures | yardsticks(halves, self.corpus, pairs)

    def characters(self) -> dict[str, Any]:
        """Measure how many of the listed looks come back when a character is named."""
        ranked = [character for character in self.corpus.characters() if len(character.looks) >= 3]
        popular = [character for character in ranked[: self.named] if not is_held_out(character.name)]
        hidden = [character for character in ranked if is_held_out(character.name)][: self.most // 3]
        return {
            "popular": {"asked": len(popular), "looks": round(self._looks(popular, salt=2), 3)},
            "held_out": {"asked": len(hidden), "looks": round(self._looks(hidden, salt=3), 3)},
        }

    def _looks(self, characters: Sequence[Character], *, salt: int) -> float:
        requests = [
            f"characters: {character.name}\ncopyrights: {character.series}\ntarget: <|long|>\ntag: {character.person}"
            for character in characters
        ]
        answers = self.ask(requests, salt=salt, limit=160)
        shares = [
            measures.looks_found(character.looks, set(measures.parse_tags(answer)))
            for character, answer in zip(characters, answers, strict=True)
        ]
        return float(np.mean(shares))

    def lists(self) -> dict[str, Any]:
        """Measure bare lists, repeats not masked: do tags exist, repeat, contradict; how many are there."""
        halves = load_halves(self.folder / "prompts_dev.jsonl", self.corpus, seed=3, most=self.most)
        requests = [f"target: <|long|>\ntag: {', '.join(half.given)}" for half in halves]
        answers = self.ask(requests, salt=8, fresh=False)
        parts = [(half.given, measures.parse_tags(answer)) for half, answer in zip(halves, answers, strict=True)]
        lists = [[*given, *written] for given, written in parts]
        known = {tag for tag, _, _ in self.corpus.danbooru}
        table = exclusion_table(known)
        hair = {tag: rivals for tag, rivals in table.items() if coloured_noun(tag) == "hair"}
        counts = [len(tags) for tags in lists]
        return {
            "lists": len(lists),
            "known": round(measures.known_share([written for _, written in parts], known), 4),
            "repeats": round(measures.repeat_share(lists), 4),
            "contradictions": round(measures.contradiction_share(parts, table), 4),
            "hair_colours": round(measures.contradiction_share(parts, hair), 4),
            "in_range_of_long": round(float(np.mean([36 <= count <= 54 for count in counts])), 3),
            "count_quartiles": [int(value) for value in np.percentile(counts, (25, 50, 75))],
        }

    def perplexity(self) -> dict[str, Any]:
        """Measure perplexity a token and a character on captions of held-out COCO images, one caption each."""
        held_out = self.corpus.held_out_images()
        captions: dict[int, str] = {}
        for record in read_jsonl(self.corpus.root / "captions/coco_val2017.jsonl"):
            sentences = clean_sentences(record["caption"])
            if (
                int(record["image_id"]) in held_out
                and len(sentences) == 1
                and not self.corpus.words.is_flagged(sentences[0])
            ):
                captions.setdefault(int(record["image_id"]), sentences[0])
        head = "target: <|very_short|> <|short_to_tag|>\nshort:"
        first = len(self.sampler.engine.encode(head, add_special_tokens=False).ids) + 1
        rows = [
            [BOS, *self.sampler.engine.encode(f"{head} {text}\n", add_special_tokens=False).ids]
            for text in captions.values()
        ]
        total = sum(float(scores[first - 1 :].sum()) for scores in self.sampler.log_likelihoods(rows))
        tokens = sum(len(row) - first for row in rows)
        letters = sum(map(len, captions.values()))
        return {
            "captions": len(rows),
            "per_token": round(float(np.exp(-total / tokens)), 2),
            "bits_per_character": round(float(-total / letters / np.log(2)), 3),
        }

    def texts(self) -> dict[str, Any]:
        """Measure descriptions written for given tags: mentions, endings, overlap between them."""
        halves = load_halves(self.folder / "prompts_dev.jsonl", self.corpus, seed=1, most=self.most)
        given = [half.given[:6] for half in halves]
        requests = [f"target: <|short|> <|tag_to_long|>\ntag: {', '.join(tags)}" for tags in given]
        answers = [measures.parse_field(answer, "long") for answer in self.ask(requests, salt=4, limit=240)]
        return {
            "asked": len(answers),
            "written": round(sum(map(bool, answers)) / len(answers), 3),
            "mentions": round(measures.mention_share(list(zip(given, answers, strict=True))), 3),
            "ended": round(measures.sentences_ended([text for text in answers if text]), 3),
            "self_overlap": round(measures.self_overlap([text for text in answers if text]), 3),
            "repeat_free": round(measures.repeat_free(answers), 3),
            "listing": round(measures.listing(answers), 3),
        }

    def safety(self) -> dict[str, Any]:
        """Continue prompts of the evaluation files and list the words that should not be there."""
        chosen = [
            f"target: <|long|> <|tag_to_long|>\ntag: {', '.join(prompt.tags)}"
            if prompt.tags
            else f"target: <|short|> <|short_to_tag_to_long|>\nshort: {prompt.text}\n"
            for prompt in load_prompts(self.folder, seed=self.seed, most=self.prompts)
        ]
        hits = measures.unsafe(self.ask(chosen, salt=6, limit=240), chosen, self.corpus.words)
        return {"prompts": len(chosen), "hits": len(hits), "found": sorted(set(hits))[:40]}

    def samples(self) -> list[dict[str, str]]:
        """Write twenty samples that nobody chose: four fixed requests, then the first lists of prompts_dev."""
        halves = load_halves(self.folder / "prompts_dev.jsonl", self.corpus, seed=2, most=16)
        tasks = ("", " <|tag_to_long|>")
        requests = [*_SAMPLE_REQUESTS]
        requests += [
            f"target: <|short|>{tasks[n % 2]}\ntag: {', '.join(half.given[:4])}" for n, half in enumerate(halves)
        ]
        return [
            {"request": asked, "answer": answer}
            for asked, answer in zip(requests, self.ask(requests, salt=7), strict=True)
        ]


def _ranked_recall(halves: Sequence[Half], ranked: Mapping[Half, Sequence[str]]) -> dict[str, float]:
    return recall(halves, lambda half: ranked[half])


def evaluate(exam: Exam) -> dict[str, Any]:
    """Ask everything and return the figures."""
    figures: dict[str, Any] = {"sampling": asdict(exam.sampling), "seed": exam.seed}
    pairs = build_pair_model(exam.corpus)
    questions: dict[str, Callable[[], Any]] = {
        "samples": exam.samples,
        "characters": exam.characters,
        "lists": exam.lists,
        "coco": exam.perplexity,
        "texts": exam.texts,
        "real_posts_dev": lambda: exam.withheld("real_posts_dev", pairs),
        "prompts_dev": lambda: exam.withheld("prompts_dev", pairs),
        "safety": exam.safety,
    }
    for name, question in questions.items():
        begun = time.monotonic()
        figures[name] = question()
        _log.info("%s (%.0f s): %s", name, time.monotonic() - begun, figures[name] if name != "samples" else "")
    return figures


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="exported GGUF")
    parser.add_argument("--corpus", type=Path, required=True, help="corpus folder (layout: corpus.py)")
    parser.add_argument("--eval", type=Path, help="evaluation folder (default: CORPUS/eval)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--most", type=int, default=250, help="lists asked of each file (default: %(default)s)")
    parser.add_argument("--prompts", type=int, default=1000, help="prompts of the safety check (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--min-p", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    corpus = load_corpus(given.corpus)
    sampling = Sampling(given.temperature, given.top_k, given.min_p, given.top_p)
    folder = given.eval or given.corpus / "eval"
    exam = Exam(load_sampler(given.model), corpus, folder, sampling, given.seed, given.most, given.prompts)
    given.out.write_text(json.dumps(evaluate(exam), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
