"""Build `kgen_ext/tags/data/words.txt`, the word table for other scripts, from our own list and from public ones.

    python -m tools.tag_lists.build_words TAGS CLDR GROUPS JAPANESE... [--out FILE]

TAGS      danbooru.csv of a1111-sd-webui-tagcomplete: which tags exist, and how often
CLDR      the folder `annotations` of the npm package cldr-annotations-full: names of emoji
GROUPS    the folder `group_tags` of sd-webui-prompt-all-in-one
JAPANESE  CSV files of tag and translation, the most trusted first

`data/words.txt`, our own list, goes before all others, and the others in the order above: the first that has a word
decides. From the others only words come for safe tags that exist; a word that a list gives to several tags stands for
the most used one. Russian words are added with their regular endings, Korean ones with particles, Arabic and Hebrew
ones with the article, Chinese ones in traditional characters (package opencc). Same input, same bytes.
"""
from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kgen_ext.rules.blocklist import Blocklist, load_blocklist
from kgen_ext.tags.words import JOINER, WORDS, fold_word

OWN = Path(__file__).parent / "data" / "words.txt"
UNSAFE = Path(__file__).parents[2] / "kgen_ext" / "models" / "data" / "unsafe.txt"
LANGUAGES = ("zh", "zh-Hant", "ja", "ko", "ru", "uk", "th", "ar", "he", "hi", "el")
COLUMNS = ("zh", "ja", "ko", "ru", "th", "ar", "he", "hi", "el")
GENERAL, COPYRIGHT, CHARACTER = "0", "3", "4"
_FEWEST_POSTS = {GENERAL: 50, COPYRIGHT: 300, CHARACTER: 300}
_KNOWN_NAME = 2000  # posts of a character whom the name alone may mean, without the series in brackets
_NOTE = re.compile(r"[(（\[【].*?[)）\]】]")
# Names of emoji that mean another thing as a tag.
_OTHER = frozenset("name key ok new up free cool sos back soon top end on id pear anger input original request".split())


def read_tags(path: Path, unsafe: Blocklist) -> dict[str, int]:
    """Return the posts of each tag that may be a translation."""
    tags = dict[str, int]()
    with path.open(encoding="utf-8", newline="") as file:
        for name, category, posts, *_ in csv.reader(file):
            tag = name.replace("_", " ")
            if int(posts) >= _FEWEST_POSTS.get(category, sys.maxsize) and unsafe.match(tag) is None:
                tags[tag] = int(posts)
    return tags


