"""The localizations: their keys are texts of the page, and what is code in a text stays so in its translations."""
from __future__ import annotations

import json

import pytest

from kgen_ext.webui.controls import CONTROLS
from kgen_ext.webui.settings import SETTINGS
from tools.localizations import FOLDER, LANGUAGES, NOTICE, RUNNING, faults, page_texts, read

TEXTS = page_texts()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_is_a_text_of_the_page_and_code_is_kept(language: str) -> None:
    # A text that is new has no translation yet: the page shows it in English.
    assert [fault for fault in faults(language, TEXTS) if "no translation" not in fault] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_names_of_a_language_are_copies(language: str) -> None:
    own = (FOLDER / f"{language}.json").read_bytes()
    assert {(FOLDER / f"{name}.json").read_bytes() for name in LANGUAGES[language]} <= {own}


def test_no_file_is_of_no_language() -> None:
    known = {*LANGUAGES, *(name for names in LANGUAGES.values() for name in names)}
    assert {path.stem for path in FOLDER.iterdir()} == known


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notice_is_no_text_of_the_page(language: str) -> None:
    assert NOTICE not in TEXTS and isinstance(read(language).get(NOTICE, ""), str)


@pytest.mark.parametrize("text", [
    *(control.label for control in CONTROLS), *(control.info for control in CONTROLS[1:]),
    *(setting.label for setting in SETTINGS), *(f"({setting.info})" for setting in SETTINGS), "Preview", "Undo",
    "Expand the prompt in its box. It can be undone.",
])  # fmt: skip
def test_a_text_of_the_page_is_found(text: str) -> None:
    assert text in TEXTS


@pytest.mark.parametrize("text", RUNNING)
def test_what_a_running_preview_shows_is_in_its_code(text: str) -> None:
    package = FOLDER.parent / "kgen_ext" / "webui"
    assert any(text in path.read_text(encoding="utf-8") for path in package.glob("*.py"))


@pytest.mark.parametrize(("translated", "fault"), [
    ("Bis zu 2, 4, 8 oder 18.", 0), ("Bis zu 2, 4, 8 oder 80.", 1), ("", 1),
])  # fmt: skip
def test_a_number_that_was_changed_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, translated: str, fault: int
) -> None:
    folder = tmp_path_factory.mktemp("localizations")
    monkeypatch.setattr("tools.localizations.FOLDER", folder)
    (folder / "de_DE.json").write_text(json.dumps({"Up to 2, 4, 8 or 18.": translated}), "utf-8")
    assert len(faults("de_DE", ["Up to 2, 4, 8 or 18."])) == fault
