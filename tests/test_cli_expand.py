"""`kgen expand`: the request that reaches the service, and what is printed to which stream."""
from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
from cli_fakes import FakeExpander, Terminal

from kgen_ext.cli import main
from kgen_ext.cli.options import EXPANDER_FLAGS, REQUEST_FLAGS, shown_default
from kgen_ext.events import Expansion
from kgen_ext.request import MAX_SEED, ExpandRequest

Capture = pytest.CaptureFixture[str]

# From the issue: the keys of --json. `notes` is ours.
KEYS = (
    "prompt pieces source seed row model engine fields added_tags added_text finish decoded_tokens forced_tokens "
    "rewound_tokens seconds notes settings"
).split()


def write(folder: Path, data: bytes) -> str:
    path = folder / "prompts.txt"
    path.write_bytes(data)
    return str(path)


def prompts(service: FakeExpander) -> list[str]:
    return [request.prompt for request in service.requests]


def test_only_the_prompt_goes_to_standard_output(service: FakeExpander, capsys: Capture) -> None:
    assert main(["expand", "1girl, shrine", "--seed", "1"]) == 0
    assert capsys.readouterr() == ("1girl, shrine, smile\n", "")


def test_a_seed_that_was_drawn_is_told(service: FakeExpander, capsys: Capture) -> None:
    assert main(["expand", "1girl"]) == 0
    assert f"--seed {service.requests[0].seed}\n" in capsys.readouterr().err
    assert 0 <= service.requests[0].seed < 2**31


def test_two_runs_without_a_seed_draw_two(service: FakeExpander) -> None:
    seeds = set()
    for _ in range(4):
        main(["expand", "1girl"])
        seeds.add(service.requests[0].seed)
    assert len(seeds) > 1


def test_json_has_the_documented_keys_in_order(service: FakeExpander, capsys: Capture) -> None:
    assert main(["expand", "1girl, 神社", "--seed", "1", "--json"]) == 0
    line = capsys.readouterr().out
    answer = json.loads(line)
    assert list(answer) == KEYS == [field.name for field in dataclasses.fields(Expansion)]
    assert list(answer["fields"]) == "special characters copyrights artist general meta quality rating text".split()
    assert answer["pieces"] == [{"text": "1girl, 神社", "by": "user"}, {"text": ", smile", "by": "model"}]
    assert "神社" in line and line.count("\n") == 1


def test_json_leaves_seconds_open_unless_asked_for_timings(service: FakeExpander, capsys: Capture) -> None:
    main(["expand", "1girl", "--seed", "1", "--json"])
    main(["expand", "1girl", "--seed", "1", "--json", "--timings"])
    without, with_timings = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert without["seconds"] is None and with_timings["seconds"] == 0.1235


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--text", "A fox."], "text", "A fox."),
        (["--tag-length", "short"], "tag_length", "short"),
        (["--text-length", "long"], "text_length", "long"),
        (["--task", "tag_to_long"], "task", "tag_to_long"),
        (["--format", "<|general|>"], "format", "<|general|>"),
        (["--ban", "hat, /a,b/", "--ban", "category:artist"], "ban", ("hat", "/a,b/", "category:artist")),
        (["--require", "smile, hat"], "require", ("smile", "hat")),
        (["--rule", "if a ban b, c", "--rule", "if d ban e"], "rules", ("if a ban b, c", "if d ban e")),
        (["--protect", "my_char_v2"], "protect", ("my_char_v2",)),
        (["--allow", "artist,characters"], "allow", ("artist", "characters")),
        (["--allow-contradictions"], "allow_contradictions", True),
        (["--tag-file", "danbooru.csv"], "tag_file", "danbooru.csv"),
        (["--seed", "0"], "seed", 0),
        (["--count", "3"], "count", 3),
        (["--temperature", "0"], "temperature", 0.0),
        (["--top-k", "40"], "top_k", 40),
        (["--top-p", "0.9"], "top_p", 0.9),
        (["--min-p", "0.05"], "min_p", 0.05),
        (["--width", "832"], "width", 832),
        (["--height", "1216"], "height", 1216),
    ],
)
def test_an_option_fills_its_field(service: FakeExpander, argv: list[str], field: str, value: object) -> None:
    assert main(["expand", "1girl", "--seed", "5", *argv]) == 0
    assert getattr(service.requests[0], field) == value
    others = {name: 5 if name == "seed" else default for name, default in defaults().items() if name != field}
    assert {name: getattr(service.requests[0], name) for name in others} == others


def defaults() -> dict[str, object]:
    request = ExpandRequest("1girl")
    return {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}


def test_every_field_of_a_request_has_one_option() -> None:
    assert sorted(["prompt", *(option.field for option in REQUEST_FLAGS)]) == sorted(defaults())


def test_the_expander_gets_only_what_was_given(service: FakeExpander) -> None:
    main(["expand", "1girl"])
    assert service.opened_with == {}
    main(["expand", "1girl", "--model", "x.gguf", "--engine", "llama_cpp", "--device", "cpu", "--threads", "2"])
    assert service.opened_with == {"model": "x.gguf", "engine": "llama_cpp", "device": "cpu", "threads": 2}


def test_the_help_of_expander_options_tells_the_real_defaults() -> None:
    import inspect

    from kgen_ext.service import open_expander

    parameters = inspect.signature(open_expander).parameters
    for option in EXPANDER_FLAGS:
        default = parameters[option.field].default
        assert default is None or f"(default: {default})" in option.help


def test_the_help_shows_defaults_of_the_request() -> None:
    shown = {option.field: shown_default(option) for option in REQUEST_FLAGS}
    names = ("tag_length", "min_p", "top_k", "seed", "ban")
    assert [shown[name] for name in names] == [*["the model's recommendation"] * 3, "", ""]


