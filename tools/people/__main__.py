"""Command line that measures what goes wrong on people's own prompts: `python -m tools.people FILE...`.

Each FILE has a JSON object with "prompt" or "caption" on every line. Its prompts are expanded as the defaults are, and
once more with text; then come well-known characters in three spellings, and tag prompts in six scripts. A figure is a
count, its share of what it was counted in, and the first examples. Invented words are counted with --words only.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from kgen_ext.errors import BadValue, KGenError, UserError
from kgen_ext.models import STARTER
from kgen_ext.prompt import escape
from kgen_ext.request import Category, ExpandRequest, TagLength, TextLength
from kgen_ext.rules.known import KnownTags, load_tag_file
from kgen_ext.service import open_expander
from kgen_ext.service.expander import Expander
from kgen_ext.tags.categories import is_known
from kgen_ext.tags.tag import Tag
from tools.people.cases import CHARACTERS, SCRIPTS, SPELLINGS
from tools.people.figures import Exists, Figure, Row, figures, looks_found, read_row, script_figure, words

_BATCH = 64
_EXAMPLE = 400  # letters of a printed example; the JSON has all
_KEYS = ("prompt", "caption")
_TEXT_LENGTHS = [length.value for length in TextLength if length is not TextLength.NONE]


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of a pass, its rows, and the seconds it took for each."""

    title: str
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; return 0, 2 for a wrong option or file, 1 for a failure."""
    try:
        return _main(argv)
    except UserError as error:
        return _say(error, 2)
    except (KGenError, OSError) as error:
        return _say(error, 1)
    except KeyboardInterrupt:
        return _say("interrupted", 130)


def _main(argv: Sequence[str] | None) -> int:
    options = _parser().parse_args(argv)
    if options.limit is not None and options.limit < 1:
        raise BadValue("limit", options.limit, "a whole number from 1")
    prompts = {path: sample(read_prompts(path), options.limit) for path in options.files}
    exists = exists_in(load_tag_file(options.tags) if options.tags else None)
    vocabulary = frozenset(word for path in options.words for word in read_words(path)) if options.words else None
    sections = list[Section]()
    with open_expander(model=options.model, engine=options.engine) as expander:
        sys.stdout.write(f"{expander.model} on {expander.engine}, seed {options.seed}\n")
        for section in measure(expander, prompts, options, exists, vocabulary):
            sections.append(section)
            sys.stdout.write(render(section, options.examples))
            sys.stdout.flush()
        if options.json:
            report = as_json(sections) | {"model": expander.model, "engine": expander.engine, "seed": options.seed}
            options.json.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.people", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help='.jsonl with "prompt" or "caption"')
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of every row (default: 1)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N prompts of each file, evenly spaced")
    parser.add_argument("--model", default=STARTER, help="model (default: starter)")
    parser.add_argument("--engine", default="auto", help="engine (default: the model's)")
    parser.add_argument("--tag-length", choices=[length.value for length in TagLength], help="default: the model's")
    parser.add_argument("--text-length", choices=_TEXT_LENGTHS, default="short", help="of the second pass: short")
    parser.add_argument("--tags", metavar="FILE", help="tagcomplete CSV: which tags exist (default: the project's)")
    parser.add_argument(
        "--words", type=Path, nargs="+", default=(), metavar="FILE", help="captions (.jsonl) or text: which words exist"
    )
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="examples of each figure (default: 3)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every figure, example and row to this file")
    return parser


def measure(
    expander: Expander,
    prompts: dict[Path, list[str]],
    options: argparse.Namespace,
    exists: Exists,
    vocabulary: frozenset[str] | None = None,
) -> Iterator[Section]:
    """Yield the sections: two for each file, one for the characters, one for the scripts.

    options: `seed`, `tag_length`, `text_length`.
    """
    tags_only: dict[str, Any] = {"seed": options.seed, "tag_length": options.tag_length}
    with_text = tags_only | {"text_length": options.text_length}
    for path, some in prompts.items():
        for title, settings in (("as the defaults are", tags_only), (f"{options.text_length} text", with_text)):
            rows, seconds = expand(expander, some, settings)
            yield Section(f"{path.name}, {title}", tuple(figures(rows, exists, vocabulary)), rows, seconds)
    spelled = {
        name: [f"{count(people)}, {escape(letters(character))}" for people, character, _ in CHARACTERS]
        for name, count, letters in SPELLINGS
    }
    yield _cases("characters", expander, spelled, tags_only, looks_found)
    yield _cases("scripts", expander, dict(SCRIPTS), tags_only, lambda name, rows: script_figure(name, rows, exists))


def _cases(
    title: str,
    expander: Expander,
    prompts: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
    figure: Callable[[str, Sequence[Row]], Figure],
) -> Section:
    done = {name: expand(expander, some, settings) for name, some in prompts.items()}
    rows = tuple(row for some, _ in done.values() for row in some)
    seconds = sum(each * len(some) for some, each in done.values()) / len(rows)
    return Section(title, tuple(figure(name, some) for name, (some, _) in done.items()), rows, seconds)


def expand(expander: Expander, prompts: Sequence[str], settings: Mapping[str, Any]) -> tuple[tuple[Row, ...], float]:
    """Expand the prompts in batches; return their rows and the seconds for each."""
    rows, began = list[Row](), perf_counter()
    for begin in range(0, len(prompts), _BATCH):
        batch = prompts[begin : begin + _BATCH]
        done = expander.expand([ExpandRequest(prompt, **settings) for prompt in batch])
        rows += map(read_row, batch, done)
    return tuple(rows), (perf_counter() - began) / len(prompts)


def exists_in(tags: KnownTags | None) -> Exists:
    """Return what tells whether a tag exists: by name or alias in the file, without one by the project's own table.

    People counts, ratings, quality tags and the artists, characters and series of the project's table always exist.
    """

    def exists(tag: Tag) -> bool:
        if tags is None:
            return is_known(tag.name)
        listed = tags.find(tag.written) is not None or tags.find(tag.name) is not None
        return listed or tag.category is not Category.GENERAL

    return exists


def sample(prompts: Sequence[str], limit: int | None) -> list[str]:
    """Return at most `limit` prompts, evenly spaced.

    >>> sample("abcdef", 3)
    ['a', 'c', 'e']
    """
    if limit is None or limit >= len(prompts):
        return list(prompts)
    return [prompts[index * len(prompts) // limit] for index in range(limit)]


def read_prompts(path: Path) -> list[str]:
    """Return the prompts or captions of a .jsonl file; raises UserError for a file that has none on some line."""
    prompts = list[str]()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}: line {number}: {error}") from error
        texts = [record[key] for key in _KEYS if isinstance(record.get(key), str)] if isinstance(record, dict) else []
        if not texts:
            raise UserError(f"{path}: line {number} has no prompt and no caption")
        prompts.append(texts[0])
    if not prompts:
        raise UserError(f"{path}: holds no prompts")
    return prompts


def read_words(path: Path) -> set[str]:
    """Return the words of a .jsonl file's captions, or of a plain text file."""
    if path.suffix == ".jsonl":
        return {word for caption in read_prompts(path) for word in words(caption)}
    return set(words(path.read_text(encoding="utf-8")))


def render(section: Section, examples: int) -> str:
    """Return a section as text: a line for each figure, and its examples."""
    lines = [f"\n{section.title}: {len(section.rows)} rows, {section.seconds:.2f} s each\n"]
    for figure in section.figures:
        share = f"{figure.count / figure.total:7.1%}" if figure.total else "      -"
        lines.append(f"{figure.count:6,}{share} of {figure.total:<6,}  {figure.name}\n")
        lines += [f"{'':25}{_clip(example)}\n" for example in figure.examples[:examples]]
    return "".join(lines)


def _clip(example: str) -> str:
    return example if len(example) <= _EXAMPLE else f"{example[: _EXAMPLE - 3]}..."


def as_json(sections: Sequence[Section]) -> dict[str, Any]:
    """Return all sections as JSON values."""
    return {
        "sections": [
            {
                "title": section.title,
                "seconds": section.seconds,
                "figures": [asdict(figure) for figure in section.figures],
                "rows": [{"prompt": row.prompt, "expansion": asdict(row.expansion)} for row in section.rows],
            }
            for section in sections
        ]
    }


def _say(what: object, code: int) -> int:
    sys.stderr.write(f"people: error: {what}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
