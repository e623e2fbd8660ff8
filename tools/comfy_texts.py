"""Texts of the ComfyUI nodes: `locales/LANGUAGE/*.json`, and the tables of the help pages, from the table of nodes.

    python -m tools.comfy_texts            write the files anew
    python -m tools.comfy_texts --check    only say what is missing or out of date

    locales/LANGUAGE/nodeDefs.json                    labels and tooltips of nodes, inputs and outputs
    locales/LANGUAGE/main.json                        what the page's scripts say, under "kgen"
    kgen_ext/comfy/web/docs/NODE.md, NODE/LANGUAGE.md   help: a text written by hand, and the tables

The English files say what the translations were made from: a translation is kept while its English is the same. One
that is missing is taken from the WebUI's localizations where they have the text, else it is reported and the English
stands in its place, as the host shows an id where a text is absent. Translations are edited in the files themselves.
None has been read by a native speaker yet.
"""
from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.localizations import read as read_localization

ROOT = Path(__file__).resolve().parents[1]
LOCALES = ROOT / "locales"
WEB = ROOT / "kgen_ext" / "comfy" / "web"
ENGLISH = "en"
# The language of ComfyUI's page, and the WebUI's file for the same.
LANGUAGES = {"zh": "zh_CN", "ja": "ja_JP", "ko": "ko_KR"}
FILES = ("nodeDefs", "main")
# Headings of the help pages' tables.
_HEADINGS = {
    ENGLISH: ("Inputs", "Outputs"), "zh": ("输入", "输出"), "ja": ("入力", "出力"), "ko": ("입력", "출력"),
}  # fmt: skip
_MARK = "<!-- tables -->"
_TEXT = re.compile(r'^ {4}(\w+): "(.*)",$', re.MULTILINE)

Texts = dict[str, Any]


def node_texts() -> Texts:
    """Return the English texts of every node, as ComfyUI reads them from nodeDefs.json."""
    from kgen_ext.comfy.nodes import NODES

    return {
        node.id: {
            "display_name": node.label,
            "description": node.info,
            "inputs": {row.id: {"name": row.label, "tooltip": row.info} for row in node.inputs},
            "outputs": {
                str(place): {"name": output.label, "tooltip": output.info} for place, output in enumerate(node.outputs)
            },
        }
        for node in NODES
    }


def page_texts() -> Texts:
    """Return the English texts of the page's scripts."""
    return {"kgen": dict(_TEXT.findall((WEB / "texts.js").read_text("utf-8")))}


def english() -> dict[str, Texts]:
    """Return the English files by name."""
    return {"nodeDefs": node_texts(), "main": page_texts()}


def read(language: str) -> dict[str, Texts]:
    """Return a language's files by name; one that does not exist is empty."""
    paths = {name: LOCALES / language / f"{name}.json" for name in FILES}
    return {name: json.loads(path.read_text("utf-8")) if path.exists() else {} for name, path in paths.items()}


def leaves(texts: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text with its path."""
    for key, value in texts.items():
        if isinstance(value, str):
            yield (*path, key), value
        else:
            yield from leaves(value, (*path, key))


def memory(language: str) -> dict[str, str]:
    """Return the known translations by English text; what was edited in this pack's files comes first."""
    told = {text: translated for text, translated in read_localization(LANGUAGES[language]).items() if translated}
    originals, translations = dict(leaves(read(ENGLISH))), dict(leaves(read(language)))
    for path, text in originals.items():
        if translations.get(path, text) != text:
            told[text] = translations[path]
    return told


def translate(texts: Texts, told: Mapping[str, str]) -> Texts:
    """Return the texts in another language; one that has no translation stays English."""
    return {
        key: told.get(value, value) if isinstance(value, str) else translate(value, told)
        for key, value in texts.items()
    }


def untranslated(language: str) -> list[str]:
    """Return the English texts that have no translation; names that are the same in every language are none."""
    same = read(language)
    named = {text for _, text in leaves(english()) if not re.search(r"[a-z]{2}.*[ .]|^[A-Z][a-z]+$", text)}
    originals = dict(leaves(english()))
    return sorted({text for path, text in leaves(same) if originals.get(path) == text and text not in named})


def help_tables(node: Mapping[str, Any], language: str) -> str:
    """Return the tables of a help page: inputs and outputs of a node."""
    parts = [_MARK]
    for heading, key in zip(_HEADINGS[language], ("inputs", "outputs"), strict=True):
        rows = [f"| {_cell(row['name'])} | {_cell(row['tooltip'])} |" for row in node[key].values()]
        if rows:
            parts += ["", f"## {heading}", "", f"| {heading} | |", "|---|---|", *rows]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"([|*<])", r"\\\1", text)


def help_page(node_id: str, language: str) -> Path:
    """Return where a node's help page is."""
    return WEB / "docs" / (f"{node_id}.md" if language == ENGLISH else f"{node_id}/{language}.md")


def wanted() -> dict[Path, str]:
    """Return every file with the text that it should have."""
    originals, files = english(), dict[Path, str]()
    for language in (ENGLISH, *LANGUAGES):
        told = {} if language == ENGLISH else memory(language)
        texts = {name: translate(originals[name], told) for name in FILES}
        for name in FILES:
            content = json.dumps(texts[name], ensure_ascii=False, indent=1) + "\n"
            files[LOCALES / language / f"{name}.json"] = content
        for node_id, node in texts["nodeDefs"].items():
            path = help_page(node_id, language)
            before = path.read_text("utf-8") if path.exists() else f"# {node['display_name']}\n"
            files[path] = f"{before.partition(_MARK)[0].rstrip()}\n\n{help_tables(node, language)}"
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; return 1 if there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    files = wanted()
    old = [path for path, content in files.items() if not path.exists() or path.read_text("utf-8") != content]
    faults = [f"out of date: {path.relative_to(ROOT)}" for path in old if options.check]
    if not options.check:
        for path in old:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], "utf-8")
    faults += [f"{language}: no translation of {text!r}" for language in LANGUAGES for text in untranslated(language)]
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
