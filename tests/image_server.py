"""An image server on the loopback address: the APIs of AUTOMATIC1111 and of ComfyUI, and ways in which they can fail.

What it implements is described in `kgen_ext/demo/images/webui.py` and `comfy.py`. A picture is one colour that
follows from prompt and seed, so that a test can tell which prompt it was drawn from.
"""
from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image


def colour(prompt: str, seed: int) -> tuple[int, int, int]:
    """Return the colour of the picture of a prompt."""
    red, green, blue = hashlib.sha256(f"{seed} {prompt}".encode("utf-8", "surrogatepass")).digest()[:3]
    return red, green, blue


def picture(prompt: str, seed: int, *, size: tuple[int, int] = (64, 64), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour(prompt, seed)).save(file, kind)
    return file.getvalue()


@dataclass
class Fault:
    """What goes wrong with the answers to paths that begin with `at`."""

    at: str
    status: int = 200
    body: bytes | None = None  # in place of the right one
    kind: str = "application/json"
    location: str = ""  # of a redirect
    stall: bool = False  # never answers
    silent: bool = False  # closes without an answer
    cut: bool = False  # closes after half of it
    drip: float = 0.0  # seconds between two bytes
    drip_headers: float = 0.0  # seconds between two headers
    not_http: bool = False
    picture: bytes | None = None  # in place of the right one


@dataclass
class FakeImageServer:
    """asked: (method, path, headers, JSON). hold: pictures are not done before it is set. ids: jobs have an id.

    others: a job of somebody else that is drawn first, until `others_done` is set.
    """

    webui: bool = True
    comfy: bool = False
    fault: Fault | None = None
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=lambda: ["kgen"])
    checkpoints: list[str] = field(default_factory=lambda: ["small.safetensors", "other.safetensors"])
    combo: bool = False  # ComfyUI's newer form of a list
    entry: Any = None  # of the history of ComfyUI, in place of the right one
    drawn_as: str | None = None  # the prompt that the server says it drew
    ids: bool = True
    password: str = ""
    hold: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    interrupts: list[str] = field(default_factory=list)  # what ran when it was interrupted
    deaf: int = 0  # interruptions that do nothing
    running: str = ""
    waiting: list[str] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""
    port: int = 0

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]

    def bodies(self, path: str) -> list[Any]:
        return [body for _, asked, _, body in self.asked if asked == path]

    def wait_for(self, condition: Any, seconds: float = 10.0) -> bool:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        return bool(condition())


