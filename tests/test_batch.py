"""`kgen batch` on one machine: the same texts as `kgen expand`, parts, shards, bad rows, progress."""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from batch_kit import QUICK, batch, digest, errors, parts, results, write_prompts
from cli_fakes import FakeExpander, Terminal

import kgen_ext.scale.output
from kgen_ext.cli import main
from kgen_ext.errors import BadPattern, EngineError
from kgen_ext.events import Event
from kgen_ext.models import ModelFiles
from kgen_ext.models.priors import prior_path
from kgen_ext.scale.output import OutputFolder

Capture = pytest.CaptureFixture[str]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_rows_are_byte_for_byte_those_of_kgen_expand(tmp_path: Path, capsys: Capture) -> None:
    source = write_prompts(tmp_path, 7)
    assert batch(source, tmp_path / "out", *QUICK, "--seed", "3", "--part-rows", "3") == 0
    capsys.readouterr()
    assert main(["expand", "--file", str(source), *QUICK, "--seed", "3", "--json"]) == 0
    assert "".join(path.read_text("utf-8") for path in parts(tmp_path / "out")) == capsys.readouterr().out


def test_rows_are_cut_into_parts(service: FakeExpander, tmp_path: Path) -> None:
    batch(write_prompts(tmp_path, 7), tmp_path / "out", "--part-rows", "3")
    assert [path.name for path in parts(tmp_path / "out")] == [f"part-0000000{number}.jsonl" for number in range(3)]


def test_the_size_of_parts_does_not_show_in_the_rows(service: FakeExpander, tmp_path: Path) -> None:
    source = write_prompts(tmp_path, 7)
    batch(source, tmp_path / "small", "--part-rows", "2")
    batch(source, tmp_path / "large")
    assert results(tmp_path / "small") == results(tmp_path / "large")


def test_variants_of_a_row_stay_together_and_have_its_number(service: FakeExpander, tmp_path: Path) -> None:
    batch(write_prompts(tmp_path, 3), tmp_path / "out", "--count", "2", "--part-rows", "2")
    rows = [(row["row"], row["seed"]) for row in results(tmp_path / "out")]
    assert rows == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)]


def test_other_columns_are_passed_through(service: FakeExpander, tmp_path: Path) -> None:
    source = write(tmp_path, "in.jsonl", '{"prompt": "a", "id": [1, {"x": null}], "row": "mine"}\n')
    batch(source, tmp_path / "out")
    (row,) = results(tmp_path / "out")
    assert (row["id"], row["input_row"], row["row"]) == ([1, {"x": None}], "mine", 0)


def test_a_column_can_be_named(service: FakeExpander, tmp_path: Path) -> None:
    source = write(tmp_path, "in.csv", "caption,n\n1girl,5\n")
    batch(source, tmp_path / "out", "--column", "prompt=caption", "--column", "seed=n")
    (row,) = results(tmp_path / "out")
    assert (row["source"], row["seed"]) == ("1girl", 5)


def test_options_apply_to_every_row(service: FakeExpander, tmp_path: Path) -> None:
    batch(write_prompts(tmp_path, 2), tmp_path / "out", "--ban", "hat", "--rule", "if a ban b, c")
    assert [(request.ban, request.rules) for request in service.requests] == [(("hat",), ("if a ban b, c",))] * 2


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_shards_together_are_the_whole(service: FakeExpander, tmp_path: Path, shards: int) -> None:
    source = write_prompts(tmp_path, 9)
    batch(source, tmp_path / "whole", "--part-rows", "2")
    for shard in range(1, shards + 1):
        assert batch(source, tmp_path / "out", "--part-rows", "2", "--shard", f"{shard}/{shards}") == 0
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(service: FakeExpander, tmp_path: Path, capsys: Capture, shard: str) -> None:
    assert batch(write_prompts(tmp_path, 2), tmp_path / "out", f"--shard={shard}") == 2
    assert "--shard" in capsys.readouterr().err


