"""The normal form of tags: the same for every spelling, and the one the models were trained on."""
from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kgen_ext.tags.canonical import normalise

TAG_LIKE = st.text(alphabet="aAzZ09_ _\\\\()[]{}:.:^artis\t\u3000（ａ＿＼İßςΣ\ue000", max_size=24)


@given(st.one_of(st.text(), TAG_LIKE))
@example("_artist:artist:_")
@example("artist: artist:")
@example("\\\\_\\(")
@example("________")
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize("face", ["^_^", ":d", "o_o", ">_<", "0_0", "\\o/", "+_+", "@_@", "._.", "m_k", ":3", "\\m/"])
def test_faces_and_tags_of_three_characters_keep_their_underscore(face: str) -> None:
    assert normalise(face) == face
    assert normalise(face.upper()) == face


def test_a_longer_face_has_the_form_it_was_trained_in_however_it_is_written() -> None:
    assert normalise("(o)_(o)") == normalise("(o) (o)") == normalise(r"\(o\)_\(o\)") == "(o) (o)"


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("looking_at_viewer", "looking at viewer"),
        ("  Long   HAIR\n", "long hair"),
        (r"saber_\(fate\)", "saber (fate)"),
        (r"saber \[alter\]", "saber [alter]"),
        ("１ｇｉｒｌ", "1girl"),
        ("blue\u3000eyes", "blue eyes"),
        ("（fate）", "(fate)"),
        ("girl’s “hat”", "girl's \"hat\""),
        ("half–closed‐eyes", "half-closed-eyes"),
        ("artist:Some_One", "some one"),
        ("", ""),
        ("____", "____"),
    ],
)
def test_spellings_of_one_tag_have_one_form(spelled: str, normal: str) -> None:
    assert normalise(spelled) == normal


@pytest.mark.parametrize("tag", ["score_9", "score_8_up", "source_anime"])
def test_score_and_source_tags_keep_the_underscores_they_were_trained_with(tag: str) -> None:
    assert normalise(tag) == normalise(tag.replace("_", " ")) == tag
