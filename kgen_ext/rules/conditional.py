"""Conditional bans: `if twintails ban long hair`.

Refuses to know where the tags come from; it is asked which bans hold among the tags that are present.

    rule    = "if" when {"and" when} "ban" pattern {("," | "and") pattern}
    when    = a pattern; each must hit some tag that is present
    pattern = as in `kgen_ext.rules.patterns`; in double quotes when it holds a comma or one of the three words:
              if "salt and pepper" ban table

Lists of rules are cut at commas before they come here, so what does not begin with `if` continues the rule before it.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kgen_ext.errors import BadPattern
from kgen_ext.rules.patterns import Pattern, PatternSet, compile_pattern, compile_patterns

_HINT = "write: if TAG and TAG ban TAG, TAG"
# A unit that is never cut: "in quotes", or /an expression/ that white space, a comma or the end follows.
_UNIT = re.compile(r'"([^"]*)"|(?<!\S)(/(?:\\.|[^/\\])+/i?)(?=\s|,|$)')
_STAND_IN = re.compile("\ue002(\\d+)\ue003")


@dataclass(frozen=True, slots=True)
class Rule:
    """While every pattern of `when` hits a tag that is present, `ban` holds."""

    source: str
    when: tuple[Pattern, ...]
    ban: PatternSet

    def holds(self, present: Collection[str]) -> bool:
        """Tell whether the rule's condition is met by the tags present."""
        return all(any(pattern.match(tag) for tag in present) for pattern in self.when)


def parse_rule(text: str) -> Rule:
    """Read one rule; raises BadPattern that names it and what is wrong.

    >>> rule = parse_rule("if twintails ban long hair, very long hair")
    >>> rule.holds({"1girl", "twintails"}), rule.ban.match("Long_Hair")
    (True, 'long hair')
    """
    source = " ".join(text.replace("\ue002", "").split())
    units: list[str] = []

    def put_aside(found: re.Match[str]) -> str:
        units.append(found[1] if found[1] is not None else found[2])
        return f"\ue002{len(units) - 1}\ue003"

    parts = re.fullmatch(r"if\s+(.+?)\s+ban\s+(.+)", _UNIT.sub(put_aside, source), re.IGNORECASE)
    if parts is None:
        raise BadPattern(f"rule {source!r}: it is not of the form if ... ban ...", hint=_HINT)

    def patterns_of(part: str, separator: str) -> list[str]:
        cut = (one.strip() for one in re.split(separator, part, flags=re.IGNORECASE))
        return [_STAND_IN.sub(lambda found: units[int(found[1])], one) for one in cut]

    try:
        when = tuple(compile_pattern(one) for one in patterns_of(parts[1], r"\s+and\s+"))
        ban = compile_patterns(patterns_of(parts[2], r"\s+and\s+|,"))
    except BadPattern as error:
        raise BadPattern(f"rule {source!r}: {error.message}", hint=error.hint or _HINT) from error
    return Rule(source, when, ban)


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Read several rules; a text that does not begin with `if` continues the bans of the one before it."""
    whole: list[str] = []
    for text in texts:
        if whole and not re.match(r"\s*if\s", text, re.IGNORECASE):
            whole[-1] += ", " + text
        else:
            whole.append(text)
    return tuple(parse_rule(text) for text in whole)
