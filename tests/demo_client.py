"""A client of the demo page over HTTP, as its script is one: it joins gradio's queue and reads the events."""
from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.request import Request, urlopen

from kgen_ext.demo.inputs import INPUTS
from kgen_ext.demo.link import page_defaults
from kgen_ext.demo.offers import Offer


class DemoClient:
    """An open page. `expand` runs with these inputs and yields the panel as it grows."""

    def __init__(self, url: str, *, seconds: float = 120) -> None:
        self._url, self._seconds = url.rstrip("/"), seconds
        self.session = secrets.token_hex(6)
        config = json.loads(self._open("/config").read())
        button = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "kgen_expand")
        self._expand = next(event["id"] for event in config["dependencies"] if [button, "click"] in event["targets"])

    def expand(self, offer: Offer, **values: Any) -> Iterator[str]:
        """Yield the panel's HTML until the run has ended."""
        usual = {**page_defaults(offer), **values}
        data = [usual[control.field] for control in INPUTS]
        self._join(self._expand, [list(value) if isinstance(value, tuple) else value for value in data])
        html: Any = None
        for message in self._events():
            if message["msg"] == "process_generating":
                change = message["output"]["data"][0]
                html = change if html is None else _changed(html, change)
                yield html
            elif message["msg"] == "process_completed":
                assert message["success"], message
                yield message["output"]["data"][0]
                return

    def prompts(self, offer: Offer, **values: Any) -> list[str]:
        """Run, and return the expanded prompts."""
        last = list(self.expand(offer, **values))[-1]
        found = [unescape(text) for text in re.findall(r'data-kgen-copy="([^"]*)"', last)]
        assert found, last
        return found

    def _join(self, event: int, data: list[Any]) -> None:
        body = {"data": data, "fn_index": event, "session_hash": self.session, "event_data": None, "trigger_id": None}
        self._open("/gradio_api/queue/join", json.dumps(body).encode()).read()

    def _events(self) -> Iterator[dict[str, Any]]:
        with self._open(f"/gradio_api/queue/data?session_hash={self.session}") as answer:
            for line in answer:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    def _open(self, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        return urlopen(Request(self._url + path, data=body, headers=headers), timeout=self._seconds)


def _changed(text: str, changes: list[list[Any]]) -> str:
    """Apply gradio's changes to a text: it is replaced, or it grows."""
    for action, path, value in changes:
        assert not path, path
        text = value if action == "replace" else text + value
    return text
