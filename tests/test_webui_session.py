"""The session that all jobs share: models used by many threads, and a bounded memory of results."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from webui_kit import Stage

from kgen_ext.errors import UnknownModel
from kgen_ext.webui.host import Host
from kgen_ext.webui.session import Session, current
from kgen_ext.webui.settings import find_model, read_settings


def test_there_is_one_session_of_a_process() -> None:
    assert current() is current()


@pytest.mark.parametrize("prompt", ["cat, hat", " cat, hat", "cat, hat\n", "cat, hat\r\n"])
def test_a_result_is_known_again_after_a_copy_and_paste(prompt: str) -> None:
    session = Session()
    session.remember("cat, hat", source="cat")
    assert session.wrote(prompt) and not session.wrote("cat") and not session.wrote("cat, hat, dog")


def test_a_prompt_to_which_nothing_was_added_is_no_result() -> None:
    session = Session()
    session.remember("cat", source="cat")
    assert not session.wrote("cat")


def test_any_text_can_be_kept_in_mind() -> None:
    session = Session()
    session.remember("\ud800\x00", source="")
    assert session.wrote("\ud800\x00")


def test_the_oldest_results_are_forgotten_and_those_met_again_are_not() -> None:
    session = Session(remembered=3)
    for text in ("a1", "b1", "c1", "a1", "d1"):
        session.remember(text, source="")
    assert [session.wrote(text) for text in ("a1", "b1", "c1", "d1")] == [True, False, True, True]


def test_closing_forgets_and_can_be_done_twice() -> None:
    session = Session()
    session.remember("a1", source="a")
    session.close()
    session.close()
    assert not session.wrote("a1") and session.unload() == 0


def test_a_path_is_no_name_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    for name in (str(tmp_path / "m.gguf"), str(tmp_path), "../starter", "", "a\0b"):
        with pytest.raises(UnknownModel):
            find_model(Host(), read_settings(Host()), name)
    assert find_model(Host(), read_settings(Host()), "starter").id == "starter"


def test_twenty_clients_at_once_get_each_their_own(stage: Stage) -> None:
    start = threading.Barrier(20)
    jobs = [stage.job(prompt=f"cat {number}", seed=number * 10, n_iter=2) for number in range(20)]
    stage.host.state.job_count = 5  # none of the threads owns the bar

    def run(number: int) -> list[str]:
        start.wait()
        jobs[number].all_prompts = [jobs[number].prompt] * 2
        jobs[number].all_seeds = [number * 10, number * 10 + 1]
        jobs[number].main_prompt = jobs[number].prompt
        jobs[number].scripts.call("before_process", jobs[number])
        jobs[number].scripts.call("process", jobs[number])
        return list(jobs[number].all_prompts)

    with ThreadPoolExecutor(20) as threads:
        results = list(threads.map(run, range(20)))
    assert results == [[f"cat {n}, word{n * 10}", f"cat {n}, word{n * 10 + 1}"] for n in range(20)]
    assert len(stage.opened) == 1 and not any(job.scripts.errors for job in jobs)
