"""Prompts and values that begin with a dash: accepted where argparse can tell, else an error says how to write them."""
from __future__ import annotations

import pytest
from cli_fakes import FakeExpander

from kgen_ext.cli import main

Capture = pytest.CaptureFixture[str]

TEXT = ["-", ":-)", "-1", "-.5", "-1girl, solo", "--hat, solo", "-(x:1.2), hat"]
OPTION_LIKE = ["-1girl", "--hat", "-hat", "-hat, solo", "-_-", "-(x:1.2)", "->", "-1e5", "--nonsense=1", "-日本"]
COMMANDS = {"expand": "PROMPT", "parse": "PROMPT", "models info": "NAME", "models download": "NAME"}
VALUES = [("expand 1girl", "--text"), ("expand 1girl", "--ban"), ("expand 1girl", "--rule"), ("expand 1girl", "--file"),
          ("expand 1girl", "--tag-file"), ("expand 1girl", "--model"), ("parse 1girl", "--protect"),
          ("request", "--jsonl")]  # fmt: skip


def last_line(capsys: Capture) -> str:
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("prompt", TEXT)
def test_what_no_option_can_be_is_the_prompt(service: FakeExpander, prompt: str) -> None:
    main(["expand", prompt, "--seed", "1"])
    assert [request.prompt for request in service.requests] == [prompt]


@pytest.mark.parametrize("prompt", [*TEXT, *OPTION_LIKE, "--json", "-h"])
def test_behind_two_dashes_every_prompt_is_the_prompt(service: FakeExpander, prompt: str) -> None:
    main(["expand", "--seed", "1", "--", prompt])
    assert [request.prompt for request in service.requests] == [prompt]


@pytest.mark.parametrize("prompt", OPTION_LIKE)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_looks_like_an_option_is_answered_with_the_command_that_works(
    capsys: Capture, command: str, prompt: str
) -> None:
    main([*command.split(), prompt])
    assert last_line(capsys) == (
        f"kgen {command}: error: no option {prompt} "
        f'(a {COMMANDS[command]} that begins with - goes last, behind --: kgen {command} -- "{prompt}")'
    )


@pytest.mark.parametrize("prompt", OPTION_LIKE)
def test_what_looks_like_an_option_is_the_users_mistake(prompt: str) -> None:
    assert main(["parse", prompt]) == 2


@pytest.mark.parametrize("prompt", ['-"a"', "-$HOME", "-`a`", "-a\\b", "-!a"])
def test_the_command_that_works_keeps_a_shells_own_signs(capsys: Capture, prompt: str) -> None:
    main(["parse", prompt])
    assert f"kgen parse -- '{prompt}')" in last_line(capsys)


def test_a_long_prompt_is_not_said_twice(capsys: Capture) -> None:
    main(["parse", "-" + "a" * 1000])
    assert len(last_line(capsys)) < 250


@pytest.mark.parametrize("value", ["-x", "--hat", "-_-", "-hat", "--json", "-hat, solo"])
@pytest.mark.parametrize(("command", "flag"), VALUES)
def test_a_value_that_looks_like_an_option_is_answered_with_the_way_to_write_it(
    capsys: Capture, command: str, flag: str, value: str
) -> None:
    main([*command.split(), flag, value])
    assert f'error: argument {flag}: expected one argument (one that begins with - is written {flag}="{value}")' in (
        last_line(capsys)
    )


@pytest.mark.parametrize("value", ["-x", "--hat", "-_-", "-hat", "--json", "-hat, solo"])
def test_that_way_works(service: FakeExpander, value: str) -> None:
    main(["expand", "1girl", "--seed", "1", f"--text={value}"])
    assert service.requests[0].text == value


def test_a_value_is_not_taken_for_an_option(service: FakeExpander) -> None:
    main(["expand", "--text", "-", "--temperature", ".5", "--ban=--seed", "--seed", "1", "1girl"])
    assert service.requests[0].ban == ("--seed",)


def test_an_option_without_its_value_is_told_as_before(capsys: Capture) -> None:
    main(["expand", "1girl", "--text"])
    assert last_line(capsys).endswith("argument --text: expected one argument")
