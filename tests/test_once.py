"""Values made once a process, whichever thread comes first and however many come at once."""
from __future__ import annotations

import ast
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_gradio import FakeGradio
from fake_host import install
from webui_kit import forget

from kgen_ext.models import ModelFiles, resolve
from kgen_ext.once import once
from kgen_ext.rules import known
from kgen_ext.service.pool import Pool
from kgen_ext.webui.session import current

ROOT = Path(__file__).resolve().parents[1]
THREADS = 8


def at_once(call: Callable[[], Any]) -> list[Any]:
    """Return what eight threads get that call at the same moment."""
    start = threading.Barrier(THREADS)

    def run(_: int) -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(run, range(THREADS)))


class Slow:
    """A function in another's place that takes its time, and remembers which threads called it."""

    def __init__(self, own: Callable[..., Any]) -> None:
        self._own, self.makers = own, list[int]()

    def __call__(self, *args: Any, **given: Any) -> Any:
        if threading.get_ident() not in self.makers:
            self.makers.append(threading.get_ident())
            time.sleep(0.02)
        return self._own(*args, **given)


# The decorator.


def test_eight_threads_at_once_make_one_value() -> None:
    slow = Slow(object)
    at_once(once(lambda: slow()))
    assert len(slow.makers) == 1


def test_eight_threads_at_once_get_the_same_value() -> None:
    slow = Slow(object)
    assert len(set(at_once(once(lambda: slow())))) == 1


def test_a_value_that_is_nothing_is_made_once_too() -> None:
    calls = list[int]()
    value = once(lambda: calls.append(1))
    value()
    value()
    assert calls == [1]


def test_whoever_asks_after_a_failure_tries_again() -> None:
    answers = iter(list[str]())
    value = once(lambda: next(answers))
    with pytest.raises(StopIteration):
        value()
    answers = iter(["made"])
    assert value() == "made"


def test_of_those_who_wait_for_a_failure_the_next_one_tries() -> None:
    tries = list[int]()

    def make() -> str:
        time.sleep(0.01)
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")
        return "made"

    value = once(make)

    def ask() -> str:
        try:
            return value()
        except OSError:
            return "failed"

    assert sorted(at_once(ask)) == ["failed", *["made"] * (THREADS - 1)]


def test_one_value_may_be_made_of_another() -> None:
    inner = once(object)
    outer = once(lambda: [inner()])
    assert outer() == [inner()]


def test_values_made_of_each_others_parts_by_two_threads_do_not_block_each_other() -> None:
    base = once(Slow(object))
    left, right = once(lambda: (base(), 1)), once(lambda: (base(), 2))
    both = threading.Barrier(2)

    def ask(value: Callable[[], Any]) -> Any:
        both.wait()
        return value()

    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(ask, value) for value in (left, right)]
        assert [future.result(timeout=5)[0] for future in found] == [base(), base()]


def test_a_slow_value_keeps_nobody_from_another() -> None:
    go = threading.Event()
    slow, quick = once(lambda: go.wait(5)), once(lambda: "quick")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(slow)
        assert quick() == "quick"
        go.set()
        assert waiting.result(timeout=5)


def test_a_value_that_asks_for_itself_is_an_error_and_no_deadlock() -> None:
    value: once[Any] = once(lambda: value())
    told = list[str]()

    def ask() -> None:
        try:
            value()
        except RecursionError:
            told.append("asks for itself")

    thread = threading.Thread(target=ask, daemon=True)  # so that a deadlock fails this test and holds up no other
    thread.start()
    thread.join(5)
    assert told == ["asks for itself"]


def test_a_value_that_was_cleared_is_made_anew() -> None:
    value = once(object)
    before = value()
    value.cache_clear()
    assert value() is not before


def test_the_decorated_function_keeps_its_name_and_text() -> None:
    assert (current.__name__, current.__doc__) == ("current", "Return this process's session.")


# What the package has one of.

