"""Write the model card: `python -m tools.training.card --figures F --product P --losses L --out README.md`.

The fixed text is in data/card.md; the figures are those of evaluate.py and product.py, the losses those of train.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from tools.training.corpus import read_jsonl

_TEMPLATE = Path(__file__).parent / "data" / "card.md"


def write_card(
    figures: dict[str, Any], product: dict[str, Any], losses: list[dict[str, Any]], template: str
) -> str:
    """Fill the template with figures of evaluate.py and product.py and the log of train.py."""
    last, tail = losses[-1], losses[-10:]
    unsafe = {word for found in product.values() for word in found["safety"]["found"]}
    values = {
        "tokens": f"{last['tokens'] / 1e6:.1f}",
        "steps": f"{last['step']:,}",
        "minutes": f"{last['seconds'] / 60:.0f}",
        "rate": f"{last['tokens'] / last['seconds']:,.0f}",
        "loss": f"{sum(line['loss'] for line in tail) / len(tail):.2f}",
        "sampling": ", ".join(f"{name} {value}" for name, value in figures["sampling"].items()),
        "recall": _recall_table(figures),
        "product": _product_table(product),
        "samples": "\n\n".join(_sample(sample) for sample in figures["samples"]),
        "safety_found": _words(figures["safety"]["found"]),
        "product_safety_prompts": str(sum(found["safety"]["prompts"] for found in product.values())),
        "product_safety_hits": str(sum(found["safety"]["hits"] for found in product.values())),
        "product_safety_found": _words(sorted(unsafe)),
    }
    for group in ("lists", "coco", "texts", "safety"):
        values |= {f"{group}_{name}": _number(value) for name, value in figures[group].items() if name != "found"}
    for group in ("popular", "held_out"):
        values |= {f"{group}_{name}": _number(value) for name, value in figures["characters"][group].items()}
    return Template(template).substitute(values)


def _recall_table(figures: dict[str, Any]) -> str:
    rows = [
        "| | lists | this model, `short` | `long` | popularity, danbooru.csv | in counted lists | lifts | pair model |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ("prompts_dev", "real_posts_dev"):
        found = figures[name]
        cells = [
            f"{found[key]['at_10']:.3f} / {found[key]['at_20']:.3f}"
            for key in ("model_short", "model_long", "popularity_danbooru", "popularity_counted", "lifts", "pair_model")
        ]
        rows.append(f"| {name} | {found['lists']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _product_table(product: dict[str, Any]) -> str:
    head = ["", "lists of each file", "prompts_dev", "real_posts_dev", "looks", "named tags", "fillers a list"]
    head += ["texts without repeats", "that are lists"]
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, found in product.items():
        files = (found["prompts_dev"], found["real_posts_dev"])
        recalls = [f"{recall['at_10']:.3f} / {recall['at_20']:.3f}" for recall in files]
        told, written = found["sentences"], found["texts"]
        shares = [found["looks"], told["named"], told["fillers"], written["repeat_free"], written["listing"]]
        cells = [name, str(found["lists"]), *recalls, *(f"{share:.3f}" for share in shares)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _sample(sample: dict[str, str]) -> str:
    return f"```text\n{sample['request']}\u27e8model\u27e9{sample['answer']}\n```"


def _words(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "none"


def _number(value: Any) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.card", description=__doc__)
    parser.add_argument("--figures", type=Path, required=True, help="JSON of evaluate.py")
    parser.add_argument("--product", type=Path, required=True, help="JSON of product.py")
    parser.add_argument("--losses", type=Path, required=True, help="losses.jsonl of train.py")
    parser.add_argument("--out", type=Path, required=True, help="README.md to write")
    given = parser.parse_args()
    figures = json.loads(given.figures.read_text(encoding="utf-8"))
    product = json.loads(given.product.read_text(encoding="utf-8"))
    card = write_card(figures, product, list(read_jsonl(given.losses)), _TEMPLATE.read_text(encoding="utf-8"))
    given.out.write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