# Bad rows

BAD = b"""{"prompt": "a"}
{"prompt": 5}
{"caption": "a"}
nonsense
{"prompt": "\xe9"}
{"prompt": "b", "tag_length": "huge"}
{"prompt": "c"}
"""


def test_bad_rows_are_listed_and_the_others_expanded(service: FakeExpander, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(BAD)
    batch(tmp_path / "in.jsonl", tmp_path / "out", "--part-rows", "3")
    assert [(row["row"], row["source"]) for row in results(tmp_path / "out")] == [(0, "a"), (6, "c")]
    assert [row["row"] for row in errors(tmp_path / "out")] == [1, 2, 3, 4, 5]


def test_a_bad_row_is_listed_with_its_file_and_the_reason(service: FakeExpander, tmp_path: Path) -> None:
    source = write(tmp_path, "in.jsonl", '{"prompt": 5}\n')
    batch(source, tmp_path / "out")
    reason = "prompt: 5 is not allowed (use a string)"
    assert errors(tmp_path / "out") == [{"row": 0, "file": "in.jsonl", "error": reason}]


def test_bad_rows_show_in_exit_code_and_last_line(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in.jsonl").write_bytes(BAD)
    assert batch(tmp_path / "in.jsonl", tmp_path / "out") == 3
    assert capsys.readouterr().out == f"7 of 7 rows are done, 5 bad: {tmp_path}/out/errors.jsonl\n"


def test_bad_rows_of_an_earlier_run_still_count(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in.jsonl").write_bytes(BAD)
    batch(tmp_path / "in.jsonl", tmp_path / "out")
    assert batch(tmp_path / "in.jsonl", tmp_path / "out") == 3
    assert "5 bad" in capsys.readouterr().out.splitlines()[-1]


def test_what_only_the_model_refuses_is_a_bad_row(tmp_path: Path) -> None:
    text = "".join(f'{{"prompt": "cat", "ban": "{ban}"}}\n' for ban in ("hat", "/(/", "dog", "/[/", "sky"))
    assert batch(write(tmp_path, "in.jsonl", text), tmp_path / "out", *QUICK) == 3
    assert [row["row"] for row in errors(tmp_path / "out")] == [1, 3]
    assert [row["row"] for row in results(tmp_path / "out")] == [0, 2, 4]


class Stumbling(FakeExpander):
    """Fails while it decodes the prompt `bad`."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(None)
        self.stumble = failure

    def stream(self, requests: Any) -> Any:
        events = super().stream(requests)

        def decode() -> Any:
            event: Event
            for event in events:
                yield event
                if any(request.prompt == "bad" for request in requests):
                    raise self.stumble

        return decode()


@pytest.mark.parametrize("failure", [BadPattern("ban: /x/ takes too long"), IndexError("tuple index out of range")])
def test_a_row_that_fails_while_it_is_decoded_is_found(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path, failure: Exception
) -> None:
    stumbling = Stumbling(failure)
    monkeypatch.setattr(sys.modules["kgen_ext.service"], "open_expander", lambda **_: stumbling)
    assert batch(write(tmp_path, "in.txt", "a\nb\nbad\nc\nd\n"), tmp_path / "out") == 3
    assert [row["row"] for row in results(tmp_path / "out")] == [0, 1, 3, 4]
    assert str(failure) in errors(tmp_path / "out")[0]["error"]


def test_a_failure_of_the_engine_is_no_rows_fault(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path, capsys: Capture
) -> None:
    stumbling = Stumbling(EngineError("out of memory"))
    monkeypatch.setattr(sys.modules["kgen_ext.service"], "open_expander", lambda **_: stumbling)
    assert batch(write(tmp_path, "in.txt", "a\nbad\n"), tmp_path / "out", "--part-rows", "1") == 1
    assert "1 of 2 rows are done" in capsys.readouterr().out
    assert errors(tmp_path / "out") == []


# Going on


def test_a_second_run_has_nothing_to_do(service: FakeExpander, tmp_path: Path) -> None:
    source = write_prompts(tmp_path, 5)
    batch(source, tmp_path / "out")
    service.requests = []
    assert batch(source, tmp_path / "out") == 0
    assert service.requests == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--seed", "2"], "seed 1, not 2"), (["--tag-length", "long"], "options.tag_length"),
        (["--part-rows", "2"], "output.rows_per_part"), (["--column", "prompt=x"], "columns.prompt"),
        (["--device", "cuda"], "device"),
    ],
)  # fmt: skip
def test_another_run_in_the_same_folder_is_refused(
    service: FakeExpander, tmp_path: Path, capsys: Capture, options: list[str], told: str
) -> None:
    source = write_prompts(tmp_path, 5)
    batch(source, tmp_path / "out", "--seed", "1")
    assert batch(source, tmp_path / "out", "--seed", "1", *options) == 2
    assert told in capsys.readouterr().err


def test_another_input_is_refused(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    batch(write(tmp_path, "in.txt", "a\nb\n"), tmp_path / "out")
    assert batch(write(tmp_path, "in.txt", "a\nc\n"), tmp_path / "out") == 2
    assert "input.checksum" in capsys.readouterr().err


def test_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path, capsys: Capture
) -> None:
    source = write_prompts(tmp_path, 2)
    batch(source, tmp_path / "out")
    monkeypatch.setattr("kgen_ext.scale.batch.__version__", "9")
    assert batch(source, tmp_path / "out") == 2
    assert 'not "9"' in capsys.readouterr().err


def test_other_weights_are_refused(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path, capsys: Capture
) -> None:
    source = write_prompts(tmp_path, 2)
    batch(source, tmp_path / "out")
    monkeypatch.setattr(ModelFiles, "checksum", lambda _: "0" * 64)
    assert batch(source, tmp_path / "out") == 2
    assert "begun with checksum" in capsys.readouterr().err


def test_another_tag_file_of_the_same_name_is_refused(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    source, tags = write_prompts(tmp_path, 2), write(tmp_path, "tags.csv", "hat,0,1\n")
    batch(source, tmp_path / "out", "--tag-file", str(tags))
    write(tmp_path, "tags.csv", "cap,0,1\n")
    assert batch(source, tmp_path / "out", "--tag-file", str(tags)) == 2
    assert "options.tag_file" in capsys.readouterr().err


def own_table(home: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setenv("KGEN_MODELS_DIR", str(home / "data" / "models"))
    prior_path("mine").parent.mkdir(parents=True, exist_ok=True)
    prior_path("mine").write_bytes(data)


def test_another_table_of_the_same_name_is_refused(
    service: FakeExpander, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    source = write_prompts(tmp_path, 2)
    own_table(tmp_path, monkeypatch, b"1")
    batch(source, tmp_path / "out", "--yours", "mine")
    own_table(tmp_path, monkeypatch, b"2")
    assert batch(source, tmp_path / "out", "--yours", "mine") == 2
    assert "begun with own_prior" in capsys.readouterr().err


def test_a_table_that_changes_during_a_run_stops_it(
    service: FakeExpander, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    own_table(tmp_path, monkeypatch, b"1")
    monkeypatch.setattr("kgen_ext.scale.batch.make_manifest", lambda *_, **__: own_table(tmp_path, monkeypatch, b"2"))
    monkeypatch.setattr(OutputFolder, "claim", lambda *_: (tmp_path / "out").mkdir())
    assert batch(write_prompts(tmp_path, 2), tmp_path / "out", "--yours", "mine") == 2
    assert "yours: mine is another table than when the batch began" in capsys.readouterr().err


def test_another_prior_of_the_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path, capsys: Capture
) -> None:
    source = write_prompts(tmp_path, 2)
    batch(source, tmp_path / "out")
    monkeypatch.setattr(ModelFiles, "prior", lambda _: source)
    assert batch(source, tmp_path / "out") == 2
    assert "begun with prior" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--threads", "2"], ["--batch-size", "4"], ["--json"], ["--shard", "1/2"]])
def test_what_changes_no_byte_may_change(service: FakeExpander, tmp_path: Path, option: list[str]) -> None:
    source = write_prompts(tmp_path, 5)
    batch(source, tmp_path / "out")
    assert batch(source, tmp_path / "out", *option) == 0


# Usage


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--part-rows", "0"], "--part-rows"), (["--batch-size", "0"], "--batch-size"),
        (["--actors", "2"], "need --ray"), (["--ray", "local", "--actors", "0"], "--actors"),
        (["--ray", "local", "--shard", "1/2"], "--shard"),
        (["--top-p", "7"], "--top-p"), (["--column", "x=y"], "--column"), (["--from", "xml"], "--from"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told(
    service: FakeExpander, tmp_path: Path, capsys: Capture, options: list[str], told: str
) -> None:
    assert batch(write_prompts(tmp_path, 2), tmp_path / "out", *options) == 2
    assert told in capsys.readouterr().err


def test_a_wrong_pattern_of_an_option_is_told_before_a_row_is_expanded(tmp_path: Path, capsys: Capture) -> None:
    assert batch(write_prompts(tmp_path, 2), tmp_path / "out", "--ban", "/(/") == 2
    assert not (tmp_path / "out").exists()


def test_an_input_without_rows_is_told(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    assert batch(write(tmp_path, "in.txt", ""), tmp_path / "out") == 2
    assert "no rows" in capsys.readouterr().err


# Progress


def test_the_last_line_says_how_many_rows_are_done(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    assert batch(write_prompts(tmp_path, 2000), tmp_path / "out") == 0
    assert capsys.readouterr() == ("2,000 of 2,000 rows are done\n", "")


def test_a_shard_counts_its_own_rows(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    batch(write_prompts(tmp_path, 5), tmp_path / "out", "--part-rows", "2", "--shard", "1/2")
    assert capsys.readouterr().out == "3 of 3 rows are done\n"


def test_progress_for_machines_is_json(service: FakeExpander, tmp_path: Path, capsys: Capture) -> None:
    batch(write_prompts(tmp_path, 5), tmp_path / "out", "--part-rows", "2", "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(lines[-1]) == ["event", "rows", "total", "bad", "rows_per_second", "seconds_left"]
    assert (lines[-1]["event"], lines[-1]["rows"], lines[-1]["total"]) == ("done", 5, 5)


def test_a_bar_shows_rows_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("kgen_ext.cli.batch.PERIOD", 0.0)
    batch(write_prompts(tmp_path, 40), tmp_path / "out", "--part-rows", "10")
    assert re.search(r"\[#{10}\.{10}\] 20/40 rows, [\d,.]+ rows/s, \d+ s left", terminal.getvalue())


def test_the_bar_never_passes_the_end(monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("kgen_ext.cli.batch.PERIOD", 0.0)
    (tmp_path / "in.jsonl").write_bytes(BAD)
    batch(tmp_path / "in.jsonl", tmp_path / "out")
    assert max(int(rows) for rows in re.findall(r"(\d+)/7 rows", terminal.getvalue())) == 7


def test_a_part_is_not_written_twice(monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path) -> None:
    written = list[int]()
    write_part = kgen_ext.scale.output.OutputFolder.write_part

    def note(self: Any, part: int, *more: Any) -> None:
        written.append(part)
        write_part(self, part, *more)

    monkeypatch.setattr(kgen_ext.scale.output.OutputFolder, "write_part", note)
    source = write_prompts(tmp_path, 6)
    batch(source, tmp_path / "out", "--part-rows", "2", "--shard", "2/2")
    batch(source, tmp_path / "out", "--part-rows", "2")
    assert sorted(written) == [0, 1, 2]
