"""A whole run: sections of one model and engine each, their cases, and the turns of all sides.

In a round every batch size has a turn of ours, the older checkout's, the reference's and the library's alone, on the
same prompts and one after the other, so that all have the same load of the machine. Ratios are taken within a round.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kgen_ext.engines.weights import quantise
from kgen_ext.request import TagLength, TextLength
from tools.bench.ceiling import LlamaCppAlone, TransformersAlone
from tools.bench.child import Child
from tools.bench.ours import open_ours
from tools.bench.promises import Promises, run_promises
from tools.bench.queries import PROMPTS, Query, turn_queries
from tools.bench.replay import followed, read_posts
from tools.bench.score import Score, score
from tools.bench.shape import TINY, TIPO_200M, TIPO_500M, Shape, write_shape
from tools.bench.tipo_kgen import open_tipo_kgen
from tools.bench.turn import Turn

Tell = Callable[[str], None]
QUEUE = "64 in 16"
_QUEUED, _QUEUE_ROWS = 64, 16


@dataclass(frozen=True, slots=True)
class Case:
    """Prompts, and the batch sizes they are answered in. prompts: how many a turn has, or a batch if that is more."""

    name: str
    queries: tuple[Query, ...]
    sizes: tuple[int | str, ...]
    prompts: int


@dataclass(frozen=True, slots=True)
class Sides:
    """The processes of a section; `before` and `theirs` may be absent."""

    ours: Any
    alone: Any
    before: Any = None
    theirs: Any = None


@dataclass(slots=True)
class SizeResult:
    """One batch size, an item a round in each list.

    ours, others: seconds for a prompt, the others' by side. rate: our tokens a second. tokens_each: our tokens for each
    step of a row. inside: share of our time spent in the engine.
    """

    size: str
    ours: list[float] = field(default_factory=list)
    others: dict[str, list[float]] = field(default_factory=dict)
    rate: list[float] = field(default_factory=list)
    tokens_each: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)

    def ratios(self, side: str) -> list[float]:
        """Return how many times our time another side takes, round by round."""
        return [other / ours for ours, other in zip(self.ours, self.others[side], strict=True)]

    def note(self, side: str, seconds: float) -> None:
        """Note another side's seconds for a prompt."""
        self.others.setdefault(side, []).append(seconds)


@dataclass(slots=True)
class CaseResult:
    """A case: a result a batch size, both sides' scores over all rounds, and how many lists were replayed in full."""

    name: str
    sizes: list[SizeResult]
    our_score: Score = field(default_factory=Score)
    their_score: Score = field(default_factory=Score)
    lists: int = 0
    followed: int = 0


