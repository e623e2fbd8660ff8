"""The server engine where the server or the way to it fails: one clear error, no retry, and nothing given away."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_fixtures import open_starter
from server_kit import FakeServer, serving

from kgen_ext.engine import Engine
from kgen_ext.engines.json_client import JsonClient, parse_address
from kgen_ext.errors import BadValue, EngineError, UserError
from kgen_ext.request import ExpandRequest
from kgen_ext.service import open_expander

REQUEST = ExpandRequest("1girl, shrine", seed=1, tag_length="very_short")


@pytest.fixture(scope="module")
def starter() -> Iterator[Engine]:
    engine = open_starter("reference")
    yield engine
    engine.close()


@pytest.fixture
def fake(starter: Engine) -> Iterator[FakeServer]:
    with serving(FakeServer("llamacpp", starter)) as running:
        yield running


BAD_URLS = {
    "no scheme": "127.0.0.1:8080",
    "a file": "file:///etc/passwd",
    "another scheme": "ftp://127.0.0.1",
    "no host": "http://",
    "a port that is none": "http://127.0.0.1:http",
    "a port too high": "http://127.0.0.1:70000",
    "a bracket": "http://[::1",
    "a query": "http://127.0.0.1?x=1",
    "a fragment": "http://127.0.0.1#x",
    "a space": "http://127.0.0.1/a b",
    "a line end": "http://127.0.0.1/\r\nX: y",
    "another script": "http://127.0.0.1/é",
    "nothing": "",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(BadValue, match=r"url: .* is not allowed .*http://HOST:PORT"):
        parse_address(url)


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(BadValue) as caught:
        parse_address("http://me:secret@127.0.0.1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_the_forms_of_a_url_mean_the_same(tail: str) -> None:
    assert parse_address(f"http://[::1]:8080/llm{tail}").path == "/llm"


def test_a_server_behind_a_path_is_reached(starter: Engine) -> None:
    with serving(FakeServer("llamacpp", starter, prefix="/llm")) as fake:
        with open_expander(engine="server", url=f"{fake.url}/v1") as expander:
            assert expander.expand([REQUEST])


FAULTS = {
    "status": r"answers /completion with 500: out of \[31m memory",
    "html": r"answers /completion with text/html that is no JSON",
    "redirect": r"redirects to another address \(redirects are not followed",
    "cut": r"cannot be reached: ",
    "long": r"an answer of more than 1,179,648 bytes",
    "deep": r"no JSON|lacks what is needed",
    "hangs up": r"cannot be reached: ",
    "empty": r"lacks what is needed",
    "nan": r"a logprob that is no number",
    "twice": r"a token that is listed twice",
    "foreign": r"a token id outside the model's vocabulary",
    "text": r"a token id outside the model's vocabulary",
    "fewer": r"127 tokens where 128 were asked for",
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.items(), ids=FAULTS)
def test_a_fault_is_one_error_that_names_the_server(fake: FakeServer, fault: str, message: str) -> None:
    with open_expander(engine="server", url=fake.url) as expander:
        fake.fault, fake.after = fault, len(fake.bodies()) + 3
        before = len(fake.bodies())
        with pytest.raises(EngineError, match=f"^http://127.0.0.1:.*{message}"):
            expander.expand([REQUEST])
        assert len(fake.bodies()) <= before + 4, "nothing is tried again"


def test_after_a_fault_the_same_expander_goes_on(fake: FakeServer) -> None:
    with open_expander(engine="server", url=fake.url) as expander:
        fake.fault, fake.after = "status", len(fake.bodies()) + 3
        with pytest.raises(EngineError):
            expander.expand([REQUEST])
        fake.fault = ""
        (found,) = expander.expand([REQUEST])
    with open_expander(engine="reference") as expander:
        assert found.prompt == expander.expand([REQUEST])[0].prompt


def test_one_of_many_rows_that_fails_fails_all(fake: FakeServer) -> None:
    with open_expander(engine="server", url=fake.url) as expander:
        fake.fault, fake.after = "status", len(fake.bodies()) + 9
        with pytest.raises(EngineError, match="500"):
            expander.expand([ExpandRequest(f"{number}girls", seed=number) for number in range(2, 6)])


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(EngineError, match=r"^http://127.0.0.1:9: cannot be reached: .*\(start the server, or correct"):
        open_expander(engine="server", url="http://127.0.0.1:9")


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(EngineError, match="cannot be reached"):
        open_expander(engine="server", url="http://nowhere.invalid")


def test_a_server_that_stops_in_between(starter: Engine) -> None:
    with serving(FakeServer("llamacpp", starter)) as fake:
        expander = open_expander(engine="server", url=fake.url)
    fake.fault = "hangs up"  # what connections are left
    with expander, pytest.raises(EngineError, match="cannot be reached"):
        expander.expand([REQUEST])


@pytest.mark.parametrize("fault", ["silent", "slow", "slow headers"])
def test_a_server_that_takes_too_long(fake: FakeServer, fault: str) -> None:
    client = JsonClient(fake.url, timeout=0.2)
    fake.fault = fault
    with pytest.raises(EngineError, match=r"no answer within 0.2 s"):
        client.post("/completion", {"prompt": [5], "n_probs": 1})
    client.close()


def test_a_connection_that_the_server_closed_is_replaced(fake: FakeServer) -> None:
    client = JsonClient(fake.url)
    client.get("/v1/models")
    (connection,) = client._idle
    connection.sock.shutdown(2)
    assert client.get("/v1/models")
    client.close()


def test_a_connection_is_used_again(fake: FakeServer) -> None:
    client = JsonClient(fake.url)
    client.get("/v1/models")
    (connection,) = client._idle
    client.get("/v1/models")
    assert client._idle == [connection]
    client.close()


def test_closing_ends_a_request_that_waits(fake: FakeServer) -> None:
    import threading

    client, fake.fault = JsonClient(fake.url), "slow"
    timer = threading.Timer(0.1, client.close)
    timer.start()
    with pytest.raises(EngineError, match="the engine is closed"):
        client.post("/completion", {"prompt": [5], "n_probs": 1})
    timer.join()


def test_proxies_of_the_environment_are_not_used(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client = JsonClient(fake.url)
    assert client.get("/v1/models")
    client.close()


def test_a_key_that_is_missing_is_asked_for(fake: FakeServer) -> None:
    fake.key = "sk-12345"
    with pytest.raises(EngineError, match=r"asks for a key \(401\) \(set KGEN_SERVER_KEY"):
        open_expander(engine="server", url=fake.url)


def test_a_key_that_is_refused_is_not_shown(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.key = "sk-12345"
    monkeypatch.setenv("KGEN_SERVER_KEY", "sk-54321")
    with pytest.raises(EngineError, match=r"refuses the key \(401\)") as caught:
        open_expander(engine="server", url=fake.url)
    assert "54321" not in str(caught.value)


def test_a_key_that_the_server_repeats_is_not_shown(fake: FakeServer) -> None:
    client, fake.fault = JsonClient(fake.url, key="sk-54321"), "echo"
    with pytest.raises(EngineError, match=r"500: failed for Bearer \*\*\*"):
        client.post("/completion", {"prompt": [5], "n_probs": 1})
    client.close()


@pytest.mark.parametrize("key", ["a\r\nX: y", "schlüssel"])
def test_a_key_that_is_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UserError, match="KGEN_SERVER_KEY: the key has characters that no key has") as caught:
        JsonClient("http://127.0.0.1", key=key)
    assert key not in str(caught.value)
