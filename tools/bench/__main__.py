"""Command line of the benchmark: `python -m tools.bench`.

Both runtimes take turns on one GGUF with one number of threads. Only the tables are printed to standard output.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import kgen_ext
from kgen_ext.errors import BadValue, EngineUnavailable, KGenError, UserError
from tools.bench.run import Extent, run

_NEEDS = {"kgen": "tipo-kgen==0.3.1", "llama_cpp": "llama-cpp-python", "matplotlib": "matplotlib", "gguf": "gguf"}
_ONLY = ("starter", "shape200m")


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
    missing = [package for name, package in _NEEDS.items() if find_spec(name) is None]
    if missing:
        raise EngineUnavailable(f"bench: not installed: {', '.join(missing)}", hint=f"pip install {' '.join(missing)}")
    for name in ("threads", "rounds"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise BadValue(name, value, "a whole number from 1")
    model = arguments.model or _starter()
    if not model.is_file() or model.suffix.lower() != ".gguf":
        raise BadValue("model", str(model), "the path of a GGUF file")
    extent = Extent.quick() if arguments.quick else Extent.full() if arguments.full else Extent()
    if arguments.rounds is not None:
        extent = extent.with_rounds(arguments.rounds)
    if arguments.plot is not None and not arguments.plot.resolve().parent.is_dir():
        raise BadValue("plot", str(arguments.plot), "a file in a folder that exists")
    threads = arguments.threads or os.cpu_count() or 1
    title = (
        f"ours against tipo-kgen {_version('tipo-kgen')}, both on llama-cpp-python {_version('llama-cpp-python')}, "
        f"{threads} threads, {extent.rounds} rounds of {extent.prompts} prompts"
    )
    results = run(model, threads=threads, extent=extent, only=arguments.only, starter=_starter().parent, tell=_tell)
    from tools.bench.report import as_json, render

    sys.stdout.write(json.dumps(as_json(title, results), indent=1) + "\n" if arguments.json else render(title, results))
    if arguments.plot is not None:
        from tools.bench.plot import draw_plot

        draw_plot(arguments.plot, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file (default: the starter that ships)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for both sides (default: all processors)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each case")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="one case, a few prompts: about a minute")
    extent.add_argument("--full", action="store_true", help="five rounds of everything")
    parser.add_argument("--only", choices=_ONLY, help="only the model, or only random weights of TIPO-200M's shape")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw throughput against batch size (.png, .svg)")
    parser.add_argument("--json", action="store_true", help="print every figure of every round as JSON instead")
    return parser


def _starter() -> Path:
    return Path(kgen_ext.__file__).parent / "starter" / "starter-Q8_0.gguf"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _tell(line: str) -> None:
    sys.stderr.write(f"bench: {line}\n")


def _say(what: object, code: int) -> int:
    sys.stderr.write(f"bench: error: {what}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
