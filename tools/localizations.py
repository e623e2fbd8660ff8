"""Localizations of the page for the hosts: `localizations/LANGUAGE.json`, from each English text to its translation.

    python -m tools.localizations            write the files anew, in the order of the page
    python -m tools.localizations --check    only say what is missing or left over

The keys are the texts of the page as it is built: labels, explanations, titles, buttons, tooltips, the choices of
closed sets, the settings, and what the page's scripts say. Names that are typed or stored (“default”, presets, engines)
stay English. Translations are edited in the files themselves, and a text that has none is reported. A host loads every
file that has the name chosen in its settings, so ours are named as the translations of the whole page; some twice.
"""
from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "localizations"
# The file of each language, and other names under which the same is found.
LANGUAGES = {
    "zh_CN": ("zh-Hans (Stable)",), "zh_TW": ("zh-Hant",), "ja_JP": (), "ko_KR": (), "ru_RU": (), "de_DE": (),
    "es_ES": (), "fr_FR": (), "pt_BR": (),
}  # fmt: skip
# No text of the page, so it does no harm: who has read the file. Remove it once a native speaker has.
NOTICE = "KGen: state of this file"
UNREAD = "Not yet read by a native speaker of the language; corrections are welcome."
# Stays English: names that are stored or typed, and signs.
_NAMES = re.compile("auto|default|custom|cpu|cuda|xpu|mps|directml|llama_cpp|transformers|reference|KGen|Pony|"
                    "Illustrious|NoobAI|Anima|[^a-zA-Z]*")  # fmt: skip
# Texts that only a running preview shows.
RUNNING = (
    "Waiting for the current image ...", "Loading the model ...", "Expanding ...", "Cancelled.",
    "Cancelled. Finished tags and sentences are kept.", "Use this",
)  # fmt: skip
_SAID = re.compile(r'(?:translate\(|question = )"([^"]+)"')
# What a translation must repeat as it is: options, patterns, code, numbers.
_CODE = re.compile(r"<[^<>]+>|--[\w-]+|\w+=[\d.]+|/[^/\s]+ ?\.\*/|\*\w+|\w+:\w+(?:\.\w+)*|\d+(?:\.\d+)?", re.ASCII)


class _Recorder(ModuleType):
    """A module in gradio's place that keeps the texts of the components that are made."""

    def __init__(self) -> None:
        super().__init__("gradio")
        self.made: list[_Component] = []

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("__"):
            raise AttributeError(kind)
        return lambda *values, **given: _Component(self, kind, values, given)


class _Component:
    """A component, a container or an event of one."""

    def __init__(self, gradio: _Recorder, kind: str, values: Sequence[Any], given: dict[str, Any]) -> None:
        self.kind, self.given, self.visible, self.value = kind, given, True, given.get("value")
        self.given.setdefault("label" if kind == "Accordion" else "value", values[0] if values else None)
        self.webui_tooltip = ""
        gradio.made.append(self)

    def __enter__(self) -> _Component:
        return self

    def __exit__(self, *_: object) -> None: ...

    def click(self, *_: Any, **__: Any) -> _Component:
        return self

    change = input = release = then = click

    def texts(self) -> Iterator[str]:
        names = ("label", "info", *(("value",) if self.kind == "Button" else ()))
        yield from (text for name in names if isinstance(text := self.given.get(name), str))
        if self.kind == "HTML":
            yield from re.findall(r"<(?:th|p)\b[^>]*>([^<>]+)<", str(self.given.get("value") or ""))
        yield self.webui_tooltip


class _Script:
    """The script as the host holds it, with the components of its tool row."""

    def on_after_component(self, call: Any, *, elem_id: str) -> None:
        self.add = call


def page_texts() -> tuple[str, ...]:
    """Return every text of the page that can be translated, each once, in the order of the page."""
    from kgen_ext.webui import script, ui
    from kgen_ext.webui.controls import CONTROLS
    from kgen_ext.webui.settings import SETTINGS

    class KGenScript(script.KGenScript, _Script):
        """The script of a host."""

    texts: list[str] = []
    with _recording() as gradio:
        shown = KGenScript()
        shown.show(False)
        shown.add(None)
        ui.build(shown, False)
        ui.refresh_choices()
        for component in gradio.made:
            texts += component.texts()
    for control in CONTROLS:
        texts += [label for _, label in control.choices]
    for setting in SETTINGS:
        # The host puts the explanation in parentheses.
        texts += [setting.label, f"({setting.info})", *(label for _, label in setting.choices)]
    for path in sorted((ROOT / "javascript").glob("*.js")):
        texts += _SAID.findall(path.read_text("utf-8"))
    texts += RUNNING
    return tuple(dict.fromkeys(text for text in map(str.strip, texts) if not _NAMES.fullmatch(text)))


@contextmanager
def _recording() -> Iterator[_Recorder]:
    """Put the recorder in gradio's place, with the one component of the host that it cannot do without."""
    gradio = _Recorder()
    parts = ModuleType("modules.ui_components")
    parts.InputAccordion = gradio.Accordion  # type: ignore[attr-defined]
    fakes = {"gradio": gradio, "modules": ModuleType("modules"), "modules.ui_components": parts}
    before = {name: sys.modules.get(name) for name in fakes}
    sys.modules.update(fakes)
    try:
        yield gradio
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def read(language: str) -> dict[str, str]:
    """Return a language's translations by text, the notice included; empty for a file that does not exist."""
    path = FOLDER / f"{language}.json"
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def faults(language: str, texts: Sequence[str]) -> list[str]:
    """Return what is wrong with a language's file: texts missing or not on the page, and code that was changed."""
    told = {text: translated for text, translated in read(language).items() if text != NOTICE}
    found = [f"{language}: no translation of {text!r}" for text in texts if not told.get(text, "").strip()]
    found += [f"{language}: not on the page: {text!r}" for text in told if text not in texts]
    for text, translated in told.items():
        if translated.strip() and sorted(_CODE.findall(text)) != sorted(_CODE.findall(translated)):
            found.append(f"{language}: {text!r}: {_CODE.findall(text)} became {_CODE.findall(translated)}")
    return found


def write(language: str, texts: Sequence[str]) -> None:
    """Write a language's file anew, in the order of the texts, and the copies under its other names."""
    told = read(language) or {NOTICE: UNREAD}
    kept = {NOTICE: told[NOTICE]} if NOTICE in told else {}
    kept |= {text: told[text] for text in texts if told.get(text)}
    FOLDER.mkdir(exist_ok=True)
    for name in (language, *LANGUAGES[language]):
        (FOLDER / f"{name}.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; return 1 if there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    texts = page_texts()
    if not options.check:
        for language in LANGUAGES:
            write(language, texts)
    found = [fault for language in LANGUAGES for fault in faults(language, texts)]
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
