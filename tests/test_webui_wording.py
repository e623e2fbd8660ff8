"""Hints in the terms of the page: errors of the layers below, raised for real and shown as the page shows them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgen_ext.errors import AllowDownloads, Download, Install, KGenError, ListModels
from kgen_ext.models import Locations, resolve
from kgen_ext.models.hub import offline_error
from kgen_ext.webui.messages import explain, ui_message


@pytest.mark.parametrize("name", ["TIPO-500M", "TIPO-500M-ft:Q8_0", "no-such-model", "../etc/passwd", "/x/y.gguf"])
def test_a_model_that_is_not_there_is_told_without_a_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(KGenError) as caught:
        resolve(name, locations=Locations(own=tmp_path), paths=False)
    assert "kgen models" in str(caught.value)  # else there is nothing to mend
    for told in (ui_message(caught.value), explain(caught.value)):
        assert "kgen models" not in told and "Models" in told


@pytest.mark.parametrize("switch, words", [
    ("“Offline” in Settings, KGen", "switch off “Offline” in Settings, KGen"),
    ("--kgen-offline", "leave out --kgen-offline"),
    ("HF_HUB_OFFLINE", "unset HF_HUB_OFFLINE"),
])  # fmt: skip
def test_offline_is_told_with_the_one_switch_that_is_on(switch: str, words: str) -> None:
    told = ui_message(offline_error("TIPO-500M-ft", (switch,)))
    assert told.endswith(f"(to download {words})")


@pytest.mark.parametrize("action, words", [
    (Download("TIPO-500M"), "choose it under Models and press Download"),
    (ListModels("the names"), "the panel “Models” shows the names"),
    (Install("tokenizers"), "pip install tokenizers"),
])  # fmt: skip
def test_an_action_is_told_in_the_pages_words(action: Any, words: str) -> None:
    assert ui_message(KGenError("what", action=action)) == f"what ({words})"


@pytest.mark.parametrize("action", [Download("TIPO-500M"), ListModels("the names"), AllowDownloads(("A", "B"))])
def test_python_is_told_an_action_as_a_hint(action: Any) -> None:
    assert str(KGenError("what", action=action)) == f"what ({action.hint})"


def test_other_errors_are_told_as_they_are() -> None:
    assert ui_message(KGenError("what", hint="do that")) == "what (do that)"
