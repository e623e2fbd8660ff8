"""Pictures for the demo page: pairs, both kinds of server, where servers are looked for, and the file of a pair."""
from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from image_server import FakeImageServer, Fault, colour, running
from images_kit import EXPANDED, RAW, SETTINGS, draw, error_of, open_fake, steps
from PIL import Image

from kgen_ext import __version__
from kgen_ext.demo.images import ImageError, Pair, Picture, PictureSettings, find_servers, open_server, pair_png
from kgen_ext.errors import BadValue


@pytest.fixture
def webui() -> Iterator[FakeImageServer]:
    with running() as fake:
        yield fake


@pytest.fixture
def comfy() -> Iterator[FakeImageServer]:
    with running(webui=False, comfy=True) as fake:
        yield fake


@pytest.fixture(params=["webui", "comfy"])
def fake(request: pytest.FixtureRequest) -> FakeImageServer:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, FakeImageServer)
    return found


def pixel(picture: Picture) -> tuple[int, int, int]:
    found = picture.image.getpixel((5, 5))
    assert isinstance(found, tuple)
    return found


def pair_of(fake: FakeImageServer) -> Pair:
    last = steps(open_fake(fake))[-1]
    assert isinstance(last, Pair)
    return last


# A pair, from either kind of server


def test_the_left_picture_is_drawn_from_the_raw_prompt_byte_for_byte(fake: FakeImageServer) -> None:
    assert pixel(pair_of(fake).raw) == colour(RAW, 7)


def test_the_right_picture_is_drawn_from_the_expanded_prompt_and_the_same_seed(fake: FakeImageServer) -> None:
    assert pixel(pair_of(fake).expanded) == colour(EXPANDED, 7)


def test_the_raw_picture_comes_before_the_expanded_one_and_the_pair_last(fake: FakeImageServer) -> None:
    found = [step for step in steps(open_fake(fake)) if isinstance(step, (Picture, Pair))]
    assert [step.prompt if isinstance(step, Picture) else "pair" for step in found] == [RAW, EXPANDED, "pair"]


def test_equal_prompts_are_drawn_once(fake: FakeImageServer) -> None:
    steps(open_fake(fake), expanded=RAW)
    assert sum(path in ("/sdapi/v1/txt2img", "/prompt") for path in fake.paths()) == 1


def test_equal_prompts_still_make_a_pair(fake: FakeImageServer) -> None:
    assert isinstance(steps(open_fake(fake), expanded=RAW)[-1], Pair)


