"""The reference runtime: tipo-kgen 0.3.1, driven as its own WebUI extension drives it, one prompt after another.

Its logic is unchanged; only its `generate` is wrapped, to count. Source of the call sequence and of the sampling
values: z-tipo-extension, scripts/tipo.py; formats "tag only (DTG mode)" and "Both, tag first (recommend)".
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from kgen_ext.request import TextLength
from kgen_ext.tags.canonical import normalise
from tools.bench.ours import SAMPLING
from tools.bench.queries import Query
from tools.bench.turn import Outcome, Turn

_SAMPLING = {"temperature": SAMPLING.temperature, "top_p": SAMPLING.top_p, "top_k": SAMPLING.top_k}


class CountedGenerate:
    """The reference's `generate`, counting calls and the tokens they drew."""

    def __init__(self, generate: Callable[..., tuple[str, int, int]]) -> None:
        self._generate = generate
        self.calls = self.drawn = 0

    def __call__(self, *args: Any, **options: Any) -> tuple[str, int, int]:
        """Call the wrapped `generate` and count."""
        text, shown, drawn = self._generate(*args, **options)
        self.calls += 1
        self.drawn += drawn
        return text, shown, drawn


class TipoKgen:
    """The reference with a model loaded.

    executor: its module `executor.tipo`. separate: its `seperate_tags`. tokenize: a text's length in tokens.
    """

    def __init__(
        self, executor: Any, separate: Callable[[list[str]], dict[str, list[str]]], tokenize: Callable[[str], int]
    ) -> None:
        self._executor = executor
        self._separate = separate
        self._tokenize = tokenize
        self._generate = CountedGenerate(executor.generate)
        executor.generate = self._generate

    def run(self, queries: Sequence[Query], at_once: int) -> Turn:
        """Answer the queries one after another, which is all the reference can do; `at_once` makes no difference.

        Where a query has a list to replay, so many tokens are generated for it.
        """
        outcomes, seconds, count = list[Outcome](), 0.0, self._generate
        for query in queries:
            calls, drawn = count.calls, count.drawn
            result, error = dict[str, Any](), ""
            began = perf_counter()
            try:
                result = self._generate_fixed(query) if query.replay else self._answer(query)
            except Exception as failure:  # a crash of the reference is one of its results
                error = f"{type(failure).__name__}: {failure}"
            seconds += perf_counter() - began
            outcomes.append(self._outcome(query, result, count.calls - calls, count.drawn - drawn, error))
        return Turn(seconds, tuple(outcomes))

    def _generate_fixed(self, query: Query) -> dict[str, Any]:
        length = self._tokenize("".join(f", {tag}" for tag in query.replay))
        prompt = f"target: <|{query.tag_length.value}|>\ntag: {query.tags}"
        self._generate(prompt=prompt, max_new_tokens=length, seed=query.seed, **_SAMPLING)
        return {}

    def _answer(self, query: Query) -> dict[str, Any]:
        wants_text = query.text_length is not TextLength.NONE
        tipo = self._executor
        tipo.BAN_TAGS = [ban.replace("*", ".*") for ban in query.bans]
        meta, operations, general, text = tipo.parse_tipo_request(
            self._separate(list(query.given)),
            query.text,
            tag_length_target=query.tag_length.value,
            nl_length_target=query.text_length.value if wants_text else "long",
            generate_extra_nl_prompt=wants_text and not query.text,
        )
        meta["aspect_ratio"] = "1.0"
        found, _ = tipo.tipo_runner(meta, operations, general, text, seed=query.seed, **_SAMPLING)
        return found

    def _outcome(self, query: Query, found: dict[str, Any], calls: int, drawn: int, error: str) -> Outcome:
        # Its parser also reads header lines as if they were lists of tags; only its categories reach the prompt.
        lists = {key: found[key] for key in self._separate([]) if isinstance(found.get(key), list)}
        given = {normalise(tag) for tag in query.given}
        added = tuple(tag for tags in lists.values() for tag in tags if normalise(tag) not in given)
        text = ""
        if query.text_length is not TextLength.NONE:
            text = str(found.get("extended") or found.get("generated") or "")
        own = text.removeprefix(query.text.rstrip(". "))
        kept = self._tokenize("".join(f", {tag}" for tag in added)) + self._tokenize(own)
        return Outcome(
            tags=(*lists.get("special", ()), *lists.get("general", ())),
            added=added,
            text=f"{text}." if text else "",
            calls=calls,
            drawn=drawn,
            fed=drawn,
            kept=kept,
            error=error,
        )


def open_tipo_kgen(model: str, threads: int) -> TipoKgen:
    """Load a GGUF file into the reference, with its own loader."""
    from kgen import models
    from kgen.executor import tipo
    from kgen.formatter import seperate_tags

    path = Path(model).resolve()
    models.model_dir = path.parent
    models.load_model(path.name, gguf=True, device="cpu", n_threads=threads, n_threads_batch=threads)

    def tokenize(text: str) -> int:
        return len(models.text_model.tokenize(text.encode(), add_bos=False, special=False)) if text else 0

    return TipoKgen(tipo, seperate_tags, tokenize)
