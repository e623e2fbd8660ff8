"""Conditional bans: `if twintails ban long hair`.

    rule    = "if" when {"and" when} "ban" pattern {("," | "and") pattern}
    when    = a pattern that must match a tag of the row
    pattern = as in `kgen_ext.rules.patterns`; in double quotes when it holds a comma or one of the three words:
              if "salt and pepper" ban table

Lists of rules are cut at commas before they come here, so a text that does not begin with `if` continues the rule
before it.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kgen_ext.errors import BadPattern
from kgen_ext.rules.patterns import Pattern, PatternSet, compile_pattern, compile_patterns
from kgen_ext.tags.tag import Tag, read_tag

_HINT = "write: if TAG and TAG ban TAG, TAG"
# What no separator cuts: "in quotes", or /an expression/ followed by white space, a comma or the end.
_UNIT = r'"(?P<quoted>[^"]*)"|(?<!\S)(?P<expression>/(?:\\.|[^/\\])+/i?)(?=\s|,|$)'


@dataclass(frozen=True, slots=True)
class Rule:
    """While every pattern of `when` matches a tag of the row, `ban` holds."""

    source: str
    when: tuple[Pattern, ...]
    ban: PatternSet

    def holds(self, tags: Iterable[str | Tag]) -> bool:
        """Return whether the tags meet the rule's condition."""
        return RowRule(self).holds([read_tag(tag) for tag in tags])


class RowRule:
    """A rule in a row. The row's tags only grow, so each is compared with each pattern of `when` at most once."""

    __slots__ = ("_met", "_read", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._met = [False] * len(rule.when)
        self._read = [0] * len(rule.when)  # how many of the row's tags each pattern was compared with

    def holds(self, tags: Sequence[Tag], *, joining: Tag | None = None) -> bool:
        """Return whether the row's tags, and the one that would join them, meet the condition.

        Patterns are tried in order, up to the first that is not met: a slow expression raises BadPattern only where all
        patterns before it are met.
        """
        for number, pattern in enumerate(self.rule.when):
            while not self._met[number] and self._read[number] < len(tags):
                self._met[number] = pattern.match_name(tags[self._read[number]].name)
                self._read[number] += 1
            if not self._met[number] and (joining is None or not pattern.match_name(joining.name)):
                return False
        return True

    def refuses(self, tag: Tag, tags: Sequence[Tag]) -> bool:
        """Return whether the rule bans a tag, or would ban one of the row's tags once this one joins them."""
        ban = self.rule.ban
        if self.holds(tags):
            return ban.match_name(tag.name) is not None
        return self.holds(tags, joining=tag) and any(ban.match_name(other.name) is not None for other in (*tags, tag))


def parse_rule(text: str) -> Rule:
    """Read one rule; raises BadPattern with the rule and the reason.

    >>> rule = parse_rule("if twintails ban long hair, very long hair")
    >>> rule.holds({"1girl", "twintails"}), rule.ban.match("Long_Hair")
    (True, 'long hair')
    """
    source = " ".join(text.split())
    opening = re.match(r"if\s+", source, re.IGNORECASE)
    body = source[opening.end() :] if opening else ""
    middle = next((found for found in _scan(body, r"\s+ban\s+") if found["cut"]), None)
    if middle is None:
        raise BadPattern(f"rule {source!r}: it does not have the form if ... ban ...", hint=_HINT)
    try:
        when = tuple(compile_pattern(part) for part in _split(body[: middle.start()], r"\s+and\s+"))
        ban = compile_patterns(_split(body[middle.end() :], r"\s+and\s+|,"))
    except BadPattern as error:
        raise BadPattern(f"rule {source!r}: {error.message}", hint=error.hint or _HINT) from error
    return Rule(source, when, ban)


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Read several rules; a text that does not begin with `if` continues the bans of the rule before it."""
    whole: list[str] = []
    for text in texts:
        if whole and not re.match(r"\s*if\s", text, re.IGNORECASE):
            whole[-1] += ", " + text
        else:
            whole.append(text)
    return tuple(parse_rule(text) for text in whole)


def _split(text: str, separator: str) -> list[str]:
    """Cut a text at separators outside quotes and expressions; the quotes go."""
    parts, at = [""], 0
    for found in _scan(text, separator):
        parts[-1] += text[at : found.start()]
        if found["cut"]:
            parts.append("")
        else:
            parts[-1] += found["quoted"] or found["expression"] or ""
        at = found.end()
    parts[-1] += text[at:]
    return [part.strip() for part in parts]


def _scan(text: str, separator: str) -> Iterator[re.Match[str]]:
    """Yield what is not to be cut, and each `cut` between."""
    return re.finditer(rf"{_UNIT}|(?P<cut>{separator})", text, re.IGNORECASE)
