"""The API's responses: the command's own JSON for a valid request, one clear error object for any other."""
from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_host import FakeHost, install
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgen_ext import ExpandRequest
from kgen_ext.errors import EngineError
from kgen_ext.events import expansion_json
from kgen_ext.service import open_expander
from kgen_ext.webui.api import Api, ApiResponse, read_fields
from kgen_ext.webui.api_schema import (
    EXTRA_FIELDS,
    MAX_PROMPTS,
    MAX_ROWS,
    MAX_TEXT,
    REQUEST_FIELDS,
    REQUIRED,
    expand_schema,
)
from kgen_ext.webui.host import Host
from kgen_ext.webui.session import Session

SHORT = {"tag_length": "very_short", "engine": "reference", "model": "starter"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHost:
    for name in ("HF_HOME", "KGEN_MODELS_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    made = install(monkeypatch, tmp_path)
    for folder in ("models", "extensions"):
        (tmp_path / folder).mkdir()
    return made


@pytest.fixture(scope="module")
def session() -> Any:
    """One session for the file: the starter is loaded once."""
    made = Session()
    yield made
    made.close()


@pytest.fixture
def api(fake: FakeHost, session: Session) -> Api:
    return Api(host=Host(), session=lambda: session)


def ask(api: Api, **body: Any) -> ApiResponse:
    return api.expand(json.dumps(body).encode())


def rows(answer: ApiResponse) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    return json.loads(answer.body)["expansions"]


def error(answer: ApiResponse, status: int = 422) -> dict[str, str]:
    told = json.loads(answer.body)
    assert answer.status == status, answer.body
    assert sorted(told) == ["detail", "error", "hint"]
    assert "\n" not in told["detail"]
    return told


def test_a_row_is_the_commands_json_byte_for_byte(api: Api) -> None:
    with open_expander(engine="reference") as expander:
        asked = [ExpandRequest("1girl, shrine", tag_length="very_short", seed=3, count=2)]
        lines = [expansion_json(expansion, timings=False) for expansion in expander.expand(asked)]
    answer = ask(api, prompt="1girl, shrine", seed=3, count=2, **SHORT)
    assert answer == ApiResponse(200, f'{{"expansions": [{", ".join(lines)}]}}')
    assert ask(api, prompt="1girl, shrine", seed=3, count=2, **SHORT) == answer


def test_several_prompts_are_one_batch_in_order_and_each_can_be_had_alone(api: Api) -> None:
    prompts = ["1girl, shrine", "1boy, sword", "1girl, shrine"]
    found = rows(ask(api, prompts=prompts, seed=7, **SHORT))
    assert [row["row"] for row in found] == [0, 1, 2]
    assert [row["seed"] for row in found] == [7, 8, 9]
    assert [row["source"] for row in found] == prompts
    assert rows(ask(api, prompt=prompts[2], seed=9, **SHORT))[0]["prompt"] == found[2]["prompt"]


def test_minus_one_draws_a_seed_and_tells_it(fake: FakeHost, session: Session) -> None:
    api = Api(host=Host(), session=lambda: session, draw=lambda limit: 41)
    assert rows(ask(api, prompt="1girl", seed=-1, **SHORT))[0]["seed"] == 41


def test_what_the_api_wrote_is_known_as_a_result(api: Api, session: Session) -> None:
    written = rows(ask(api, prompt="1girl, shrine", seed=11, **SHORT))[0]["prompt"]
    assert session.wrote(written)


def test_a_creativity_is_numbers_and_numbers_given_go_before_it(api: Api) -> None:
    careful = rows(ask(api, prompt="1girl", seed=4, creativity="careful", **SHORT))
    spelled = rows(ask(api, prompt="1girl", seed=4, temperature=0.5, top_p=0.95, **SHORT))
    assert careful == spelled
    hot = rows(ask(api, prompt="1girl", seed=4, creativity="careful", temperature=2.0, top_p=0.95, **SHORT))
    assert hot == rows(ask(api, prompt="1girl", seed=4, temperature=2.0, top_p=0.95, **SHORT))


def test_default_and_auto_are_what_settings_say(api: Api, fake: FakeHost) -> None:
    fake.opts.kgen_engine = "reference"
    found = rows(ask(api, prompt="1girl", tag_length="very_short"))[0]
    assert (found["model"], found["engine"]) == ("starter", "reference")


def test_only_known_tags_are_written_where_a_tag_file_is_found(api: Api, tmp_path: Path) -> None:
    assert "no tag file" in error(ask(api, prompt="1girl", known_only=True, **SHORT))["detail"]
    tags = tmp_path / "extensions" / "a1111-sd-webui-tagcomplete" / "tags"
    tags.mkdir(parents=True)
    names = ["1girl", "solo", "smile", "hat", "long hair", "blue eyes", "outdoors", "sky", "dress", "standing"]
    (tags / "danbooru.csv").write_text("".join(f"{name},0,5\n" for name in names), encoding="utf-8")
    found = rows(ask(api, prompt="1girl", known_only=True, seed=2, **SHORT))[0]
    assert found["added_tags"]
    assert set(found["added_tags"]) <= set(names)


def test_expanding_waits_for_the_hosts_queue_and_leaves_its_state(api: Api, fake: FakeHost) -> None:
    held, done = threading.Event(), threading.Event()

    def generation() -> None:
        with fake.queue_lock:
            held.set()
            assert not done.wait(0.3)  # nothing is expanded while an image is made

    worker = threading.Thread(target=generation)
    worker.start()
    held.wait()
    ask(api, prompt="1girl, hat", **SHORT)
    done.set()
    worker.join()
    assert (fake.state.job, fake.state.job_count, fake.state.textinfo) == ("", 0, None)


def test_twenty_clients_at_once_each_get_their_own(api: Api) -> None:
    wishes = [{"prompt": f"{1 + number % 3}girls, hat", "seed": number % 10, **SHORT} for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda wish: ask(api, **wish), wishes))
    for wish, answer in zip(wishes, answers, strict=True):
        (found,) = rows(answer)
        assert (found["source"], found["seed"]) == (wish["prompt"], wish["seed"])
        assert answer == ask(api, **wish)


def test_a_stop_keeps_what_is_whole_and_says_so(api: Api, fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(fake.state), "begin", lambda self, job="": self.interrupt())
    assert rows(ask(api, prompt="1girl, cancelled", seed=99, **SHORT))[0]["finish"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not an object"),
        (b'"1girl"', "not an object"),
        (b'{"tag_file": "/etc/passwd"}', "'tag_file' is not allowed"),
        (b'{"places": "/"}', "'places' is not allowed"),
        (b'{"prompt": "a", "prompts": ["b"]}', "both"),
        (b'{"prompts": []}', "prompts"),
        (b'{"prompts": "a"}', "prompts"),
        (b'{"prompts": ["a", 1]}', "prompts"),
        (b'{"prompt": ["a"]}', "prompt"),
        (b'{"prompt": null}', "prompt: None"),
        (b'{"prompt": null, "prompts": null}', "prompt: None"),
        (b'{"prompts": ["a", null]}', "prompts"),
        (b'{"tag_file": null}', "'tag_file' is not allowed"),
        (b'{"ban": ["a", null]}', "ban"),
        (b'{"allow": [null]}', "allow"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b'{"ban": ["a", "\\udfff"]}', "surrogate"),
        (b'{"model": "/etc/passwd"}', "not the name of a model"),
        (b'{"model": "../../x"}', "not the name of a model"),
        (b'{"model": "tests"}', "not the name of a model"),
        (b'{"model": 1}', "model"),
        (b'{"model": "TIPO-500M"}', "is not installed"),
        (b'{"engine": "onnx"}', "engine"),
        (b'{"engine": ["auto"]}', "engine"),
        (b'{"creativity": "wild"}', "creativity"),
        (b'{"creativity": 1}', "creativity"),
        (b'{"seed": 1.5}', "seed"),
        (b'{"seed": -2}', "seed"),
        (b'{"seed": true}', "seed"),
        (b'{"temperature": NaN}', "temperature"),
        (b'{"temperature": "hot"}', "temperature"),
        (b'{"top_p": Infinity}', "top_p"),
        (b'{"no_tags": "yes"}', "no_tags"),
        (b'{"no_tags": true}', "text_length"),
        (b'{"known_only": 1}', "known_only"),
        (b'{"allow_contradictions": []}', "allow_contradictions"),
        (b'{"tag_length": "huge"}', "tag_length"),
        (b'{"tag_length": ["long"]}', "tag_length"),
        (b'{"allow": ["everything"]}', "allow"),
        (b'{"ban": [1]}', "ban"),
        (b'{"ban": {"a": 1}}', "ban"),
        (b'{"ban": ["/(/"]}', "/(/"),
        (b'{"rules": ["if nothing"]}', "if nothing"),
        (b'{"format": "<|nothing|>"}', "nothing"),
        (b'{"width": 3}', "width"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_told_and_nothing_else_happens(body: bytes, says: str, api: Api) -> None:
    assert says in error(api.expand(body))["detail"]


@pytest.mark.parametrize("name", [name for name in (*REQUEST_FIELDS, *EXTRA_FIELDS) if name not in REQUIRED])
def test_null_for_an_optional_field_says_the_same_as_leaving_it_out(name: str) -> None:
    assert read_fields({"prompt": "1girl", name: None}) == read_fields({"prompt": "1girl"})


def test_a_client_that_spells_every_absent_field_as_null_is_answered(api: Api) -> None:
    nulls = {name: None for name in (*REQUEST_FIELDS, *EXTRA_FIELDS) if name not in REQUIRED}
    assert ask(api, **{**nulls, "prompt": "1girl", **SHORT}) == ask(api, prompt="1girl", **SHORT)


def test_a_null_prompt_beside_prompts_is_left_out() -> None:
    assert read_fields({"prompt": None, "prompts": ["1girl"]}) == read_fields({"prompts": ["1girl"]})


def test_too_much_is_refused(api: Api) -> None:
    assert "prompts" in error(ask(api, prompts=["a"] * (MAX_PROMPTS + 1)))["detail"]
    assert "count" in error(ask(api, prompts=["a"] * 9, count=MAX_ROWS // 8))["detail"]
    assert "longer than" in error(ask(api, prompt="a" * (MAX_TEXT + 1)))["detail"]
    assert "longer than" in error(ask(api, ban=["ab"] * MAX_TEXT))["detail"]


@pytest.mark.parametrize("model", ["TIPO-500M-ft", "TIPO-500M-ft:Q8_0", "nope", "/x/y.gguf"])
def test_a_model_that_is_not_there_is_told_in_the_apis_words(model: str, api: Api) -> None:
    hint = error(ask(api, prompt="a", model=model))["hint"]
    assert "kgen models" not in hint and "GET /kgen/v1/models" in hint


def test_a_creativity_that_nobody_knows_is_told_by_the_name_of_its_field(api: Api) -> None:
    assert error(ask(api, prompt="a", creativity="wild"))["detail"] == "creativity: 'wild' is not allowed"


def test_an_error_in_a_model_names_the_file_without_its_folder(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "kgen" / "mine"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    (folder / "config.json").write_text("{}", "utf-8")
    told = error(ask(api, prompt="a", model="mine"), 503)
    assert "config.json" in told["detail"] and str(tmp_path) not in str(told)


def test_an_error_in_the_tag_file_names_it_without_its_folder(api: Api, tmp_path: Path) -> None:
    tags = tmp_path / "models" / "kgen" / "tags"
    tags.mkdir(parents=True)
    (tags / "danbooru.csv").write_bytes(b"\xff\xfe\x00")
    told = error(ask(api, prompt="a", known_only=True))
    assert told["detail"].startswith("tag_file: danbooru.csv") and str(tmp_path) not in str(told)


def test_a_pattern_that_looks_like_a_path_is_repeated_as_it_is(api: Api) -> None:
    assert "/a/b/(/" in error(ask(api, prompt="a", ban=["/a/b/(/"]))["detail"]


def test_a_failure_that_is_not_the_clients_is_a_503(
    api: Api, session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise EngineError("out of memory", hint="a smaller model")

    monkeypatch.setattr(session, "lease", fails)
    assert error(ask(api, prompt="a"), 503) == {
        "error": "EngineError", "detail": "out of memory", "hint": "a smaller model",
    }  # fmt: skip
    monkeypatch.setattr("kgen_ext.webui.api.find_model", lambda *_: 1 / 0)
    assert error(ask(api, prompt="a"), 503)["error"] == "ZeroDivisionError"
    assert "division by zero" in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(st.dictionaries(st.sampled_from(["prompt", "prompts", "creativity", *REQUEST_FIELDS]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=4,
), max_size=4))  # fmt: skip
def test_any_json_is_answered_in_json(
    fake: FakeHost, session: Session, wish: dict[str, Any]
) -> None:
    class Nobody(Session):
        def lease(self, *_: Any, **__: Any) -> Any:
            raise EngineError("nobody is there")

    nobody = Nobody()
    answer = Api(host=Host(), session=lambda: nobody).expand(json.dumps(wish).encode("utf-8", "surrogatepass"))
    assert answer.status in (422, 503)
    error(answer, answer.status)
    assert answer.status == 422 or "nobody is there" in answer.body


def test_models_are_told_without_where_they_lie(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "kgen"
    folder.mkdir()
    (folder / "mine-Q8_0.gguf").write_bytes(b"GGUF")
    ask(api, prompt="1girl", **SHORT)
    answer = api.models()
    told = json.loads(answer.body)
    assert answer.status == 200
    assert told["default"] == "starter"
    known = {row["id"]: row for row in told["models"]}
    assert known["starter"]["names"] == ["starter"]
    assert known["mine"]["names"] == ["mine:Q8_0"]
    assert known["TIPO-500M"]["names"] == []
    assert [loaded["model"] for loaded in told["loaded"]] == ["starter"]
    assert str(tmp_path) not in answer.body
    assert str(Path(__file__).parents[1]) not in answer.body


def test_unloading_gives_the_memory_back_and_the_next_client_is_served(api: Api) -> None:
    ask(api, prompt="1girl", **SHORT)
    assert api.unload() == ApiResponse(200, '{"unloaded": 1}')
    assert api.unload() == ApiResponse(200, '{"unloaded": 0}')
    assert rows(ask(api, prompt="1girl", **SHORT))


def test_defaults_in_the_schema_are_accepted(api: Api) -> None:
    body = {name: field["default"] for name, field in expand_schema()["properties"].items() if "default" in field}
    assert rows(ask(api, **{**body, "engine": "reference"}))
