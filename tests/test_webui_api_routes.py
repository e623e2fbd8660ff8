"""The routes on a real FastAPI: where they are registered, who may call them, what is refused before it is read.

Skipped without fastapi, which a host brings along, unless KGEN_REQUIRE_FASTAPI says that it must be there.
"""
from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_host import FakeHost, install

from kgen_ext.webui import script
from kgen_ext.webui.api_access import ApiAccess, is_authorised, read_access
from kgen_ext.webui.api_routes import PREFIX, add_routes
from kgen_ext.webui.api_schema import MAX_BYTES, expand_schema
from kgen_ext.webui.host import Host
from kgen_ext.webui.session import Session

if not os.environ.get("KGEN_REQUIRE_FASTAPI"):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")

# What the server's libraries warn of differs from version to version, and is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")
SHORT = {"tag_length": "very_short", "engine": "reference", "model": "starter"}
PATHS = {f"{PREFIX}/{name}" for name in ("schema", "models", "expand", "unload")}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHost:
    for name in ("HF_HOME", "KGEN_MODELS_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    made = install(monkeypatch, tmp_path)
    made.cmd_opts.api = True
    for folder in ("models", "extensions"):
        (tmp_path / folder).mkdir()
    return made


@pytest.fixture(scope="module")
def session() -> Any:
    made = Session()
    yield made
    made.close()


def server() -> Any:
    from fastapi import FastAPI

    return FastAPI()


def paths(app: Any) -> list[str]:
    return [route.path for route in app.routes if route.path.startswith(PREFIX)]


@pytest.fixture
def client(fake: FakeHost, session: Session) -> Any:
    from fastapi.testclient import TestClient

    app = server()
    assert add_routes(Host(), lambda: session, app, title="KGen")
    return TestClient(app)


def test_the_routes_follow_the_hosts_own_api(fake: FakeHost, session: Session) -> None:
    for flags, there in (({"api": False}, False), ({"api": True}, True), ({"api": False, "nowebui": True}, True)):
        vars(fake.cmd_opts).update({"nowebui": False, **flags})
        app = server()
        assert add_routes(Host(), lambda: session, app, title="KGen") is there
        assert set(paths(app)) == (PATHS if there else set())


def test_they_are_added_when_the_server_has_started_and_only_once(fake: FakeHost) -> None:
    script.register()
    app = server()
    for _ in range(2):
        for call in fake.callbacks["on_app_started"]:
            call(None, app)
    assert sorted(paths(app)) == sorted(PATHS)


def test_expanding_gives_json(client: Any) -> None:
    answer = client.post(f"{PREFIX}/expand", json={"prompt": "1girl, shrine", "seed": 3, **SHORT})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    (row,) = answer.json()["expansions"]
    assert row["prompt"].startswith("1girl, shrine")


def test_text_beyond_ascii_comes_back_as_it_was(client: Any) -> None:
    answer = client.post(f"{PREFIX}/expand", json={"prompt": "1girl, 桜の木, (猫:1.2)", "seed": 3, **SHORT})
    assert answer.json()["expansions"][0]["source"] == "1girl, 桜の木, (猫:1.2)"


def test_the_schema_and_the_models_are_told(client: Any) -> None:
    assert client.get(f"{PREFIX}/schema").json()["script"]["title"] == "KGen"
    assert "starter" in [model["id"] for model in client.get(f"{PREFIX}/models").json()["models"]]
    assert client.post(f"{PREFIX}/unload").json().keys() == {"unloaded"}


def kinds(schema: dict[str, Any]) -> list[str | None]:
    return [option.get("type") for option in schema.get("anyOf", [schema])]


def test_the_servers_own_documentation_has_the_body(client: Any) -> None:
    told = client.get("/openapi.json").json()["paths"][f"{PREFIX}/expand"]["post"]
    shown = told["requestBody"]["content"]["application/json"]["schema"]["properties"]
    # Large bounds come out as floats.
    assert {name: kinds(field) for name, field in shown.items()} == {
        name: kinds(field) for name, field in expand_schema()["properties"].items()
    }


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (422, {"json": {"prompt": 1}}),
        (422, {"json": {"model": "/etc/passwd"}}),
        (422, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (415, {"content": b'{"prompt": "1girl"}', "headers": {"content-type": "text/plain"}}),
        (415, {"content": b'{"prompt": "1girl"}'}),
        (413, {"content": b" " * (MAX_BYTES + 1), "headers": {"content-type": "application/json; charset=utf-8"}}),
    ],
)
def test_what_is_refused_is_told_in_json(status: int, sent: dict[str, Any], client: Any) -> None:
    answer = client.post(f"{PREFIX}/expand", **sent)
    assert answer.status_code == status
    assert sorted(answer.json()) == ["detail", "error", "hint"]


def test_a_browser_must_ask_before_another_site_may_expand(client: Any) -> None:
    assert client.get(f"{PREFIX}/expand").status_code == 405


ROUTES = (("GET", "schema"), ("GET", "models"), ("POST", "expand"), ("POST", "unload"))
STRANGERS = (None, ("me", "pa"), ("me", "x"), ("nobody", "pa:ss"), ("", ""), ("m\xe9", "p\xe4"))


def host_route(app: Any, users: dict[str, str]) -> None:
    """Add txt2img as all hosts do: with a dependency that checks the password, where one is set."""
    from fastapi import Depends, HTTPException
    from fastapi.security import HTTPBasic

    asked = Depends(HTTPBasic())

    def check(credentials: Any = asked) -> bool:
        if users.get(credentials.username) == credentials.password:
            return True
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})

    dependencies = [Depends(check)] if users else []
    app.add_api_route("/sdapi/v1/txt2img", lambda: {}, methods=["POST"], dependencies=dependencies)