@contextmanager
def running(**options: Any) -> Iterator[FakeImageServer]:
    """Run a server on a port of its own. Its pictures are done at once, unless `hold` is cleared."""
    fake = FakeImageServer(**options)
    fake.hold.set()
    server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    fake.port = server.server_address[1]
    fake.url = f"http://127.0.0.1:{fake.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.hold.set()
        fake.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeImageServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(json.loads(data) if data else None)

    def _answer(self, body: Any) -> None:
        fake, path = self.fake, urlsplit(self.path).path
        fake.asked.append((self.command, path, {name.lower(): value for name, value in self.headers.items()}, body))
        fault = fake.fault if fake.fault and path.startswith(fake.fault.at) else None
        if fault and fault.stall:
            fake.stopped.wait(30)
        if fault and (fault.stall or fault.silent):
            self.close_connection = True
            return
        if fault and fault.not_http:
            self.wfile.write(b"220 mail ready\r\n\r\n")
            self.close_connection = True
            return
        if fake.password and self.headers.get("Authorization") != fake.password:
            return self._send(401, "application/json", b'{"detail": "Not authenticated"}', None)
        status, kind, data = self._route(path, body, fault)
        if fault and fault.body is not None:
            status, kind, data = fault.status, fault.kind, fault.body
        elif fault and fault.status != 200:
            status = fault.status
        self._send(status, kind, data, fault)

    def _send(self, status: int, kind: str, data: bytes, fault: Fault | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if fault and fault.drip_headers:
            self.flush_headers()
            for _ in range(90):  # a client refuses more than 100
                self.wfile.write(b"X: y\r\n")
                if self.fake.stopped.wait(fault.drip_headers):
                    return
        if fault and fault.location:
            self.send_header("Location", fault.location)
        self.end_headers()
        if fault and fault.cut:
            data = data[: len(data) // 2]
            self.close_connection = True
        if fault and fault.drip:
            for at in range(len(data)):
                self.wfile.write(data[at : at + 1])
                if self.fake.stopped.wait(fault.drip):
                    return
        self.wfile.write(data)

    def _route(self, path: str, body: Any, fault: Fault | None) -> tuple[int, str, bytes]:
        fake = self.fake
        if path == "/view":
            name = parse_qs(urlsplit(self.path).query)["filename"][0]
            own = fake.done[name.removesuffix(".png")]["picture"]
            return 200, "image/png", fault.picture if fault and fault.picture is not None else own
        found: Any = None
        if fake.webui and path.startswith(("/sdapi/", "/internal/")):
            found = _webui(fake, path, body, fault)
        elif fake.comfy:
            found = _comfy(fake, path, body)
        if isinstance(found, tuple):
            return found[0], "application/json", json.dumps(found[1]).encode()
        if found is None:
            return 404, "application/json", b'{"detail": "Not Found"}'
        return 200, "application/json", json.dumps(found).encode()


def _webui(fake: FakeImageServer, path: str, body: Any, fault: Fault | None) -> Any:
    if path == "/sdapi/v1/samplers":
        return [{"name": name, "aliases": [], "options": {}} for name in ("Euler a", "DPM++ 2M")]
    if path == "/sdapi/v1/scripts":
        return {"txt2img": fake.scripts, "img2img": []}
    if path == "/sdapi/v1/progress":
        return {"progress": 0.25 if fake.running else 0, "state": {"job": "txt2img" if fake.running else ""}}
    if path == "/internal/progress":
        known = body["id_task"] if fake.ids else ""
        return {
            "active": fake.running == known != "", "queued": known in fake.waiting, "completed": known in fake.done,
            "progress": 0.5,
        }  # fmt: skip
    if path == "/sdapi/v1/interrupt":
        fake.interrupts.append(fake.running)
        if len(fake.interrupts) > fake.deaf:
            fake.hold.set()
        return {}
    if path != "/sdapi/v1/txt2img":
        return None
    for name in body.get("alwayson_scripts", {}):
        if name.lower() not in fake.scripts:
            return 422, {"detail": f"always on script {name} not found"}
    if body.get("sampler_name", "Euler a") not in ("Euler a", "DPM++ 2M"):
        return 400, {"detail": "Sampler not found"}
    id = body["force_task_id"]
    fake.waiting.append(id)
    with fake.lock:
        fake.waiting.remove(id)
        fake.running = id
        fake.hold.wait(30)
        fake.running = ""
        fake.done[id] = True
    data = fault.picture if fault and fault.picture is not None else picture(body["prompt"], body["seed"])
    info = {"all_prompts": [fake.drawn_as or body["prompt"]], "index_of_first_image": 0}
    return {"images": [base64.b64encode(data).decode()], "parameters": body, "info": json.dumps(info)}


def _comfy(fake: FakeImageServer, path: str, body: Any) -> Any:
    def choice(values: list[str]) -> list[Any]:
        return ["COMBO", {"options": values}] if fake.combo else [values, {}]

    if path == "/object_info/CheckpointLoaderSimple":
        return {"CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": choice(fake.checkpoints)}}}}
    if path == "/object_info/KSampler":
        inputs = {"sampler_name": choice(["euler", "euler_ancestral"]), "scheduler": choice(["karras", "normal"])}
        return {"KSampler": {"input": {"required": inputs}}}
    if path == "/prompt":
        id, nodes = body["prompt_id"], body["prompt"]
        if nodes["1"]["inputs"]["ckpt_name"] not in fake.checkpoints:
            errors = [{"message": "Value not in list", "details": "ckpt_name"}]
            error = {"message": "Prompt outputs failed validation"}
            return 400, {"error": error, "node_errors": {"1": {"errors": errors}}}
        drawn = picture(nodes["2"]["inputs"]["text"], nodes["5"]["inputs"]["seed"])
        fake.done[id] = {"picture": drawn, "status": {"status_str": "success", "messages": []}, "outputs": {
            "7": {"images": [{"filename": f"{id}.png", "subfolder": "a b", "type": "temp"}]}}}  # fmt: skip
        (fake.waiting.append(id) if fake.running else setattr(fake, "running", id))
        return {"prompt_id": id, "number": 1, "node_errors": {}}
    if path.startswith("/history/"):
        id = path.rpartition("/")[2]
        if not fake.hold.is_set() or id not in fake.done:
            return {}
        fake.running = "" if fake.running == id else fake.running
        own = {key: value for key, value in fake.done[id].items() if key != "picture"}
        return {id: own if fake.entry is None else fake.entry}
    if path == "/queue" and body is None:
        rows = [[[number, id, {}, {}, []] for number, id in enumerate(ids)] for ids in ([fake.running], fake.waiting)]
        return {"queue_running": rows[0] if fake.running else [], "queue_pending": rows[1]}
    if path == "/queue":
        fake.waiting = [id for id in fake.waiting if id not in body["delete"]]
        return {}
    if path == "/interrupt":
        fake.interrupts.append(fake.running)
        if len(fake.interrupts) > fake.deaf:
            fake.running = ""
        return {}
    return None
