"""The hosts' options, and what changes them for a client of the API: POST /sdapi/v1/options, `override_settings`.

Written from the facts of

    AUTOMATIC1111 82a973c   modules/options.py, modules/api/api.py, modules/processing.py
    Forge dfdcbab6          modules/sysinfo.py: the same options; the route says nothing of the API, a job's settings do
    Forge Neo 5692d2d       webui/modules/sysinfo.py: as Forge
    SD.Next 058a7f0         modules/options_handler.py, modules/api/options.py, modules/processing.py: no `restrict_api`
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import fake_parts


class Options(fake_parts.Options):
    """AUTOMATIC1111's, Forge's and Neo's: `config` is what config.json holds, of options that are gone too."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.data.update(config)

    def __setattr__(self, key: str, value: Any) -> None:
        if key in self.data or key in self.data_labels:
            self.data[key] = value
        else:
            self.__dict__[key] = value

    def add_option(self, key: str, info: Any) -> None:
        self.data_labels[key] = info
        self.data.setdefault(key, info.default)

    def set(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        """Set an option that is declared; KeyError for every other."""
        if self.data.get(key) == value:
            return False
        option = self.data_labels[key]
        if is_api and option.restrict_api:
            return False
        setattr(self, key, value)
        if run_callbacks and option.onchange is not None:
            option.onchange()
        return True


class NextOptions(Options):
    """SD.Next's: no `restrict_api`; a value is accepted for every key that config.json holds."""

    def add_option(self, key: str, info: Any) -> None:
        self.data_labels[key] = info

    def set(self, key: str, value: Any, force: bool = False) -> bool:  # type: ignore[override]
        old = self.data.get(key)
        if old is None and key not in self.data_labels:
            return False
        if old is None:
            old = self.data_labels[key].default
        if old == value and not force:
            return False
        setattr(self, key, value)
        if key in self.data_labels and self.data_labels[key].onchange is not None:
            self.data_labels[key].onchange()
        return True


def _each(call: Callable[[str, Any], Any], settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        call(key, value)


def _changed(opts: Options, settings: Mapping[str, Any], *, is_api: bool, run_callbacks: bool = True) -> None:
    for key, value in settings.items():
        if value != opts.data.get(key):
            opts.set(key, value, is_api=is_api, run_callbacks=run_callbacks)


@dataclass(frozen=True)
class Route:
    """How a host takes options from a client: by its options route, and with a job."""

    host: str
    options: type[Options]
    post: Callable[[Any, Mapping[str, Any]], None]
    override: Callable[[Any, Mapping[str, Any]], None]


ROUTES = (
    Route(
        "AUTOMATIC1111", Options,
        lambda opts, body: _each(lambda key, value: opts.set(key, value, is_api=True), body),
        lambda opts, body: _each(lambda key, value: opts.set(key, value, is_api=True, run_callbacks=False), body),
    ),
    *(Route(
        name, Options,
        lambda opts, body: _changed(opts, body, is_api=False),
        lambda opts, body: _changed(opts, body, is_api=True, run_callbacks=False),
    ) for name in ("Forge", "Forge Neo")),
    Route(
        "SD.Next", NextOptions,
        lambda opts, body: _each(opts.set, body),
        lambda opts, body: _each(lambda key, value: setattr(opts, key, value), body),
    ),
)  # fmt: skip
