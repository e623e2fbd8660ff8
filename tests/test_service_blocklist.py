"""A model's blocklist: never written in tags, sentences and metadata, however it is split into tokens."""
from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from decoding_kit import NAMES, Ran, check, force, greedy
from engine_fixtures import write_tiny
from scripted_engine import COMMON_PIECES, ScriptedEngine

from kgen_ext.errors import BadCatalogue, BadPattern
from kgen_ext.events import TagRejected
from kgen_ext.models import STARTER, Locations, find_entry, load_catalogue, resolve
from kgen_ext.models.resolve import STARTER_FOLDER
from kgen_ext.models.schema import BUILT_IN, USER_FILE
from kgen_ext.protocol import Protocol
from kgen_ext.request import Category, ExpandRequest
from kgen_ext.rules.blocklist import Blocklist, load_blocklist, parse_blocklist
from kgen_ext.service import open_expander
from kgen_ext.service.engines import open_files
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ModelContext

FILE = BUILT_IN.parent / "unsafe.txt"
UNSAFE = load_blocklist(FILE)
FULL = ", ".join(NAMES[:18])  # a list that is full, so that only the text is written
Script = Sequence[str | tuple[str, ...]]


def write(script: Script, prompt: str = "sky", *, blocklist: Blocklist | None = UNSAFE, **options: object) -> Ran:
    pieces = [*NAMES, " ", *(piece for place in script for piece in ([place] if isinstance(place, str) else place))]
    return check(force(script, greedy(prompt, **options), pieces=pieces, blocklist=blocklist))


@pytest.mark.parametrize(
    "parts",
    [
        [" organs"], [" gar", "ter", "belt", "t"], [" black", " pan", "ti", "es"], [" lying", " on", " bed"],
        [" no", " b", "ra"], [" ｎｕｄｅ"], [" n", "ü", "de", ".."], [" nud", "е"], [" (", "nu", "de", ")"], [" chain"],
    ],
)  # fmt: skip
def test_a_tag_is_refused_in_whatever_parts_it_comes(parts: list[str]) -> None:
    ran = write([",", " umbrella", ",", (parts[0], " shrine"), *parts[1:], ",", " lamp", "</s>"])
    assert "umbrella" in ran.tags and not [tag for tag in ran.tags if UNSAFE.match(tag)]
    assert ran.rejected[0] == ("blocklist", "".join(parts).strip())
    told = next(event for event in ran.events if isinstance(event, TagRejected))
    assert told.detail == "unsafe.txt", "not the word itself"


@pytest.mark.parametrize(
    "parts",
    [
        [" organs"], [" gar", "ter", "s"], [" pan", "ti", "es"], [" a", " see", "-", "through", " dress"],
        [" ｎｕｄｅ", " art"], [" n", "ü", "de"], [" blood", "y", "!"], [" Naked"], [" s", "e", "x", "y"],
    ],
)  # fmt: skip
def test_a_word_of_a_sentence_is_refused_in_whatever_parts_it_comes(parts: list[str]) -> None:
    script = [" A", " girl", " with", (parts[0], " hair"), *parts[1:], " smiles", ".", " A", " girl", ".", "</s>"]
    ran = write(script, FULL, text_length="short")
    text = ran.output.texts["long"]
    assert text.startswith("A girl with") and UNSAFE.search_text(text) is None
    assert "blocklist" in {rule for rule, _ in ran.rejected}


def test_a_phrase_over_two_sentences_does_not_stand() -> None:
    script = [" A", " girl", " is", " wet", ".", (" Shirt", " Hat"), " is", " on", ".", "</s>"]
    assert write(script, FULL, text_length="short").output.texts["long"] == "A girl is wet. Hat is on."


