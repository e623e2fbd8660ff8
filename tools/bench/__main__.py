"""Command line of the benchmark: `python -m tools.bench`.

All sides take turns on one GGUF with one number of threads. Only the tables are printed to standard output.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import kgen_ext
from kgen_ext.errors import BadValue, EngineUnavailable, KGenError, UserError
from tools.bench.run import SECTIONS, Options, run

_NEEDS = {"kgen": "tipo-kgen==0.3.1", "llama_cpp": "llama-cpp-python", "matplotlib": "matplotlib", "gguf": "gguf"}
_TORCH = {"torch": "torch", "transformers": "transformers"}
_DOCS = Path(__file__).parents[2] / "docs"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, 2 for a wrong option, 1 for a failure."""
    try:
        return _main(argv)
    except UserError as error:
        return _say(error, 2)
    except KGenError as error:
        return _say(error, 1)
    except KeyboardInterrupt:
        return _say("interrupted", 130)


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    options = Options(
        model=arguments.model or Path(kgen_ext.__file__).parent / "starter" / "starter-Q8_0.gguf",
        threads=arguments.threads or os.cpu_count() or 1,
        rounds=1 if arguments.quick else arguments.rounds,
        only=tuple(arguments.only or ()),
        quick=arguments.quick,
        vocab=arguments.vocab,
        posts=arguments.posts,
        before=arguments.before,
    )
    _check(options)
    if not options.vocab:
        _tell("without --vocab the shapes with random weights are left out")
    load, begin, results, parts = _load(), _processors(), [], list[str]()
    from tools.bench.report import render, write_figures

    for result in run(options, _tell):
        results.append(result)
        parts.append(render(result))
        sys.stdout.write(parts[-1] + "\n")
        sys.stdout.flush()
    total, others = (late - early for late, early in zip(_processors(), begin, strict=True))
    parts.insert(0, (
        f"llama-cpp-python {_version('llama-cpp-python')}, transformers {_version('transformers')}, tipo-kgen "
        f"{_version('tipo-kgen')}, {options.threads} threads, {options.rounds} rounds; load average before the run "
        f"{load}, other programs' share of the processors during it {max(0.0, others) / total:.0%}\n"
    ))  # fmt: skip
    sys.stdout.write(parts[0])
    if arguments.write_docs:
        from tools.bench.plot import draw_plot

        write_figures(_DOCS / "benchmark.md", "\n".join(parts))
        draw_plot(_DOCS / "bench.png", results)
    return 0


def _check(options: Options) -> None:
    """Raise what is wrong with the options, or what is not installed."""
    if not options.model.is_file() or options.model.suffix.lower() != ".gguf":
        raise BadValue("model", str(options.model), "the path of a GGUF file")
    for name, value in (("threads", options.threads), ("rounds", options.rounds)):
        if value < 1:
            raise BadValue(name, value, "a whole number from 1")
    for name, file in (("vocab", options.vocab), ("posts", options.posts)):
        if file is not None and not file.is_file():
            raise BadValue(name, str(file), "the path of a file")
    if options.before is not None and not (options.before / "kgen_ext" / "__init__.py").is_file():
        raise BadValue("before", str(options.before), "a folder with another version of this project")
    if not options.sections:
        raise BadValue("vocab", None, "a GGUF file with LLaMA's vocabulary, which the shapes need")
    needs = _NEEDS | (_TORCH if any(section.engine == "transformers" for section in options.sections) else {})
    missing = [package for name, package in needs.items() if find_spec(name) is None]
    if missing:
        raise EngineUnavailable(f"bench: not installed: {', '.join(missing)}", hint=f"pip install {' '.join(missing)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file instead of the starter that ships")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for all sides (default: all processors)")
    parser.add_argument("--rounds", type=int, metavar="N", default=3, help="rounds of each case (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round of few cases and prompts")
    keys = [section.key for section in SECTIONS]
    parser.add_argument("--only", nargs="+", choices=keys, metavar="NAME", help=f"only these: {', '.join(keys)}")
    parser.add_argument("--vocab", type=Path, metavar="FILE", help="LLaMA's vocabulary (GGUF), for the shapes")
    parser.add_argument("--posts", type=Path, metavar="FILE", help="real lists to replay: JSON lines with `tags`")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout to measure beside this one")
    parser.add_argument("--write-docs", action="store_true", help="put figures and plot into docs/")
    return parser


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _processors() -> tuple[float, float]:
    """Return seconds of all processors since the system began, and those of others' work; only Linux tells the second.

    A child's work counts as ours from its end on.
    """
    stat, own = Path("/proc/stat"), os.times()
    if not stat.exists():
        return own.elapsed, 0.0
    user, nice, system, idle, wait, *more = map(int, stat.read_text().split("\n")[0].split()[1:9])
    busy = user + nice + system + sum(more)
    second = os.sysconf("SC_CLK_TCK")
    return (busy + idle + wait) / second, busy / second - sum(own[:4])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _tell(line: str) -> None:
    sys.stderr.write(f"bench: {line}\n")


def _say(what: object, code: int) -> int:
    sys.stderr.write(f"bench: error: {what}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
