"""The options of `kgen expand` as one table: the flag, and the field of `ExpandRequest` or of `open_expander` it fills.

Refuses to know defaults and allowed values: `ExpandRequest` holds and checks them.
"""
from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kgen_ext.request import UNSAID, Category, ExpandRequest, TagLength, Task, TextLength, split_list


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