def test_it_holds_for_metadata_that_the_model_may_add() -> None:
    script = ["smile", "\n", "rating:", (" nsfw", " safe"), "</s>"]
    for blocklist, value in ((UNSAFE, "safe"), (None, "nsfw")):
        ran = write(script, "", blocklist=blocklist, allow="rating")
        assert ran.metadata.get(Category.RATING) == (value,)


def test_another_model_writes_what_it_likes() -> None:
    assert "black bra" in write([",", " umbrella", ",", " black", " bra", ",", "</s>"], blocklist=None).tags


def test_an_alias_that_stands_for_a_refused_tag_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text('swimsuit,0,9,"bathing suit"\numbrella,0,8,\nlamp,0,7,\nsky,0,6,\n', encoding="utf-8")
    ran = write([",", (" bathing suit", " umbrella"), ",", " lamp", "</s>"], tag_file=str(path))
    assert ran.tags == ("umbrella", "lamp") and ran.rejected[0] == ("blocklist", "bathing suit")


def test_the_users_own_bans_hold_besides() -> None:
    ran = write([",", (" hat", " bra", " lamp"), ",", " umbrella", "</s>"], ban=("hat",))
    assert ran.tags == ("lamp", "umbrella") and [rule for rule, _ in ran.rejected] == ["banned", "blocklist"]


SCRIPT = [",", (" black", " lamp"), " bra", ",", " umbrella", "</s>"]


def expander(*, blocklist: Blocklist | None = UNSAFE, script: Script = SCRIPT) -> Expander:
    engine = ScriptedEngine.forcing(script, pieces=COMMON_PIECES)
    context = ModelContext(engine, Protocol.TIPO, False, 1024, blocklist=blocklist)
    return Expander(context, model="scripted", checksum="x", rows=4)


def test_the_users_own_text_is_kept_whatever_it_says() -> None:
    prompt = "1girl,  (Black_Panties:1.2),\tblood on snow\nA nude statue, organs."
    (done,) = expander().expand([greedy(prompt, text="Naked trees.")])
    assert done.source == prompt and "Naked trees." in done.prompt and done.prompt.startswith(prompt)
    assert not [tag for tag in done.added_tags if UNSAFE.match(tag)]


def test_what_the_user_requires_is_added_and_may_be_told_of() -> None:
    (done,) = expander().expand([greedy("sky", require=("black bra", "chain"))])
    assert {"black bra", "chain"} <= set(done.added_tags) and done.notes == ()
    script = [" A", " girl", " with", " a", " black", " bra", " and", (" panties", " hat"), ".", " A", " girl", "."]
    ran = write(script, FULL, text_length="short", require=("Black_Bra",))
    assert [entry.text for entry in ran.plan.required] == ["Black_Bra"]
    assert ran.output.texts["long"] == "A girl with a black bra and hat. A girl."


def test_a_required_tag_lets_no_other_pass() -> None:
    ran = write([",", (" white bra", " lamp"), ",", " umbrella", "</s>"], require=("black bra",))
    assert ran.tags == ("lamp", "umbrella")


def test_banned_and_required_the_ban_holds_as_before() -> None:
    (done,) = expander().expand([greedy("sky", require=("black bra",), ban=("* bra",))])
    assert "black bra" not in done.added_tags and len(done.notes) == 1


def test_a_list_that_stays_short_for_it_says_so_without_the_word() -> None:
    cornered = expander(script=[",", *[(" bra", " panties", " organs"), ","] * 300])
    (done,) = cornered.expand([greedy("sky", tag_length="long")])
    assert not [tag for tag in done.added_tags if UNSAFE.match(tag)]
    assert "blocklist 'unsafe.txt'" in done.notes[0] and UNSAFE.search_text(done.notes[0]) is None


STARTERS = {
    "id": STARTER,
    "folder": str(STARTER_FOLDER),
    "gguf": str(STARTER_FOLDER / "starter-Q8_0.gguf"),
}