def test_a_picture_that_waits_shows_progress(fake: FakeImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgen_ext.demo.images.webui._POLL", 0.05)
    fake.hold.clear()
    drawing = open_fake(fake).draw(RAW, SETTINGS, cancelled=lambda: False)
    first = next(drawing)
    fake.hold.set()
    assert isinstance(list(drawing)[-1], Picture) and not isinstance(first, Picture)


def test_a_prompt_of_a_megabyte_is_refused_before_the_server_is_asked(fake: FakeImageServer) -> None:
    server, before = open_fake(fake), len(fake.asked)
    error_of(lambda: steps(server, expanded="x" * 1_000_000), BadValue)
    assert len(fake.asked) == before


def test_half_a_surrogate_pair_arrives_as_it_is(fake: FakeImageServer) -> None:
    assert pixel(draw(open_fake(fake), "1girl \ud83d")) == colour("1girl \ud83d", 7)


# WebUIs


def test_our_own_expansion_is_off_in_the_jobs_of_a_webui(webui: FakeImageServer) -> None:
    draw(open_fake(webui))
    assert webui.bodies("/sdapi/v1/txt2img")[0]["alwayson_scripts"] == {"kgen": {"args": [{"enabled": False}]}}


def test_a_webui_without_our_script_is_not_told_of_it() -> None:
    with running(scripts=["tiled diffusion"]) as fake:
        draw(open_fake(fake))
        assert "alwayson_scripts" not in fake.bodies("/sdapi/v1/txt2img")[0]


def test_pictures_are_not_saved_on_the_webui(webui: FakeImageServer) -> None:
    draw(open_fake(webui))
    assert webui.bodies("/sdapi/v1/txt2img")[0]["save_images"] is False


def test_the_settings_reach_the_webui(webui: FakeImageServer) -> None:
    draw(open_fake(webui), settings=PictureSettings(9, 3, 64, 128, 5.5, "DPM++ 2M", "bad hands"))
    body = webui.bodies("/sdapi/v1/txt2img")[0]
    names = ("seed", "steps", "width", "height", "cfg_scale", "sampler_name", "negative_prompt")
    assert [body[name] for name in names] == [9, 3, 64, 128, 5.5, "DPM++ 2M", "bad hands"]


def test_a_sampler_is_known_by_the_name_it_has_in_comfyui(webui: FakeImageServer) -> None:
    draw(open_fake(webui), settings=PictureSettings(sampler="euler_ancestral"))
    assert webui.bodies("/sdapi/v1/txt2img")[0]["sampler_name"] == "Euler a"


def test_an_unknown_sampler_gives_way_to_the_default_with_a_note(fake: FakeImageServer) -> None:
    assert "no sampler “Foo”" in draw(open_fake(fake), settings=PictureSettings(sampler="Foo")).note


def test_a_prompt_that_the_webui_changed_is_noted() -> None:
    with running(drawn_as="1boy") as fake:
        assert "another prompt" in draw(open_fake(fake)).note


def test_the_pictures_of_an_honest_webui_have_no_note(webui: FakeImageServer) -> None:
    assert draw(open_fake(webui)).note == ""


# ComfyUI


@pytest.mark.parametrize("combo", [False, True])
def test_the_first_checkpoint_is_taken_unless_one_is_named(combo: bool) -> None:
    with running(webui=False, comfy=True, combo=combo) as fake:
        draw(open_fake(fake))
        assert fake.bodies("/prompt")[0]["prompt"]["1"]["inputs"]["ckpt_name"] == "small.safetensors"


def test_a_checkpoint_can_be_named(comfy: FakeImageServer) -> None:
    draw(open_fake(comfy, checkpoint="other.safetensors"))
    assert comfy.bodies("/prompt")[0]["prompt"]["1"]["inputs"]["ckpt_name"] == "other.safetensors"


def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(comfy: FakeImageServer) -> None:
    message = error_of(lambda: open_fake(comfy, checkpoint="none.safetensors"), BadValue)
    assert "small.safetensors, other.safetensors" in message


def test_nothing_is_left_in_comfyuis_folder_of_pictures(comfy: FakeImageServer) -> None:
    draw(open_fake(comfy))
    kinds = {node["class_type"] for node in comfy.bodies("/prompt")[0]["prompt"].values()}
    assert kinds & {"SaveImage", "PreviewImage"} == {"PreviewImage"}


def test_a_sampler_is_known_by_the_name_it_has_in_a_webui(comfy: FakeImageServer) -> None:
    draw(open_fake(comfy), settings=PictureSettings(sampler="Euler a"))
    assert comfy.bodies("/prompt")[0]["prompt"]["5"]["inputs"]["sampler_name"] == "euler_ancestral"


def test_the_settings_reach_comfyui(comfy: FakeImageServer) -> None:
    draw(open_fake(comfy), settings=PictureSettings(9, 3, 64, 128, 5.5, "", "bad hands"))
    nodes = {number: node["inputs"] for number, node in comfy.bodies("/prompt")[0]["prompt"].items()}
    sampler, latent = nodes["5"], nodes["4"]
    found = [sampler["seed"], sampler["steps"], sampler["cfg"], latent["width"], latent["height"], nodes["3"]["text"]]
    assert found == [9, 3, 5.5, 64, 128, "bad hands"]


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1}, {"seed": 2**32}, {"seed": True}, {"seed": "1"}, {"steps": 0}, {"steps": 101}, {"width": 56},
        {"height": 2056}, {"width": 100}, {"cfg_scale": float("nan")}, {"cfg_scale": 31}, {"negative": "x" * 20_001},
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    name = next(iter(wrong))
    assert error_of(lambda: PictureSettings(**wrong), BadValue).startswith(f"{name}: ")


