"""The words of a row's texts: what may not be said again, and which words there are.

    repeat     a word the third time running; in one sentence the second time, but for `very very` and `J.R.R.`
               in a short sentence what it is about: `A table is at the table`
               two or three words behind an `and` that stand before it: `a kimono and a kimono`
               four words running that the row's texts or the user's own text have already
               a sentence again, articles aside, or one of the user's
               at the start of a text a sentence of the user's, or its first three words, articles aside
    unknown    a word that the model's word list, the user's prompt and the row's tags lack

Words are compared in small letters without accents and look-alikes, across all signs, sentence ends, lines and fields.
A number such as 1,000 or 5.30 is one word, as is what an apostrophe joins; a hyphen divides.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kgen_ext.prompt.sentences import split_sentences
from kgen_ext.rules import Rejection
from kgen_ext.rules.wordlist import WordList
from kgen_ext.tags.canonical import fold_text
from kgen_ext.tags.tag import Tag

RUNNING = 4  # words in a row that may not be said twice
_NEAR = 8  # words of a sentence that says what it is about once
_OPENING = 3  # words of the user's sentence, articles aside, that no text may begin with
_ARTICLES = frozenset(("a", "an", "the"))
_DOUBLED = frozenset("very really so far much many long old big ha".split())
_WORD = re.compile(r"\d+(?:[.,:]\d+)+|[^\W_]+(?:['\u2019][^\W_]+)*")
# Words that a sentence goes on from: never the last of one that had to be cut.
_SMALL = frozenset(
    "a an the this these those my your his their its our of to in into on onto at by for from with without and or nor "
    "but as than if is are was were be been am has have while near over under through between beneath behind beside "
    "above across along around against among toward towards".split()
)

Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why the words of a stretch may not stand: the span of the first such word, the reason, and what it repeats.

    opening: the sentence has to begin otherwise.
    """

    begin: int
    end: int
    reason: Rejection
    opening: bool = False


@dataclass(frozen=True, slots=True)
class OwnText:
    """What the user wrote. words: of the whole prompt. The rest is of its sentences.

    phrases: four words running. sentences: all of them, without articles. openings: what a text may not begin with.
    """

    words: WordList = field(default_factory=WordList)
    phrases: frozenset[Phrase] = frozenset()
    sentences: frozenset[Phrase] = frozenset()
    openings: frozenset[Phrase] = frozenset()


def read_own_text(prompt: Iterable[str], texts: Iterable[str]) -> OwnText:
    """Return what a row needs to know of the parts of the user's prompt, and of the texts that the model goes on from.

    >>> own = read_own_text(["hat"], ["A fox sits on a wall."])
    >>> sorted(own.openings), len(own.phrases), own.words.knows("hat")
    ([('fox', 'sits', 'on')], 3, True)
    """
    said = {word for part in prompt for _, _, word in find_words(part)}
    phrases, sentences = set[Phrase](), set[Phrase]()
    for text in texts:
        words = [word for _, _, word in find_words(text)]
        said.update(words)
        phrases.update(zip(*(words[start:] for start in range(RUNNING)), strict=False))
        sentences.update(_without_articles(word for _, _, word in find_words(part)) for part in split_sentences(text))
    sentences.discard(())
    openings = frozenset(words[:_OPENING] for words in sentences)
    return OwnText(WordList(sorted(said)), frozenset(phrases), frozenset(sentences), openings)


def find_words(text: str) -> list[tuple[int, int, str]]:
    """Return the words of a text in order: start, end and comparison form.

    >>> [word for _, _, word in find_words("The Fox's CAF\u00c9, well-lit: 1,000 lamps")]
    ['the', "fox's", 'cafe', 'well', 'lit', '1,000', 'lamps']
    """
    if text.isascii():
        return [(*found.span(), found[0]) for found in _WORD.finditer(text.lower())]
    folded, places = fold_text("".join(low if len(low := letter.lower()) == 1 else letter for letter in text))
    return [
        (places[found.start()], places[found.end() - 1] + 1, found[0].lower().replace("\u2019", "'"))
        for found in _WORD.finditer(folded)
    ]


