"""A fake gradio with the components a page uses: they keep their arguments, their parent and their events.

Strict: an argument that either gradio 3.41 or 4.40 (as the hosts have patched them) does not know is a TypeError.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_ANY = {"label", "info", "value", "elem_id", "elem_classes", "visible"}
_KNOWS = {
    "Checkbox": _ANY, "CheckboxGroup": _ANY | {"choices"}, "Radio": _ANY | {"choices", "show_label"},
    "Dropdown": _ANY | {"choices", "allow_custom_value"}, "Textbox": _ANY | {"lines", "max_lines", "placeholder"},
    "Slider": _ANY | {"minimum", "maximum", "step"}, "Number": _ANY | {"precision", "minimum", "maximum"},
    "HTML": {"value", "elem_id", "elem_classes", "visible"}, "State": {"value"},
    "Button": {"value", "variant", "size", "elem_id", "elem_classes", "visible"},
    "Row": {"elem_id", "elem_classes", "visible"}, "Accordion": {"label", "open", "elem_id", "elem_classes"},
}  # fmt: skip


@dataclass(frozen=True)
class Wire:
    """An event of a component: what it calls in Python and in the browser, on what, for what."""

    target: str
    event: str
    fn: Callable[..., Any] | None
    js: str | None
    inputs: Sequence[Any]
    outputs: Sequence[Any]


class Component:
    """A component, or a container of components."""

    events: tuple[str, ...] = ("click", "change")

    def __init__(self, gradio: FakeGradio, kind: str, given: dict[str, Any]) -> None:
        self.kind, self.value, self.visible, self.elem_id, self.choices = kind, None, True, None, ()
        self.label, self.info = None, None
        for name, value in given.items():
            setattr(self, name, value)
        self.inside = gradio.open[-1] if gradio.open else None
        self._gradio = gradio
        gradio.made.append(self)

    def __enter__(self) -> Component:
        self._gradio.open.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        self._gradio.open.pop()

    def click(self, fn: Any = None, inputs: Any = (), outputs: Any = (), *, _js: str | None = None,
              queue: bool = True, show_progress: str = "full") -> Dependency:  # fmt: skip
        return self._wire("click", fn, _js, inputs, outputs)

    def change(self, fn: Any = None, inputs: Any = (), outputs: Any = (), *, _js: str | None = None,
               queue: bool = True, show_progress: str = "full") -> Dependency:  # fmt: skip
        return self._wire("change", fn, _js, inputs, outputs)

    def input(self, fn: Any = None, inputs: Any = (), outputs: Any = (), *, _js: str | None = None,
              queue: bool = True, show_progress: str = "full") -> Dependency:  # fmt: skip
        return self._wire("input", fn, _js, inputs, outputs)

    def _wire(self, event: str, fn: Any, js: str | None, inputs: Any, outputs: Any) -> Dependency:
        self._gradio.wires.append(Wire(self.elem_id or "", event, fn, js, list(inputs), list(outputs)))
        return Dependency(self)


@dataclass(frozen=True)
class Dependency:
    """What an event returns: it can be followed by another."""

    component: Component

    def then(self, fn: Any = None, inputs: Any = (), outputs: Any = (), *, _js: str | None = None) -> Dependency:
        return self.component._wire("then", fn, _js, inputs, outputs)


class FakeGradio(ModuleType):
    """The module `gradio`; `made` and `wires` are what was built."""

    def __init__(self) -> None:
        super().__init__("gradio")
        self.made: list[Component] = []
        self.wires: list[Wire] = []
        self.open: list[Component] = []
        for kind in _KNOWS:
            setattr(self, kind, self._maker(kind))

    def _maker(self, kind: str) -> Callable[..., Component]:
        def make(*args: Any, **given: Any) -> Component:
            if args:
                given = {"label" if kind == "Accordion" else "value": args[0], **given}
            if unknown := set(given) - _KNOWS[kind]:
                raise TypeError(f"gradio.{kind} knows no {', '.join(sorted(unknown))}")
            return Component(self, kind, given)

        return make

    def InputAccordion(self, value: bool, *, label: str, elem_id: str) -> Component:
        return Component(self, "InputAccordion", {"value": value, "label": label, "elem_id": elem_id})

    def ToolButton(self, value: str, *, elem_id: str, elem_classes: list[str]) -> Component:
        return Component(self, "Button", {"value": value, "elem_id": elem_id, "elem_classes": elem_classes})

    @staticmethod
    def update(**changes: Any) -> dict[str, Any]:
        return {**changes, "__type__": "update"}
