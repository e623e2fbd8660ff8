"""`kgen demo`: its options, and what it says before it serves."""
from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from image_server import running

from kgen_ext.cli import main
from kgen_ext.demo.command import AUTH, FIND, NONE, open_images, read_auth
from kgen_ext.demo.messages import explain
from kgen_ext.demo.offers import Offers
from kgen_ext.demo.server import SHARE, Address, find_port
from kgen_ext.errors import Failure, UnknownModel, UserError
from kgen_ext.models import STARTER, Locations

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def places(tmp_path: Path) -> Locations:
    return Locations(own=tmp_path)


@pytest.mark.parametrize("argv, names", [
    (["--limits", "every=1"], ["--limits", "every=1", "each"]),
    (["--limits", "each=0"], ["--limits each", "1 to"]),
    (["--auth", "ann"], ["--auth", "USER:PASSWORD"]),
    (["--auth", "ann:"], ["--auth", "USER:PASSWORD"]),
    (["--port", "many"], ["--port"]),
    (["--host", "no such host"], ["--host", "no such host", "127.0.0.1"]),
    (["--model", "/no/such/model"], ["model", "/no/such/model"]),
])  # fmt: skip
def test_a_mistake_names_the_option_and_what_is_allowed(capsys: Capture, argv: list[str], names: list[str]) -> None:
    assert main(["demo", *argv]) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in names) and "Traceback" not in error


def test_a_password_is_not_repeated(capsys: Capture) -> None:
    main(["demo", "--auth", ":secret"])
    assert "secret" not in capsys.readouterr().err


def test_sharing_is_off_and_the_help_says_what_it_does(capsys: Capture) -> None:
    main(["demo", "--help"])
    assert "everybody who has it" in " ".join(capsys.readouterr().out.split())


def test_sharing_is_told_with_all_that_it_means() -> None:
    assert all(word in SHARE for word in ("gradio.live", "downloads", "Everybody", "this computer", "prompts"))


def test_names_with_passwords_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AUTH, "ann:a;bob:b:c")
    assert read_auth(None) == (("ann", "a"), ("bob", "b:c"))


@pytest.mark.parametrize("address, private", [
    (Address(), True), (Address("::1"), True), (Address("0.0.0.0"), False), (Address(share=True), False),
])  # fmt: skip
def test_a_page_is_private_where_only_this_machine_reaches_it(address: Address, private: bool) -> None:
    assert address.is_private == private


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"--port: [0-9]+ cannot be used on 127\.0\.0\.1"):
            find_port("127.0.0.1", taken.getsockname()[1])


def test_a_port_that_is_none_is_told() -> None:
    with pytest.raises(UserError, match="--port"):
        find_port("127.0.0.1", 99_999)


def test_no_program_that_draws_is_looked_for_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgen_ext.demo.images.find_servers", lambda **_: pytest.fail("it was looked for"))
    assert open_images([NONE], port=1) == []


def test_the_pages_own_port_is_not_asked_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = []
    monkeypatch.setattr("kgen_ext.demo.images.find_servers", lambda *, skip: skipped.append(skip) or [])
    open_images([FIND], port=7870)
    assert skipped == [(7870,)]


def test_a_program_that_was_named_is_asked_by_its_address() -> None:
    with running() as fake:
        assert [server.label for server in open_images([fake.url], port=1)] == [f"A1111 API at {fake.url}"]


def test_a_program_that_was_named_and_does_not_answer_ends_the_command() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Failure):
            open_images([f"http://127.0.0.1:{free.getsockname()[1]}"], port=1)


def test_the_starter_is_offered_first(places: Locations) -> None:
    assert Offers(locations=places).names()[0] == STARTER


def test_only_the_models_named_are_offered(places: Locations) -> None:
    offers = Offers([STARTER], locations=places)
    with pytest.raises(UnknownModel, match="not offered here"):
        offers.files("TIPO-500M-ft")


@pytest.mark.parametrize("name", ["/etc/passwd", "../starter", "~/x.gguf", "C:\\x.gguf", "", "a\0b", "x" * 5000])
def test_a_visitor_cannot_name_a_path(places: Locations, name: str) -> None:
    with pytest.raises(UnknownModel):
        Offers(locations=places).files(name)


def test_a_path_that_the_owner_named_is_offered_by_its_name(places: Locations) -> None:
    folder = Path(__file__).parents[1] / "kgen_ext" / "starter"
    offers = Offers([str(folder)], locations=places)
    assert offers.names() == ("starter",) and offers.files("starter").gguf == folder / "starter-Q8_0.gguf"


def test_a_path_that_is_gone_is_told_without_the_path(places: Locations, tmp_path: Path) -> None:
    path = tmp_path / "second.gguf"
    shutil.copy(Path(__file__).parents[1] / "kgen_ext" / "starter" / "starter-Q8_0.gguf", path)
    offers = Offers([str(path)], locations=places)
    path.unlink()
    with pytest.raises(UnknownModel) as told:
        offers.files("second")
    assert explain(told.value) == "Model: 'second' is no longer there (choose another)"


def test_the_starter_is_offered_with_its_recommended_numbers(places: Locations) -> None:
    offer = Offers(locations=places).offer(STARTER)
    assert (offer.sampling.temperature, offer.tags_only) == (0.6, False)
