"""A model card: what a trained network is, for people.

Depends on: the standard library.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("stillhouse", "torch", "numpy", "onnx")


def versions() -> dict[str, str]:
    """Versions of what a training depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a folder, not installed
            found[package] = "unknown"
    return found


def card_text(card: Mapping[str, Any]) -> str:
    """A card as Markdown.

    Args:
        card: `TrainedBaseline.card`.
    """
    metrics, recipe = card["metrics"], card["recipe"]
    rows = [
        ("Network", f"{card['model']}, {metrics['params']:,} parameters, {metrics['macs']:,} MACs"),
        ("Data set", f"{card['dataset']}, {card['n_classes']} classes"),
        ("Images", ", ".join(f"{split} {n:,}" for split, n in card["splits"].items())),
        ("Split hash", f"`{card['split_hash']}`"),
        ("Seed", card["seed"]),
        ("Trained on", f"{card['device']}, threads: {card['n_threads'] or 'as torch chose'}"),
        ("Checkpoint", f"epoch {metrics['best_epoch'] + 1} of {recipe['epochs']}"),
    ]
    lines = [f"# {card['model']} on {card['dataset']}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    lines += ["", "| split | used for | Top-1 | Top-5 |", "|---|---|---|---|"]
    for split, use in (("validation", "choosing the checkpoint"), ("test", "this report alone")):
        top1, top5 = metrics[f"{split}_top1"], metrics[f"{split}_top5"]
        lines.append(f"| {split} | {use} | {100 * top1:.2f} % | {100 * top5:.2f} % |")
    lines += ["", "| recipe | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in recipe.items()]
    lines += ["", "| version | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in card["versions"].items()]
    return "\n".join(lines) + "\n"
