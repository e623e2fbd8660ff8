"""The texts of the ComfyUI nodes: locales and help pages are those of the tables, whole, and keep what is code."""
from __future__ import annotations

import re

import pytest

from tools.comfy_texts import (
    ENGLISH,
    LANGUAGES,
    WEB,
    english,
    help_page,
    leaves,
    page_texts,
    read,
    untranslated,
    wanted,
)  # fmt: skip

ORIGINALS = dict(leaves(english()))
# What a translation must repeat as it is: options, patterns, code, numbers.
_CODE = re.compile(r"\{\w+\}|<[^<>]+>|\w+=[\d.]+|/[^/\s]+ ?\.\*/|\*\w+|\w+:\w+(?:\.\w+)*|\w+_\w+|\d+(?:\.\d+)?",
                   re.ASCII)  # fmt: skip


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_every_text_of_the_tables_has_a_key_in_the_language(language: str) -> None:
    # The page shows an id where a text is absent: there is no fallback to another file.
    assert [path for path, _ in leaves(read(language))] == list(ORIGINALS)


def test_the_english_files_are_the_tables() -> None:
    assert dict(leaves(read(ENGLISH))) == ORIGINALS


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str) -> None:
    assert untranslated(language) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_in_a_text_stays_so_in_its_translation(language: str) -> None:
    def code(text: str) -> list[str]:
        return sorted(_CODE.findall(text))

    assert [path for path, told in leaves(read(language)) if code(told) != code(ORIGINALS[path])] == []


def test_the_files_are_as_the_tool_writes_them() -> None:
    assert [path.name for path, text in wanted().items() if path.read_text("utf-8") != text] == []


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_every_node_has_a_help_page(language: str) -> None:
    nodes = english()["nodeDefs"]
    assert [node for node in nodes if not help_page(node, language).is_file()] == []


def test_no_help_page_is_of_no_node() -> None:
    nodes = english()["nodeDefs"]
    pages = {help_page(node, language) for node in nodes for language in (ENGLISH, *LANGUAGES)}
    assert set((WEB / "docs").rglob("*.md")) <= pages


def test_the_scripts_use_only_texts_that_exist() -> None:
    scripts = "".join(path.read_text("utf-8") for path in WEB.glob("*.js"))
    asked = set(re.findall(r'\btext\("(\w+)"', scripts))
    assert asked and asked <= set(page_texts()["kgen"])
