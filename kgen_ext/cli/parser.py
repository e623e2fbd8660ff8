"""The argument parser of every command: argparse, but for text that begins with a dash and so looks like an option.

Refuses to guess which was meant; it says how to write either. What argparse takes for text needs no help:

    -    -1    -.5    "-1girl, solo"    a dash alone, a number, or something with a space in it
"""
from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


class Parser(argparse.ArgumentParser):
    """A parser that answers `kgen expand -1girl` with the command that works."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._takes_value: dict[str, bool] = {}  # by flag
        self._text = ""  # how help shows the argument that is no option
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Add an argument as argparse does."""
        action = super().add_argument(*args, **kwargs)
        self._takes_value.update(dict.fromkeys(action.option_strings, action.nargs is None))
        if not action.option_strings:
            self._text = str(action.metavar or action.dest)
        return action

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse as argparse does; exits with 2 where text looks like an option."""
        words = list(sys.argv[1:] if args is None else args)
        self._check_dashes(iter(words))
        return super().parse_known_args(words, namespace)

    def _check_dashes(self, words: Iterator[str]) -> None:
        for word in words:
            if word == "--":
                return
            if self._takes_value.get(word):
                value = next(words, "")
                if _looks_like_an_option(value):
                    self.error(f"argument {word}: expected one argument "
                               f"(one that begins with - is written {word}={_quoted(value)})")  # fmt: skip
            elif self._text and _looks_like_an_option(word) and word.partition("=")[0] not in self._takes_value:
                self.error(f"no option {word:.80} (a {self._text} that begins with - goes last, behind --: "
                           f"{self.prog} -- {_quoted(word)})")  # fmt: skip


def _looks_like_an_option(word: str) -> bool:
    if not word.startswith("-") or len(word) == 1 or _NUMBER.fullmatch(word):
        return False
    return " " not in word or word.startswith("-h")  # argparse reads `-hat, solo` as -h with more behind it


def _quoted(word: str) -> str:
    if len(word) > 200:
        return '"..."'
    return shlex.quote(word) if any(sign in word for sign in '"\\$`!') else f'"{word}"'
