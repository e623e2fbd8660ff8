"""Words in other scripts: translated whole or in parts, else hidden from a model that cannot read them."""
from __future__ import annotations

from pathlib import Path

import pytest

from kgen_ext.engines.readable import is_readable
from kgen_ext.events import By, Expansion
from kgen_ext.protocol import Protocol
from kgen_ext.request import ExpandRequest
from kgen_ext.rules.known import TagFiles
from kgen_ext.service import open_expander
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ModelContext, plan_expansion
from kgen_ext.service.scripts import hide_unreadable
from kgen_ext.tags.words import translate
from tests.scripted_engine import COMMON_PIECES, ScriptedEngine

WORDS = {
    "Han": "少女=1girl 狐耳=fox_ears 神社=shrine 長髮=long_hair 黑发=black_hair 樱花=cherry_blossoms 夜晚=night "
    "和服=kimono 微笑=smile 全身=full_body",
    "kana": "ミク=hatsune_miku みく=hatsune_miku ねこ=cat スカート=skirt ツインテール=twintails メイド=maid "
    "ポニーテール=ponytail ドラゴン=dragon ドレス=dress うさぎ=rabbit",
    "Hangul": "소녀=1girl 여우_귀=fox_ears 여우귀=fox_ears 신사=shrine 긴_머리=long_hair 벚꽃=cherry_blossoms "
    "밤하늘=night_sky 고양이=cat 교복=school_uniform 숲=forest",
    "Cyrillic": "девушка=1girl храм=shrine Ночь=night ночью=night лисьи_уши=fox_ears чёрные_волосы=black_hair "
    "черные_волосы=black_hair море=ocean утро=morning платье=dress улыбка=smile лес=forest",
    "Thai": "ผมยาว=long_hair หูแมว=cat_ears กลางคืน=night ชุดนักเรียน=school_uniform ตาสีฟ้า=blue_eyes ยิ้ม=smile "
    "ท้องฟ้า=sky ทะเล=ocean แมว=cat ดอกไม้=flower",
    "Arabic": "فتاة=1girl ليل=night الليل=night غابة=forest بحر=ocean قطة=cat فستان=dress شعر_طويل=long_hair "
    "ابتسامة=smile قلعة=castle",
    "Hebrew": "נערה=1girl לילה=night יער=forest ים=ocean חתול=cat שמלה=dress שיער_ארוך=long_hair חיוך=smile "
    "טירה=castle גשם=rain",
    "Devanagari": "लड़की=1girl रात=night जंगल=forest समुद्र=ocean बिल्ली=cat पोशाक=dress लंबे_बाल=long_hair मुस्कान=smile "
    "किला=castle बारिश=rain",
    "Greek": "κορίτσι=1girl ΚΟΡΙΤΣΙ=1girl νύχτα=night δάσος=forest γάτα=cat φόρεμα=dress μακριά_μαλλιά=long_hair "
    "χαμόγελο=smile κάστρο=castle βροχή=rain",
    "emoji": "🦊=fox 🌸=cherry_blossoms ❤️=heart 🐉=dragon 🐱=cat ⛩️=shrine 👧=1girl 🦋=butterfly 🌈=rainbow 🐺=wolf",
}
PAIRS = [pair.replace("_", " ").split("=") for pairs in WORDS.values() for pair in pairs.split()]


@pytest.mark.parametrize(("word", "tag"), PAIRS)
def test_a_word_is_the_tag_it_means(word: str, tag: str) -> None:
    assert translate(word) == (tag,)


@pytest.mark.parametrize(
    ("item", "tags"),
    [
        ("黑色长发", "black hair, long hair"),
        ("蓝眼睛的女孩", "blue eyes, 1girl"),
        ("森林里的女孩", "forest, 1girl"),
        ("红色裙子", "red skirt"),
        ("黒髪ロング", "black hair, long hair"),
        ("青い目の少女", "blue eyes, 1girl"),
        ("빨간 드레스", "red dress"),
        ("교복을 입은 소녀", "school uniform, 1girl"),
        ("девушка с длинными чёрными волосами", "1girl, long hair, black hair"),
        ("девушка в красном платье", "1girl, red dress"),
        ("рыжая лиса", "red fox"),
        ("ผมยาวสีดำ", "black hair, long hair"),
        ("شعر أسود طويل", "long hair, black hair"),
        ("נערה עם שיער שחור", "black hair, 1girl"),
        ("लंबे काले बाल", "long hair, black hair"),
        ("μακριά μαύρα μαλλιά", "long hair, black hair"),
        ("少女🦊", "1girl, fox"),
    ],
)
def test_a_compound_is_the_tags_of_its_parts(item: str, tags: str) -> None:
    assert translate(item) == tuple(tags.split(", "))


@pytest.mark.parametrize(
    "item",
    [
        "женщинабот", "девушка гуляет", "狐耳卞", "красная девушка", "красное", "的", "소녀가나다", "fox", "かな" * 200,
        "グレートソード", "девушка красное",
    ],
)
def test_nothing_is_translated_by_half(item: str) -> None:
    assert translate(item) is None


def test_two_lone_characters_are_no_compound() -> None:
    assert translate("海马女孩") is None  # a seahorse, no sea and horse


def given(prompt: str, tag_file: str = "") -> list[str]:
    plan = plan_expansion(ExpandRequest(prompt, tag_file=tag_file), TagFiles())
    return [tag.spelling for tags in plan.given for tag in tags]


