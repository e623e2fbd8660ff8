"""Every name of a host that the extension uses, against the table in docs/hosts.md, and the table against the hosts.

The names are collected from the source. With KGEN_HOST_SOURCES, a folder that has the source of each host in a folder
named like the table's columns (a1111, forge, neo, reforge, classic, sdnext), the table is checked against those, too.
"""
from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ("a1111", "forge", "neo", "reforge", "classic", "sdnext")
SOURCES = os.environ.get("KGEN_HOST_SOURCES", "")
MODULE = re.compile(r"(modules|backend|ldm_patched|modules_forge)(\.\w+)*")
# What a variable of this name is, wherever the extension has one: the host's job, its job state and so on.
OBJECTS = {"p": "p", "state": "state", "manager": "manager", "aux": "modules.sd_offload_aux", "runner": "runner",
           "cmd_opts": "cmd_opts"}  # fmt: skip
ASKED = ("p", "state", "model_data", "prompt_styles", "app")  # what `getattr` is asked of
CALLS = {"flag": "cmd_opts", "option": "opts", "on": "modules.script_callbacks", "path": "modules.paths"}
# Objects of ours that are called by one of these names.
OURS = {"background.py", "models_html.py", "models_controller.py", "models_panel.py"}
# Names that code looks up in a loop, and those that only a comment could show to be a host's.
INDIRECT: dict[str, set[str]] = {
    "hooks.py": {"p._ad_inner"},
    "progress.py": {"state.job_count", "state.job_no", "state.sampling_step", "state.sampling_steps", "state.textinfo"},
    "host.py": {"cmd_opts.lowvram", "cmd_opts.medvram", "cmd_opts.medvram_sdxl"},
    "xyz.py": {"xyz_grid.axis_options", "xyz_grid.AxisOption"},
    "ui.py": {"script.infotext_fields", "script.paste_field_names"},
    "tool_row.py": {"script.on_after_component"},
    "regions.py": {"script.args_from", "script.args_to"},
    "sdnext.py": {"script.filename"},
    "script.py": {"script.before_process", "script.process", "script.before_process_batch", "script.postprocess_image",
                  "script.postprocess"},
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of the table. files: where the name stands, by host; missing: hosts that do not have it."""

    name: str
    files: dict[str, str]
    missing: frozenset[str]
    without: str


def table() -> list[Row]:
    """Read the table: | name | where it stands | not in | without it |."""
    text = (ROOT / "docs" / "hosts.md").read_text("utf-8").partition("<!-- table: names -->")[2]
    rows = []
    for line in text.split("\n"):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            default, *others = cells[1].split("; ")
            files = dict.fromkeys(HOSTS, default.strip("`") if default.startswith("`") else "")
            files |= {host: file.strip("`") for host, file in (other.split(": ") for other in others)}
            rows.append(Row(cells[0].strip("`"), files, frozenset(cells[2].split(", ")) - {""}, cells[3]))
    return rows


def used() -> dict[str, set[str]]:
    """Return the names of hosts that the extension uses, each with the files that use it."""
    found: dict[str, set[str]] = {}
    for path in [*sorted((ROOT / "kgen_ext" / "webui").rglob("*.py")), ROOT / "scripts" / "kgen.py"]:
        for name in {*_names(ast.parse(path.read_text("utf-8")), path.name), *INDIRECT.get(path.name, ())}:
            found.setdefault(name, set()).add(path.name)
    return found


def _names(tree: ast.Module, file: str) -> Iterator[str]:
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            if MODULE.fullmatch(node.value):
                yield node.value
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if MODULE.fullmatch(alias.name))
        elif isinstance(node, ast.Attribute) and file not in OURS:
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if owner in OBJECTS:
                yield f"{OBJECTS[owner]}.{node.attr}"
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _called(node: ast.Call) -> Iterator[str]:
    texts = [argument.value if isinstance(argument, ast.Constant) else "" for argument in node.args]
    if isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
        name = str(texts[0]) if texts else ""
        yield from [f"{CALLS[node.func.attr]}.{name}"] if name and not name.startswith("kgen_") else []
    elif isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr") and len(texts) > 1:
        owner, name = ast.unparse(node.args[0]).rpartition(".")[2].strip("')\""), str(texts[1])
        yield from [f"{owner}.{name}"] if owner in ASKED and name and not name.startswith("_") else []


TABLE = table()


def test_every_name_that_the_extension_uses_is_in_the_table() -> None:
    names = {row.name for row in TABLE}
    assert {name: files for name, files in used().items() if name not in names} == {}


def test_every_name_in_the_table_is_used() -> None:
    names = used()
    assert [row.name for row in TABLE if row.name not in names] == []


def test_no_name_is_in_the_table_twice() -> None:
    names = [row.name for row in TABLE]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_table_says_what_is_done_without_a_name_that_a_host_lacks(row: Row) -> None:
    assert row.missing <= set(HOSTS)
    assert row.without


def stands(row: Row, host: str) -> bool:
    """Return whether a host's source has the name: defined, assigned or imported there."""
    path = Path(SOURCES) / host / row.files[host]
    if not path.exists():
        return False
    owner, _, name = row.name.rpartition(".")
    if path.is_dir() or path.stem == name:
        return True
    text = path.read_text("utf-8")
    if owner == "cmd_opts":
        return f'"--{name.replace("_", "-")}"' in text
    if owner == "opts":
        return f'"{name}"' in text
    if owner in ("p", "state", "script", "runner", "model_data", "prompt_styles"):
        return re.search(rf"\b(self|p|script)\.{name}\b|^    (def )?{name}\b", text, re.M) is not None
    return re.search(rf"^\s*(def|class) {name}\b|^\s*{name}\s*[:=]|import .*\b{name}\b", text, re.M) is not None


@pytest.mark.skipif(not SOURCES, reason="KGEN_HOST_SOURCES names no folder with the hosts' source")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_table_is_true_of_the_hosts(row: Row, host: str) -> None:
    if row.files[host]:
        assert stands(row, host) is (host not in row.missing)
