"""The demo page's handlers on the installed gradio: what is sent to a page that opens, runs, stops or draws."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from demo_kit import FakeModel, built, fake_runner, needs_gradio
from image_server import FakeImageServer, Fault, running

from kgen_ext.demo.images import open_server
from kgen_ext.demo.inputs import INPUTS
from kgen_ext.demo.limits import Limits
from kgen_ext.demo.link import page_defaults
from kgen_ext.demo.offers import Offer
from kgen_ext.sampling import Sampling

needs_gradio()

from kgen_ext.demo.page import Handlers, Service  # noqa: E402 - imports gradio

PLACE = {control.field: number for number, control in enumerate(INPUTS)}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(fake_runner(), Limits(), tmp_path)


@pytest.fixture
def model(service: Service) -> FakeModel:
    found: FakeModel = service.runner.pool.model  # type: ignore[attr-defined]
    return found


def request(session: str = "page", **query: str) -> Any:
    client = SimpleNamespace(host="127.0.0.1")
    return SimpleNamespace(session_hash=session, username=None, client=client, query_params=query)


def values(**given: Any) -> list[Any]:
    usual = {**page_defaults(Offer("fake")), "prompt": "cat", "seed": 3, **given}
    return [list(usual[control.field]) if isinstance(usual[control.field], tuple) else usual[control.field]
            for control in INPUTS]  # fmt: skip


def collect(steps: AsyncIterator[list[Any]]) -> list[list[Any]]:
    async def read() -> list[list[Any]]:
        return [step async for step in steps]

    return asyncio.run(asyncio.wait_for(read(), 20))


def expand(service: Service, session: str = "page", **given: Any) -> str:
    """Run, and return the last panel."""
    return [step[0] for step in collect(Handlers(service).expand(request(session), *values(**given)))
            if isinstance(step[0], str)][-1]  # fmt: skip


def load(service: Service, **query: str) -> dict[str, Any]:
    """Open a page, and return what its inputs are set to, and its panel."""
    updates = Handlers(service).load(request(**query))
    return {**{field: updates[place].get("value") for field, place in PLACE.items()}, "panel": updates[-1]}


def test_a_run_shows_the_expanded_prompt(service: Service) -> None:
    assert 'cat<span class="kgen-added">, word3</span>' in expand(service)


def test_a_run_has_a_link_that_opens_with_the_same_inputs(service: Service) -> None:
    assert "?prompt=cat&amp;seed=3" in expand(service) and load(service, prompt="cat", seed="3")["prompt"] == "cat"


@pytest.mark.parametrize("tags_only", [False, True])
def test_a_page_is_built_with_the_first_model_and_what_goes_with_it(service: Service, tags_only: bool) -> None:
    first = Offer("first", tags_only, Sampling(temperature=0.25))
    service.runner.offers.models = {"first": first, "second": Offer("second")}  # type: ignore[attr-defined]
    parts = {part["props"].get("elem_id"): part["props"] for part in built(service).get_config_file()["components"]}
    assert parts["kgen_model"]["value"] == "first" and len(parts["kgen_model"]["choices"]) == 2
    assert parts["kgen_temperature"]["value"] == 0.25
    assert parts["kgen_text_length"]["visible"] is not tags_only


def test_a_page_without_a_link_leaves_what_was_typed_and_run_meanwhile(service: Service) -> None:
    opened = load(service)
    assert not isinstance(opened.pop("panel"), str) and set(opened.values()) == {None}


def test_a_link_that_cannot_be_used_says_why(service: Service) -> None:
    assert "The link cannot be used: Seed" in load(service, seed="x")["panel"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "gone"])
def test_a_link_to_a_model_that_is_not_offered_says_so(service: Service, name: str) -> None:
    assert "kgen-error" in load(service, model=name, seed="1")["panel"]


def test_a_dantaggen_has_the_row_of_names_and_no_sentences(service: Service) -> None:
    updates = Handlers(service).choose_model("tags")
    assert [update["visible"] for update in updates[4:7]] == [False, False, True]


def test_a_prompt_of_a_megabyte_is_answered_with_a_line(service: Service, model: FakeModel) -> None:
    panel = expand(service, prompt="cat, " * 200_000)
    assert "1,000,000 characters, and this page takes 20,000" in panel and not model.asked


@pytest.mark.parametrize("given", [{"seed": None}, {"temperature": "hot"}, {"people": 7}, {"model": "gone"},
                                   {"count": 8}, {"format": "custom"}])  # fmt: skip
def test_a_wrong_value_is_answered_with_a_line(service: Service, model: FakeModel, given: dict[str, Any]) -> None:
    assert "kgen-error" in expand(service, **given) and not model.asked


def test_a_failure_is_a_line_and_the_queue_goes_on(service: Service, model: FakeModel) -> None:
    model.failure = RuntimeError("broken")
    assert "RuntimeError: broken" in expand(service)
    model.failure = None
    assert "word3" in expand(service)


def test_two_pages_get_their_own_results(service: Service, model: FakeModel) -> None:
    async def both() -> list[list[list[Any]]]:
        handlers = Handlers(service)

        async def one(name: str) -> list[list[Any]]:
            return [step async for step in handlers.expand(request(name), *values(prompt=name))]

        return await asyncio.gather(one("dog"), one("fox"))

    dog, fox = asyncio.run(asyncio.wait_for(both(), 20))
    assert "dog<span" in dog[-2][0] and "fox<span" in fox[-2][0]


def test_a_waiting_page_is_told_its_place(service: Service, model: FakeModel) -> None:
    async def steps() -> None:
        model.gate.clear()
        handlers = Handlers(service)
        first, second = (handlers.expand(request(name), *values()) for name in ("a", "b"))
        await anext(first)
        assert "one run comes before yours" in (await anext(second))[0]
        model.gate.set()
        await first.aclose()
        await second.aclose()

    asyncio.run(asyncio.wait_for(steps(), 20))


def test_a_closed_page_stops_its_run(service: Service, model: FakeModel) -> None:
    async def steps() -> None:
        model.gate.clear()
        handlers = Handlers(service)
        run = handlers.expand(request("a"), *values())
        await anext(run)
        handlers.leave(request("a"))
        assert [step async for step in run] and len(service.runs) == 0

    asyncio.run(asyncio.wait_for(steps(), 20))


def test_stop_keeps_what_is_complete(service: Service, model: FakeModel) -> None:
    async def steps() -> None:
        model.gate.clear()
        handlers = Handlers(service)
        run = handlers.expand(request("a"), *values())
        await anext(run)
        handlers.stop(request("a"))
        panels = [step[0] async for step in run if isinstance(step[0], str)]
        assert "Stopped. What was complete is kept." in panels[-1]

    asyncio.run(asyncio.wait_for(steps(), 20))


def test_a_run_stopped_while_it_waits_says_so(service: Service, model: FakeModel) -> None:
    async def steps() -> None:
        model.gate.clear()
        handlers = Handlers(service)
        first, second = (handlers.expand(request(name), *values()) for name in ("a", "b"))
        await anext(first)
        await anext(second)
        handlers.stop(request("b"))
        panels = [step[0] async for step in second if isinstance(step[0], str)]
        assert "Stopped." in panels[-1] and "kgen-error" not in panels[-1]
        await first.aclose()

    asyncio.run(asyncio.wait_for(steps(), 20))


def test_the_page_is_built_without_a_program_that_draws(service: Service) -> None:
    assert not any(getattr(part, "elem_id", "") == "kgen_draw" for part in built(service).blocks.values())


@pytest.fixture
def drawing(tmp_path: Path) -> Iterator[tuple[Service, FakeImageServer]]:
    with running() as fake:
        yield Service(fake_runner(), Limits(side=256), tmp_path, [open_server(fake.url, seconds=20)]), fake


def draw(service: Service, *, chosen: str = "1", steps: Any = 2, width: int = 64) -> list[list[Any]]:
    asked = [service.servers[0].label, chosen, steps, 7, "", "", width, 64]
    return collect(Handlers(service).draw(request(), *asked))


def sent(fake: FakeImageServer) -> list[tuple[str, int]]:
    return [(body["prompt"], body["seed"]) for _, path, _, body in fake.asked if path == "/sdapi/v1/txt2img"]


def test_both_prompts_are_drawn_with_the_same_seed(drawing: tuple[Service, FakeImageServer]) -> None:
    service, fake = drawing
    expand(service)
    draw(service)
    assert sent(fake) == [("cat", 3), ("cat, word3", 3)]


def test_the_chosen_candidate_is_drawn(drawing: tuple[Service, FakeImageServer]) -> None:
    service, fake = drawing
    expand(service, count=2)
    draw(service, chosen="2")
    assert sent(fake)[1] == ("cat, word4", 4)


def test_both_pictures_and_a_file_of_them_are_shown(drawing: tuple[Service, FakeImageServer]) -> None:
    service, _ = drawing
    expand(service)
    steps = draw(service)
    images = [part for step in steps for part in step[1:3] if hasattr(part, "size")]
    files = [step[3]["value"] for step in steps if isinstance(step[3], dict) and step[3].get("value")]
    assert len(images) == 2 and Path(files[0]).read_bytes().startswith(b"\x89PNG")


def test_a_description_without_tags_is_drawn_as_the_prompt(drawing: tuple[Service, FakeImageServer]) -> None:
    service, fake = drawing
    expand(service, prompt="", text="A dog.")
    draw(service)
    assert sent(fake)[0] == ("A dog.", 3)


def test_nothing_is_drawn_before_a_run(drawing: tuple[Service, FakeImageServer]) -> None:
    service, fake = drawing
    assert "press Expand first" in draw(service)[-1][0] and not sent(fake)


@pytest.mark.parametrize("asked", [{"steps": 51}, {"steps": None}, {"steps": "x"}, {"width": 512}, {"width": 65}])
def test_a_setting_of_a_picture_that_is_not_allowed_is_a_line(
    drawing: tuple[Service, FakeImageServer], asked: dict[str, Any]
) -> None:
    service, fake = drawing
    expand(service)
    assert "kgen-error" in draw(service, **asked)[-1][0] and not sent(fake)


@pytest.mark.parametrize("fault", [Fault("/sdapi", status=500), Fault("/sdapi", body=b"<html>"),
                                   Fault("/sdapi", silent=True),
                                   Fault("/sdapi/v1/txt2img", picture=b"no picture")])  # fmt: skip
def test_a_program_that_fails_is_a_line_and_the_next_pair_is_drawn(
    drawing: tuple[Service, FakeImageServer], fault: Fault
) -> None:
    service, fake = drawing
    expand(service)
    fake.fault = fault
    assert "kgen-error" in draw(service)[-1][0]
    fake.fault = None
    assert "Both by" in draw(service)[-1][0]


async def begin_pair(handlers: Handlers, drawing: tuple[Service, FakeImageServer]) -> AsyncIterator[list[Any]]:
    """Have a pair drawn by a program that comes to no end, and return what follows of its steps."""
    service, fake = drawing
    fake.hold.clear()
    pair = handlers.draw(request(), service.servers[0].label, "1", 2, 7, "", "", 64, 64)
    await anext(pair)
    await anext(pair)
    return pair


def test_a_page_that_is_closed_stops_its_pictures(drawing: tuple[Service, FakeImageServer]) -> None:
    service, fake = drawing
    expand(service)

    async def steps() -> None:
        handlers = Handlers(service)
        pair = await begin_pair(handlers, drawing)
        while not sent(fake):
            await asyncio.sleep(0.01)
        handlers.leave(request())
        assert [step async for step in pair] and len(service.pairs[0]) == 0

    asyncio.run(asyncio.wait_for(steps(), 20))
    assert fake.interrupts


def test_stopping_a_pair_is_no_error(drawing: tuple[Service, FakeImageServer]) -> None:
    service, _ = drawing
    expand(service)

    async def steps() -> None:
        handlers = Handlers(service)
        pair = await begin_pair(handlers, drawing)
        handlers.stop(request())
        lines = [step[0] async for step in pair]
        assert ("Stopped." in lines[-1], any("kgen-error" in str(line) for line in lines)) == (True, False)

    asyncio.run(asyncio.wait_for(steps(), 20))


def test_a_pair_that_has_ended_is_not_kept(drawing: tuple[Service, FakeImageServer]) -> None:
    service, _ = drawing
    expand(service)
    draw(service)
    assert service.sessions.latest("page", "pair") is None and service.sessions.latest("page", "run")


def test_pairs_to_download_do_not_pile_up(service: Service) -> None:
    for seed in range(60):
        service.keep_pair(b"x", seed)
    assert len(list(service.folder.iterdir())) == 40