SINGLETONS = (
    "comfy.memory._residence", "comfy.memory.shared_pool", "comfy.png.written", "comfy.routes.shared_tasks",
    "decoding.drafter._shipped", "models.schema._built_in", "engines.llama_cpp_bindings.open_library",
    "rules.claims._whole", "rules.claims._phrases", "rules.claims._lifted_by", "tags.groups._words",
    "tags.groups._phrase_sizes", "tags.groups.load_groups", "tags.mentions._forms",
    "tags.names.load_names", "tags.words._longest",
    "tags.words.load_meanings", "tools.training.loss._function", "webui.history.current_history",
    "webui.host.current_host", "webui.models_panel.shared_tasks", "webui.preview.shared_previews",
    "webui.script._hooks", "webui.session.current", "webui.settings_page._console", "webui.ui._choices",
    "webui.ui._defaults",
)  # fmt: skip


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Put a host, gradio and llama.cpp in place that cost nothing, and leave nothing of them behind."""
    install(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "gradio", FakeGradio())
    monkeypatch.setattr("kgen_ext.engines.llama_cpp_bindings.import_module", lambda name: None)
    monkeypatch.setattr("kgen_ext.engines.llama_cpp_bindings.Library", lambda api: object())
    yield
    forget()


def fresh(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[once[Any], Slow]:
    """Return a singleton as it was before its first use, made slowly; afterwards it is what it was."""
    if name.startswith("tools."):
        pytest.importorskip("torch")
    module, _, attribute = name.rpartition(".")
    value = getattr(import_module(module if module.startswith("tools.") else f"kgen_ext.{module}"), attribute)
    slow = Slow(value._make)
    monkeypatch.setattr(value, "_made", ())
    monkeypatch.setattr(value, "_make", slow)
    return value, slow


@pytest.mark.parametrize("name", SINGLETONS)
def test_eight_threads_at_once_make_one_of_each(
    name: str, monkeypatch: pytest.MonkeyPatch, surroundings: None
) -> None:
    value, slow = fresh(monkeypatch, name)
    at_once(value)
    assert len(slow.makers) == 1


@pytest.mark.parametrize("name", SINGLETONS)
def test_eight_threads_at_once_all_get_the_one(name: str, monkeypatch: pytest.MonkeyPatch, surroundings: None) -> None:
    value, _ = fresh(monkeypatch, name)
    assert len({id(found) for found in at_once(value)}) == 1


def test_eight_threads_at_once_load_one_model(monkeypatch: pytest.MonkeyPatch, surroundings: None) -> None:
    value, _ = fresh(monkeypatch, "webui.session.current")
    opened = list[str]()

    def open_model(files: ModelFiles, **_: Any) -> Any:
        time.sleep(0.02)
        opened.append(files.id)
        return SimpleNamespace(model=files.id, engine="fake", close=lambda: None)

    def use() -> None:
        with value().lease(resolve("starter")):
            pass

    monkeypatch.setitem(Pool.__init__.__kwdefaults__, "open", open_model)
    at_once(use)
    assert opened == ["starter"]


def test_eight_threads_at_once_read_a_tag_file_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("1girl,0,5\n", encoding="utf-8")
    slow = Slow(known.load_tag_file)
    monkeypatch.setattr(known, "load_tag_file", slow)
    files = known.TagFiles()
    at_once(lambda: files.load(str(tmp_path / "tags.csv")))
    assert len(slow.makers) == 1


def modules() -> list[Path]:
    """Return the modules of the package and of the tools."""
    return sorted(path for folder in ("kgen_ext", "tools") for path in (ROOT / folder).rglob("*.py"))


def decorated() -> Iterator[tuple[str, str, bool]]:
    """Yield the decorators of the package's functions: of which, its name, whether the function has arguments."""
    for path in modules():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("kgen_ext.")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                yield f"{module}.{node.name}", ast.unparse(called).rpartition(".")[2], bool(node.args.args)


def test_the_table_above_names_every_singleton_of_the_package() -> None:
    assert sorted(name for name, decorator, _ in decorated() if decorator == "once") == sorted(SINGLETONS)


def test_nothing_without_arguments_is_kept_by_a_cache_that_does_not_wait() -> None:
    assert [name for name, decorator, given in decorated() if decorator in ("cache", "lru_cache") and not given] == []


def test_no_module_fills_a_variable_of_its_own_on_first_use() -> None:
    found = [path.name for path in modules() for node in ast.walk(ast.parse(path.read_text("utf-8")))
             if isinstance(node, ast.Global)]  # fmt: skip
    assert found == []
