"""Fake llama-server, vLLM and SGLang in front of an engine: their answers are shaped after their sources.

    llamacpp   llama.cpp, tools/server (server-context.cpp, server-task.cpp, README.md)
    vllm       vllm/entrypoints/openai/completion (protocol.py, serving.py), vllm/entrypoints/serve/tokenize
    sglang     sglang/srt/managers/io_struct.py, sglang/srt/entrypoints/http_server.py
    me         llama_cpp/server/app.py of llama-cpp-python
"""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from kgen_ext.engine import Engine

KINDS = ("llamacpp", "vllm", "sglang")


@dataclass
class FakeServer:
    """One server. What goes wrong, and from which request for tokens on: `fault`, `after`.

    most: tokens that a list may have. asked: path, body and headers of every request. key: what has to be sent.
    """

    kind: str
    engine: Engine
    n_ctx: int = 1025
    slots: int = 4
    most: int = 10**6
    tokenizes: bool = True
    key: str = ""
    prefix: str = ""
    fault: str = ""
    after: int = 0
    asked: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._cache = self.engine.open_cache(1, self.engine.n_ctx)
        self._held: list[int] = []

    def bodies(self) -> list[Any]:
        """Return the bodies of the requests for tokens."""
        return [body for path, body, _ in self.asked if path in ("/completion", "/v1/completions", "/generate")]

    def prompts(self) -> list[list[int]]:
        """Return the ids of the requests for tokens."""
        return [body.get("prompt") or body["input_ids"] for body in self.bodies()]

    def logprobs(self, ids: list[int]) -> Any:
        """Return the logprobs behind some ids, float32, computed as llama-server does."""
        with self._lock:
            same = 0
            while same < min(len(ids) - 1, len(self._held)) and ids[same] == self._held[same]:
                same += 1
            self._cache.truncate(0, same)
            logits = self._cache.forward([(0, ids[same:])])[0].copy()
            self._held = list(ids)
        shares = np.exp(logits - logits.max())
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(shares / shares.sum()), np.finfo(np.float32).min)

    def answer(self, path: str, body: Any) -> Any:
        """Return the JSON of an answer, None for a path that there is not."""
        if path == "/v1/models":
            card = {"id": "m", "object": "model", "created": 0, "owned_by": self.kind}
            if self.kind in ("vllm", "sglang"):
                card["max_model_len"] = self.n_ctx
            return {"object": "list", "data": [card]}
        if path == "/tokenize" and self.tokenizes:
            text = body["content" if self.kind == "llamacpp" else "prompt"]
            return {"tokens": [*self.engine.tokenize(text), *([5] if self.fault == "tokenizer" else [])]}
        special = {"llamacpp": "/completion", "vllm": "/v1/completions", "sglang": "/generate"}
        if path == "/props" and self.kind == "llamacpp":
            return {"default_generation_settings": {"n_ctx": self.n_ctx}, "total_slots": self.slots}
        return getattr(self, f"_{self.kind}")(body) if path == special.get(self.kind) else None

    def _top(self, ids: list[int], count: int) -> tuple[Any, list[int]]:
        logprobs = self.logprobs(ids)
        return logprobs, np.argsort(-logprobs, kind="stable")[: min(count, self.most)].tolist()

    def _llamacpp(self, body: Any) -> Any:
        logprobs, top = self._top(body["prompt"], body["n_probs"])
        drawn = logprobs.copy()
        for token, bias in body.get("logit_bias", ()):
            drawn[token] += bias
        token = int(drawn.argmax())
        try:
            self.engine.vocab.pieces[token].decode()
        except UnicodeDecodeError:  # the server waits for the rest of the character
            return {"completion_probabilities": []}

        def entry(index: int) -> dict[str, Any]:
            piece = self.engine.vocab.pieces[index]
            text = piece.decode("utf-8", "ignore")
            return {"id": index, "token": text, "bytes": list(piece), "logprob": float(logprobs[index])}

        listed = [entry(index) for index in top]
        if self.fault == "nan":
            listed[3]["logprob"] = float("nan")
        elif self.fault == "twice":
            listed[3]["id"] = listed[2]["id"]
        elif self.fault == "foreign":
            listed[3]["id"] = len(self.engine.vocab)
        elif self.fault == "text":
            listed[3]["id"] = "3"
        elif self.fault == "fewer":
            del listed[-1]
        return {"completion_probabilities": [{**entry(token), "top_logprobs": listed}]}

    def _vllm(self, body: Any) -> Any:
        if body["logprobs"] > self.most:
            words = f"Requested sample logprobs of {body['logprobs']}, which is greater than max allowed: {self.most}"
            return 400, {"error": {"message": words, "type": "BadRequestError", "param": "logprobs", "code": 400}}
        logprobs, top = self._top(body["prompt"], body["logprobs"])
        drawn = len(logprobs) - 1  # it comes first, and is one more where it is not among the likeliest
        named = body.get("return_tokens_as_token_ids") and self.fault != "text"
        names = [f"token_id:{token}" if named else f"<{token}>" for token in (drawn, *top)]
        values = [max(float(logprobs[token]), -9999.0) for token in (drawn, *top)]
        listed = {"tokens": names[:1], "top_logprobs": [dict(zip(names, values, strict=True))], "text_offset": [0]}
        return {"object": "text_completion", "choices": [{"index": 0, "text": "", "logprobs": listed}]}

    def _sglang(self, body: Any) -> Any:
        logprobs, top = self._top(body["input_ids"], body["top_logprobs_num"])
        listed = [[float(logprobs[token]), token, None] for token in top]
        return {"text": "", "meta_info": {"output_token_logprobs": [listed[0]], "output_top_logprobs": [listed]}}


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._respond(None)

        def do_POST(self) -> None:
            self._respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: object) -> None:
            pass

        def _respond(self, body: Any) -> None:
            path = self.path.removeprefix(fake.prefix)
            fake.asked.append((path, body, dict(self.headers)))
            if fake.key and self.headers["Authorization"] != f"Bearer {fake.key}":
                sent = self.headers["Authorization"]
                return self._send(401, json.dumps({"error": {"message": f"Invalid API Key {sent}"}}).encode())
            if path not in ("/v1/models", "/tokenize", "/props") and len(fake.bodies()) > fake.after and self._fail():
                return None
            found = fake.answer(path, body)
            status, value = found if isinstance(found, tuple) else (200 if found is not None else 404, found)
            return self._send(status, json.dumps(value if value is not None else {"detail": "Not Found"}).encode())

        def _fail(self) -> bool:
            """Answer with the fault, if there is one that replaces an answer."""
            if fake.fault == "status":
                words = json.dumps({"error": {"message": "out of\n\x1b[31m memory", "code": 500}})
                self._send(500, words.encode())
            elif fake.fault == "echo":
                words = f"failed for {self.headers['Authorization']}"
                self._send(500, json.dumps({"error": {"message": words}}).encode())
            elif fake.fault == "html":
                self._send(200, b"<!doctype html><title>Welcome</title>", kind="text/html")
            elif fake.fault == "redirect":
                self.send_response(307)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif fake.fault == "cut":
                self._send(200, b'{"completion_probabilities": [', length=4000)
                self.close_connection = True
            elif fake.fault == "long":
                self._send(200, b" " * (8 << 20))
            elif fake.fault == "deep":
                self._send(200, b"[" * 100_000 + b"]" * 100_000)
            elif fake.fault == "slow":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                for byte in b" " * 98 + b"{}":
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
            elif fake.fault == "slow headers":
                self.send_response(200)
                self.flush_headers()
                for _ in range(50):
                    self.wfile.write(b"X: y\r\n")
                    time.sleep(0.02)
            elif fake.fault == "silent":
                time.sleep(0.7)
                self.close_connection = True
            elif fake.fault == "hangs up":
                self.close_connection = True
            elif fake.fault == "empty":
                self._send(200, b"{}")
            else:
                return False
            return True

        def _send(self, status: int, data: bytes, *, kind: str = "application/json", length: int = 0) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        pass  # a client that hangs up is no fault of a test


@contextmanager
def serving(fake: FakeServer) -> Iterator[FakeServer]:
    """Run a fake server, which knows its `url` then."""
    server = _Server(("127.0.0.1", 0), _handler(fake))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}{fake.prefix}"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
