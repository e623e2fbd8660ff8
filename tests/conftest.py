"""Settings of all tests: reproducible property tests, and a switch that makes a missing engine a failure."""
from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from types import ModuleType
from typing import Any

import pytest
from cli_fakes import FakeExpander
from hypothesis import settings
from webui_kit import stage  # noqa: F401 - a fixture for every test of the extension

import kgen_ext.service
from kgen_ext.models import priors
from kgen_ext.models.locations import own_folder

# The same examples on every run and machine; an example may take as long as a slow machine needs.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")

# CI sets this: there, a test that is skipped because an engine's library is missing has not passed.
REQUIRE_ENGINES = os.environ.get("KGEN_REQUIRE_ENGINES") == "1"
ENGINE_WORDS = ("torch", "transformers", "llama", "gguf", "engine", "tokenizers", "could not import")


def _missing_engine(report: pytest.TestReport | pytest.CollectReport) -> bool:
    if not (REQUIRE_ENGINES and report.skipped) or hasattr(report, "wasxfail"):
        return False
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return any(word in reason for word in ENGINE_WORDS)


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    if _missing_engine(report):
        report.outcome = "failed"
        report.longrepr = f"skipped although KGEN_REQUIRE_ENGINES=1: {report.longrepr}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, object, None]:
    outcome = yield
    _fail(outcome.get_result())  # type: ignore[attr-defined]


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Generator[None, object, None]:
    outcome = yield
    _fail(outcome.get_result())  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def no_own_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tables of tags that whoever runs the tests has made out of them."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(priors, "own_folder", lambda env: own_folder({**env, "XDG_DATA_HOME": home}, platform="linux"))
        yield


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeExpander:
    """Put the fake in the service's place and return it."""
    fake = FakeExpander(failure=None)

    def open_expander(**options: Any) -> FakeExpander:
        fake.opened_with = options
        return fake

    module = ModuleType("kgen_ext.service")
    module.__path__ = list(kgen_ext.service.__path__)  # its other parts are the real ones
    module.open_expander = open_expander  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kgen_ext.service", module)
    return fake
