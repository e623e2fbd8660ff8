"""What goes wrong with an image server: one line that names the server, says what happened and what to do."""
from __future__ import annotations

import io
import socket
import struct
import time
import zlib
from typing import Any

import pytest
from image_server import Fault, colour, picture, running
from images_kit import EXPANDED, RAW, SETTINGS, draw, error_of, open_fake, steps
from PIL import Image

from kgen_ext.demo.images import (
    BadAnswer,
    BadPicture,
    ImageError,
    Picture,
    ServerGone,
    ServerTimeout,
    draw_pair,
    open_server,
)
from kgen_ext.demo.images.http import parse_address
from kgen_ext.errors import BadValue

JSON = "application/json"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "


def bomb(width: int, height: int) -> bytes:
    """Return a PNG whose header promises far more pixels than it has bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "GIF")
    return file.getvalue()


# Answers to the order of a picture: the fault, the kind of error, and words of its line.
ORDER: dict[str, tuple[dict[str, Any], type[ImageError], str]] = {
    "500": ({"status": 500, "body": b'{"error": "OutOfMemoryError", "errors": "CUDA out of memory"}'}, BadAnswer,
            "it answered 500: OutOfMemoryError; CUDA out of memory"),
    "500 with a page": ({"status": 500, "body": b"<html>secret</html>", "kind": "text/html"}, BadAnswer,
                        "it answered 500 (look at its console"),
    "502 in plain text": ({"status": 502, "body": b"Bad Gateway", "kind": "text/plain"}, BadAnswer,
                          "it answered 502 ("),
    "403": ({"status": 403, "body": b"{}"}, BadAnswer, "it asks for a password (403)"),
    "404": ({"status": 404, "body": b"{}"}, BadAnswer, "(404)"),
    "429": ({"status": 429, "body": b"{}"}, BadAnswer, "it is asked too often (429)"),
    "a page": ({"body": b"<!DOCTYPE html><html>log in</html>", "kind": "text/html"}, BadAnswer, "with a web page"),
    "a page that says it is JSON": ({"body": b"  <html>log in</html>"}, BadAnswer, "with a web page"),
    "nothing": ({"body": b""}, BadAnswer, "has an unknown form"),
    "half a JSON": ({"body": b'{"images": ['}, BadAnswer, "is no JSON"),
    "no UTF-8": ({"body": b'{"images": "\xff"}'}, BadAnswer, "is no JSON"),
    "nested too deep": ({"body": b"[" * 100_000}, BadAnswer, "is no JSON"),
    "a list": ({"body": b"[]"}, BadAnswer, "has an unknown form"),
    "a number": ({"body": b"1"}, BadAnswer, "has an unknown form"),
    "silence and an end": ({"silent": True}, ServerGone, "it closed the connection without an answer"),
    "an end midway": ({"cut": True}, ServerGone, "it closed the connection midway"),
    "another protocol": ({"not_http": True}, BadAnswer, "does not speak HTTP"),
    "a redirect": ({"status": 302, "location": "http://127.0.0.1:9/"}, BadAnswer, "it sends to another address (302)"),
}  # fmt: skip
WEBUI_ONLY: dict[str, tuple[dict[str, Any], type[ImageError], str]] = {
    "images of another kind": ({"body": b'{"images": "abc"}'}, BadAnswer, "has an unknown form"),
    "no image": ({"body": b'{"images": [], "info": "{}"}'}, BadAnswer, "it sent no picture"),
    "an image that is no text": ({"body": b'{"images": [5], "info": "{}"}'}, BadAnswer, "has an unknown form"),
    "an image that is no base64": ({"body": b'{"images": ["%%%"], "info": "{}"}'}, BadPicture, "is no base64"),
    "validation": ({"status": 422, "body": b'{"detail": [{"loc": ["body"], "msg": "field required"}]}'}, BadAnswer,
                   "it answered 422: field required"),
}  # fmt: skip
# What comes in place of a picture, and words of the line.
PICTURES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it sent nothing in place of a PNG or JPEG"),
    "HTML": (b"<html></html>", "it sent a web page"),
    "text": (b"hello", "something that is no picture"),
    "WebP": (WEBP, "it sent WebP in place of a PNG or JPEG (set its image format"),
    "GIF": (gif(), "it sent GIF in place of"),
    "half a PNG": (picture(RAW, 7)[:100], "a damaged PNG"),
    "half a JPEG": (picture(RAW, 7, size=(512, 512), kind="JPEG")[:700], "a damaged JPEG"),
    "4 gigapixels": (bomb(65_000, 65_000), "pixels (at most 4096x4096 are read)"),
    "25 megapixels": (bomb(5_000, 5_000), "has 5000x5000 pixels"),
}


@pytest.mark.parametrize("name", [*ORDER, *WEBUI_ONLY])
def test_a_webui_that_answers_an_order_with(name: str) -> None:
    fault, kind, words = {**ORDER, **WEBUI_ONLY}[name]
    with running() as fake:
        server = open_fake(fake)
        fake.fault = Fault("/sdapi/v1/txt2img", **fault)
        assert words in error_of(lambda: draw(server), kind)


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("path", ["/prompt", "/history", "/queue"])
def test_a_comfyui_that_answers_with(name: str, path: str) -> None:
    fault, kind, words = ORDER[name]
    with running(webui=False, comfy=True) as fake:
        server = open_fake(fake)
        if path == "/queue":
            fake.hold.clear()
        fake.fault = Fault(path, **fault)
        assert words in error_of(lambda: draw(server), kind)


@pytest.mark.parametrize("comfy", [False, True])
@pytest.mark.parametrize("name", PICTURES)
def test_in_place_of_a_picture(name: str, comfy: bool) -> None:
    data, words = PICTURES[name]
    with running(webui=not comfy, comfy=comfy) as fake:
        server = open_fake(fake)
        fake.fault = Fault("/view" if comfy else "/sdapi/v1/txt2img", picture=data)
        assert words in error_of(lambda: draw(server), BadPicture)


@pytest.mark.parametrize("comfy", [False, True])
@pytest.mark.parametrize(
    "fault", [{"stall": True}, {"drip": 0.05}, {"drip_headers": 0.05}], ids=["never", "byte by byte", "by headers"]
)
def test_a_server_that_does_not_answer_in_time(fault: dict[str, Any], comfy: bool) -> None:
    with running(webui=not comfy, comfy=comfy) as fake:
        server = open_fake(fake, seconds=0.6)
        fake.fault = Fault("/history" if comfy else "/sdapi/v1/txt2img", **fault)
        started = time.monotonic()
        error_of(lambda: draw(server), ServerTimeout)
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("comfy", [False, True])
def test_a_picture_that_is_never_done(comfy: bool) -> None:
    with running(webui=not comfy, comfy=comfy) as fake:
        fake.hold.clear()
        server = open_fake(fake, seconds=0.5)
        assert "within 0.5 s" in error_of(lambda: draw(server), ServerTimeout)


@pytest.mark.parametrize("comfy", [False, True])
def test_a_server_that_is_gone(comfy: bool) -> None:
    with running(webui=not comfy, comfy=comfy) as fake:
        server = open_fake(fake)
    assert "cannot connect" in error_of(lambda: draw(server), ServerGone)


def test_the_line_names_the_server_and_what_to_do() -> None:
    with running() as fake:
        server = open_fake(fake)
    line = error_of(lambda: draw(server), ServerGone)
    assert (line.startswith(f"{fake.url}: "), line.endswith("(start the server, or check the address)")) == (True, True)


@pytest.mark.parametrize("name", ORDER)
def test_the_line_is_one_line(name: str) -> None:
    fault, kind, _ = ORDER[name]
    with running() as fake:
        server = open_fake(fake)
        fake.fault = Fault("/sdapi/v1/txt2img", **fault)
        assert "\n" not in error_of(lambda: draw(server), kind)


def test_a_long_message_of_a_server_is_cut_and_has_no_control_characters() -> None:
    with running() as fake:
        server = open_fake(fake)
        body = b'{"detail": "' + b"\\u001b[31m\\n" * 5000 + b'"}'
        fake.fault = Fault("/sdapi/v1/txt2img", status=500, body=body)
        line = error_of(lambda: draw(server), BadAnswer)
        assert (len(line) < 400, line.isprintable()) == (True, True)


def test_the_raw_picture_is_kept_when_the_expanded_one_fails() -> None:
    with running() as fake:
        found = []
        drawing = draw_pair(open_fake(fake), RAW, EXPANDED, SETTINGS)
        with pytest.raises(BadAnswer):
            for step in drawing:
                if isinstance(step, Picture):
                    found.append(step.prompt)
                    fake.fault = Fault("/sdapi/v1/txt2img", status=500)
        assert found == [RAW]


def test_the_next_pair_is_drawn_after_a_failure() -> None:
    with running() as fake:
        server = open_fake(fake)
        fake.fault = Fault("/sdapi/v1/txt2img", status=500)
        error_of(lambda: draw(server), BadAnswer)
        fake.fault = None
        assert steps(server)[-1].expanded.image.getpixel((1, 1)) == colour(EXPANDED, 7)


@pytest.mark.parametrize("fault", [{"status": 500}, {"stall": True}, {"body": b"[]"}, {"body": b'{"progress": 1e999}'}])
def test_a_picture_comes_although_its_progress_cannot_be_told(
    fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgen_ext.demo.images.webui._POLL", 0.05)
    monkeypatch.setattr("kgen_ext.demo.images.webui._QUICK", 0.2)
    with running() as fake:
        server = open_fake(fake)
        fake.hold.clear()
        fake.fault = Fault("/internal/progress", **fault)
        drawing = server.draw(RAW, SETTINGS, cancelled=lambda: False)
        next(drawing)
        fake.hold.set()
        assert isinstance(list(drawing)[-1], Picture)


def test_a_workflow_that_fails_names_the_node() -> None:
    with running(webui=False, comfy=True) as fake:
        server = open_fake(fake)
        said = {"node_type": "KSampler", "exception_message": "out of memory\n"}
        messages = [["execution_start", {}], ["execution_error", said]]
        fake.entry = {"outputs": {}, "status": {"status_str": "error", "messages": messages}}
        assert "KSampler failed: out of memory" in error_of(lambda: draw(server), BadAnswer)


def test_a_workflow_that_somebody_stopped_says_so() -> None:
    with running(webui=False, comfy=True) as fake:
        server = open_fake(fake)
        fake.entry = {"outputs": {}, "status": {"status_str": "error", "messages": [["execution_interrupted", {}]]}}
        assert "the picture was stopped there" in error_of(lambda: draw(server), BadAnswer)


def test_a_workflow_without_a_picture_says_so() -> None:
    with running(webui=False, comfy=True) as fake:
        server = open_fake(fake)
        fake.entry = {"outputs": {"7": {}}, "status": {}}
        assert "it sent no picture" in error_of(lambda: draw(server), BadAnswer)


def test_a_workflow_that_left_the_queue_is_not_waited_for() -> None:
    with running(webui=False, comfy=True) as fake:
        server = open_fake(fake)
        fake.fault = Fault("/history", body=b"{}")
        drawing = server.draw(RAW, SETTINGS, cancelled=lambda: False)
        next(drawing)
        fake.running = ""
        assert "no longer in the queue" in error_of(lambda: list(drawing), BadAnswer)


def test_an_id_that_is_none_is_not_put_into_a_path() -> None:
    with running(webui=False, comfy=True) as fake:
        server = open_fake(fake)
        fake.fault = Fault("/prompt", body=b'{"prompt_id": "../queue"}')
        assert "has an unknown form" in error_of(lambda: draw(server), BadAnswer)


def test_a_workflow_that_is_refused_says_which_input_is_wrong() -> None:
    with running(webui=False, comfy=True) as fake:
        server = open_fake(fake)
        fake.checkpoints = ["third.safetensors"]
        assert "Value not in list ckpt_name" in error_of(lambda: draw(server), BadAnswer)


def test_a_comfyui_without_checkpoints_says_where_to_put_one() -> None:
    with running(webui=False, comfy=True, checkpoints=[]) as fake:
        assert "models/checkpoints" in error_of(lambda: open_fake(fake), BadAnswer)


def test_an_answer_beyond_the_limit_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgen_ext.demo.images.http.MAX_ANSWER", 1 << 20)
    with running() as fake:
        server = open_fake(fake)
        fake.fault = Fault("/sdapi/v1/txt2img", body=b" " * (8 << 20))
        assert "larger than 1 MiB" in error_of(lambda: draw(server), BadAnswer)


def test_a_jpeg_is_a_picture() -> None:
    with running() as fake:
        server = open_fake(fake)
        fake.fault = Fault("/sdapi/v1/txt2img", picture=picture(RAW, 7, kind="JPEG"))
        assert draw(server).image.size == (64, 64)


def test_nothing_of_a_servers_metadata_stays_in_a_picture() -> None:
    with running() as fake:
        server, file = open_fake(fake), io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "PNG", dpi=(300, 300))
        fake.fault = Fault("/sdapi/v1/txt2img", picture=file.getvalue())
        assert draw(server).image.info == {}


# Only the address that was named


def test_a_redirect_is_not_followed() -> None:
    with running() as fake, running() as other:
        server = open_fake(fake)
        fake.fault = Fault("/sdapi/v1/txt2img", status=307, location=f"{other.url}/sdapi/v1/txt2img")
        error_of(lambda: draw(server), BadAnswer)
        assert other.asked == []


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as fake, running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        draw(open_fake(fake))
        assert proxy.asked == []


# Addresses and passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:7860", "http://127.0.0.1:7860"),
        ("http://127.0.0.1:7860/", "http://127.0.0.1:7860"),
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("localhost", "http://localhost:80"),
        ("https://pictures.example", "https://pictures.example:443"),
        ("http://[::1]:7860", "http://[::1]:7860"),
        ("http://host:8188/comfy/", "http://host:8188/comfy"),
        ("http://user:secret@host:7860", "http://host:7860"),
        ("user:secret@host:7860", "http://host:7860"),
        ("http://user:se%2Fcr%40et@host:7860", "http://host:7860"),
    ],
)
def test_an_address_is_shown_without_its_password(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "http://", "ftp://host", "file:///etc/passwd", "http://host:port", "http://host:99999", "http://host/?a=b",
     "http://host/#a", "http://ho st", "http://host\r\nX: y", "http://höst", "http://host\\@other",
     "javascript:alert(1)"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    assert error_of(lambda: open_server(text), BadValue).startswith("images: ")


@pytest.mark.parametrize(
    "text",
    ["http://user:secret@", "http://user:sec/ret@host", "http://user:sec?ret@host", "http://user:sec#ret@host",
     "http://user:1234/secret@host", "http://user:secret@host:port", "ftp://user:secret@host", "user:sec ret@host",
     "http://user:secret@host/?x=1", "http://user:söcret@host"],
)  # fmt: skip
def test_a_refused_address_does_not_show_its_password(text: str) -> None:
    message = error_of(lambda: open_server(text), BadValue)
    assert not any(part in message for part in ("secret", "sec/", "sec?", "sec#", "sec ", "ret@", "söcret", "1234"))


def test_user_and_password_are_sent() -> None:
    with running(password="Basic dXNlcjpwQHNz") as fake:  # user:p@ss
        draw(open_server(fake.url.replace("//", "//user:p%40ss@")))
        assert {headers["authorization"] for _, _, headers, _ in fake.asked} == {"Basic dXNlcjpwQHNz"}


@pytest.mark.parametrize("login", ["", "user:wrong@"])
def test_a_server_with_a_password_says_what_to_do(login: str) -> None:
    with running(password="Basic dXNlcjpwQHNz") as fake:
        message = error_of(lambda: open_server(fake.url.replace("//", f"//{login}")), BadAnswer)
        assert ("check both" if login else "http://user:password@host:port") in message


def test_a_password_is_in_no_message_label_or_representation() -> None:
    with running(password="Basic dXNlcjpwQHNz") as fake:
        server = open_server(fake.url.replace("//", "//user:p%40ss@"))
        fake.fault = Fault("/", status=500)
        said = " ".join([error_of(lambda: draw(server), BadAnswer), server.label, repr(server)])
        assert not any(secret in said for secret in ("p@ss", "p%40ss", "dXNlcjpwQHNz"))


def test_a_server_that_does_not_take_connections_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as deaf:  # its queue of connections is full
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        with socket.create_connection(deaf.getsockname()):
            monkeypatch.setattr("kgen_ext.demo.images.http.CONNECT", 0.3)
            address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            error_of(lambda: open_server(address), ServerTimeout)
