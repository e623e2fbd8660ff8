"""The host's progress bar and text during an expansion, its stop buttons, and its state restored afterwards."""
from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_host import FakeHost, install
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgen_ext.events import Delta, Event, Expansion, Fields, Finish, Finished, TagAccepted
from kgen_ext.webui.host import Host
from kgen_ext.webui.progress import STEPS, own_job, shown_progress


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return install(monkeypatch)


def finished(row: int) -> Finished:
    empty = Expansion("", (), "", 0, row, "m", "e", Fields(), (), "", Finish.COMPLETE, 0, 0, 0, 0.0)
    return Finished(row, empty)


def shown(state: Any) -> float:
    """Return the share of the bar as a host works it out."""
    return (state.job_no + state.sampling_step / state.sampling_steps) / state.job_count


def test_the_bar_fills_up_row_by_row(fake: FakeHost) -> None:
    seen = []
    with shown_progress(Host(), rows=4) as progress:
        for row in (2, 0, 1, 3):
            progress.on_event(finished(row))
            seen.append(shown(fake.state))
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_a_single_prompt_moves_the_bar_with_its_tags(fake: FakeHost) -> None:
    seen = []
    with shown_progress(Host(), rows=1) as progress:
        for number in range(STEPS * 2):
            progress.on_event(TagAccepted(0, f"tag {number}"))
            seen.append(shown(fake.state))
        assert seen[0] > 0
        assert seen == sorted(seen)
        assert seen[-1] < 1
        progress.on_event(finished(0))
        assert shown(fake.state) == 1


def test_the_text_tells_how_many_prompts(fake: FakeHost) -> None:
    with shown_progress(Host(), rows=2):
        assert fake.state.textinfo == "KGen: expanding 2 prompts"
    with shown_progress(Host(), rows=1):
        assert fake.state.textinfo == "KGen: expanding 1 prompt"


EVENTS = st.lists(st.one_of(
    st.builds(TagAccepted, st.integers(0, 5), st.text(max_size=3)),
    st.builds(Delta, st.integers(0, 5), st.just("general"), st.text(max_size=3)),
    st.builds(finished, st.integers(0, 5)),
), max_size=30)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 6), EVENTS, st.sampled_from([-1, 0, 1, 12]), st.booleans())
def test_the_state_is_as_it_was_whatever_happens(
    fake: FakeHost, rows: int, events: list[Event], job_count: int, fails: bool
) -> None:
    fake.state.job_count, fake.state.job_no, fake.state.textinfo = job_count, 3, "as it was"
    before = copy.deepcopy(vars(fake.state))
    try:
        with shown_progress(Host(), rows=rows) as progress:
            for event in events:
                progress.on_event(event)
                assert fake.state.job_count != 1 or 0 <= fake.state.sampling_step <= max(fake.state.sampling_steps, 0)
            if fails:
                raise RuntimeError("as a model may")
    except RuntimeError:
        assert fails
    assert vars(fake.state) == before


def test_the_bar_of_a_plot_is_left_alone(fake: FakeHost) -> None:
    fake.state.job_count, fake.state.job_no, fake.state.sampling_steps = 12, 4, 20
    with shown_progress(Host(), rows=1) as progress:
        progress.on_event(finished(0))
        assert (fake.state.job_count, fake.state.job_no, fake.state.sampling_step) == (12, 4, 0)
        assert "KGen" in (fake.state.textinfo or "")


@pytest.mark.parametrize("button", ["interrupt", "stop_generating"])
def test_both_stop_buttons_are_heard(button: str, fake: FakeHost) -> None:
    with shown_progress(Host(), rows=1) as progress:
        assert not progress.cancelled()
        getattr(fake.state, button)()
        assert progress.cancelled()
    assert fake.state.interrupted or fake.state.stopping_generation  # it is the host's to forget


def test_without_a_host_nothing_is_shown_and_nothing_stops() -> None:
    with shown_progress(Host(), rows=3) as progress:
        progress.on_event(finished(0))
        assert not progress.cancelled()


def test_a_job_of_our_own_is_not_stopped_by_what_was_meant_for_an_earlier_one(fake: FakeHost) -> None:
    fake.state.interrupt()
    with own_job(Host(), "KGen"):
        assert fake.state.job == "KGen"
        assert not Host().interrupted()
        fake.state.interrupt()
        assert Host().interrupted()
    assert not Host().interrupted()
    assert fake.state.job == ""


def test_a_host_without_jobs_has_none_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = Host()
    monkeypatch.setattr(Host, "state", property(lambda self: SimpleNamespace(interrupted=False)))
    with own_job(host, "KGen"):
        assert not host.interrupted()
