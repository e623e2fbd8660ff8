"""Values of text-to-image: settings, pictures, pairs, the server contract and its errors.

    Failure
    `-- ImageError        a picture could not be made; `str(error)` names the server, what happened and what to do
        |-- ServerGone    nothing answers, or the connection broke
        |-- ServerTimeout no complete answer within the time limit
        |-- BadAnswer     an error status, a web page, a redirect, JSON of another shape
        `-- BadPicture    what came is no PNG or JPEG picture, or is too large
"""
from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kgen_ext.errors import BadValue, Failure

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PROMPT = 20_000  # characters, as in the API of the WebUI
MAX_SEED = 2**32 - 1  # what the samplers of every server take
MAX_STEPS = 100
MIN_SIDE, MAX_SIDE = 64, 2048


class ImageError(Failure):
    """A picture could not be made."""


class ServerGone(ImageError):
    """Nothing answers at the address, or the connection broke."""


class ServerTimeout(ImageError):
    """There was no complete answer within the time limit."""


class BadAnswer(ImageError):
    """The server answered with something else than what was asked for. status: of the HTTP answer."""

    def __init__(self, message: str, *, hint: str = "", status: int = 200) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class BadPicture(ImageError):
    """What came is no PNG or JPEG picture, or is too large."""


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """Settings that both pictures of a pair share; raises BadValue.

    seed: of the noise. width, height: pixels, multiples of 8. sampler: by name, "" for the server's default.
    """

    seed: int = 0
    steps: int = 20
    width: int = 512
    height: int = 512
    cfg_scale: float = 7.0
    sampler: str = ""
    negative: str = ""

    def __post_init__(self) -> None:
        _check_int("seed", self.seed, 0, MAX_SEED)
        _check_int("steps", self.steps, 1, MAX_STEPS)
        for name in ("width", "height"):
            _check_int(name, getattr(self, name), MIN_SIDE, MAX_SIDE, step=8)
        if not isinstance(self.cfg_scale, (int, float)) or not 1 <= self.cfg_scale <= 30:
            raise BadValue("cfg_scale", self.cfg_scale, "1 to 30")
        check_prompt("negative", self.negative)


def _check_int(name: str, value: object, low: int, high: int, *, step: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high or value % step:
        raise BadValue(name, value, f"{low} to {high}" + (f", a multiple of {step}" if step > 1 else ""))


def check_prompt(name: str, text: str) -> None:
    """Raise BadValue for a prompt that is too long for a picture."""
    if len(text) > MAX_PROMPT:
        raise BadValue(name, text, f"at most {MAX_PROMPT:,} characters")


@dataclass(frozen=True, slots=True)
class Progress:
    """A picture that is being drawn. share: 0 to 1, None where the server does not tell; text: one line."""

    share: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A checked picture: RGB, without the server's metadata. note: what the server did otherwise than asked."""

    image: Image
    prompt: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Pictures of a prompt and of its expansion, from the same seed. server: the kind of server that drew them."""

    raw: Picture
    expanded: Picture
    settings: PictureSettings
    server: str


class ImageServer(Protocol):
    """What draws pictures.

    kind: "A1111 API", "ComfyUI" or "diffusers". label: kind and address for the page, without a password. samplers:
    names to choose from.
    """

    @property
    def kind(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def samplers(self) -> tuple[str, ...]: ...

    def draw(
        self, prompt: str, settings: PictureSettings, *, cancelled: Callable[[], bool]
    ) -> Generator[Progress | Picture, None, None]:
        """Yield the progress, then the picture; raise ImageError, Cancelled or BadValue.

        cancelled: looked at every tenth of a second. Closing the generator cancels, too.
        """


def choose_sampler(wanted: str, names: tuple[str, ...]) -> str | None:
    """Return the sampler of that name, written in the way of either kind of server; None where there is none.

    >>> choose_sampler("DPM++ 2M", ("euler", "dpmpp_2m"))
    'dpmpp_2m'
    """
    if wanted in names:
        return wanted
    return next((name for name in names if _plain(name) == _plain(wanted)), None)


def _plain(sampler: str) -> str:
    """Return what two spellings of a sampler share: "Euler a" and "euler_ancestral" are both "eulera"."""
    text = sampler.casefold().replace("++", "pp").replace("ancestral", "a")
    return "".join(char for char in text if char.isalnum())


def other_sampler(wanted: str, used: str) -> str:
    """Return the note of a picture whose sampler was replaced."""
    return f"there is no sampler “{wanted[:40]}” here: drawn with {used}"