def page_password(app: Any, monkeypatch: pytest.MonkeyPatch, fake: FakeHost) -> None:
    """Set the page's password as a host with a page does: Gradio's server knows it, and the API stays open."""
    fake.cmd_opts.gradio_auth = "me:pa:ss"
    app.auth = {"me": "pa:ss"}
    host_route(app, {})


def page_password_without_a_page(app: Any, monkeypatch: pytest.MonkeyPatch, fake: FakeHost) -> None:
    fake.cmd_opts.gradio_auth, fake.cmd_opts.nowebui = "me:pa:ss", True
    creds = SimpleNamespace(get_gradio_auth_creds=lambda: iter([("me", "pa:ss")]))
    monkeypatch.setitem(sys.modules, "modules.initialize_util", creds)
    host_route(app, {})


def api_password(app: Any, monkeypatch: pytest.MonkeyPatch, fake: FakeHost) -> None:
    fake.cmd_opts.api_auth = "me:pa:ss,you:x"
    host_route(app, {"me": "pa:ss", "you": "x"})


def leftover_api_password(app: Any, monkeypatch: pytest.MonkeyPatch, fake: FakeHost) -> None:
    """Set --api-auth on SD.Next, which takes the option and ignores it."""
    fake.cmd_opts.api_auth = "me:pa:ss,you:x"
    host_route(app, {})


def sdnext_password(app: Any, monkeypatch: pytest.MonkeyPatch, fake: FakeHost) -> None:
    fake.cmd_opts.auth, app.auth = "me:pa:ss", {"me": "pa:ss"}
    host_route(app, {"me": "pa:ss"})


def sdnext_password_file(app: Any, monkeypatch: pytest.MonkeyPatch, fake: FakeHost) -> None:
    fake.cmd_opts.auth_file = "users.txt"
    host_route(app, {"me": "pa:ss"})


@pytest.mark.parametrize("protect", [
    api_password, leftover_api_password, page_password, page_password_without_a_page, sdnext_password,
    sdnext_password_file,
])  # fmt: skip
def test_a_password_of_the_host_protects_every_route(
    protect: Any, fake: FakeHost, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi.testclient import TestClient

    app = server()
    protect(app, monkeypatch, fake)
    assert add_routes(Host(), lambda: session, app, title="KGen")
    caller = TestClient(app)
    for method, path in ROUTES:
        for auth in STRANGERS:
            answer = caller.request(method, f"{PREFIX}/{path}", auth=auth)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Basic"), (path, auth)
        assert caller.request(method, f"{PREFIX}/{path}", auth=("me", "pa:ss")).status_code != 401


@pytest.mark.parametrize("flag", ["gradio_auth_path", "auth", "auth_file", "some_future_auth"])
def test_a_password_that_nothing_checks_keeps_the_routes_away(
    flag: str, fake: FakeHost, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    setattr(fake.cmd_opts, flag, "/nowhere/passwords")
    app = server()
    host_route(app, {})
    assert not add_routes(Host(), lambda: session, app, title="KGen")
    assert paths(app) == []
    assert "password" in caplog.text


def test_a_page_that_asks_a_function_for_the_password_keeps_the_routes_away(fake: FakeHost, session: Session) -> None:
    app = server()
    app.auth = lambda name, password: name == password
    host_route(app, {})
    assert not add_routes(Host(), lambda: session, app, title="KGen")


def test_the_hosts_own_route_turns_ours_on_where_no_option_does(fake: FakeHost, session: Session) -> None:
    fake.cmd_opts.api = False
    app = server()
    host_route(app, {})
    assert add_routes(Host(), lambda: session, app, title="KGen")


def test_without_a_password_everybody_may_call(fake: FakeHost) -> None:
    assert read_access(Host(), server()) == ApiAccess()


def test_a_password_of_the_api_may_hold_a_colon(fake: FakeHost) -> None:
    fake.cmd_opts.api_auth = "a:1,b:2:3"
    assert read_access(Host(), server()) == ApiAccess(users={"a": "1", "b": "2:3"})


def test_an_option_without_a_password_in_it_is_refused(fake: FakeHost) -> None:
    fake.cmd_opts.api_auth = "nonsense"
    assert read_access(Host(), server()) is None


@pytest.mark.parametrize("header", ["", "Basic", "Basic !", "Bearer YTox", "Basic YQ==", "Basic YTo=", "Basic éé"])
def test_a_header_that_is_no_password_is_none(header: str) -> None:
    assert not is_authorised(header, {"a": "1"})
    assert is_authorised("Basic YTox", {"a": "1"})
    assert is_authorised(header, {})


def test_twenty_clients_at_once_each_get_their_own_and_others_are_served_meanwhile(client: Any) -> None:
    def ask(number: int) -> Any:
        wish = {"prompt": f"{1 + number % 3}girls, hat", "seed": number % 7, **SHORT}
        return number, client.post(f"{PREFIX}/expand", content=json.dumps(wish), headers={
            "content-type": "application/json"}).json()  # fmt: skip

    served = threading.Event()
    with ThreadPoolExecutor(21) as pool:
        other = pool.submit(lambda: client.get(f"{PREFIX}/models").status_code == 200 and served.set())
        for number, answer in pool.map(ask, range(20)):
            (row,) = answer["expansions"]
            assert (row["source"], row["seed"]) == (f"{1 + number % 3}girls, hat", number % 7)
            assert row["prompt"] == ask(number)[1]["expansions"][0]["prompt"]
        other.result()
    assert served.is_set()
