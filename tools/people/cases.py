"""Fixed prompts beside people's own: well-known characters in three spellings, and tags in six scripts."""
from __future__ import annotations

from collections.abc import Callable

# Looks on Danbooru: hair, eyes, and what a character is known by.
CHARACTERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("1girl", "hatsune miku", ("aqua hair", "aqua eyes", "twintails", "long hair")),
    ("1girl", "kagamine rin", ("blonde hair", "blue eyes", "short hair", "hair bow")),
    ("1girl", "megurine luka", ("pink hair", "blue eyes", "long hair")),
    ("1girl", "kirisame marisa", ("blonde hair", "yellow eyes", "long hair", "witch hat")),
    ("1girl", "izayoi sakuya", ("grey hair", "short hair", "twin braids", "maid headdress")),
    ("1girl", "remilia scarlet", ("blue hair", "red eyes", "short hair", "bat wings")),
    ("1girl", "flandre scarlet", ("blonde hair", "red eyes", "side ponytail", "crystal")),
    ("1girl", "cirno", ("blue hair", "blue eyes", "short hair", "ice wings")),
    ("1girl", "kochiya sanae", ("green hair", "green eyes", "long hair", "frog hair ornament")),
    ("1girl", "souryuu asuka langley", ("orange hair", "blue eyes", "long hair", "two side up")),
    ("1girl", "ayanami rei", ("blue hair", "red eyes", "short hair")),
    ("1girl", "kaname madoka", ("pink hair", "pink eyes", "short hair", "short twintails")),
    ("1girl", "akemi homura", ("black hair", "purple eyes", "long hair", "hairband")),
    ("1girl", "ganyu (genshin impact)", ("blue hair", "purple eyes", "long hair", "horns")),
    ("1girl", "tifa lockhart", ("black hair", "red eyes", "long hair")),
    ("1girl", "rem (re:zero)", ("blue hair", "blue eyes", "short hair", "hair over one eye")),
    ("1girl", "zero two (darling in the franxx)", ("pink hair", "green eyes", "long hair", "horns")),
    ("1girl", "c.c.", ("green hair", "yellow eyes", "long hair")),
    ("1boy", "uzumaki naruto", ("blonde hair", "blue eyes", "short hair", "whisker markings")),
    ("1boy", "cloud strife", ("blonde hair", "blue eyes", "short hair", "spiked hair")),
)
# `HATSUNE MIKU` stands in a prompt that is all capitals.
SPELLINGS: tuple[tuple[str, Callable[[str], str], Callable[[str], str]], ...] = (
    ("lower case", str.lower, str.lower), ("Title Case", str.lower, str.title), ("CAPITALS", str.upper, str.upper),
)  # fmt: skip
# A girl with fox ears at a shrine by night; a cat, a window, rain, a street.
SCRIPTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Cyrillic", ("девушка, лисьи уши, храм, ночь", "кот, окно, дождь, улица")),
    ("Han", ("少女, 狐耳, 神社, 夜晚", "猫, 窗户, 下雨, 街道")),
    ("kana", ("女の子, 狐耳, 神社, 夜", "ねこ, まど, あめ, まち")),
    ("Hangul", ("소녀, 여우 귀, 신사, 밤", "고양이, 창문, 비, 거리")),
    ("Thai", ("เด็กผู้หญิง, หูจิ้งจอก, ศาลเจ้า, กลางคืน", "แมว, หน้าต่าง, ฝน, ถนน")),
    ("Arabic", ("فتاة, أذنا ثعلب, معبد, ليل", "قطة, نافذة, مطر, شارع")),
)
