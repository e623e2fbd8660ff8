"""The README agrees with the code: its table of options, its keys, its commands and its Python example.

`python tests/test_readme.py` writes the table of options and the first example anew.
"""
from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kgen_ext.cli import build_parser
from kgen_ext.events import Expansion
from kgen_ext.output.formats import NAMED_FORMATS, SLOTS
from kgen_ext.webui.controls import CONTROLS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return every call of kgen in the README's shell blocks."""
    lines = "\n".join(blocks("sh")).splitlines()
    return [line[line.index("kgen ") :] for line in lines if re.search(r"(^|/)kgen ", line)]


def option_table() -> str:
    """Return the table of `kgen expand`, from its parser."""
    parser = build_parser()
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    rows = ["| Option | Value | Meaning |", "|---|---|---|"]
    for action in choices["expand"]._actions:
        name = f"`{action.option_strings[-1]}`" if action.option_strings else f"`{action.metavar}`"
        value = "" if action.nargs == 0 or not action.option_strings else str(action.metavar).replace("|", ", ")
        meaning = (action.help or "").replace("%%", "%").replace("|", "\\|").replace("*", "\\*")
        rows.append(f"| {name} | {value} | {meaning} |")
    return "\n".join(rows) + "\n"


def controls_table() -> str:
    """Return the table of the page's controls, from the one table they are made of."""
    rows = ["| Control | API name | What it does | Default |", "|---|---|---|---|"]
    for param in CONTROLS:
        names = ", ".join(f"`{value}`" for value, _ in param.choices)
        default = param.shown_default
        shown = {True: "on", False: "off"}.get(default, default) if isinstance(default, bool) else default
        shown = ", ".join(shown) if isinstance(shown, list) else shown
        info = param.info.replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")
        rows.append(f"| {param.label} | `{param.field}`{': ' + names if names else ''} | {info} | {shown} |")
    return "\n".join(rows) + "\n"


def table(name: str) -> str:
    """Return the table that follows the comment `<!-- table: NAME -->`."""
    found = re.search(rf"<!-- table: {name} -->\n\n((?:\|.*\n)*)", TEXT)
    assert found is not None
    return found[1]


def test_the_table_of_options_is_the_parsers() -> None:
    assert table("expand") == option_table(), "run: python tests/test_readme.py"


def test_the_table_of_controls_is_the_pages() -> None:
    assert table("controls") == controls_table(), "run: python tests/test_readme.py"


def test_the_table_of_json_keys_is_the_expansions() -> None:
    keys = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table("json"), re.MULTILINE)))
    assert keys == [field.name for field in dataclasses.fields(Expansion)]


def test_the_table_of_formats_is_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table("formats"), re.MULTILINE)
    assert rows == [(name, named.label) for name, named in NAMED_FORMATS.items()]


def test_the_slots_named_are_the_codes() -> None:
    section = TEXT[TEXT.index("Its slots are") : TEXT.index("An empty slot")]
    assert re.findall(r"<\|(\w+)\|>", section) == list(SLOTS)


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_is_understood(command: str) -> None:
    arguments = build_parser().parse_args(shlex.split(command)[1:])
    assert arguments.command == command.split()[1]


@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_example_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=tmp_path, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1girl, shrine") and "complete" in done.stdout


@pytest.mark.parametrize("mark", ["install and expand", "test everything"])
def test_the_two_lines_to_copy_are_where_ci_finds_them(mark: str) -> None:
    found = re.search(rf"^<!-- {mark} -->\n```sh\n(.*)\n```$", TEXT, re.MULTILINE)
    assert found is not None and found[1].startswith("python3 -m venv .venv && ")


def test_the_first_example_shows_a_prompt_that_was_added_to() -> None:
    """Its words are the starter's of the day; that they begin with the user's is what must hold."""
    (example,) = [block for block in blocks("console") if block.startswith("$ kgen expand")]
    command, answer = example.splitlines()
    assert answer.startswith(shlex.split(command)[3] + ", ")


def test_every_file_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_every_storey_is_in_the_picture() -> None:
    (picture,) = [block for block in blocks("text") if "service" in block]
    folders = {path.parent.name for path in (ROOT / "kgen_ext").glob("*/__init__.py")}
    assert [name for name in folders if name not in picture and f"{name}/" not in TEXT] == []


if __name__ == "__main__":
    (example,) = [block for block in blocks("console") if block.startswith("$ kgen expand")]
    command = example.splitlines()[0]
    argv = [sys.executable, "-m", "kgen_ext", *shlex.split(command)[2:]]
    answer = subprocess.run(argv, capture_output=True, check=True, encoding="utf-8").stdout
    changed = TEXT.replace(table("expand"), option_table())
    changed = changed.replace(table("controls"), controls_table())
    changed = changed.replace(example, f"{command}\n{answer}")
    README.write_text(changed, encoding="utf-8")