@dataclass(slots=True)
class TextHistory:
    """The words that a row's texts have so far, over all of its fields; the last of them can be taken back.

    known: the model's word list, None where it has none. tags: the row's, which may grow. Each word costs a few
    look-ups, however long the text is.
    """

    own: OwnText = field(default_factory=OwnText)
    known: WordList | None = None
    tags: Sequence[Tag] = ()
    _words: list[str] = field(default_factory=list)
    _phrases: set[Phrase] = field(default_factory=set)
    _sentences: dict[Phrase, int] = field(default_factory=dict)  # without articles: how many words at the end of each
    _begin: int = 0  # how many there were at the start of the field
    _of_tags: tuple[int, WordList] = (0, WordList())  # of how many tags, and their words

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self._words)

    @property
    def ends_in_small_word(self) -> bool:
        """Return whether the last word is one that goes on: a sentence cut behind it would be half a sentence."""
        return bool(self._words) and self._words[-1] in _SMALL

    def begin_field(self) -> None:
        """Begin another text; its words are compared with those of the fields before it."""
        self._begin = len(self._words)

    def read(self, text: str) -> Flaw | None:
        """Add the words of a stretch that ends between two words; where one may not stand, add none and say why."""
        before = len(self._words)
        for begin, end, word in find_words(text):
            reason = self._reject_repeat(word) or self._reject_spelling(word)
            if reason is not None:
                opening = self._is_echo(word)
                self.truncate(before)
                return Flaw(begin, end, reason, opening)
            self._words.append(word)
            if len(self._words) >= RUNNING:
                self._phrases.add(tuple(self._words[-RUNNING:]))
        return None

    def foresee(self, word: str) -> Flaw | None:
        """Return what a word would repeat if it came next."""
        reason = self._reject_repeat(word.lower())
        return None if reason is None else Flaw(0, len(word), reason, self._is_echo(word.lower()))

    def repeats_sentence(self) -> Rejection | None:
        """Return why the words since the last sentence's end may not be a sentence."""
        sentence = self._sentence()
        bare = _without_articles(sentence)
        if sentence and (bare in self._sentences or bare in self.own.sentences):
            return Rejection("repeat", " ".join(sentence))
        return None

    def end_sentence(self) -> None:
        """Add the words since the last sentence's end as a sentence."""
        if sentence := self._sentence():
            self._sentences[_without_articles(sentence)] = len(self._words)

    def truncate(self, count: int) -> None:
        """Take back all but the first `count` words, and the sentences that end behind them."""
        while self._sentences and self._end > count:
            self._sentences.popitem()
        while len(self._words) > count:
            self._phrases.discard(tuple(self._words[-RUNNING:]))
            self._words.pop()

    def knows(self, word: str) -> bool:
        """Return whether there is such a word; always True without a word list."""
        return self.known is None or any(words.knows(word) for words in self._lists(self.known))

    def begins_word(self, part: str) -> bool:
        """Return whether a word may begin with these letters."""
        return self.known is None or any(words.begins(part) for words in self._lists(self.known))

    def _lists(self, known: WordList) -> Iterator[WordList]:
        yield known
        yield self.own.words
        if self._of_tags[0] != len(self.tags):
            said = {word for tag in self.tags for _, _, word in find_words(tag.written)}
            self._of_tags = len(self.tags), WordList(sorted(said))
        yield self._of_tags[1]

    def _reject_spelling(self, word: str) -> Rejection | None:
        return None if self.knows(word) else Rejection("unknown", word)

    def _reject_repeat(self, word: str) -> Rejection | None:
        """Return what a word repeats, or None."""
        if self._is_echo(word):
            return Rejection("repeat", " ".join((*self._sentence(), word)))
        words = self._words
        if words and words[-1] == word:
            if len(words) > 1 and words[-2] == word:
                return Rejection("repeat", word)
            if word not in _DOUBLED and (len(word) > 1 or word == "a") and self._end < len(words):
                return Rejection("repeat", word)
        begin = self._end
        if 3 <= len(words) - begin < _NEAR:
            article, subject, verb = words[begin : begin + 3]
            about = article in _ARTICLES and verb in ("is", "are") and words[-1] not in ("another", "other")
            if about and word == subject:
                return Rejection("repeat", " ".join((*words[begin:], word)))
        for count in range(2, RUNNING):
            if len(words) - begin >= 2 * count and words[-count] == "and":
                joined = [*words[1 - count :], word]
                if joined == words[-2 * count : -count]:
                    return Rejection("repeat", " ".join(joined))
        if len(words) >= RUNNING - 1:
            phrase = (*words[1 - RUNNING :], word)
            if phrase in self._phrases or phrase in self.own.phrases:
                return Rejection("repeat", " ".join(phrase))
        return None

    def _is_echo(self, word: str) -> bool:
        """Return whether a text would begin with the user's sentence."""
        # Each word of an opening may have an article before it.
        if len(self._words) - self._begin >= 2 * _OPENING or self._end > self._begin:
            return False
        return _without_articles((*self._words[self._begin :], word)) in self.own.openings

    @property
    def _end(self) -> int:
        """How many words there were at the end of the last sentence of this field, or at its start."""
        return max(self._begin, next(reversed(self._sentences.values()), 0))

    def _sentence(self) -> Phrase:
        return tuple(self._words[self._end :])


def _without_articles(words: Iterable[str]) -> Phrase:
    return tuple(word for word in words if word not in _ARTICLES)