@pytest.mark.parametrize("name", STARTERS)
def test_the_starter_is_the_starter_by_id_and_by_path(name: str) -> None:
    pytest.importorskip("tokenizers")
    with open_expander(model=STARTERS[name], engine="reference") as opened:
        context = opened._context
        assert context.blocklist is load_blocklist(FILE) and context.n_ctx == 512
        assert context.recommended == find_entry(STARTER, load_catalogue()).recommended  # type: ignore[union-attr]


def test_a_copy_of_the_starter_is_the_starter_and_other_weights_are_not(tmp_path: Path) -> None:
    copied, tuned = tmp_path / "copied", tmp_path / "tuned"
    for folder in (copied, tuned):
        folder.mkdir()
        shutil.copyfile(STARTER_FOLDER / "starter-Q8_0.gguf", folder / "x.gguf")
    data = bytearray((tuned / "x.gguf").read_bytes())
    data[-1] ^= 1
    (tuned / "x.gguf").write_bytes(bytes(data))
    starter = find_entry(STARTER, load_catalogue())
    assert resolve(str(copied / "x.gguf")).entry == resolve(str(copied)).entry == starter
    assert resolve("x", locations=Locations(own=copied)).entry == starter
    assert resolve(str(tuned / "x.gguf")).entry is None
    assert resolve(str(write_tiny(tmp_path / "tiny"))).entry is None


def test_no_other_model_of_the_catalogue_has_a_list() -> None:
    assert {model.id: model.blocklist for model in load_catalogue() if model.blocklist} == {STARTER: FILE}


def catalogue(folder: Path, name: str) -> Path:
    model = {"id": "mine", "protocol": "tipo", "files": [{"path": "mine.gguf", "kind": "gguf"}], "blocklist": name}
    (folder / USER_FILE).write_text(json.dumps({"schema": 1, "models": [model]}), encoding="utf-8")
    return folder / USER_FILE


def test_a_model_of_the_users_may_have_our_list_or_one_beside_its_catalogue(tmp_path: Path) -> None:
    assert load_catalogue(catalogue(tmp_path, "unsafe.txt"))[-1].blocklist == FILE
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "mine.txt").write_text("umbrella", encoding="utf-8")
    assert load_catalogue(catalogue(tmp_path, "words/mine.txt"))[-1].blocklist == tmp_path / "words" / "mine.txt"
    for name in ("nosuch.txt", "../unsafe.txt", "models.json", USER_FILE, ""):
        with pytest.raises(BadCatalogue, match="blocklist"):
            load_catalogue(catalogue(tmp_path, name))


def test_files_of_any_path_may_be_opened_as_a_model_of_the_catalogue(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    locations = Locations(own=tmp_path)
    (tmp_path / "mine.txt").write_text("hair*, eyes", encoding="utf-8")
    catalogue(tmp_path, "mine.txt")
    files = replace(resolve(STARTER), entry=find_entry("mine", load_catalogue(locations.user_file)))
    with open_files(files, engine="reference") as opened:
        assert opened._context.blocklist == load_blocklist(tmp_path / "mine.txt")
        (done,) = opened.expand([ExpandRequest("1girl", seed=1)])
        assert done.added_tags and not [tag for tag in done.added_tags if "hair" in tag or "eyes" in tag.split()]
    (tmp_path / "mine.txt").write_text("a*b", encoding="utf-8")
    with pytest.raises(BadPattern, match=r"mine\.txt, line 1"):
        open_files(files, engine="reference")


def test_two_expanders_of_the_same_weights_with_and_without_a_list_do_not_share_answers() -> None:
    request = greedy("sky")
    (refused,), (written,) = expander().expand([request]), expander(blocklist=None).expand([request])
    assert "black bra" in written.added_tags and "black bra" not in refused.added_tags
    only = parse_blocklist("umbrella")
    assert "black bra" in Expander(
        replace(expander()._context, blocklist=only), model="m", checksum="x", rows=1
    ).expand([request])[0].added_tags