def test_the_prompt_may_be_left_out(service: FakeExpander) -> None:
    assert main(["expand", "--text", "A dog sleeps."]) == 0
    assert (service.requests[0].prompt, service.requests[0].text) == ("", "A dog sleeps.")


def test_rows_are_printed_in_input_order(service: FakeExpander, capsys: Capture, tmp_path: Path) -> None:
    assert main(["expand", "--file", write(tmp_path, b"a\nb\nc\n"), "--count", "2", "--seed", "10", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["source"] for answer in answers] == ["a", "a", "b", "b", "c", "c"]
    assert [answer["row"] for answer in answers] == [0, 1, 2, 3, 4, 5]


def test_each_line_of_a_file_has_the_next_seed(service: FakeExpander, tmp_path: Path) -> None:
    main(["expand", "--file", write(tmp_path, b"a\na\na\n"), "--seed", "10"])
    assert [request.seed for request in service.requests] == [10, 11, 12]


def test_seeds_of_a_file_start_over_after_the_largest(service: FakeExpander, tmp_path: Path) -> None:
    assert main(["expand", "--file", write(tmp_path, b"a\nb\n"), "--seed", str(MAX_SEED)]) == 0
    assert [request.seed for request in service.requests] == [MAX_SEED, 0]


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_prompt(service: FakeExpander, tmp_path: Path) -> None:
    main(["expand", "--file", write(tmp_path, "\ufeff1girl\r\n狐耳\rc".encode())])
    assert prompts(service) == ["1girl", "狐耳", "c"]


def test_every_line_of_a_file_is_a_prompt_empty_and_comment_lines_too(service: FakeExpander, tmp_path: Path) -> None:
    main(["expand", "--file", write(tmp_path, b"a\n\n# b\n  c \n\n")])
    assert prompts(service) == ["a", "", "# b", "  c ", ""]


def test_characters_that_only_look_like_line_ends_stay(service: FakeExpander, tmp_path: Path) -> None:
    main(["expand", "--file", write(tmp_path, "a\u2028b\x0bc\x85d\x00e\n".encode())])
    assert prompts(service) == ["a\u2028b\x0bc\x85d\x00e"]


def test_a_dash_reads_standard_input(service: FakeExpander, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("狐\nb".encode()), encoding="ascii"))
    assert main(["expand", "--file", "-"]) == 0
    assert prompts(service) == ["狐", "b"]


def test_a_file_that_is_not_utf8_is_named_with_the_place(capsys: Capture, tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfa\ncaf\xe9\n")
    assert main(["expand", "--file", path]) == 2
    error = capsys.readouterr().err
    assert path in error and "byte 8 (line 2) is 0xe9" in error


@pytest.mark.parametrize("name", ["missing.txt", "", "a\0b"])
def test_a_file_that_cannot_be_read_is_the_users_mistake(
    service: FakeExpander, capsys: Capture, tmp_path: Path, name: str
) -> None:
    assert main(["expand", "--file", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith("kgen: error: --file: cannot read ")


def test_an_empty_file_has_no_prompts(service: FakeExpander, capsys: Capture, tmp_path: Path) -> None:
    assert main(["expand", "--file", write(tmp_path, b"")]) == 0
    out, error = capsys.readouterr()
    assert out == "" and "no prompts" in error


def test_a_prompt_and_a_file_exclude_each_other(service: FakeExpander, capsys: Capture, tmp_path: Path) -> None:
    assert main(["expand", "1girl", "--file", write(tmp_path, b"a")]) == 2
    assert "--file" in capsys.readouterr().err


def test_a_note_names_the_commands_options(service: FakeExpander, capsys: Capture) -> None:
    service.notes = ("tag_length long ends at 54",)
    main(["expand", "1girl", "--seed", "1"])
    assert capsys.readouterr()[1] == "kgen: row 0: --tag-length long ends at 54\n"


def test_notes_go_to_standard_error_and_into_the_json(service: FakeExpander, capsys: Capture) -> None:
    service.notes = ("hat was banned and required",)
    main(["expand", "1girl", "--seed", "1"])
    assert capsys.readouterr() == ("1girl, smile\n", "kgen: row 0: hat was banned and required\n")
    main(["expand", "1girl", "--seed", "1", "--json"])
    out, error = capsys.readouterr()
    assert json.loads(out)["notes"] == ["hat was banned and required"] and error == ""


def test_json_is_one_line_to_every_reader(service: FakeExpander, capsys: Capture) -> None:
    prompt = "a\nb\u2028c\u2029d\x85e\x0bf\x1cg"
    main(["expand", prompt, "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["source"] == prompt


def test_streamed_json_is_one_event_a_line_as_they_come(service: FakeExpander, capsys: Capture) -> None:
    assert main(["expand", "1girl", "--seed", "1", "--json", "--stream"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = ["started", "delta", "tag_rejected", "delta", "tag_accepted", "finished"]
    assert [event["event"] for event in events] == kinds
    assert events[2].items() >= {"row": 0, "tag": "frown", "rule": "ban", "detail": "frown"}.items()
    assert list(events[-1]["expansion"]) == KEYS and events[-1]["expansion"]["seconds"] is None


def test_additions_are_green_on_a_terminal(service: FakeExpander, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert shown_on_terminal(monkeypatch) == "1girl\x1b[32m, smile\x1b[0m\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_nobody_who_declines_colour_gets_it(
    service: FakeExpander, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert shown_on_terminal(monkeypatch) == "1girl, smile\n"


def shown_on_terminal(monkeypatch: pytest.MonkeyPatch) -> str:
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert main(["expand", "1girl", "--seed", "1"]) == 0
    return terminal.getvalue()
