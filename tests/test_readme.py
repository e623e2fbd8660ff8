"""Agreement of the README and docs/ with the code: tables, JSON keys, commands, links and the Python example.

`python tests/test_readme.py` writes the generated tables and the first example anew.
"""
from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from kgen_ext.cli import build_parser
from kgen_ext.events import Expansion
from kgen_ext.output.formats import NAMED_FORMATS, SLOTS
from kgen_ext.webui.controls import CONTROLS
from kgen_ext.webui.profiles import PROFILES
from kgen_ext.webui.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# The pages for users and contributors, the README first.
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
TEXT = TEXTS[README]


def blocks(language: str, text: str = TEXT) -> list[str]:
    """Return a page's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return every different call of kgen in the pages' shell blocks."""
    lines = "\n".join(block for text in TEXTS.values() for block in blocks("sh", text)).splitlines()
    return list(dict.fromkeys(line[line.index("kgen ") :] for line in lines if re.search(r"(^|/)kgen ", line)))


def option_table(command: str = "expand", *, but: str = "") -> str:
    """Return the options of a command, from its parser. but: a command whose options are left out."""
    parser = build_parser()
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    rows = ["| Option | Value | Meaning |", "|---|---|---|"]
    left_out = {option for action in (choices[but]._actions if but else ()) for option in action.option_strings}
    for action in choices[command]._actions:
        if left_out & set(action.option_strings) and action.option_strings[-1] != "--json":
            continue
        name = f"`{action.option_strings[-1]}`" if action.option_strings else f"`{action.metavar}`"
        value = "" if action.nargs == 0 or not action.option_strings else str(action.metavar).replace("|", ", ")
        meaning = (action.help or "").replace("%%", "%").replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")
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


def settings_table() -> str:
    """Return the table of the settings page, from the one table its options are made of."""
    rows = ["| Setting | Key | What it does | Choices | Default |", "|---|---|---|---|---|"]
    for option in SETTINGS:
        shown = {True: "on", False: "off"}.get(option.default) if isinstance(option.default, bool) else None
        choices = "; ".join(label for _, label in option.choices)
        if option.high:
            choices = f"{option.low:g} to {option.high:g}"
        rows.append(
            f"| {option.label} | `{option.key}` | {option.info} | {choices} | {shown or option.stored_default} |"
        )
    return "\n".join(rows) + "\n"


def profiles_table() -> str:
    """Return the table of the checkpoint profiles."""
    adds = {"tags": "tags", "text": "sentences", "both": "tags and sentences"}
    rows = ["| Profile | Recommended | Quality words | Where | Source |", "|---|---|---|---|---|"]
    for profile in PROFILES.values():
        place = ("at the end" if profile.at_end else "in front") if profile.quality else ""
        words = f"`{profile.quality}`" if profile.quality else "none"
        rows.append(f"| {profile.label} | {adds[profile.add]} | {words} | {place} | {profile.source} |")
    return "\n".join(rows) + "\n"


# The tables that are written by `python tests/test_readme.py`.
GENERATED = {"expand": option_table, "batch": partial(option_table, "batch", but="expand"),
             "controls": controls_table, "settings": settings_table, "profiles": profiles_table}  # fmt: skip


def table(name: str) -> str:
    """Return the table that follows the comment `<!-- table: NAME -->` on one of the pages."""
    (found,) = re.findall(rf"<!-- table: {name} -->\n\n((?:\|.*\n)*)", "\n".join(TEXTS.values()))
    return str(found)


def test_the_table_of_options_is_the_parsers() -> None:
    assert table("expand") == option_table(), "run: python tests/test_readme.py"


def test_the_table_of_batch_options_is_the_parsers() -> None:
    assert table("batch") == option_table("batch", but="expand"), "run: python tests/test_readme.py"


def test_the_table_of_profiles_is_the_codes() -> None:
    assert table("profiles") == profiles_table(), "run: python tests/test_readme.py"


def test_the_table_of_controls_is_the_pages() -> None:
    assert table("controls") == controls_table(), "run: python tests/test_readme.py"


def test_the_table_of_settings_is_the_pages() -> None:
    assert table("settings") == settings_table(), "run: python tests/test_readme.py"


def test_the_table_of_json_keys_is_the_expansions() -> None:
    keys = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table("json"), re.MULTILINE)))
    assert keys == [field.name for field in dataclasses.fields(Expansion)]


def test_the_table_of_formats_is_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table("formats"), re.MULTILINE)
    assert rows == [(name, named.label) for name, named in NAMED_FORMATS.items()]


def test_the_slots_named_are_the_codes() -> None:
    text = TEXTS[ROOT / "docs" / "prompts.md"]
    section = text[text.index("Its slots are") : text.index("An empty slot")]
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


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda path: path.name)
def test_every_file_a_page_links_to_exists(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", TEXTS[page]) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_heading_a_page_links_to_exists(page: Path) -> None:
    missing = []
    for link, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", TEXTS[page]):
        if "://" not in link and heading not in headings(page.parent / link if link else page):
            missing.append(f"{link}#{heading}")
    assert missing == []


def headings(page: Path) -> list[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_every_file_the_pages_name_exists() -> None:
    """Of the files in back quotes, those that begin with a folder of this repository."""
    named = {name for text in TEXTS.values() for name in re.findall(r"`((?:kgen_ext|tests|tools|docs)/[\w./]+)`", text)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_storey_is_in_the_picture() -> None:
    (picture,) = [block for block in blocks("text", TEXTS[ARCHITECTURE]) if "service" in block]
    folders = {path.parent.name for path in (ROOT / "kgen_ext").glob("*/__init__.py")}
    assert [name for name in folders if name not in picture and f"{name}/" not in TEXTS[ARCHITECTURE]] == []


def test_the_readme_is_short_enough_to_read() -> None:
    assert len(TEXT.splitlines()) < 250


if __name__ == "__main__":
    (example,) = [block for block in blocks("console") if block.startswith("$ kgen expand")]
    command = example.splitlines()[0]
    argv = [sys.executable, "-m", "kgen_ext", *shlex.split(command)[2:]]
    answer = subprocess.run(argv, capture_output=True, check=True, encoding="utf-8").stdout
    for path, text in TEXTS.items():
        changed = text.replace(example, f"{command}\n{answer}")
        for name, write in GENERATED.items():
            mark = f"<!-- table: {name} -->\n\n"
            changed = re.sub(rf"{mark}(?:\|.*\n)*", (mark + write()).replace("\\", "\\\\"), changed)
        path.write_text(changed, encoding="utf-8")
