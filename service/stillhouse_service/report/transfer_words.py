"""What a study learned from others, in words and as a table, from the API's JSON.

Depends on: wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_service.report import wording

Json = Mapping[str, Any]


def metrics(transfer: Json) -> Sequence[str]:
    """Give the metrics that models were asked for, in their order."""
    found = (metric for one in transfer["sources"] for metric in one["weights"])
    return list(dict.fromkeys(found))


def shares(transfer: Json, study_id: str, metric: str) -> Sequence[tuple[int, float]]:
    """Give trial number and a source's share of every proposal of a model."""
    return [
        (one["number"], one["weights"].get(study_id, {}).get(metric, 0.0))
        for one in transfer["history"]
    ]


def sentences(transfer: Json) -> Sequence[str]:
    """Say of each source what it was worth."""
    if not transfer["history"]:
        return [
            f"Among the first trials are the best of {_names(transfer)}; no model has proposed a "
            "trial yet, so none of them counts so far."
        ]
    n = len(transfer["history"])
    said = [
        f"In each of {n} proposals a source counts as far as it ranks this study's own trials "
        "well; the rest is what these trials say by themselves."
    ]
    return [*said, *(_of_source(transfer, one) for one in transfer["sources"])]


def columns(transfer: Json) -> Sequence[str]:
    """Name the columns of `rows`."""
    each = [
        f"{wording.label(metric)}: {what}"
        for metric in metrics(transfer)
        for what in ("share at first", "now", "mean", "rank agreement")
    ]
    return ["source", "trials within this space", "parameters shared", *each]


def rows(transfer: Json) -> Sequence[Sequence[str]]:
    """Give a row a source: overlap, and of each metric its share over time and rank agreement."""
    found = []
    for one in transfer["sources"]:
        n_here = len(one["shared"]) + len(one["only_here"])
        within = wording.NOTHING if one["n_within"] is None else str(one["n_within"])
        cells = [
            f"{one['name']} ({one['study_id']})",
            f"{within} of {one['n_trials']}",
            f"{len(one['shared'])} of {n_here}",
        ]
        for metric in metrics(transfer):
            told = [share for _, share in shares(transfer, one["study_id"], metric)]
            tau = one["agreement"].get(metric)
            cells += [_percent(told[0]), _percent(told[-1]), _percent(sum(told) / len(told))]
            cells.append(wording.NOTHING if tau is None else f"{tau:+.2f}".replace("-", "−"))
        found.append(cells)
    return found


def _of_source(transfer: Json, source: Json) -> str:
    name, counted = source["name"], []
    for metric in metrics(transfer):
        told = shares(transfer, source["study_id"], metric)
        last = next((number for number, share in reversed(told) if share > 0), None)
        label = wording.label(metric)
        if last is None:
            counted.append(f"never for {label}")
        elif told[-1][1] > 0:
            counted.append(f"{_percent(told[-1][1])} for {label}")
        else:
            counted.append(f"nothing for {label} since trial {last}")
    said = f"{name} counts {', '.join(counted)}"
    if source["only_here"]:
        n = len(source["only_here"])
        said += f"; it knows nothing of {n} parameter{'s' if n > 1 else ''} of this study"
    return f"{said}."


def _names(transfer: Json) -> str:
    return ", ".join(one["name"] for one in transfer["sources"])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
