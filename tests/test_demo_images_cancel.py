"""Cancelling a picture: our own job on the server is stopped, and no other."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from image_server import FakeImageServer, Fault, running
from images_kit import EXPANDED, RAW, SETTINGS, draw, open_fake

from kgen_ext.demo.images import draw_pair
from kgen_ext.errors import Cancelled


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgen_ext.demo.images.webui._POLL", 0.05)
    monkeypatch.setattr("kgen_ext.demo.images.webui._QUICK", 0.3)
    monkeypatch.setattr("kgen_ext.demo.images.comfy._QUICK", 0.3)
    monkeypatch.setattr("kgen_ext.demo.images.stopping._POLL", 0.05)
    monkeypatch.setattr("kgen_ext.demo.images.stopping._UNKNOWN", 0.3)


@pytest.fixture
def webui() -> Iterator[FakeImageServer]:
    with running() as fake:
        fake.hold.clear()
        yield fake


@pytest.fixture
def comfy() -> Iterator[FakeImageServer]:
    with running(webui=False, comfy=True) as fake:
        fake.hold.clear()
        yield fake


def cancel_when(fake: FakeImageServer, ready: Callable[[], bool]) -> None:
    """Order a pair, and cancel it as soon as the server is so far."""
    with pytest.raises(Cancelled):
        for _ in draw_pair(open_fake(fake), RAW, EXPANDED, SETTINGS, cancelled=ready):
            pass


def runs(fake: FakeImageServer) -> bool:
    return fake.running != ""


def waits(fake: FakeImageServer) -> bool:
    return bool(fake.waiting)


def settled() -> bool:
    """Wait for the thread that stops a job later."""
    for thread in threading.enumerate():
        if thread.name == "kgen-demo-cancel":
            thread.join(10)
    return not any(thread.name == "kgen-demo-cancel" for thread in threading.enumerate())


def test_a_job_that_is_drawn_is_interrupted(webui: FakeImageServer) -> None:
    cancel_when(webui, lambda: runs(webui))
    assert settled() and [job.startswith("task(kgen-") for job in webui.interrupts] == [True]


def test_closing_the_generator_interrupts_the_job(webui: FakeImageServer) -> None:
    drawing = draw_pair(open_fake(webui), RAW, EXPANDED, SETTINGS)
    next(drawing)
    webui.wait_for(lambda: runs(webui))
    drawing.close()
    assert settled() and len(webui.interrupts) == 1


def test_nothing_is_drawn_after_cancelling(webui: FakeImageServer) -> None:
    cancel_when(webui, lambda: runs(webui))
    assert len(webui.bodies("/sdapi/v1/txt2img")) == 1


def test_somebody_elses_job_is_not_interrupted_while_ours_waits(webui: FakeImageServer) -> None:
    with webui.lock:
        webui.running = "task(somebody)"
        cancel_when(webui, lambda: waits(webui))
        assert webui.interrupts == []
        webui.running = ""


def test_a_job_that_waited_is_interrupted_when_its_turn_comes(webui: FakeImageServer) -> None:
    with webui.lock:
        webui.running = "task(somebody)"
        cancel_when(webui, lambda: waits(webui))
        webui.running = ""
    assert settled() and [job.startswith("task(kgen-") for job in webui.interrupts] == [True]


def test_a_server_without_ids_is_interrupted_if_it_was_idle_when_the_job_was_sent(webui: FakeImageServer) -> None:
    webui.ids = False
    cancel_when(webui, lambda: runs(webui))
    assert settled() and len(webui.interrupts) == 1


def test_a_server_without_ids_is_not_interrupted_if_it_was_busy(webui: FakeImageServer) -> None:
    webui.ids = False
    with webui.lock:
        webui.running = "somebody"
        cancel_when(webui, lambda: waits(webui))
        assert settled() and webui.interrupts == []
        webui.running = ""


def test_a_picture_that_takes_too_long_is_interrupted(webui: FakeImageServer) -> None:
    from kgen_ext.demo.images import ServerTimeout

    with pytest.raises(ServerTimeout):
        draw(open_fake(webui, seconds=0.5))
    assert settled() and len(webui.interrupts) == 1


def test_a_job_that_is_answered_is_not_interrupted(webui: FakeImageServer) -> None:
    webui.hold.set()
    drawing = draw_pair(open_fake(webui), RAW, EXPANDED, SETTINGS)
    while not hasattr(next(drawing), "image"):
        pass
    drawing.close()
    assert settled() and webui.interrupts == []


def test_a_workflow_that_runs_is_interrupted_by_its_id(comfy: FakeImageServer) -> None:
    cancel_when(comfy, lambda: runs(comfy))
    assert [body["prompt_id"] for body in comfy.bodies("/interrupt")] == comfy.interrupts


def test_a_workflow_that_runs_is_interrupted(comfy: FakeImageServer) -> None:
    cancel_when(comfy, lambda: runs(comfy))
    assert len(comfy.interrupts) == 1


def test_closing_the_generator_interrupts_the_workflow(comfy: FakeImageServer) -> None:
    drawing = draw_pair(open_fake(comfy), RAW, EXPANDED, SETTINGS)
    next(drawing)
    drawing.close()
    assert len(comfy.interrupts) == 1


def test_a_workflow_that_waits_is_taken_out_of_the_queue(comfy: FakeImageServer) -> None:
    comfy.running = "somebody"
    cancel_when(comfy, lambda: waits(comfy))
    assert comfy.waiting == []


def test_somebody_elses_workflow_is_not_interrupted(comfy: FakeImageServer) -> None:
    comfy.running = "somebody"
    cancel_when(comfy, lambda: waits(comfy))
    assert comfy.interrupts == []


def test_a_job_that_does_not_stop_is_interrupted_again(webui: FakeImageServer) -> None:
    webui.deaf = 2
    cancel_when(webui, lambda: runs(webui))
    assert settled() and len(webui.interrupts) == 3


def test_a_workflow_that_does_not_stop_is_interrupted_again(comfy: FakeImageServer) -> None:
    comfy.deaf = 2
    cancel_when(comfy, lambda: runs(comfy))
    assert settled() and len(comfy.interrupts) == 3


def test_a_server_without_ids_is_interrupted_once(webui: FakeImageServer) -> None:
    webui.ids, webui.deaf = False, 2  # what it draws afterwards may be somebody else's
    cancel_when(webui, lambda: runs(webui))
    assert settled() and len(webui.interrupts) == 1
    webui.hold.set()


@pytest.mark.parametrize(("api", "path"), [("webui", "/internal/progress"), ("comfy", "/queue")])
def test_a_server_too_busy_to_answer_is_asked_again(api: str, path: str, request: pytest.FixtureRequest) -> None:
    fake: FakeImageServer = request.getfixturevalue(api)
    drawing = draw_pair(open_fake(fake), RAW, EXPANDED, SETTINGS)
    next(drawing)
    fake.wait_for(lambda: runs(fake))
    fake.fault = Fault(path, status=503, body=b"{}")
    drawing.close()
    assert fake.running != ""
    fake.fault = None
    assert settled() and fake.running == ""


def test_a_server_that_is_gone_is_not_asked_again(webui: FakeImageServer) -> None:
    drawing = draw_pair(open_fake(webui), RAW, EXPANDED, SETTINGS)
    next(drawing)
    webui.fault = Fault("/", silent=True)
    drawing.close()
    assert settled() and webui.interrupts == []