# Finding


def test_servers_on_the_loopback_address_are_found_in_the_order_of_their_ports(
    webui: FakeImageServer, comfy: FakeImageServer
) -> None:
    found = find_servers(ports=[comfy.port, webui.port])
    assert [server.label for server in found] == [f"ComfyUI at {comfy.url}", f"A1111 API at {webui.url}"]


def test_the_port_of_the_page_itself_is_left_alone(webui: FakeImageServer) -> None:
    find_servers(ports=[webui.port], skip=[webui.port])
    assert webui.asked == []


def test_looking_asks_only_for_what_is_there(webui: FakeImageServer) -> None:
    find_servers(ports=[webui.port])
    assert [(method, path) for method, path, _, _ in webui.asked] == [("GET", "/sdapi/v1/samplers")]


def test_what_answers_with_something_else_is_not_a_server(webui: FakeImageServer) -> None:
    webui.fault = Fault("/", body=b"<html>hello</html>", kind="text/html")
    assert find_servers(ports=[webui.port]) == []


def test_nothing_is_found_where_nothing_listens(webui: FakeImageServer) -> None:
    with running() as gone:
        port = gone.port
    assert find_servers(ports=[port]) == []


def test_a_server_with_neither_api_is_refused() -> None:
    with running(webui=False) as fake:
        assert "neither the API of a WebUI nor ComfyUI" in error_of(lambda: open_server(fake.url), ImageError)


# The file of a pair


def saved(fake: FakeImageServer) -> Image.Image:
    return Image.open(io.BytesIO(pair_png(pair_of(fake))))


def text_of(pair: Pair) -> dict[str, str]:
    file: Any = Image.open(io.BytesIO(pair_png(pair)))
    return dict(file.text)


def test_a_saved_pair_has_the_raw_picture_on_the_left(fake: FakeImageServer) -> None:
    assert saved(fake).getpixel((5, 5)) == colour(RAW, 7)


def test_a_saved_pair_has_the_expanded_picture_on_the_right(fake: FakeImageServer) -> None:
    image = saved(fake)
    assert image.getpixel((image.width - 5, 5)) == colour(EXPANDED, 7)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("KGen raw prompt", RAW), ("KGen expanded prompt", EXPANDED), ("KGen negative prompt", ""), ("KGen seed", "7"),
        ("Software", f"KGen {__version__}"),
    ],
)  # fmt: skip
def test_a_saved_pair_holds_its_texts(webui: FakeImageServer, keyword: str, text: str) -> None:
    assert text_of(pair_of(webui))[keyword] == text


def test_a_saved_pair_holds_its_settings(webui: FakeImageServer) -> None:
    assert json.loads(text_of(pair_of(webui))["KGen settings"]) == {
        "steps": 2, "cfg_scale": 7.0, "sampler": "", "width": 64, "height": 64, "server": "A1111 API",
    }  # fmt: skip


def test_the_texts_are_in_itxt_chunks(webui: FakeImageServer) -> None:
    assert len(re.findall(b"iTXtKGen ", pair_png(pair_of(webui)))) == 5


def test_the_texts_of_a_saved_pair_keep_other_scripts(webui: FakeImageServer) -> None:
    pair = steps(open_fake(webui), raw="1girl, 狐の耳 🦊", expanded="1girl, 狐の耳 🦊, solo")[-1]
    assert text_of(pair)["KGen raw prompt"] == "1girl, 狐の耳 🦊"


def test_half_a_surrogate_pair_can_be_saved(webui: FakeImageServer) -> None:
    pair = steps(open_fake(webui), raw="1girl \ud83d", expanded="1girl")[-1]
    assert text_of(pair)["KGen raw prompt"] == "1girl ?"
