"""Blocked token prefixes: where the last open choice was, what is blocked there, and what stays open."""
from __future__ import annotations

import pytest

from kgen_ext.decoding.tag_list import BlockedPrefixes


def walk(*steps: tuple[int, float]) -> BlockedPrefixes:
    blocked = BlockedPrefixes([])
    for token, share in steps:
        blocked.push(token, share)
    return blocked


@pytest.mark.parametrize(("share", "path"), [(0.89, (1,)), (0.9, ())])
def test_a_token_with_nine_tenths_of_the_mass_was_no_choice(share: float, path: tuple[int, ...]) -> None:
    blocked = walk((1, 0.5), (2, share))
    blocked.close()
    assert blocked.path() == path


def test_a_path_is_closed_where_the_last_choice_was_open() -> None:
    blocked = walk((1, 0.5), (2, 0.5), (3, 0.99))
    blocked.close()
    assert (blocked.path(), blocked.blocked_next()) == ((1,), {2})


def test_what_is_closed_behind_a_token_is_open_at_the_start() -> None:
    blocked = walk((1, 0.5), (2, 0.5))
    blocked.close()
    blocked.restart()
    assert blocked.blocked_next() == set()


def test_a_step_back_takes_the_token_s_share_with_it() -> None:
    blocked = walk((1, 0.5), (2, 0.99))
    blocked.pop()
    blocked.push(3, 0.5)
    blocked.close()
    assert (blocked.path(), blocked.blocked_next()) == ((1,), {3})


def test_given_tags_of_one_token_are_closed_beforehand_and_longer_ones_are_not() -> None:
    assert BlockedPrefixes([(1,), (2, 3)]).blocked_next() == {1}


@pytest.mark.parametrize(("whole", "blocked"), [(True, {1}), (False, set[int]())])
def test_a_beginning_that_leads_to_no_tag_is_blocked_itself(whole: bool, blocked: set[int]) -> None:
    paths = BlockedPrefixes(())
    paths.push(1, 0.5)
    paths.push(2, 0.5)
    paths.close(whole=whole)
    paths.restart()
    assert paths.blocked_next() == blocked