def test_translated_tags_stay_in_their_places() -> None:
    assert given("smile, (黑色长发:1.2), hat") == ["smile", "black hair", "long hair", "hat"]


def test_letters_that_look_latin_are_translated_too() -> None:
    assert given("море") == ["ocean"]


def test_a_weight_of_zero_bans_the_translation() -> None:
    plan = plan_expansion(ExpandRequest("hat, (狐耳:0)"), TagFiles())
    assert plan.rules.bans.match("fox ears") is not None


def test_full_width_commas_separate() -> None:
    assert given("少女，狐耳、神社") == ["1girl", "fox ears", "shrine"]


def test_an_alias_of_the_tag_file_goes_before_the_table(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text('inari_shrine,0,10,"神社"\n', "utf-8")
    assert given("神社", str(path)) == ["inari shrine"]


READS_CYRILLIC = (*COMMON_PIECES, *"абвгдежзийклмнопрстуфхцчшщъыьэюя")


@pytest.mark.parametrize("text", ["hat", "café", "naïve hat", "ħat"])
def test_a_word_with_few_strange_letters_is_readable(text: str) -> None:
    assert is_readable(ScriptedEngine.forcing("hat"), text)


@pytest.mark.parametrize("text", ["гуляет", "卞卞", "แปลก", "غريب", "מוזר", "अजीब", "αλλο", "🜁"])
def test_letters_spelled_in_bytes_are_not_readable(text: str) -> None:
    assert not is_readable(ScriptedEngine.forcing("hat"), text)


def test_letters_that_the_vocabulary_has_are_readable() -> None:
    assert is_readable(ScriptedEngine.forcing("hat", pieces=READS_CYRILLIC), "гуляет")


def expand(prompt: str, *, pieces: tuple[str, ...] = COMMON_PIECES, **options: object) -> Expansion:
    engine = ScriptedEngine.forcing(["1girl", ", hat", ", smile", "</s>"], pieces=pieces)
    context = ModelContext(engine, Protocol.TIPO, quality_line=True, n_ctx=1024)
    request = ExpandRequest(prompt, tag_length="very_short", **options)  # type: ignore[arg-type]
    with Expander(context, model="scripted", checksum="", rows=1) as expander:
        return expander.expand([request])[0]


def shown(prompt: str, pieces: tuple[str, ...] = COMMON_PIECES) -> list[tuple[str, ...] | None]:
    plan = plan_expansion(ExpandRequest(prompt), TagFiles())
    plan = hide_unreadable(plan, ScriptedEngine.forcing("hat", pieces=pieces))
    return [subject and subject.tags for subject in plan.subjects]


def test_what_a_model_cannot_read_is_hidden() -> None:
    assert shown("hat, гуляет") == [("hat",)]


def test_what_a_model_can_read_is_shown() -> None:
    assert shown("hat, гуляет", READS_CYRILLIC) == [("hat", "гуляет")]


def test_a_segment_with_nothing_readable_is_left_alone() -> None:
    assert shown("hat BREAK гуляет") == [("hat",), None]


def test_a_prompt_with_nothing_readable_is_expanded_like_an_empty_one() -> None:
    assert shown("гуляет") == [()]


def test_words_of_a_sentence_are_hidden() -> None:
    plan = plan_expansion(ExpandRequest("a girl is at the гуляет house."), TagFiles())
    (subject,) = hide_unreadable(plan, ScriptedEngine.forcing("hat")).subjects
    assert subject is not None and subject.text == "a girl is at the house."


def test_one_note_names_what_is_hidden() -> None:
    assert expand("hat, гуляет, прячется").notes == ("not understood, hidden from the model: гуляет, прячется",)


def test_the_note_names_five_words_at_most() -> None:
    prompt = ", ".join("гуля" + letter * 2 for letter in "бвгджзк")
    assert expand(prompt).notes[0].endswith("and 2 more")


@pytest.mark.parametrize("prompt", ["hat, smile", "少女, 狐耳", "café", "ｈａｔ"])
def test_a_prompt_that_is_understood_gets_no_note(prompt: str) -> None:
    assert [note for note in expand(prompt).notes if "not understood" in note] == []


def test_a_readable_word_gets_no_note() -> None:
    notes = expand("гуляет", pieces=READS_CYRILLIC).notes
    assert [note for note in notes if "not understood" in note] == []


def test_a_translated_tag_is_not_written_again() -> None:
    assert "1girl" not in expand("少女").added_tags


@pytest.mark.parametrize("prompt", ["少女，狐耳、(神社:1.2)", "гуляет,  храм", "🦊, 여우 귀", "ミク BREAK ﾐｸ"])
def test_the_users_bytes_stay(prompt: str) -> None:
    pieces = expand(prompt).pieces
    assert "".join(piece.text for piece in pieces if piece.by is By.USER) == prompt


def test_a_required_tag_is_there_in_another_script() -> None:
    assert plan_expansion(ExpandRequest("狐耳", require=("fox ears",)), TagFiles()).required == ()


def test_the_starter_writes_what_goes_with_the_translation() -> None:
    with open_expander() as expander:
        (expansion,) = expander.expand([ExpandRequest("狐耳, 神社, 少女", tag_length="short", seed=3)])
    assert "fox tail" in expansion.added_tags