def read_own(path: Path) -> Iterator[tuple[str, str]]:
    """Yield word and meaning of our own list, with the forms that each language adds."""
    for line in path.read_text("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        meaning, *columns = (part.strip() for part in line.split("|"))
        for language, column in zip(COLUMNS, columns, strict=False):
            for word in filter(None, (word.strip() for word in column.split(","))):
                yield from ((form, meaning) for form in forms(word, language, adjective=meaning.startswith("+")))


def forms(word: str, language: str, *, adjective: bool = False) -> Iterator[str]:
    """Yield a word and its regular forms, the word itself first."""
    yield word
    if language == "ru":
        yield from _russian(word, adjective=adjective)
    elif language == "zh":
        yield _traditional(word)
    elif language == "ko":
        yield word.replace(" ", "")
        if "가" <= word[-1] <= "힣" and not adjective:
            closed = (ord(word[-1]) - ord("가")) % 28 > 0  # the last syllable ends in a consonant
            yield from (word + particle for particle in ("의을과이" if closed else "의를와가"))
    elif language in ("ar", "he"):
        article = "ال" if language == "ar" else "ה"
        if len(word) > 2:
            yield article + word


def _russian(word: str, *, adjective: bool) -> Iterator[str]:
    *before, last = word.split(" ")
    if before:
        # An adjective and its noun: the noun's endings follow the adjective's, which the table knows by themselves.
        return
    if last[-2:] in ("ый", "ой", "ий") and (adjective or len(last) > 4):
        stem, soft = last[:-2], last[-3] in "гкхжшчщ" or last.endswith("ий")
        vowel = "и" if soft else "ы"
        middle = "е" if last[-3] in "жшчщ" or (last.endswith("ий") and last[-3] not in "гкх") else "о"
        neuter = f"{middle}е"
        for ending in (
            f"{vowel}й", "ая", neuter, f"{vowel}е", f"{middle}го", f"{middle}й", f"{middle}му", f"{vowel}м",
            f"{middle}м", "ую", f"{vowel}ми", f"{vowel}х",
        ):  # fmt: skip
            yield stem + ending
    elif adjective or not re.fullmatch("[а-яё]{4,}", last):
        return
    elif last.endswith("а"):
        vowel = "и" if last[-2] in "гкхжшчщ" else "ы"
        middle = "е" if last[-2] in "жшчщц" else "о"
        for ending in (vowel, "е", "у", f"{middle}й", "ам", "ами", "ах"):
            yield last[:-1] + ending
    elif last.endswith("ия"):
        for ending in ("ии", "ию", "ией", "иями", "иях"):
            yield last[:-2] + ending
    elif last.endswith("я"):
        for ending in ("и", "е", "ю", "ей", "ями", "ях"):
            yield last[:-1] + ending
    elif last.endswith("ие"):
        for ending in ("ия", "ию", "ием", "ии", "иями", "иях"):
            yield last[:-2] + ending
    elif last.endswith("о"):
        for ending in ("а", "у", "ом", "е", "ами", "ах"):
            yield last[:-1] + ending
    elif last[-1] in "бвгдзклмнпрстфх":
        vowel = "и" if last[-1] in "гкх" else "ы"
        for ending in ("а", "у", "ом", "е", vowel, "ов", "ам", "ами", "ах"):
            yield last + ending
    elif last.endswith("ы"):
        for ending in ("ам", "ами", "ах"):
            yield last[:-1] + ending


@cache
def _converter(direction: str) -> Any:
    from opencc import OpenCC  # type: ignore[import-not-found,unused-ignore]

    return OpenCC(direction)


def _traditional(word: str) -> str:
    return str(_converter("s2t").convert(word))


def read_cldr(folder: Path, tags: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield emoji and their names in all languages with the tag that the English name is."""
    def names(language: str) -> dict[str, str]:
        data = json.loads((folder / language / "annotations.json").read_text("utf-8"))["annotations"]["annotations"]
        return {emoji: entry["tts"][0] for emoji, entry in data.items() if entry.get("tts")}

    english = {emoji: name for emoji, name in names("en").items() if name in tags and name not in _OTHER}
    for emoji, tag in english.items():
        if unicodedata.category(emoji[0]) == "So":
            yield emoji, tag
    for language in LANGUAGES:
        for emoji, name in names(language).items():
            if emoji in english:
                for form in forms(name, language[:2]):
                    yield form, english[emoji]


def read_groups(folder: Path, tags: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield word and tag of the Chinese and Japanese tag groups; the others were translated by machine, and badly."""
    for name in ("zh_CN", "zh_TW", "zh_HK", "ja_JP"):
        for line in (folder / f"{name}.yaml").read_text("utf-8").splitlines():
            found = re.fullmatch(r"\s{8,}([^:#]+): ([^#{]+)", line)
            tag = found[1].strip().lower().replace("_", " ") if found else ""
            if found and tag in tags:
                yield _NOTE.sub("", found[2]).strip(" '\""), tag


def read_pairs(path: Path, tags: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield word and tag of a CSV of tag and translation; most used tags first."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [(row[0].replace("_", " "), row[1]) for row in csv.reader(file) if len(row) > 1]
    for tag, word in sorted((row for row in rows if row[0] in tags), key=lambda row: -tags[row[0]]):
        yield word, tag
        if (plain := _NOTE.sub("", word).strip()) != word and tags[tag] >= _KNOWN_NAME:
            yield plain, tag


def is_word(word: str) -> bool:
    """Return whether a folded word may be in the table: of another script throughout, and no sentence."""
    letters = [letter for letter in word if letter.isalnum() or ord(letter) > 0x2000]
    if not letters or len(word) > 40 or any(letter.isascii() and letter.isalpha() for letter in letters):
        return False
    return not any(letter in word for letter in "|,;:/_%&\"'()[]{}<>") and not word.isascii()


def build(own: Iterable[tuple[str, str]], others: Iterable[Iterable[tuple[str, str]]], tags: dict[str, int]) -> str:
    """Return the text of the table."""
    table = dict[str, str]()
    listed = list(own)
    for whole in (True, False):  # a word goes before another's form
        for word, meaning in listed:
            if is_word(folded := fold_word(word)) or (whole and meaning == JOINER):
                table.setdefault(folded, meaning)
    for source in others:
        found = dict[str, str]()
        for word, tag in source:
            folded = fold_word(word)
            if not is_word(folded) or folded in table or (len(folded) == 1 and ord(folded) < 0x1F000):
                continue
            if folded not in found or tags[tag] > tags[found[folded]]:
                found[folded] = tag
        table |= found
    by_meaning = dict[str, list[str]]()
    for word, meaning in table.items():
        by_meaning.setdefault(meaning, []).append(word)
    return "".join("\t".join((meaning, *sorted(by_meaning[meaning]))) + "\n" for meaning in sorted(by_meaning))


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tag_lists.build_words", description=__doc__)
    for name in ("tags", "cldr", "groups"):
        parser.add_argument(name, type=Path)
    parser.add_argument("japanese", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=Path(WORDS))
    options = parser.parse_args(arguments)
    tags = read_tags(options.tags, load_blocklist(UNSAFE))
    others = [read_cldr(options.cldr, tags), read_groups(options.groups, tags)]
    others += [read_pairs(path, tags) for path in options.japanese]
    text = build(read_own(OWN), others, tags)
    options.out.write_text(text, "utf-8", newline="\n")
    sys.stdout.write(f"{options.out}: {text.count(chr(9))} words, {len(text.encode())} bytes\n")


if __name__ == "__main__":
    main()
