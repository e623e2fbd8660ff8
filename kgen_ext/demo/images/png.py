"""Picture files: what a server sends is checked, and a pair is written as one PNG.

Both pictures of a pair are side by side, the raw prompt's on the left. The texts are in iTXt chunks, in UTF-8 and
uncompressed, under these keywords:

    KGen raw prompt         the prompt of the left picture, as it was typed
    KGen expanded prompt    the prompt of the right picture
    KGen negative prompt    of both
    KGen seed               of both, in decimal
    KGen settings           JSON: steps, cfg_scale, sampler ("" for the server's default), width, height, server
    Software                KGen and its version
"""
from __future__ import annotations

import io
import json
import struct
import zlib
from typing import TYPE_CHECKING

from kgen_ext import __version__
from kgen_ext.demo.images.values import BadPicture, Pair

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 32 << 20
MAX_PIXELS = 4096 * 4096
_GAP = 8  # pixels between the two pictures
_RETRY = "look at its console, then try again"


def read_picture(data: bytes, server: str) -> Image:
    """Return a PNG or JPEG as RGB without its metadata; raises BadPicture. server: named in the error."""
    from PIL import Image as pil

    if len(data) > MAX_BYTES:
        raise BadPicture(f"{server}: the picture is larger than {MAX_BYTES >> 20} MiB", hint="ask for a smaller one")
    try:
        with pil.open(io.BytesIO(data), formats=("PNG", "JPEG")) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise BadPicture(
                    f"{server}: the picture has {width}x{height} pixels", hint="at most 4096x4096 are read"
                )
            opened.load()
            picture = pil.new("RGB", opened.size)
            picture.paste(opened.convert("RGB"))
            return picture
    except (pil.DecompressionBombError, pil.DecompressionBombWarning) as error:
        raise BadPicture(f"{server}: the picture has too many pixels", hint="at most 4096x4096 are read") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, MemoryError) as error:
        raise BadPicture(f"{server}: {_what(data)}", hint=_hint(data)) from error


def _what(data: bytes) -> str:
    kind = _kind(data)
    if kind in ("PNG", "JPEG"):
        return f"the picture is a damaged {kind}"
    return f"it sent {kind or 'something that is no picture'} in place of a PNG or JPEG"


def _hint(data: bytes) -> str:
    return "set its image format to PNG or JPEG" if _kind(data) in ("WebP", "GIF", "AVIF", "JPEG XL") else _RETRY


def _kind(data: bytes) -> str:
    """Return the name of a file's format by its first bytes, "" if it is none of these."""
    if not data:
        return "nothing"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:12] in (b"ftypavif", b"JXL \r\n\x87\n"):
        return "AVIF" if data[4:8] == b"ftyp" else "JPEG XL"
    starts = {b"\x89PNG": "PNG", b"\xff\xd8": "JPEG", b"GIF8": "GIF", b"\xff\x0a": "JPEG XL", b"<": "a web page"}
    return next((kind for start, kind in starts.items() if data.startswith(start)), "")


def pair_png(pair: Pair) -> bytes:
    """Return a pair as one PNG, with the texts named above."""
    from PIL import Image as pil
    from PIL.PngImagePlugin import PngInfo

    raw, expanded = pair.raw.image, pair.expanded.image
    canvas = pil.new("RGB", (raw.width + _GAP + expanded.width, max(raw.height, expanded.height)), "white")
    canvas.paste(raw, (0, 0))
    canvas.paste(expanded, (raw.width + _GAP, 0))
    info = PngInfo()
    for keyword, text in _texts(pair).items():
        # A half of a surrogate pair has no UTF-8: it becomes "?" in the file.
        info.add_itxt(keyword, text.encode("utf-8", "replace").decode("utf-8"))
    file = io.BytesIO()
    canvas.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def _texts(pair: Pair) -> dict[str, str]:
    settings = pair.settings
    shared = {
        "steps": settings.steps, "cfg_scale": settings.cfg_scale, "sampler": settings.sampler,
        "width": settings.width, "height": settings.height, "server": pair.server,
    }  # fmt: skip
    return {
        "KGen raw prompt": pair.raw.prompt,
        "KGen expanded prompt": pair.expanded.prompt,
        "KGen negative prompt": settings.negative,
        "KGen seed": str(settings.seed),
        "KGen settings": json.dumps(shared),
        "Software": f"KGen {__version__}",
    }
