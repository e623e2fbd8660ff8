"""Conditional bans: when they hold, how they are read, and the error for an invalid one."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadPattern
from kgen_ext.request import split_list
from kgen_ext.rules.conditional import RowRule, Rule, parse_rule, parse_rules
from kgen_ext.tags.tag import read_tag


def test_a_rule_holds_while_its_tag_is_present() -> None:
    rule = parse_rule("if twintails ban long hair")
    assert rule.holds({"1girl", "Twintails"})
    assert not rule.holds({"1girl", "low twintails"})
    assert rule.ban.match("long_hair") == "long hair"
    assert rule.ban.match("very long hair") is None


def test_all_conditions_must_hold_and_all_bans_count() -> None:
    rule = parse_rule("IF 1girl and * hair BAN blue *, /green.*/ and category:artist")
    assert rule.holds(["1girl", "red hair"]) and not rule.holds(["1girl"]) and not rule.holds(["red hair"])
    assert [rule.ban.match(tag) for tag in ("blue sky", "greenery", "wlop", "red")] == [
        "blue *", "/green.*/", "category:artist", None,
    ]  # fmt: skip


def test_quotes_and_expressions_are_never_cut() -> None:
    rule = parse_rule('if "salt and pepper" and /a, b and c/ ban "ban, hammer", /x and y ban z/')
    assert [pattern.source for pattern in rule.when] == ["salt and pepper", "/a, b and c/"]
    assert [pattern.source for pattern in rule.ban.patterns] == ["ban, hammer", "/x and y ban z/"]


def test_a_list_that_was_cut_at_commas_is_put_together_again() -> None:
    first, second = parse_rules(split_list("rules", "if twintails ban long hair, very long hair; if night ban sun"))
    assert [pattern.source for pattern in first.ban.patterns] == ["long hair", "very long hair"]
    assert [pattern.source for pattern in second.ban.patterns] == ["sun"]
    assert parse_rules(()) == ()


def refuses(rule: Rule, tag: str, tags: list[str]) -> bool:
    """What a rule says of a tag and all tags before it, each time from the start."""
    def holds(present: list[str]) -> bool:
        return all(any(pattern.match(other) for other in present) for pattern in rule.when)

    banned = [tag] if holds(tags) else [*tags, tag]
    return holds([*tags, tag]) and any(rule.ban.match(other) is not None for other in banned)


RULES = parse_rules(("if a ban b", "if a and b ban c", "if /[ab]/ and c and d* ban a and d", "if b ban b"))


@given(st.sampled_from(RULES), st.lists(st.sampled_from("abcd"), max_size=8))
def test_a_row_s_rule_says_of_each_tag_what_the_rule_says_of_all_so_far(rule: Rule, drawn: list[str]) -> None:
    row_rule, tags = RowRule(rule), list[str]()
    for tag in drawn:
        refused = row_rule.refuses(read_tag(tag), [read_tag(other) for other in tags])
        assert refused == refuses(rule, tag, tags)
        tags += [] if refused else [tag]


def test_a_slow_expression_is_not_tried_while_a_condition_before_it_fails() -> None:
    row_rule = RowRule(parse_rule("if fox and /(a+)+$/ ban hat"))
    slow = read_tag("a" * 4000 + "z")
    assert not row_rule.holds([slow])
    with pytest.raises(BadPattern, match="longer than 50 ms"):
        row_rule.holds([slow, read_tag("fox")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("twintails ban long hair", "if ... ban"),
        ("if twintails", "if ... ban"),
        ("if ban x", "if ... ban"),
        ("if x ban", "if ... ban"),
        ("", "if ... ban"),
        ("if x ban /(/", "missing"),
        ("if category:colour ban x", "no category"),
        ("if x ban a,,b", "empty"),
        ("if x and and y ban \ue0027\ue003,", "empty"),
    ],
)
def test_a_bad_rule_is_named_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadPattern, match=said) as caught:
        parse_rules([text])
    assert repr(text) in str(caught.value)
