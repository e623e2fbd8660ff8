"""Options of `kgen expand` and the argument parser of every command.

The options of a request derive from its table of fields. This file adds how values are shown in the help, the help of
options that behave differently on the command line, and the options of `open_expander`.

The parser is argparse, except that text which begins with a dash, and so looks like an option, is answered with the way
to write it. argparse itself accepts these as text:

    -    -1    -.5    "-1girl, solo"    a dash alone, a number, or anything with a space in it
"""
from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from kgen_ext.request import FIELDS, Field, FieldType, split_list

# How values are shown in the help; an enum shows its members.
_METAVARS = {
    "text": "TEXT", "format": "append|NAME|TEMPLATE", "ban": "PATTERNS", "require": "TAGS", "rules": "RULE",
    "protect": "WORDS", "context": "TEXT", "mark": "NAME", "tag_file": "PATH", "width": "W", "height": "H",
}  # fmt: skip
_HELP = {
    "no_tags": "write sentences only (needs --text-length)",
    "seed": "random seed; the same seed gives the same text (if omitted, one is drawn and printed)",
}


class Flag(NamedTuple):
    """A command-line option that fills one field.

    `metavar`: the value in the help, "" for a switch. `repeats`: the flag may be given several times, each with a list,
    or with one item if `whole`.
    """

    name: str
    field: str
    metavar: str
    help: str
    read: Callable[[str], Any] = str
    repeats: bool = False
    whole: bool = False


def _flag(field: Field) -> Flag:
    read = {FieldType.INTEGER: int, FieldType.NUMBER: float}.get(field.value_type, str)
    metavar = _METAVARS.get(field.name, "F" if read is float else "N")
    if field.value_type is FieldType.FLAG:
        metavar = ""
    elif field.choices:
        metavar = "|".join(str(member.value) for member in field.choices)
    whole = field.name == "rules"  # one rule at a time: it may contain commas
    name = "--rule" if whole else f"--{field.name.replace('_', '-')}"
    repeats = field.value_type is FieldType.LIST
    return Flag(name, field.name, metavar, _HELP.get(field.name, field.help), read, repeats, whole)


REQUEST_FLAGS = tuple(_flag(field) for field in FIELDS.values() if field.name != "prompt")
# `open_expander` has these defaults; importing it only to read them would slow every start.
EXPANDER_FLAGS = (
    Flag("--model", "model", "ID|PATH", "name or path of the model (default: starter)"),
    Flag("--engine", "engine", "auto|reference|transformers|llama_cpp|server",
         "library that runs the model, or a server (default: auto)"),
    Flag("--url", "url", "URL", "address of the server; --model names the model that it runs"),
    Flag("--device", "device", "DEVICE", "device to run on: auto, cpu, cuda, ... (default: auto)"),
    Flag("--threads", "threads", "N", "number of CPU threads (default: chosen by the engine)", read=int),
)
FLAGS: Mapping[str, Flag] = {flag.field: flag for flag in REQUEST_FLAGS + EXPANDER_FLAGS}


def shown_default(flag: Flag) -> str:
    """Return a flag's default as help and README show it, "" where there is nothing to show."""
    field = FIELDS.get(flag.field)
    if field is None or field.name == "seed" or isinstance(field.default, bool):
        return ""
    if field.by_model:
        return "the model's recommendation"
    return str(field.default.value if isinstance(field.default, Enum) else field.default or "")


def add_options(parser: argparse.ArgumentParser, *, help: Mapping[str, str] | None = None) -> None:
    """Add every flag to `parser`; what is not given is absent from the namespace.

    help: by field, where a command means something else.
    """
    for flag in FLAGS.values():
        default = shown_default(flag)
        text = (help or {}).get(flag.field, flag.help)
        text = (text + (f" (default: {default})" if default else "")).replace("%", "%%")
        common: dict[str, Any] = {"dest": flag.field, "help": text, "default": argparse.SUPPRESS}
        if not flag.metavar:
            parser.add_argument(flag.name, action="store_true", **common)
        else:
            action = "append" if flag.repeats else "store"
            parser.add_argument(flag.name, action=action, metavar=flag.metavar, type=flag.read, **common)


def read_request_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `ExpandRequest` that were given."""
    given = vars(arguments)
    values: dict[str, Any] = {}
    for flag in REQUEST_FLAGS:
        if flag.field in given:
            value = given[flag.field]
            if flag.repeats:
                parts = value if flag.whole else [part for text in value for part in split_list(flag.field, text)]
                value = tuple(parts)
            values[flag.field] = value
    return values


def read_expander_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of `open_expander` that were given."""
    given = vars(arguments)
    return {flag.field: given[flag.field] for flag in EXPANDER_FLAGS if flag.field in given}


_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


class Parser(argparse.ArgumentParser):
    """An argument parser that answers `kgen expand -1girl` with the command that works."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._takes_value: dict[str, bool] = {}  # by flag
        self._text = ""  # the positional argument, as the help shows it
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
        """Parse as argparse does; exit with code 2 where text looks like an option."""
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
    return " " not in word or word.startswith("-h")  # argparse reads `-hat, solo` as -h and more


def _quoted(word: str) -> str:
    if len(word) > 200:
        return '"..."'
    return shlex.quote(word) if any(sign in word for sign in '"\\$`!') else f'"{word}"'
