"""DanTagGen end to end: the request has the training format, its output is read as tags, nothing else is requested."""
from __future__ import annotations

from pathlib import Path

import pytest
from model_shapes import DTG, write_folder

from kgen_ext.events import Expansion, TagAccepted
from kgen_ext.models import ModelFiles, find_entry, load_catalogue
from kgen_ext.protocol import Protocol
from kgen_ext.protocol.dtg import INPUT_END
from kgen_ext.protocol.plan import DTG_TAGS
from kgen_ext.request import ExpandRequest, TagLength
from kgen_ext.service import open_expander
from kgen_ext.service.expander import Expander


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("dtg") / "my-tune", DTG)


def shown_to(expander: Expander, request: ExpandRequest) -> str:
    """Return the text that the model is given for a request, special tokens by their names."""
    from kgen_ext.rules.known import TagFiles
    from kgen_ext.service.plan import make_jobs, plan_expansion

    jobs, _ = make_jobs(plan_expansion(request, TagFiles()), expander._context, row=0, seed=1)
    vocab = expander._context.engine.vocab
    names = {index: name.encode() for name, index in vocab.special.items()}
    assert jobs[0] is not None
    return b"".join(names.get(token, vocab.pieces[token]) for token in jobs[0].request).decode()


def test_the_model_is_given_the_text_of_training(folder: Path) -> None:
    with open_expander(model=str(folder), engine="reference") as expander:
        assert expander._context.protocol is Protocol.DTG
        request = ExpandRequest("1girl, smile, hatsune miku, safe", width=832, height=1216, tag_length="long", seed=1)
        text = shown_to(expander, request)
    # One space stands before every stretch of text, as this kind of tokenizer has it in training, too.
    assert text.replace("> ", ">") == (
        "<s> rating: safe\nartist:  <|empty|>\ncharacters: hatsune miku\ncopyrights:  <|empty|>\naspect ratio: 0.7\n"
        "target:  <|long|>\ngeneral: 1girl, smile<|input_end|>"
    ).replace("> ", ">").replace(":  <", ": <")  # fmt: skip


def test_a_sentence_is_shown_as_a_tag_since_it_may_be_all_there_is(folder: Path) -> None:
    with open_expander(model=str(folder), engine="reference") as expander:
        text = shown_to(expander, ExpandRequest("1girl, Portrait of an Old Sailor.", seed=1))
    assert text.partition("general: ")[2].replace(" <", "<") == "1girl, portrait of an old sailor<|input_end|>"


@pytest.mark.parametrize("length", list(DTG_TAGS))
def test_every_length_ends_in_its_band(folder: Path, length: TagLength) -> None:
    with open_expander(model=str(folder), engine="reference", threads=1) as expander:
        expansion = expander.expand([ExpandRequest("1girl, smile", tag_length=length.value, seed=5)])[0]
    assert len(expansion.added_tags) + 2 in DTG_TAGS[length]
    assert expansion.prompt == "1girl, smile, " + ", ".join(expansion.added_tags)
    assert expansion.added_text == "" and INPUT_END not in expansion.prompt


def test_auto_adds_at_least_one_tag_and_ends_by_the_band_of_short(folder: Path) -> None:
    with open_expander(model=str(folder), engine="reference", threads=1) as expander:
        expansion = expander.expand([ExpandRequest("1girl, smile", tag_length="auto", seed=5)])[0]
    assert 1 <= len(expansion.added_tags) <= DTG_TAGS[TagLength.SHORT].maximum - 2


def test_an_answer_is_read_tag_by_tag(folder: Path) -> None:
    with open_expander(model=str(folder), engine="reference", threads=1) as expander:
        events = list(expander.stream([ExpandRequest("1girl", tag_length="very_short", seed=2)]))
        accepted = [event.tag for event in events if isinstance(event, TagAccepted)]
    finished: Expansion = events[-1].expansion  # type: ignore[union-attr]
    assert list(finished.added_tags) == accepted


def test_a_prompt_of_sentences_and_an_empty_one_are_expanded_too(folder: Path) -> None:
    with open_expander(model=str(folder), engine="reference", threads=1) as expander:
        for prompt in ("", "A girl stands in the rain, and a dog sleeps.", "no humans, scenery BREAK 1girl"):
            expansion = expander.expand([ExpandRequest(prompt, tag_length="very_short", seed=4)])[0]
            assert expansion.source == prompt and len(expansion.added_tags) >= 8 - 3


def test_a_context_of_512_tokens_is_not_exceeded(folder: Path) -> None:
    prompt = ", ".join(f"tag number {n}" for n in range(400))
    with open_expander(model=str(folder), engine="reference", threads=1) as expander:
        assert expander._context.n_ctx == 512
        expansion = expander.expand([ExpandRequest(prompt, seed=1)])[0]
    assert expansion.prompt.startswith(prompt)
    assert any("longer than the model's context" in note for note in expansion.notes)


def test_only_delta_and_its_revision_have_the_quality_line(tmp_path: Path) -> None:
    models = load_catalogue()
    with_line = {model.id for model in models if model.protocol == "dtg" and model.quality_line}
    assert with_line == {"DanTagGen-delta", "DanTagGen-delta-rev2"}
    assert sum(model.protocol == "dtg" for model in models) > len(with_line)
    for name, line in (("DanTagGen-delta-rev2", True), ("DanTagGen-beta", False)):
        folder = write_folder(tmp_path / name, DTG)
        with open_expander(model=str(folder), engine="reference") as expander:
            text = shown_to(expander, ExpandRequest("1girl, masterpiece", seed=1))
        assert text.startswith("<s> quality: masterpiece\n" if line else "<s> rating:")


def test_what_a_model_was_trained_with_comes_from_the_catalogue_where_it_is_known(folder: Path) -> None:
    entry = find_entry("DanTagGen-beta", load_catalogue())
    assert entry is not None and not entry.quality_line and entry.context == 512
    assert ModelFiles("delta-named-by-its-owner", folder, None, entry).entry is entry
