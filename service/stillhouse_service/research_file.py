"""An experiment.yaml: the whole research plan on one network and one device.

Depends on: pyyaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stillhouse_service.errors import Problem, SpecRejected

_KEYS = {
    "name": str,
    "baseline": dict,
    "device": str,
    "constraints": list,
    "timing": dict,
    "training": dict,
    "grid": list,
    "cases": list,
    "study": dict,
    "finalize": dict,
    "seed": int,
}
_REQUIRED = ("name", "baseline", "device", "grid", "study")
_STUDY_KEYS = ("budget", "training", "optimizer", "surrogate", "parallel")


@dataclass(frozen=True)
class ResearchPlan:
    """What is to be found out.

    Attributes:
        name: Of every stage.
        baseline: `{model, dataset, recipe, seed}`.
        device: Kind or id.
        shared: `constraints`, `timing`, `seed` of every stage.
        training: Fine-tuning of the sweep's trials, plain.
        grid: The sweep's plan.
        cases: The user's own trials in it.
        study: `budget`, `training` (YAML text with tags), ... of stage 3.
        finalize: Training of the winner, where the server's choice will not do.
    """

    name: str
    baseline: Mapping[str, Any]
    device: str
    shared: Mapping[str, Any]
    training: Mapping[str, Any]
    grid: list[Any]
    cases: list[Any]
    study: Mapping[str, Any]
    finalize: Mapping[str, Any]


def read_research_plan(path: Path) -> ResearchPlan:
    """Read an experiment.yaml.

    Raises:
        SpecRejected: It cannot be read, or a key is unknown, missing or of the wrong kind.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecRejected([Problem("experiment", f"cannot read {path}: {error}")]) from error
    if not isinstance(found, dict):
        raise SpecRejected([Problem("experiment", f"{path} must hold a mapping, key: value")])
    problems = [
        Problem(str(key), f"unknown key; known: {', '.join(_KEYS)}")
        for key in found
        if key not in _KEYS
    ]
    problems += [Problem(key, f"missing in {path}") for key in _REQUIRED if key not in found]
    problems += [
        Problem(key, f"must be a {kind.__name__}, got {found[key]!r}")
        for key, kind in _KEYS.items()
        if key in found and not isinstance(found[key], kind)
    ]
    study = found.get("study")
    if isinstance(study, dict):
        problems += [
            Problem(f"study.{key}", f"unknown key; known: {', '.join(_STUDY_KEYS)}")
            for key in study
            if key not in _STUDY_KEYS
        ]
        if "budget" not in study:
            problems.append(Problem("study.budget", "missing: {trials: ...}"))
    if problems:
        raise SpecRejected(problems)
    return ResearchPlan(
        name=found["name"],
        baseline=found["baseline"],
        device=found["device"],
        shared={
            "constraints": found.get("constraints", []),
            "timing": found.get("timing", {}),
            "seed": found.get("seed", 0),
        },
        training=found.get("training", {}),
        grid=found["grid"],
        cases=found.get("cases", []),
        study=found["study"],
        finalize=found.get("finalize", {}),
    )
