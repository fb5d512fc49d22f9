"""A front in words and as a table, from the API's JSON.

Depends on: wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_service.report import wording

Json = Mapping[str, Any]


def on_front(front: Json) -> Sequence[Json]:
    """Give the points that no other beats, the best of the first objective first."""
    return [point for point in front["points"] if not point["is_dominated"]]


def limits(point: Json) -> str:
    """Say how sure a point on the front is of the limits."""
    return "kept" if point["is_certain"] else "kept as measured, not for certain"


def sentence(front: Json) -> str:
    """Say what the front spans and how large it is."""
    points = on_front(front)
    names = " and ".join(wording.label(metric) for metric in front["objectives"])
    if not points:
        return f"No trial keeps the limits yet, so there is no front of {names}."
    if len(points) == 1:
        said = f"One trial, {points[0]['number']}, is as good as any other in {names} at once"
    else:
        first, last = points[0], points[-1]
        said = f"{len(points)} trials lie on the front of {names}: from trial {first['number']} "
        said += f"({_values(front, first)}) to trial {last['number']} ({_values(front, last)})"
    volume = front["hypervolume"][-1]["hypervolume"] if front["hypervolume"] else 0.0
    corner = ", ".join(
        f"{wording.label(metric)} {wording.value(metric, value)}"
        for metric, value in front["reference"].items()
    )
    said += f". Its hypervolume is {volume:.4g}, measured from {corner}."
    if front["constant"]:
        same = " and ".join(wording.label(metric) for metric in front["constant"])
        said += f" {same} is the same in every trial that keeps the limits, so it orders none."
    n_unsure = sum(not point["is_certain"] for point in points)
    if n_unsure:
        said += f" {n_unsure} of {len(points)} keep the limits as measured, but not for certain."
    return said


def rows(front: Json) -> Sequence[Sequence[str]]:
    """Give a row a point: trial, each objective, how sure it is of the limits."""
    return [
        [
            str(point["number"]),
            *(wording.value(metric, point["values"][metric]) for metric in front["objectives"]),
            limits(point),
        ]
        for point in on_front(front)
    ]


def _values(front: Json, point: Json) -> str:
    return ", ".join(
        f"{wording.label(metric)} {wording.value(metric, point['values'][metric])}"
        for metric in front["objectives"]
    )
