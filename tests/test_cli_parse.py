"""`kgen parse`: the spans of a prompt, and the part of each segment that a model may see."""
from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.cli import main

Capture = pytest.CaptureFixture[str]
PROMPT = "very (long:1.3) hair, my_char_v2, <lora:ink:0.8> BREAK A fox sits by the river."


def shown(capsys: Capture, *argv: str) -> list[str]:
    assert main(["parse", *argv]) == 0
    return capsys.readouterr().out.splitlines()


def test_each_span_has_a_line_with_its_kind_and_exact_text(capsys: Capture) -> None:
    lines = shown(capsys, PROMPT)
    spans = [line.split(maxsplit=2) for line in lines[1 : lines.index("segment 1, 0-49: what the model may see")]]
    assert [kind for _, kind, _ in spans] == ["tag", "emphasis", "tag", "network", "BREAK", "prose"]
    assert spans[1] == ["5-15", "emphasis", "'(long:1.3)'  weight 1.3"]
    assert spans[0][2].endswith("-> 'very long hair'")


def test_each_segment_tells_what_the_model_may_see(capsys: Capture) -> None:
    lines = shown(capsys, PROMPT)
    assert lines[-6:] == [
        "segment 1, 0-49: what the model may see",
        "  tags      'very long hair'",
        "  text      none",
        "segment 2, 54-79: what the model may see",
        "  tags      none",
        "  text      'A fox sits by the river.'",
    ]


def test_protected_words_are_hidden(capsys: Capture) -> None:
    assert shown(capsys, "1girl, blue dress, hat", "--protect", "*dress, hat")[-2] == "  tags      '1girl'"


def test_a_bad_protect_pattern_is_the_users_mistake(capsys: Capture) -> None:
    assert main(["parse", "1girl", "--protect", "/a(/"]) == 2
    assert "/a(/" in capsys.readouterr().err


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_prompt_is_shown_one_span_a_line(text: str) -> None:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["parse", "--", text]) == 0
    for line in out.getvalue().split("\n"):
        found = re.match(r"  (\d+)-(\d+) +\S+(?: weight)? +('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", line)
        if found:
            assert ast.literal_eval(found[3]) == text[int(found[1]) : int(found[2])]
    assert out.getvalue().startswith("spans\n") and "segment 1, 0-" in out.getvalue()
