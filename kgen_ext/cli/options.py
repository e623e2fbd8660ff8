"""The options of `kgen expand` as one table: the flag, and the field of `ExpandRequest` or of `open_expander` it fills.

Refuses to know defaults and allowed values: `ExpandRequest` holds and checks them.

The argument parser of every command: argparse, but for text that begins with a dash and so looks like an option.

Refuses to guess which was meant; it says how to write either. What argparse takes for text needs no help:

    -    -1    -.5    "-1girl, solo"    a dash alone, a number, or something with a space in it
"""
from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kgen_ext.request import UNSAID, Category, ExpandRequest, TagLength, Task, TextLength, split_list

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


@dataclass(frozen=True, slots=True)
class Option:
    """A flag that fills one field.

    `shows` is the value in the help. `each`: the flag may come again, with a list each time, or with one `whole` item.
    """

    flag: str
    field: str
    shows: str
    help: str
    each: bool = False
    whole: bool = False


def _choices(kind: type[Enum]) -> str:
    return "|".join(str(one.value) for one in kind)


REQUEST_OPTIONS = (
    Option("--text", "text", "TEXT", "a description in sentences, beside or instead of tags"),
    Option("--tag-length", "tag_length", _choices(TagLength), "how many tags the result holds, yours included"),
    Option("--text-length", "text_length", _choices(TextLength), "how many sentences are written"),
    Option("--task", "task", _choices(Task), "the order in which the model writes its fields"),
    Option("--format", "format", "append|NAME|TEMPLATE", "how the result is put together"),
    Option("--ban", "ban", "PATTERNS", "never write these: hat, *_hair, /blue .*/, category:artist", each=True),
    Option("--require", "require", "TAGS", "tags the result must hold", each=True),
    Option("--rule", "rules", "RULE", 'a rule such as "if twintails ban long hair"', each=True, whole=True),
    Option("--protect", "protect", "WORDS", "hide these words of yours from the model (trigger words)", each=True),
    Option("--allow", "allow", _choices(Category), "kinds of tag the model may add although you named none", each=True),
    Option("--allow-contradictions", "allow_contradictions", "", "let tags contradict, such as two hair colours"),
    Option("--no-tags", "no_tags", "", "write sentences only (needs --text-length)"),
    Option("--tag-file", "tag_file", "PATH", "write only tags of this file (the CSV of a1111-sd-webui-tagcomplete)"),
    Option("--seed", "seed", "N", "the same seed gives the same text; drawn and shown if left out"),
    Option("--count", "count", "N", "how many different expansions of each prompt"),
    Option("--temperature", "temperature", "F", "how daring the choice of words is; 0 always takes the likeliest"),
    Option("--top-k", "top_k", "N", "choose among the N likeliest only; 0 is off"),
    Option("--top-p", "top_p", "F", "choose among the likeliest that together have this share; 1 is off"),
    Option("--min-p", "min_p", "F", "drop what is less likely than this share of the likeliest; 0 is off"),
    Option("--width", "width", "W", "width of the image; the model knows the aspect ratio"),
    Option("--height", "height", "H", "height of the image"),
)

# `open_expander` has the defaults; importing it here only to read them would slow every start.
EXPANDER_OPTIONS = (
    Option("--model", "model", "ID|PATH", "the model (default: starter)"),
    Option("--engine", "engine", "auto|reference|transformers|llama_cpp", "what runs the model (default: auto)"),
    Option("--device", "device", "DEVICE", "where the engine runs it: auto, cpu, cuda, ... (default: auto)"),
    Option("--threads", "threads", "N", "processor threads (default: the engine's own choice)"),
)

FLAGS = {option.field: option.flag for option in REQUEST_OPTIONS + EXPANDER_OPTIONS}
DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(ExpandRequest)}


def shown_default(option: Option) -> str:
    """Return an option's default as help and README show it, or "" where there is none to speak of."""
    default = DEFAULTS.get(option.field)
    if option.field in UNSAID:
        return "what suits the model"
    if option.field == "seed" or isinstance(default, bool) or default is None or default in ("", ()):
        return ""
    return str(default.value) if isinstance(default, Enum) else str(default)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of both tables to `parser`; what is not given is absent from the namespace."""
    for option in REQUEST_OPTIONS + EXPANDER_OPTIONS:
        default = shown_default(option)
        text = (option.help + (f" (default: {default})" if default else "")).replace("%", "%%")
        common: dict[str, Any] = {"dest": option.field, "help": text, "default": argparse.SUPPRESS}
        if not option.shows:
            parser.add_argument(option.flag, action="store_true", **common)
        else:
            action = "append" if option.each else "store"
            parser.add_argument(option.flag, action=action, metavar=option.shows, type=_reader(option), **common)


def read_request_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `ExpandRequest` that were given."""
    given = vars(arguments)
    values = {option.field: given[option.field] for option in REQUEST_OPTIONS if option.field in given}
    for option in REQUEST_OPTIONS:
        if option.each and option.field in values:
            lists = values[option.field]
            parts = lists if option.whole else [part for one in lists for part in split_list(option.field, one)]
            values[option.field] = tuple(parts)
    return values


def read_expander_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of `open_expander` that were given."""
    given = vars(arguments)
    return {option.field: given[option.field] for option in EXPANDER_OPTIONS if option.field in given}


def _reader(option: Option) -> Callable[[str], Any]:
    default = UNSAID.get(option.field, DEFAULTS.get(option.field))
    if option.field == "threads" or isinstance(default, int):
        return int
    return float if isinstance(default, float) else str