@dataclass(frozen=True, slots=True)
class SectionResult:
    """All that was measured with one model in one engine."""

    name: str
    cases: tuple[CaseResult, ...]
    promises: Promises | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A model in an engine. shape: random weights of this shape, None for the model itself."""

    key: str
    name: str
    engine: str = "llama_cpp"
    shape: Shape | None = None
    quantised: bool = False
    sizes: tuple[int | str, ...] = (1, 4, 16)


SECTIONS = (
    Section("starter", "the starter, Q8_0, llama.cpp", sizes=(1, 4, 16, 64)),
    Section("starter-torch", "the starter, transformers", engine="transformers", sizes=(1, 16)),
    Section("200m", "TIPO-200M's shape, F16, llama.cpp", shape=TIPO_200M),
    Section("200m-q8", "TIPO-200M's shape, Q8_0, llama.cpp", shape=TIPO_200M, quantised=True),
    Section("200m-torch", "TIPO-200M's shape, transformers", engine="transformers", shape=TIPO_200M, sizes=(1, 16)),
    Section("500m", "TIPO-500M's shape, F16, llama.cpp", shape=TIPO_500M, sizes=(1, 16)),
    Section("500m-q8", "TIPO-500M's shape, Q8_0, llama.cpp", shape=TIPO_500M, quantised=True, sizes=(1, 16)),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What to run. vocab: LLaMA's, for the shapes; posts: real lists; before: an older checkout."""

    model: Path
    threads: int
    rounds: int = 3
    only: tuple[str, ...] = ()
    quick: bool = False
    vocab: Path | None = None
    posts: Path | None = None
    before: Path | None = None

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections to run: without a vocabulary not the shapes."""
        chosen = (section for section in SECTIONS if section.key in (self.only or (section.key,)))
        return tuple(section for section in chosen if section.shape is None or self.vocab is not None)


def run(options: Options, tell: Tell) -> Iterator[SectionResult]:
    """Measure one section after the other."""
    with TemporaryDirectory() as name:
        folder, cases = Path(name), tuple[Case, ...]()
        if options.before is not None:
            (folder / "before").mkdir()
            (folder / "before" / "kgen_ext").symlink_to(options.before.resolve() / "kgen_ext", target_is_directory=True)
        for section in options.sections:
            if section.shape is not None and not cases:
                cases = _replays(options, folder, tell)
            model = options.model if section.shape is None else _write(section, options, folder, tell)
            with _sides(section, model, options, folder, tell) as sides:
                chosen = cases if section.shape is not None else _spoken(section, options)
                yield _run_section(section, chosen, sides, model, options, tell)


def _run_section(
    section: Section, cases: Sequence[Case], sides: Sides, model: Path, options: Options, tell: Tell
) -> SectionResult:
    results = []
    for case in cases:
        sizes = tuple(size for size in (*section.sizes, QUEUE) if size in case.sizes)
        kept = replace(case, sizes=(1, 16) if options.quick else sizes)
        results.append(run_case(sides, kept, rounds=options.rounds, tell=tell))
    promises = None
    if section.key == "starter":
        with Child(open_ours, str(model), options.threads) as fresh:
            many, prompts = (100, 8) if options.quick else (1000, 32)
            promises = run_promises(fresh, sides.theirs, many=many, prompts=prompts, tell=tell)
    return SectionResult(section.name, tuple(results), promises)


def run_case(sides: Sides, case: Case, *, rounds: int, tell: Tell) -> CaseResult:
    """Run a case round by round."""
    result = CaseResult(case.name, [SizeResult(str(size)) for size in case.sizes])
    for number in range(rounds):
        theirs = list[tuple[Query, Turn]]()
        for place, (size, measured) in enumerate(zip(case.sizes, result.sizes, strict=True)):
            tell(f"{case.name}: round {number + 1} of {rounds}, {size} at a time")
            rows = size if isinstance(size, int) else _QUEUE_ROWS
            count = max(case.prompts, rows if isinstance(size, int) else _QUEUED)
            first = number * case.prompts % len(case.queries)  # other prompts each round, where not all have a turn
            asked = (*case.queries[first:], *case.queries[:first])
            queries = turn_queries(asked, count, seed=100 * number + place)
            order = ("run" if isinstance(size, int) else "queue", queries, rows)
            ours: Turn = sides.ours.call(*order)
            _note(measured, ours, count)
            if sides.before is not None:
                measured.note("before", sides.before.call(*order).seconds / count)
            if sides.theirs is not None:
                # It answers one prompt after the other, so that all batch sizes can have a part of one turn.
                part = turn_queries(asked, case.prompts, seed=100 * number + 99)[place :: len(case.sizes)]
                theirs += [(query, sides.theirs.call("run", [query], 1)) for query in part]
            prompt, written = (max(1, round(sum_ / count)) for sum_ in (ours.prompt, ours.written))
            times = [sides.alone.call("decode", rows, prompt, written) for _ in range(max(1, count // rows))]
            measured.note("alone", sum(times) / len(times) / rows)
            result.our_score += score(queries, ours.outcomes)
            lists = [pair for pair in zip(queries, ours.outcomes, strict=True) if pair[0].replay]
            result.lists += len(lists)
            result.followed += sum(followed(*pair) for pair in lists)
        if theirs:
            for measured in result.sizes:
                measured.note("tipo-kgen", sum(turn.seconds for _, turn in theirs) / len(theirs))
            result.their_score += score(
                [query for query, _ in theirs], [outcome for _, turn in theirs for outcome in turn.outcomes]
            )
    return result


def _note(measured: SizeResult, ours: Turn, count: int) -> None:
    measured.ours.append(ours.seconds / count)
    measured.rate.append(ours.rate)
    measured.tokens_each.append(ours.written / max(1, ours.steps + count))
    measured.inside.append(ours.inside / ours.seconds)


def _spoken(section: Section, options: Options) -> tuple[Case, ...]:
    """Return the cases of a model that ends by itself; all of them only where the reference runs beside it."""
    lengths: tuple[tuple[str, TagLength, TextLength], ...] = (
        ("tags, short", TagLength.SHORT, TextLength.NONE),
        ("tags, long", TagLength.LONG, TextLength.NONE),
        ("tags + text, short", TagLength.SHORT, TextLength.SHORT),
        ("tags + text, long", TagLength.LONG, TextLength.LONG),
    )
    if section.engine != "llama_cpp" or options.quick:
        lengths = lengths[1::2]
    return tuple(
        Case(
            name, tuple(replace(query, tag_length=tags, text_length=text) for query in PROMPTS),
            (1, 4, 16, 64, *((QUEUE,) if (name, section.key) == ("tags + text, long", "starter") else ())),
            8 if options.quick else 32,
        )
        for name, tags, text in lengths
    )  # fmt: skip


def _replays(options: Options, folder: Path, tell: Tell) -> tuple[Case, ...]:
    """Return the lists to replay: the starter's for the benchmark's prompts, and those of real posts."""
    tell("sampling and reading lists")
    assert options.vocab is not None
    tiny = folder / "tiny.gguf"
    write_shape(tiny, TINY, options.vocab)
    with Child(open_ours, str(options.model), options.threads) as starter:
        asked = turn_queries(PROMPTS, len(PROMPTS), seed=50)
        sampled: Turn = starter.call("queue", asked, _QUEUE_ROWS)
    lists = {"lists the starter sampled": [
        replace(query, replay=outcome.added) for query, outcome in zip(asked, sampled.outcomes, strict=True)
    ]}  # fmt: skip
    if options.posts is not None:
        lists["lists of real posts"] = turn_queries(read_posts(options.posts, len(PROMPTS)), len(PROMPTS), seed=51)
    with Child(open_ours, str(tiny), options.threads) as judge:
        return tuple(
            Case(name, tuple(judge.call("fit", queries)), (1, 4, 16), 2 if options.quick else 4)
            for name, queries in lists.items()
        )


def _write(section: Section, options: Options, folder: Path, tell: Tell) -> Path:
    """Return the section's random model, written once."""
    assert section.shape is not None and options.vocab is not None
    full, quantised = (folder / f"{section.shape.name}-{kind}.gguf" for kind in ("F16", "Q8_0"))
    if not full.exists():
        tell(f"writing random weights of {section.shape.name}'s shape")
        write_shape(full, section.shape, options.vocab)
    if section.quantised and not quantised.exists():
        quantise(full, quantised, threads=options.threads)
    return quantised if section.quantised else full


@contextmanager
def _sides(section: Section, model: Path, options: Options, folder: Path, tell: Tell) -> Iterator[Sides]:
    tell(f"{section.name}: loading the model on each side")
    arguments = (str(model), options.threads)
    with ExitStack() as stack:

        def start(make: Callable[..., Any], *more: str, first: Path | None = None) -> Child:
            return stack.enter_context(Child(make, *arguments, *more, first=first))

        in_llama_cpp = section.engine == "llama_cpp"
        yield Sides(
            ours=start(open_ours, section.engine),
            alone=start(LlamaCppAlone if in_llama_cpp else TransformersAlone),
            before=start(open_ours, section.engine, first=folder / "before") if options.before is not None else None,
            theirs=start(open_tipo_kgen) if in_llama_cpp else None,
        )
